"""Writes tests/vectors/parser.jsonl: run it when the parser is meant to behave otherwise, and read the difference.

Each line is an object: ``dialect``, the ``phase`` the parser starts in, the texts ``fed`` one by one, and what came of
it: ``pieces`` (kind, text) of all feeds and the flush in order, ``end_phase`` and ``think``.
"""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path

from edge.stream_parser import StreamParser
from models.dialect import DIALECTS, Phase

HIPO_ON = (
    "Several steps.\n</judge>\n\n<think_on>\n<think>\n38*47=1786\n1786-5+12=1793\n</think>\n\n<answer>\n1793\n</answer>"
)
HIPO_OFF = "One step.\n</judge>\n\n<think_off>\n<answer>\n5\n</answer>"
HUNYUAN = "<think>\n先算乘法，再算加法。\n</think>\n<answer>\n答案是 12。\n</answer>"
TEXTS: tuple[tuple[str, Phase, str], ...] = (
    ("hipo", "judge", HIPO_ON),
    ("hipo", "judge", HIPO_OFF),
    ("hipo", "judge", "One step.\n</judge>\n\n<think_off>\n5"),
    ("hipo", "judge", "No tags at all"),
    ("hipo", "answer", "5\n<think>\nwait\n</think>\n6\n</answer>\n</answer> tail"),
    ("hipo", "thinking", "a < b\n\nc <think_off> </judge> d\n<answer>\n5\n</answer>"),
    ("qwen3", "gap", "<think>\nHm, <b>bold</b>\n\n</think>\n\nFour.\n"),
    ("qwen3", "gap", "<think>\n\n</think>\n\n# Title\n\ntext\n"),
    ("qwen3", "gap", "Four, and <answer> is text here"),
    ("hunyuan", "gap", HUNYUAN),
    ("hunyuan", "gap", "we are swans</answer>"),
    ("plain", "gap", "  Step 1: 2 < 3.\nStep 2: <thin ice"),
    ("plain", "thinking", "hm\n</think>\n\nFour"),
)


def main() -> None:
    """Record every text in three splits: whole, by character, and at random places."""
    rng = random.Random(0)
    path = Path(__file__).parent / "vectors" / "parser.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for dialect, phase, text in TEXTS:
            for fed in ([text], list(text), _split_at_random(text, rng)):
                parser = StreamParser(DIALECTS[dialect], phase)
                pieces = [piece for part in fed for piece in parser.feed(part)] + parser.flush()
                record = {"dialect": dialect, "phase": phase, "fed": fed}
                record |= {"pieces": [[piece.kind, piece.text] for piece in pieces]}
                record |= {"end_phase": parser.phase, "think": parser.think}
                file.write(json.dumps(record, ensure_ascii=False) + "\n")


def _split_at_random(text: str, rng: random.Random) -> list[str]:
    cuts = [0, *sorted(rng.sample(range(1, len(text)), k=min(8, len(text) // 3))), len(text)]
    return [text[begin:end] for begin, end in pairwise(cuts)]


if __name__ == "__main__":
    main()
