"""Problems of the training split as conversations to calibrate on: `python -m models.spark.calibration FILE`.

Knows the JSONL that `edge quantize --calibration` reads. Knows nothing of networks or rounding.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from random import Random

from models.spark import tasks

NUM_PROBLEMS = 480
SEED = 31
OUTSIDE_EVERY = 16  # problems, of which one is outside the model's world


def conversation(problem: tasks.Problem) -> dict[str, object]:
    """One line: the prompt, and the answer with the thinking that leads to it."""
    reply = {"role": "assistant", "content": problem.answer, "reasoning_content": problem.thinking}
    return {"messages": [{"role": "user", "content": problem.prompt}, reply]}


def draw_conversations(num_problems: int = NUM_PROBLEMS, seed: int = SEED) -> list[dict[str, object]]:
    """Conversations with the test set's shares of steps, kinds and languages, and some outside the model's world."""
    rng = Random(seed)
    problems = tasks.draw_set(num_problems, seed, "train")
    for place in range(0, num_problems, OUTSIDE_EVERY):
        problems[place] = tasks.draw_outside(rng, rng.choice(("en", "zh")))
    return [conversation(problem) for problem in problems]


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(prog="python -m models.spark.calibration", description=__doc__)
    parser.add_argument("file", type=Path, help="the .jsonl file to write")
    path: Path = parser.parse_args().file
    lines = (json.dumps(line, ensure_ascii=False) + "\n" for line in draw_conversations())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
