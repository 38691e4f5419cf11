"""What this model gets right with and without thinking, on the user's own prompts and device: the measuring half.

Knows: prompts with or without reference answers, when an answer is right, and rows kept so that a run can be resumed.
Does not know: what is learned from the outcomes (``calibrate_fit``), or how an answer is made.

This is the hybrid data pipeline of HiPO (arXiv 2509.23967): N answers with thinking and N without, checked against the
reference, or against what most answers say where there is none; the mode with the higher pass rate wins, ties go to
off.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edge.chat_types import Answer, AnswerOptions, Message
from edge.prompt_file import PromptLine
from edge.think.refit import FORMAT_VERSION
from models.errors import PromptError, UsageError

if TYPE_CHECKING:
    from edge.engine import Engine

FOR_A_MAJORITY = 3  # answers
WARM = 0.7  # the temperature of further answers of a model that answers greedily: they would all be the first
MODES: tuple[Literal["off", "on"], ...] = ("off", "on")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class CalibrationPrompt:
    """``reference`` is a right answer, None where there is none."""

    messages: tuple[Message, ...]
    reference: str | None

    @staticmethod
    def of(text: str, reference: str | None = None) -> CalibrationPrompt:
        """One message of the user."""
        return CalibrationPrompt((Message("user", text),), reference)

    @property
    def identity(self) -> str:
        """Tells it from every other prompt in the kept rows."""
        texts = [part for message in self.messages for part in (message.role, message.content)]
        return hashlib.sha256("\0".join([*texts, self.reference or ""]).encode("utf-8", "replace")).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One prompt: shares of right answers, mean generated tokens and seconds by mode, and the model's signals
    (``think.probe``) after one token of a direct answer, after two, …; empty where they could not be read."""

    identity: str
    off_rate: float
    on_rate: float
    off_tokens: float
    on_tokens: float
    off_s: float
    on_s: float
    signals: tuple[tuple[float, ...], ...]


def read_prompts(path: Path) -> list[CalibrationPrompt]:
    """The prompts of a JSON-lines file (also gzipped): as for ``edge chat --jsonl``, objects may have a ``reference``.

    Raises UsageError for a file that cannot be read or has a line that is no prompt.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as exc:
        raise UsageError(f"The prompts in {path} cannot be read ({exc}); name a file of JSON lines.") from exc
    lines = [(number, line) for number, line in enumerate(data.split(b"\n"), 1) if line.strip()]
    return [_read_prompt(path, number, line) for number, line in lines]


def _read_prompt(path: Path, number: int, line: bytes) -> CalibrationPrompt:
    reference = None
    with suppress(ValueError):  # what is no JSON is refused below, with the number of its line
        value = json.loads(line)
        if isinstance(value, dict) and "reference" in value:
            reference = str(value.pop("reference"))
            line = json.dumps(value).encode()
    try:
        return CalibrationPrompt(PromptLine(number, line).messages(), reference)
    except PromptError as exc:
        raise UsageError(f"{path}: {exc}") from exc


def is_right(answer: str, reference: str) -> bool:
    """Whether ``answer`` says what ``reference`` says: its numbers come last, or its words are there and alone.

    Units, case, signs and white space do not matter.
    """
    wanted = [float(number) for number in _NUMBER.findall(_plain(reference))]
    if wanted:
        found = [float(number) for number in _NUMBER.findall(_plain(answer))]
        return found[-len(wanted) :] == wanted
    return _letters(answer) == _letters(reference)


def _plain(text: str) -> str:
    return re.sub(r"(?<=\d),(?=\d{3}\b)", "", unicodedata.normalize("NFKC", text))


def _letters(text: str) -> str:
    return "".join(character for character in unicodedata.normalize("NFKC", text).casefold() if character.isalnum())


def pass_rates(answers: dict[str, Sequence[str]], reference: str | None) -> dict[str, float]:
    """By mode the share of right answers; without a reference right is what most of the thought answers say."""
    if reference is not None:
        return {mode: _share(is_right(text, reference) for text in texts) for mode, texts in answers.items()}
    voices = Counter(key for text in answers["on"] if (key := _voice(text)))
    if not voices:
        return dict.fromkeys(answers, 0.0)
    most = voices.most_common(1)[0][0]
    return {mode: _share(_voice(text) == most for text in texts) for mode, texts in answers.items()}


def _share(rights: Iterator[bool]) -> float:
    found = list(rights)
    return sum(found) / max(len(found), 1)


def _voice(text: str) -> str:
    """What an answer comes down to: its last number, else its letters."""
    numbers = _NUMBER.findall(_plain(text))
    return numbers[-1] if numbers else _letters(text)


class Measurement:
    """Answers every prompt of a set, and keeps every outcome in ``rows_path`` so that it can be resumed.

    ``num_answers`` a mode, the first of them greedy, the others as the model is sampled, or at WARM where it answers
    greedily. None: as many as it takes to say something: one of a greedy model with a reference, which will answer just
    so, and more where most of the thought answers have to stand in for a reference. ``max_tokens`` of each, None: no
    limit but the context.
    """

    def __init__(self, engine: Engine, rows_path: Path, num_answers: int | None, max_tokens: int | None) -> None:
        self._engine = engine
        self._rows_path = rows_path
        self._is_greedy = engine.model.sampling.temperature <= 0
        self._num_answers = num_answers
        self._kind = {"answers": num_answers, "format_version": FORMAT_VERSION}  # of the rows
        self._max_tokens = max_tokens

    def run(self, prompts: Sequence[CalibrationPrompt], told: Callable[[int, int], None]) -> list[Outcome]:
        """The outcomes, in the order of ``prompts``; ``told`` hears how many of how many new ones are done."""
        kept = {outcome.identity: outcome for outcome in self._read()}
        todo = [prompt for prompt in prompts if prompt.identity not in kept]
        self._rows_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._rows_path.open("a", encoding="utf-8") as rows:
            for place, prompt in enumerate(todo):
                told(place, len(todo))
                outcome = self._measure(prompt)
                kept[outcome.identity] = outcome
                rows.write(json.dumps({**self._kind, **asdict(outcome)}) + "\n")
                rows.flush()
        told(len(todo), len(todo))
        return [kept[prompt.identity] for prompt in prompts]

    def _read(self) -> Iterator[Outcome]:
        """The rows of an interrupted run, of the same kind; a line that was cut off is skipped."""
        lines = self._rows_path.read_text("utf-8").splitlines() if self._rows_path.is_file() else []
        for line in lines:
            with suppress(ValueError, TypeError, KeyError):
                row: dict[str, Any] = json.loads(line)
                if {name: row.pop(name) for name in self._kind} == self._kind:
                    yield Outcome(**{**row, "signals": tuple(map(tuple, row["signals"]))})

    def _measure(self, prompt: CalibrationPrompt) -> Outcome:
        signals = self._engine.look_ahead(prompt.messages)
        seeds = range(self._num_answers or self._enough_answers(prompt))
        answers = {mode: [self._answer(prompt, mode, seed) for seed in seeds] for mode in MODES}
        rates = pass_rates({mode: [one.answer for one in found] for mode, found in answers.items()}, prompt.reference)
        tokens = {mode: _mean([_generated(one) for one in found]) for mode, found in answers.items()}
        seconds = {mode: _mean([one.timings.total_s for one in found]) for mode, found in answers.items()}
        return Outcome(
            prompt.identity,
            off_rate=rates["off"],
            on_rate=rates["on"],
            off_tokens=tokens["off"],
            on_tokens=tokens["on"],
            off_s=seconds["off"],
            on_s=seconds["on"],
            signals=() if signals is None else signals.looks(),
        )

    def _enough_answers(self, prompt: CalibrationPrompt) -> int:
        if prompt.reference is None:
            return FOR_A_MAJORITY
        return 1 if self._is_greedy else 2

    def _answer(self, prompt: CalibrationPrompt, mode: Literal["off", "on"], seed: int) -> Answer:
        temperature = 0.0 if seed == 0 else WARM if self._is_greedy else None
        options = AnswerOptions(think=mode, temperature=temperature, seed=seed, max_tokens=self._max_tokens)
        return self._engine.answer(prompt.messages, options)


def _generated(answer: Answer) -> float:
    return float(answer.usage.thinking_tokens + answer.usage.answer_tokens)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(len(values), 1)
