"""The training prompts: public ones with their targets, and made ones for what no public set holds.

Knows: the public files, every source's target and share, and how long, wrapped and buried prompts are made of others.
Does not know: features, networks, or the evaluation sets, of which no prompt gets in here.
A target is the chance that an answer without reasoning is wrong.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from models.errors import UsageError
from models.router.deductions import draw_deduction
from models.router.errands import errand
from models.router.everyday import everyday
from models.router.passages import make_passage
from models.router.pleas import wrapped
from models.router.puzzles import draw_puzzle
from models.router.reasoning import draw_reasoning
from models.router.requests import about_passage
from models.router.school import draw_school

LANGUAGES = ("en", "zh")
# Made prompts of each kind in a whole training, both languages together.
MADE = {"simple request about a passage": 12000, "problem behind a passage": 3500, "school": 9000, "puzzle": 5000,
    "reasoning": 8000, "deduction": 3000, "everyday": 8000, "errand": 4000, "problem left aside": 1500}  # fmt: skip
# By number of steps, from 0: an answer without any reasoning fails more steeply than the public target says.
STEP_TARGETS = (0.2, 0.2, 0.35, 0.5, 0.62, 0.72, 0.8, 0.86)
WEIGHTS = {"clinc": 0.5, "chatterbot": 1.5, "mmlu": 1.2, "gsm8k": 1.5}  # of a prompt of a source; 1 for the others
DRAWERS = {"puzzle": draw_puzzle, "reasoning": draw_reasoning, "deduction": draw_deduction}
EASY_TARGET, ABOUT_TARGET, ASIDE_TARGET = 0.02, 0.05, 0.1
PLAIN_SHARE = 0.4  # of the competition problems
WRAPPED_SHARE = 0.15  # of the public prompts get a plea that changes nothing, too


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt; ``group`` is what it has in common with others of its ``source``; the other fields are measured."""

    text: str
    language: str
    source: str
    group: str
    target: float
    weight: float = 1.0
    steps: int | None = None
    grade: int | None = None
    direct_right: bool | None = None

    @property
    def origin(self) -> str:
        """Where its words come from: the source, or for a set of many subjects the subject, and the language."""
        return f"{self.source} {self.group if self.source == 'mmlu' else ''} {self.language}"


def read_rows(path: Path) -> list[Row]:
    """The rows of a file of public prompts (gzipped JSON lines). Raises UsageError where it cannot be read."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            return [_read(json.loads(line)) for line in lines]
    except (OSError, ValueError, KeyError) as exc:
        raise UsageError(f"{path} does not hold the router's public prompts ({exc}); name their folder.") from exc


def _read(line: dict[str, Any]) -> Row:
    source = str(line["source"])
    target, right = line["target"], line.get("direct_right")
    if right is not None:
        target = 0.0 if right else 1.0  # what was measured, not its softened form: the score is a chance
    elif source in ("clinc", "crosswoz", "chatterbot"):
        target = EASY_TARGET
    elif source == "gsm8k":
        target = STEP_TARGETS[min(int(line["steps"]), len(STEP_TARGETS) - 1)]
    return Row(
        text=line["text"],
        language=line["lang"],
        source=source,
        group=str(line["group"]),
        target=0.5 if target is None else float(target),
        weight=WEIGHTS.get(source, 1.0),
        steps=line.get("steps"),
        grade=line.get("grade"),
        direct_right=right,
    )


def training_rows(public: Sequence[Row], seed: int, size: float = 1.0) -> list[Row]:
    """Public and made prompts, shuffled; ``size`` scales the number of made ones. Always the same for a seed."""
    rng = Random(seed)
    rows = [*public, *_wrapped(rng, public), *_plain(rng, public), *_made(rng, public, size)]
    rng.shuffle(rows)
    return rows


def _wrapped(rng: Random, public: Sequence[Row]) -> Iterator[Row]:
    for row in public:
        if rng.random() < WRAPPED_SHARE:
            yield replace(row, text=wrapped(rng, row.language, row.text))


def _plain(rng: Random, public: Sequence[Row]) -> Iterator[Row]:
    """Chinese competition problems without formula signs and options, as people type them; English has plain ones."""
    for row in public:
        if row.source == "tal" and row.language == "zh" and rng.random() < PLAIN_SHARE:
            text = re.sub(r"\$+|~|\\\w+\{[^}]*\}|\\\w+", "", _stem(row.text)).strip()
            yield replace(row, text=text, source="plain problem", steps=None)


def _made(rng: Random, public: Sequence[Row], size: float) -> Iterator[Row]:
    lines = {language: _lines(public, language) for language in LANGUAGES}
    hard = {
        language: [row for row in public if row.language == language and row.target > 0.4] for language in LANGUAGES
    }
    for kind, count in MADE.items():
        for place in range(int(count * size)):
            language = LANGUAGES[place % 2]
            yield from _make(rng, kind, language, lines[language], hard[language])


def _lines(public: Sequence[Row], language: str) -> list[str]:
    """What passages are made of: commands and small talk, and sentences of exam questions, so that no word tells a
    passage from a question."""
    own = [row for row in public if row.language == language]
    lines = [row.text for row in own if row.source in ("clinc", "crosswoz", "chatterbot")]
    stems = [_stem(row.text) for row in own if row.source == "mmlu"]
    sentences = [f"{part.strip().rstrip('.')}." for stem in stems for part in stem.split(". ")]
    return [*lines, *(sentence for sentence in sentences if 40 < len(sentence) < 300)] or ["..."]


def _make(rng: Random, kind: str, language: str, lines: Sequence[str], hard: Sequence[Row]) -> Iterable[Row]:
    if kind == "simple request about a passage":
        text = about_passage(rng, language, _passage(rng, language, lines, hard))
        return (Row(text, language, kind, "", ABOUT_TARGET),)
    if kind in ("everyday", "errand"):
        text = everyday(rng, language) if kind == "everyday" else errand(rng, language)
        return (Row(wrapped(rng, language, text) if rng.random() < 0.3 else text, language, kind, "", EASY_TARGET),)
    if kind == "school":
        text, target, grade = draw_school(rng, language)
        return (Row(text, language, kind, f"grade{grade}", target, grade=grade),)
    problem, target = _problem(rng, language, hard)
    if kind in DRAWERS:
        text, target = DRAWERS[kind](rng, language)
        return (Row(wrapped(rng, language, text) if rng.random() < 0.2 else text, language, kind, "", target),)
    if kind == "problem behind a passage":
        parts = [make_passage(rng, language, lines), problem]
        if rng.random() < 0.3:
            parts.reverse()
        return (Row("\n\n".join(parts), language, kind, "", target),)
    return (Row(_left_aside(rng, language, problem), language, kind, "", ASIDE_TARGET),)


def _passage(rng: Random, language: str, lines: Sequence[str], hard: Sequence[Row]) -> str:
    """What a simple request is about; now and then exam questions, which are to be translated, not solved."""
    if hard and rng.random() < 0.15:
        lines = [row.text for row in rng.sample(hard, min(len(hard), 8))]
    return make_passage(rng, language, lines)


def _stem(question: str) -> str:
    """What stands before the options of an exam question."""
    return question.partition("\nA. ")[0]


def _problem(rng: Random, language: str, hard: Sequence[Row]) -> tuple[str, float]:
    if hard and rng.random() < 0.5:
        row = rng.choice(hard)
        return row.text, row.target
    return draw_puzzle(rng, language)


def _left_aside(rng: Random, language: str, problem: str) -> str:
    """A problem that is not to be solved, in front of a simple request."""
    turn = {
        "en": ("Forget the above. ", "Ignore the puzzle. ", "Not that one, something else: ", "", "But first: "),
        "zh": ("忽略上面的题目。", "上面的不用管。", "先不说这个。", "", "换个问题："),
    }[language]
    return f"{problem}\n\n{rng.choice(turn)}{everyday(rng, language)}"
