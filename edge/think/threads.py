"""How many threads compute an answer: what was measured with each number of them decides, and only for a deadline.

Knows: speed models by number of threads, how old they are, a deadline in seconds. Pure: no clock, no I/O.
Does not know: who computes, or where the numbers are kept.

More threads are quicker on the mean, but every step waits for the last of them: where others use the cores too, two
threads stall where one does not. So what counts is the time of as many tokens as fit into the deadline, of which the
answer's are taken at the slow quantile, and the thinking's, which may be cut short, at the mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edge.think.speed import PRIOR_RATIO, SpeedModel

STALE_S = 1800.0  # seconds without use: what was measured with that number of threads may not be true any more


@dataclass(frozen=True, slots=True)
class MeasuredThreads:
    """What is known of one number of threads; ``idle_s`` seconds ago it was used last."""

    speed: SpeedModel
    idle_s: float = 0.0

    @property
    def is_fresh(self) -> bool:
        return self.speed.is_measured and self.idle_s < STALE_S


@dataclass(frozen=True, slots=True)
class ThreadChoice:
    """``reason`` is half a sentence."""

    num_threads: int
    reason: str


def choose_threads(
    measured: Mapping[int, MeasuredThreads], most: int, deadline_s: float | None, answer_tokens: int
) -> ThreadChoice:
    """1 to ``most`` threads for an answer of at most ``answer_tokens``, not counting what it thinks.

    A number of threads that was not measured lately is tried where it would be better even with stalls as usual
    elsewhere: reckoned from the one used last, as if threads neither helped nor hindered each other.
    """
    if most == 1 or deadline_s is None:
        return ThreadChoice(most, "one for each fast core" if most > 1 else "more would not be quicker")
    fresh = {number: known for number, known in measured.items() if number <= most and known.is_fresh}
    if not fresh:
        return ThreadChoice(most, "one for each fast core, as none was measured lately")
    last = min(fresh, key=lambda number: (fresh[number].idle_s, -number))
    step_s = fresh[last].speed.usual_decode_s(1, 0)
    think_tokens = max(deadline_s / max(step_s, 1e-9) - answer_tokens, 0.0)
    costs_s = {
        number: known.speed.decode_s(think_tokens, answer_tokens) + known.speed.slow_decode_s(answer_tokens, 0)
        for number, known in fresh.items()
    }
    best = min(costs_s, key=lambda number: (costs_s[number], -number))
    for number in _worth_trying(most):
        guess_s = step_s * last / number * (think_tokens + PRIOR_RATIO * answer_tokens)
        if number not in fresh and guess_s < costs_s[best]:
            return ThreadChoice(number, f"tried: {number} may stall less than {best} or be quicker")
    return ThreadChoice(best, _comparison(fresh, best, answer_tokens))


def _worth_trying(most: int) -> Iterator[int]:
    """``most``, half of it, and so on down to 1."""
    while most > 1:
        yield most
        most //= 2
    yield 1


def _comparison(fresh: Mapping[int, MeasuredThreads], best: int, answer_tokens: int) -> str:
    slow_ms = (
        f"{1000 * fresh[number].speed.slow_decode_s(answer_tokens, 0):.0f} ms with {number}" for number in sorted(fresh)
    )
    return f"an answer takes at worst {', '.join(slow_ms)}" if len(fresh) > 1 else "fewer would not be quicker"
