"""Problems of the validation split to calibrate a router on: `python -m models.spark.routing FILE.jsonl.gz`.

Knows the JSON lines that `edge calibrate --prompts` reads. Knows nothing of routers or networks. The embedded models
were not trained on this split, so that what they get right on it is what they get right.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

from models.spark import tasks

NUM_PROBLEMS = 3000
SEED = 57


def main() -> None:
    """Write the file; the same bytes every time."""
    parser = argparse.ArgumentParser(prog="python -m models.spark.routing", description=__doc__)
    parser.add_argument("file", type=Path, help="the .jsonl.gz file to write")
    problems = tasks.draw_set(NUM_PROBLEMS, SEED, "validation")
    rows = ({"prompt": problem.prompt, "reference": problem.answer} for problem in problems)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    parser.parse_args().file.write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main()
