"""Writes tests/vectors/parser.jsonl: run it when the parser is meant to behave otherwise, and read the difference.

Each line is an object: ``dialect``, the ``phase`` the parser starts in, the texts ``fed`` one by one, and what came of
it: ``pieces`` (kind, text) of all feeds and the flush in order, ``end_phase`` and ``think``. Where the object has
``call_tags``, the parser was told of them.
"""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

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


CALL_TAGS = DIALECTS["qwen3"].layout.tool_format.call_tags  # type: ignore[union-attr]
CALL = '<tool_call>\n{"name": "look", "arguments": {"at": "</think>"}}\n</tool_call>'
HUNYUAN_TAGS = DIALECTS["hunyuan"].layout.tool_format.call_tags  # type: ignore[union-attr]
FENCED = '<tool_call>look\n```json\n{"at": "</think>"}\n```</tool_call>'
TOOL_TEXTS: tuple[tuple[str, Phase, str], ...] = (
    ("qwen3", "gap", f"<think>\nLet me look.\n{CALL}\nAgain:\n{CALL}\n</think>\n\nDone.\n{CALL}"),
    ("qwen3", "gap", f"<think>\n\n</think>\n\n{CALL}\n{CALL}"),
    ("qwen3", "thinking", "A <tool_call> tag would do.\n</think>\n\nSo."),
    ("qwen3", "thinking", 'Hm.\n<tool_call>\n{"name": "look", "arguments": {}}\n</think>\n\nSo.'),
    ("qwen3", "answer", 'Well,\n<tool_call>\n{"name": look}\n</tool_call>\nno.'),
    ("qwen3", "answer", '<tool_call>\n{"name": "look", "arguments": "{\\"at\\": 1}"}'),
    ("qwen3", "answer", '<tool_call>\n{"name": "look", "argu'),
    ("hipo", "judge", f"Needs a look.\n</judge>\n\n<think_off>\n<answer>\n{CALL}\n</answer>"),
)
HUNYUAN_TOOL_TEXTS: tuple[tuple[str, Phase, str], ...] = (
    (
        "hunyuan",
        "gap",
        f"<think>\nLet me look.\n</think>\n<answer>\n<tool_calls>{FENCED}\n{FENCED}</tool_calls>\n</answer>",
    ),
    ("hunyuan", "gap", f"<think>\n\n</think>\n<tool_calls>{FENCED}</tool_calls>"),
    ("hunyuan", "thinking", f"Now.\n<tool_calls>\n{FENCED}\n</tool_calls>\n</think>\n<answer>\nSo.\n</answer>"),
    (
        "hunyuan",
        "answer",
        "Well, <tool_call>look\n```json\n{at}\n```</tool_call> and <tool_call>look\n```json\n{}\n```",
    ),
    ("hunyuan", "answer", "A <tool_call> tag would do."),
)


def main() -> None:
    """Record every text in three splits: whole, by character, and at random places."""
    rng = random.Random(0)
    path = Path(__file__).parent / "vectors" / "parser.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for call_tags, texts in (((), TEXTS), (CALL_TAGS, TOOL_TEXTS), (HUNYUAN_TAGS, HUNYUAN_TOOL_TEXTS)):
            for dialect, phase, text in texts:
                for fed in ([text], list(text), _split_at_random(text, rng)):
                    file.write(json.dumps(_record(dialect, phase, fed, call_tags), ensure_ascii=False) + "\n")


def _record(dialect: str, phase: Phase, fed: list[str], call_tags: tuple[str, ...]) -> dict[str, Any]:
    parser = StreamParser(DIALECTS[dialect], phase, call_tags)
    pieces = [piece for part in fed for piece in parser.feed(part)] + parser.flush()
    record: dict[str, Any] = {"dialect": dialect, "phase": phase}
    record |= {"call_tags": call_tags} if call_tags else {}
    record |= {"fed": fed, "pieces": [[piece.kind, piece.text] for piece in pieces]}
    return record | {"end_phase": parser.phase, "think": parser.think}


def _split_at_random(text: str, rng: random.Random) -> list[str]:
    cuts = [0, *sorted(rng.sample(range(1, len(text)), k=min(8, len(text) // 3))), len(text)]
    return [text[begin:end] for begin, end in pairwise(cuts)]


if __name__ == "__main__":
    main()
