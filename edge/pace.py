"""What was learned about one model on one device: its speed and the lengths of its texts, kept between runs.

Knows: which numbers belong to which machine, model, backend and thread count, how old they are, where they are kept.
Does not know: how they are learned (``think.speed``, ``think.lengths``) or used.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from edge.machine import machine_key
from edge.state import read_state, write_state
from edge.think.lengths import LengthModel, TextKind
from edge.think.speed import SpeedModel
from edge.think.threads import MeasuredThreads, ThreadChoice, choose_threads

if TYPE_CHECKING:
    from edge.chat_types import Answer
    from edge.loaded_model import LoadedModel
    from edge.think.controller import Cause

FILE = "pace.json"
VERSION = 4
MAX_KEPT = 32  # models and settings; the one that was not used for longest goes first
LEAST_IDLE_S = 5.0  # a shorter pause between requests is none


class Pace:
    """``lengths`` of a model's texts, and its ``speed`` with the number of threads in use.

    All is new where nothing is kept under ``key`` (None: never kept). ``wall_clock`` gives seconds that mean the same
    in the next run.
    """

    def __init__(
        self, key: str | None = None, num_threads: int = 1, *, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self.lengths = LengthModel()
        self._speeds: dict[int, SpeedModel] = {}
        self._used_at_s: dict[int, float] = {}  # of the wall clock
        self._key = key
        self._wall_clock = wall_clock
        if key is not None:
            self._recall(_entries().get(key))
        self._num_threads, self.speed = num_threads, self._speeds.setdefault(num_threads, SpeedModel())

    def use_threads(self, num_threads: int) -> None:
        """The next answer uses ``num_threads``, and ``speed`` is theirs; after a pause it expects the usual again."""
        if num_threads not in self._speeds:
            self._speeds[num_threads] = SpeedModel()
        self._num_threads, self.speed = num_threads, self._speeds[num_threads]
        now_s = self._wall_clock()
        if (idle_s := now_s - self._used_at_s.get(num_threads, now_s)) >= LEAST_IDLE_S:
            self.speed.relax(idle_s)
            self._used_at_s[num_threads] = now_s

    def choose_threads(self, most: int, deadline_s: float | None) -> ThreadChoice:
        """How many of ``most`` threads the next answer is to use, and why."""
        now_s = self._wall_clock()
        measured = {
            number: MeasuredThreads(speed, max(now_s - self._used_at_s.get(number, now_s), 0.0))
            for number, speed in self._speeds.items()
        }
        return choose_threads(measured, most, deadline_s, self.lengths.reserve("thought_answer"))

    def learn(
        self, answer: Answer, context: int, steps_s: Sequence[float], *, closed_by: Cause | None, opening_tokens: int
    ) -> None:
        """Take a finished answer, whose decode ``steps_s`` began at ``context`` tokens.

        ``opening_tokens`` of the answer were tags before its first word: a closing writes them at once.
        """
        self.speed.learn_decode(context, steps_s)
        self._used_at_s[self._num_threads] = self._wall_clock()
        usage, reason = answer.usage, answer.finish_reason
        self.lengths.learn("judge", usage.judge_tokens)
        if closed_by != "loop" and (usage.answer_tokens or closed_by is not None):
            self.lengths.learn("thinking", usage.thinking_tokens, was_cut=closed_by is not None)
        if reason in ("stop", "length", "deadline"):
            kind: TextKind = "thought_answer" if usage.thinking_tokens else "direct_answer"
            if closed_by is not None and usage.thinking_tokens:
                kind = "closed_answer"
            if answer.document is not None:
                kind = "shaped_answer"
            self.lengths.learn(kind, usage.answer_tokens - opening_tokens, was_cut=reason != "stop")

    def keep(self) -> str | None:
        """Write what was learned. Returns None, or a sentence for the user where that is not possible."""
        now_s = self._wall_clock()
        speeds = {
            str(number): {"speed": speed.to_json(), "used_at_s": self._used_at_s.get(number, now_s)}
            for number, speed in self._speeds.items()
            if speed.is_measured
        }
        if self._key is None or not speeds:
            return None
        entries = _entries()
        entries.pop(self._key, None)
        entries[self._key] = {"lengths": self.lengths.to_json(), "speeds": speeds}
        newest = dict(list(entries.items())[-MAX_KEPT:])
        return write_state(FILE, {"version": VERSION, "paces": newest})

    def _recall(self, kept: Any) -> None:
        """Take what ``keep`` wrote; what is damaged is learned anew."""
        if kept is None:
            return
        try:
            lengths = LengthModel.from_json(kept["lengths"])
            speeds = {int(number): SpeedModel.from_json(one["speed"]) for number, one in kept["speeds"].items()}
            used_at_s = {int(number): float(one["used_at_s"]) for number, one in kept["speeds"].items()}
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            return
        self.lengths, self._speeds, self._used_at_s = lengths, speeds, used_at_s


def pace_key(model: LoadedModel) -> str:
    """Machine, model, backend and dialect in one line."""
    try:
        size = model.path.stat().st_size
    except OSError:
        size = 0
    return f"{machine_key()} {model.name} {size} {model.backend.name} {model.dialect.name}"


def _entries() -> dict[str, Any]:
    state = read_state(FILE)
    entries = state.get("paces")
    return entries if state.get("version") == VERSION and isinstance(entries, dict) else {}
