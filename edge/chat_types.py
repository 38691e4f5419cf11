"""The frozen values that cross borders: options and messages in, events and answers out.

Knows: names, units and limits of every field; validates options once. Does not know: how any of it is produced.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from models.dialect import Message, Role, Think
from models.errors import UsageError
from models.tool_calls import ToolCall, check_tools

__all__ = [
    "Answer",
    "AnswerOptions",
    "Decision",
    "DecisionSource",
    "DocumentState",
    "EventKind",
    "FinishReason",
    "Message",
    "Role",
    "StreamEvent",
    "Think",
    "Timings",
    "ToolCall",
    "Usage",
]

DecisionSource = Literal["asked", "router", "probe", "judge", "deadline"]
FinishReason = Literal["stop", "length", "deadline", "loop", "stopped", "context"]
EventKind = Literal["judge", "decision", "thinking", "answer", "tool_call", "done"]
DocumentState = Literal["whole", "completed", "cut"]


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether this answer thinks, why, and who said so. ``think`` is None while the model has not judged yet."""

    think: bool | None
    reason: str
    source: DecisionSource


_NUMBERS: dict[str, type] = {
    **dict.fromkeys(("max_tokens", "top_k", "seed", "think_tokens", "min_think_tokens"), numbers.Integral),
    **dict.fromkeys(("temperature", "top_p", "deadline_s"), numbers.Real),
}


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """What a caller may ask of one answer; the CLI flags are these fields. None means: the model's own default.

    Raises UsageError for a value outside its range.
    """

    think: Think = "auto"
    max_tokens: int | None = None  # generated tokens in all, thinking included; None: until the context is full
    temperature: float | None = None  # 0 is greedy
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None  # None: a fresh one for each answer
    deadline_s: float | None = None  # seconds from the request to the end of the answer; None: no deadline
    think_tokens: int | None = None  # at most so many thinking tokens; 0 is off
    think_share: float = 1.0  # at most this part of the thinking that deadline and context allow
    min_think_tokens: int | None = None  # thinking that ends earlier is made to go on
    schema: str | Mapping[str, Any] | None = None  # a JSON Schema that the answer follows; thinking is free
    grammar: str | None = None  # the same with a grammar in llguidance's Lark syntax
    tools: Sequence[Mapping[str, Any]] = ()  # OpenAI-style function definitions that the model may call

    def __post_init__(self) -> None:
        for name, kind in _NUMBERS.items():
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, kind)):
                what = "a whole number" if kind is numbers.Integral else "a number"
                raise UsageError(f"{name} is {value!r}; use {what}.")
        if self.think not in ("auto", "on", "off"):
            raise UsageError(f"think is {self.think!r}; use auto, on or off.")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise UsageError(f"max_tokens is {self.max_tokens}; use 1 or more.")
        if self.temperature is not None and not (0 <= self.temperature <= 10 and math.isfinite(self.temperature)):
            raise UsageError(f"temperature is {self.temperature}; use a number from 0 (greedy) to 10.")
        if self.top_k is not None and self.top_k < 0:
            raise UsageError(f"top_k is {self.top_k}; use 0 (no limit) or more.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UsageError(f"top_p is {self.top_p}; use a number above 0 and up to 1.")
        if self.seed is not None and self.seed < 0:
            raise UsageError(f"seed is {self.seed}; use 0 or more.")
        self._check_limits()
        self._check_shape()
        check_tools(self.tools)

    def _check_shape(self) -> None:
        shapes = [name for name in ("schema", "grammar") if getattr(self, name) is not None]
        if len(shapes) == 2:
            raise UsageError("There is a schema and a grammar; an answer has one shape, so leave one of them out.")
        if shapes and self.tools:
            raise UsageError(
                f"There is a {shapes[0]} and there are tools; a tool call has its own form, leave one out."
            )
        for name in shapes:
            if isinstance(text := getattr(self, name), str) and not text.strip():
                raise UsageError(f"The {name} is empty; write one, or leave it out.")

    def _check_limits(self) -> None:
        if self.deadline_s is not None and not (0 < self.deadline_s < math.inf):
            raise UsageError(f"deadline_s is {self.deadline_s}; use a number of seconds above 0.")
        if not 0 < self.think_share <= 1:
            raise UsageError(f"think_share is {self.think_share}; use a number above 0 and up to 1.")
        most, least = self.think_tokens, self.min_think_tokens
        if most is not None and most < 0:
            raise UsageError(f"think_tokens is {most}; use 0 (no thinking) or more.")
        if least is None:
            return
        if least < 1:
            raise UsageError(f"min_think_tokens is {least}; use 1 or more.")
        if self.think == "off":
            raise UsageError(f"min_think_tokens is {least} and think is off; leave one of them out.")
        if most is not None and least > most:
            raise UsageError(f"min_think_tokens is {least} and think_tokens {most}; the least is above the most.")
        if self.max_tokens is not None and least >= self.max_tokens:
            raise UsageError(f"min_think_tokens is {least} and max_tokens {self.max_tokens}; that leaves no answer.")

    @property
    def has_limits(self) -> bool:
        """Whether anything was asked for that the thinking has to be planned for."""
        wished = (self.deadline_s, self.think_tokens, self.min_think_tokens)
        return self.think_share < 1 or any(limit is not None for limit in wished)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer. A tag counts with the part it opens or closes; the stop token is not counted.

    ``prompt_tokens`` are all before the assistant's turn, ``cached_tokens`` those of the prefill that were already in
    the cache, ``forced_tokens`` those written into the assistant's mouth, to force a mode or to close the thinking; the
    other three were generated.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    judge_tokens: int = 0
    thinking_tokens: int = 0
    answer_tokens: int = 0
    forced_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds of one answer, by stage; a request counts from when its first event is asked for.

    ``start_s``: from the start of the process until it began to load, of a command with a deadline; it is no part of
    any other. ``queue_s``: from the request until the engine was free. ``ttft_s``: from the request to the first
    visible (thinking or answer) text. ``decode_s``: in which tokens were generated, a probe's that were kept included.
    """

    queue_s: float = 0.0
    load_s: float = 0.0
    ttft_s: float = 0.0
    prefill_s: float = 0.0
    thinking_s: float = 0.0
    close_s: float = 0.0
    answer_s: float = 0.0
    total_s: float = 0.0
    decode_s: float = 0.0
    decode_tokens_per_s: float = 0.0
    start_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished answer. ``raw`` is all generated text, tags and the words that closed the thinking included.

    ``document`` says what a schema or grammar came to: ``whole``, the model ended it; ``completed``, it was cut short
    and the shortest end there is was written behind it, so that it is valid; ``cut``, it is not valid. None: no shape.
    ``malformed_tool_calls`` is the number of calls that were not understood and stayed text.
    """

    answer: str
    thinking: str
    raw: str
    decision: Decision
    usage: Usage
    timings: Timings
    finish_reason: FinishReason
    model: str
    backend: str
    tool_calls: tuple[ToolCall, ...] = ()
    malformed_tool_calls: int = 0
    document: DocumentState | None = None

    @property
    def has_answer(self) -> bool:
        """Whether something was answered; thinking alone is no answer, and neither is a document that is not valid."""
        return (bool(self.answer.strip()) and self.document != "cut") or bool(self.tool_calls)

    def to_json(self) -> dict[str, Any]:
        """The object that ``--json`` prints; its keys are fixed."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One step of a running answer.

    ``judge``, ``thinking`` and ``answer`` carry new ``text``; ``decision`` comes once, as soon as the mode is known;
    ``tool_call`` carries a whole call, its ``text`` is the call's raw text; ``done`` comes last and carries the
    finished ``result``.
    """

    kind: EventKind
    text: str = ""
    decision: Decision | None = None
    tool_call: ToolCall | None = None
    result: Answer | None = field(default=None)
