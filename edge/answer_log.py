"""What one answer has cost and said so far: tokens and seconds by stage, text by kind.

Knows: the stages of an answer and the clock it is handed. Does not know: how a token is made, or what a tag is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge.chat_types import Answer, Decision, DocumentState, FinishReason, Timings, ToolCall, Usage
from edge.think.controller import Stage
from models.tool_calls import read_tool_call


@dataclass(frozen=True, slots=True)
class Waited:
    """What a request went through before its answer began; ``asked_at_s`` is a reading of the answer's clock."""

    asked_at_s: float
    queue_s: float = 0.0
    load_s: float = 0.0


class AnswerLog:
    """Filled while an answer runs, read once at its end. ``clock`` gives seconds."""

    def __init__(self, clock: Callable[[], float], waited: Waited) -> None:
        self.tokens: dict[Stage, int] = {"judge": 0, "thinking": 0, "answer": 0}
        self.raw: list[str] = []
        self.tool_calls: list[ToolCall] = []
        self.opening_tokens = 0  # of the answer: tags that stand before its first word
        self._texts: dict[Stage, list[str]] = {"judge": [], "thinking": [], "answer": []}
        self._prompt_tokens = self._forced_tokens = self._cached_tokens = 0
        self._clock = clock
        self._waited = waited
        self._ttft_s = 0.0
        self._prefill_s = 0.0
        self._close_s = 0.0
        self._decode_start_s = 0.0
        self._steps_ahead_s = 0.0  # of tokens that were computed before decoding began
        self._num_free = 0  # tokens that took no step
        self._seconds: dict[Stage, float] = {"judge": 0.0, "thinking": 0.0, "answer": 0.0}
        self._stage: Stage | None = None
        self._stage_start_s = 0.0

    @property
    def num_generated(self) -> int:
        """Generated tokens so far, the stop token left out."""
        return sum(self.tokens.values())

    def text(self, stage: Stage) -> str:
        """What was shown of ``stage`` so far."""
        return "".join(self._texts[stage])

    def prefilled(self, started_s: float, prompt_tokens: int, forced_tokens: int, cached_tokens: int) -> None:
        """The prefill that began at ``started_s`` is over; decoding begins."""
        self._prompt_tokens, self._forced_tokens, self._cached_tokens = prompt_tokens, forced_tokens, cached_tokens
        self._decode_start_s = self._stage_start_s = self._clock()
        self._prefill_s = self._decode_start_s - started_s

    def drafted(self, num_tags: int, steps_s: float) -> None:
        """The answer begins with ``num_tags`` that took no step, and with tokens that took ``steps_s`` before now."""
        self._num_free, self._steps_ahead_s = num_tags, steps_s

    def enter(self, stage: Stage) -> None:
        """The next token belongs to ``stage``."""
        if stage != self._stage:
            self._leave()
            self._stage = stage

    def forced(self, num_tokens: int, started_s: float | None = None) -> None:
        """``num_tokens`` were written into the model's mouth while decoding; ``started_s``: to close, since then."""
        self._forced_tokens += num_tokens
        if started_s is None:
            return
        seconds = self._clock() - started_s
        self._close_s += seconds
        self._stage_start_s += seconds  # it is no stage's own

    def show(self, stage: Stage, text: str) -> None:
        """``text`` of ``stage`` is given out now."""
        if not self._ttft_s and stage != "judge":
            self._ttft_s = self._clock() - self._waited.asked_at_s
        if stage == "answer" and not self._texts[stage]:
            self.opening_tokens = max(self.tokens[stage] - 1, 0)
        self._texts[stage].append(text)

    def called(self, text: str) -> ToolCall | None:
        """The tool call that ``text`` is, kept for the result."""
        call = read_tool_call(text)
        if call is not None:
            self.tool_calls.append(call)
        return call

    def finish(
        self,
        decision: Decision,
        reason: FinishReason,
        model: str,
        backend: str,
        *,
        malformed_tool_calls: int = 0,
        document: DocumentState | None = None,
    ) -> Answer:
        """The finished answer."""
        end_s = self._clock()
        self._leave()
        decode_s = end_s - self._decode_start_s + self._steps_ahead_s if self._decode_start_s else 0.0
        return Answer(
            answer=self.text("answer"),
            thinking=self.text("thinking"),
            raw="".join(self.raw),
            decision=decision,
            usage=self._usage(),
            timings=self._timings(end_s - self._waited.asked_at_s, decode_s),
            finish_reason=reason,
            model=model,
            backend=backend,
            tool_calls=tuple(self.tool_calls),
            malformed_tool_calls=malformed_tool_calls,
            document=document,
        )

    def _leave(self) -> None:
        now_s = self._clock()
        if self._stage is not None:
            self._seconds[self._stage] += now_s - self._stage_start_s
        self._stage_start_s = now_s

    def _usage(self) -> Usage:
        return Usage(
            prompt_tokens=self._prompt_tokens,
            cached_tokens=self._cached_tokens,
            judge_tokens=self.tokens["judge"],
            thinking_tokens=self.tokens["thinking"],
            answer_tokens=self.tokens["answer"],
            forced_tokens=self._forced_tokens,
        )

    def _timings(self, total_s: float, decode_s: float) -> Timings:
        num_steps = max(self.num_generated - self._num_free, 0)
        return Timings(
            queue_s=self._waited.queue_s,
            load_s=self._waited.load_s,
            ttft_s=self._ttft_s,
            prefill_s=self._prefill_s,
            thinking_s=self._seconds["thinking"],
            close_s=self._close_s,
            answer_s=self._seconds["answer"],
            total_s=total_s,
            decode_s=decode_s,
            decode_tokens_per_s=num_steps / decode_s if decode_s > 0 else 0.0,
        )
