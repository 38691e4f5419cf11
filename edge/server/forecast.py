"""How long an answer will take: what was learned of the device, as plain numbers that any thread may read.

Knows: seconds a token, lengths of answers, what a request costs beside its tokens. Pure values; a new one is made after
each answer. Does not know: queues, or how the numbers are learned (``edge.pace``, ``Overhead``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.server.queue import Need

if TYPE_CHECKING:
    from edge.chat_types import Answer
    from edge.pace import Pace

FAR = 4096  # tokens; a step's cost is a line through its costs at 0 and here
LEARNING = 0.1  # of one answer in a mean
LARGEST_JUMP = 4.0  # one answer moves a mean by no more than this many times what it was
MARGIN = 1.25  # what is foretold of many answers may be off by so much, and the last of them must not pay for it
CLOSE_TOKENS = 16  # a closing line and its tags
LONG_RUN = 64  # tokens; a stall is spread over so many


class Means:
    """Running means of what the learned quantiles do not tell: tokens of an answer, seconds beside the tokens."""

    def __init__(self) -> None:
        self.answer_tokens: float | None = None
        self.overhead_s = 0.0

    def learn(self, answer: Answer, busy_s: float, forecast: Forecast) -> None:
        """Take an answer that kept the device busy for ``busy_s`` in all; ``forecast`` is the one it began with.

        Only whole answers without thinking, for that is what is foretold.
        """
        usage = answer.usage
        if usage.thinking_tokens or not usage.answer_tokens or answer.finish_reason not in ("stop", "length"):
            return
        known = self.answer_tokens or float(usage.answer_tokens)
        self.answer_tokens = known + LEARNING * (min(usage.answer_tokens, LARGEST_JUMP * known) - known)
        num_tokens = usage.judge_tokens + usage.answer_tokens
        foretold_s = forecast.tokens_s(usage.prompt_tokens, usage.cached_tokens, num_tokens)
        beside_s = max(min(busy_s, LARGEST_JUMP * (foretold_s + self.overhead_s)) - foretold_s, 0.0)
        self.overhead_s += LEARNING * (beside_s - self.overhead_s)


@dataclass(frozen=True, slots=True)
class Forecast:
    """Seconds and tokens; all 0 while the device was never measured, so that everything is taken to be in time."""

    step_s: float = 0.0  # one decode step with an empty context
    slope_s: float = 0.0  # more for each token of context
    slowness: float = 1.0  # the slow quantile over the mean, of a run of steps
    prefill_s: float = 0.0  # one token of a prompt
    prefill_slowness: float = 1.0
    overhead_s: float = 0.0  # a request beside its tokens
    answer_tokens: float = 0.0  # of an answer without thinking: mean, and what nearly every one fits in
    most_answer_tokens: float = 0.0
    close_tokens: float = 0.0  # of closing a thought; the answer after it
    thought_answer_tokens: float = 0.0

    @staticmethod
    def of(pace: Pace, means: Means) -> Forecast:
        """What ``pace`` has learned; to be called by the thread that it learns in."""
        speed, lengths = pace.speed, pace.lengths
        if not speed.is_measured:
            return Forecast()
        step_s = speed.decode_s(1, 0)
        slope_s = max((speed.decode_s(1, FAR) - step_s) / FAR, 0.0)
        run_s, prompt_s = speed.decode_s(LONG_RUN, 0), speed.prefill_s(LONG_RUN, 0)
        return Forecast(
            step_s=step_s,
            slope_s=slope_s,
            slowness=speed.slow_decode_s(LONG_RUN, 0) / max(run_s, 1e-9),
            prefill_s=max(prompt_s - step_s, 0.0) / LONG_RUN,
            prefill_slowness=speed.slow_prefill_s(LONG_RUN, 0) / max(prompt_s, 1e-9),
            overhead_s=means.overhead_s,
            answer_tokens=means.answer_tokens or float(lengths.typical("direct_answer")),
            most_answer_tokens=float(lengths.reserve("direct_answer")),
            close_tokens=float(CLOSE_TOKENS),
            # until one was seen, the direct ones stand for them in the reserve
            thought_answer_tokens=float(min(lengths.typical("thought_answer"), lengths.reserve("thought_answer"))),
        )

    def need(self, prompt_tokens: int, cached_tokens: int, max_tokens: int | None) -> Need:
        """Of an answer without thinking to a prompt, the first ``cached_tokens`` of which need not be evaluated."""
        num_tokens = self.answer_tokens if max_tokens is None else min(self.answer_tokens, max_tokens)
        mean_s = self.overhead_s + self.tokens_s(prompt_tokens, cached_tokens, num_tokens)
        slowness = max(self.slowness, self.prefill_slowness)
        return Need(MARGIN * mean_s, max(MARGIN, slowness) * mean_s)

    def tokens_s(self, prompt_tokens: int, cached_tokens: int, num_tokens: float) -> float:
        """Mean seconds of the tokens of a prompt and an answer alone."""
        prompt_s = self.prefill_s * max(prompt_tokens - cached_tokens, 0)
        return prompt_s + self.decode_s(num_tokens + 1, prompt_tokens)

    def decode_s(self, num_tokens: float, context: float) -> float:
        """Mean seconds of ``num_tokens`` steps that begin at ``context`` tokens."""
        return num_tokens * (self.step_s + self.slope_s * (context + num_tokens / 2))

    def closing_s(self, context: float) -> float:
        """What is left of an answer whose thinking is closed now."""
        return self.prefill_s * self.close_tokens + self.slowness * self.decode_s(self.thought_answer_tokens, context)

    def answering_s(self, said_tokens: float, context: float) -> float:
        """What may be left of an answer that has ``said_tokens`` by now."""
        left = max(self.most_answer_tokens - said_tokens, 1.0)
        return self.decode_s(left, context)

    def thinking_tokens(self, seconds: float, context: float) -> int:
        """Thinking tokens that fit into ``seconds``, closing and answer included; negative where none do."""
        step_s = max(self.decode_s(1, context), 1e-9)
        return int((seconds - self.closing_s(context)) / (self.slowness * step_s))
