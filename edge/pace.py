"""What was learned about one model on one device: its speed and the lengths of its texts, kept between runs.

Knows: which numbers belong to which machine, model, backend and thread count, and where they are kept.
Does not know: how they are learned (``think.speed``, ``think.lengths``) or used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edge.machine import machine_key
from edge.state import read_state, write_state
from edge.think.lengths import LengthModel, TextKind
from edge.think.speed import SpeedModel

if TYPE_CHECKING:
    from edge.chat_types import Answer
    from edge.loaded_model import LoadedModel
    from edge.think.controller import Cause

FILE = "pace.json"
VERSION = 1
MAX_KEPT = 32  # models and settings; the one that was not used for longest goes first


class Pace:
    """``speed`` and ``lengths`` of a model, both new where nothing is kept under ``key`` (None: never kept)."""

    def __init__(self, key: str | None = None) -> None:
        self.speed, self.lengths = SpeedModel(), LengthModel()
        self._key = key
        if key is None:
            return
        kept = _entries().get(key)
        try:
            if kept is not None:
                speed, lengths = SpeedModel.from_json(kept["speed"]), LengthModel.from_json(kept["lengths"])
                self.speed, self.lengths = speed, lengths
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            return  # damaged: learned anew

    def learn(self, answer: Answer, context: int, steps_s: Sequence[float], *, closed_by: Cause | None) -> None:
        """Take a finished answer, whose decode ``steps_s`` began at ``context`` tokens."""
        self.speed.learn_decode(context, steps_s)
        usage, reason = answer.usage, answer.finish_reason
        self.lengths.learn("judge", usage.judge_tokens)
        if closed_by != "loop" and (usage.answer_tokens or closed_by is not None):
            self.lengths.learn("thinking", usage.thinking_tokens, was_cut=closed_by is not None)
        if reason in ("stop", "length", "deadline"):
            kind: TextKind = "thought_answer" if usage.thinking_tokens else "direct_answer"
            self.lengths.learn(kind, usage.answer_tokens, was_cut=reason != "stop")

    def keep(self) -> str | None:
        """Write what was learned. Returns None, or a sentence for the user where that is not possible."""
        if self._key is None or not self.speed.is_measured:
            return None
        entries = _entries()
        entries.pop(self._key, None)
        entries[self._key] = {"speed": self.speed.to_json(), "lengths": self.lengths.to_json()}
        newest = dict(list(entries.items())[-MAX_KEPT:])
        return write_state(FILE, {"version": VERSION, "paces": newest})


def pace_key(model: LoadedModel) -> str:
    """Machine, model, backend, threads and dialect in one line."""
    try:
        size = model.path.stat().st_size
    except OSError:
        size = 0
    backend = model.backend
    return f"{machine_key()} {model.name} {size} {backend.name} {backend.num_threads} {model.dialect.name}"


def _entries() -> dict[str, Any]:
    state = read_state(FILE)
    entries = state.get("paces")
    return entries if state.get("version") == VERSION and isinstance(entries, dict) else {}
