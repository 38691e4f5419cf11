"""How long this device takes: seconds for a prefill and for decode steps, learned from every request.

Knows: token counts, context lengths and measured seconds. Pure: no clock, no I/O.
Does not know: who measures, or where the numbers are kept.

A decode step costs ``base + slope * context``: the weights are read once, then the cache. A prefill of n tokens costs
one such step and n times its own ``base + slope * position``. How much slower than that it gets is learned as ratios
of what was measured to what was expected, for runs of 1, 8 and 64 steps: a stall that doubles the time of eight steps
is lost in sixty-four, a device that throttles is not.

What was slow is forgotten in three ways: with the steps that follow, with time in which nothing is measured, and at
once where several looks at the device in a row show it much faster than it was: a busy period is over then, and what it
taught about stalls with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from edge.think.quantile import RecentQuantile

RUN_LENGTHS = (1, 8, 64)
CHUNK = RUN_LENGTHS[1]  # steps that are learned from at once
SLOW = 0.99  # the slow quantile
LARGEST_JUMP = 3.0  # a stall moves the mean by no more than this many times what was expected
MEMORY = 0.98  # what each observation leaves of the weight of those before it
LEVEL_WEIGHT = 0.15  # of one run of 8 steps in the present level: a device that warms up is followed in 50 steps
POSITION_SPREAD = 128.0  # tokens; positions that differ by less say little about the slope
PREFILL_SHARE = 0.5  # of a step, a token of a prefill, while none was measured
PRIOR_RATIO, PRIOR_WEIGHT = 2.0, 0.2  # until a score of runs was seen: twice as slow
HALF_LIFE_STEPS, HALF_LIFE_PREFILLS = 1000.0, 100.0  # after so many a ratio counts half
HALF_LIFE_S = 120.0  # of what was slower than usual, while nothing is measured
LOOKS, SHIFT = 4, 4.0  # so many looks in a row, all so many times off the level: the device has changed for good
LEAST_LOOK = 4  # steps; fewer are no look


class CostFit:
    """Seconds a token against its position: a line through what was measured, the newest with the most weight."""

    def __init__(self) -> None:
        self.base = self.slope = 0.0
        self._sums = [0.0] * 5  # of weight, position, position squared, seconds, position times seconds

    @property
    def is_measured(self) -> bool:
        """Whether anything was learned yet."""
        return self._sums[0] > 0.0

    def at(self, position: float) -> float:
        """Seconds of one token at ``position``; 0 while nothing was measured."""
        return self.base + self.slope * position

    def learn(self, position: float, seconds: float) -> None:
        """Take ``seconds`` a token, measured at ``position``."""
        if self.is_measured:
            seconds = min(seconds, LARGEST_JUMP * self.at(position))
        new = (1.0, position, position * position, seconds, position * seconds)
        self._sums = [MEMORY * old + value for old, value in zip(self._sums, new, strict=True)]
        self._fit()

    def scale(self, factor: float) -> None:
        """Take everything so far to have been ``factor`` times as slow."""
        for place in (3, 4):
            self._sums[place] *= factor
        self.base, self.slope = factor * self.base, factor * self.slope

    def to_json(self) -> list[float]:
        """The five sums."""
        return list(self._sums)

    def restore(self, value: Any) -> None:
        """Continue from what ``to_json`` gave. Raises ValueError for anything else."""
        sums = [float(number) for number in value]
        if len(sums) != 5 or not all(0.0 <= number < math.inf for number in sums):
            raise ValueError("not five sums")
        self._sums = sums
        if self.is_measured:
            self._fit()

    def _fit(self) -> None:
        """Least squares, damped; the line neither falls with the position nor starts below zero."""
        weight, sum_x, sum_xx, sum_y, sum_xy = self._sums
        mean_x, mean_y = sum_x / weight, sum_y / weight
        variance = max(0.0, sum_xx / weight - mean_x * mean_x) + POSITION_SPREAD**2
        slope = (sum_xy / weight - mean_x * mean_y) / variance
        self.slope = min(max(slope, 0.0), mean_y / max(mean_x, 1.0))
        self.base = mean_y - self.slope * mean_x


class SpeedModel:
    """What a device takes for one model; everything in seconds and tokens."""

    def __init__(self) -> None:
        self._decode = CostFit()
        self._level = 1.0  # how many times slower than the fit steps are at present
        self._looks: list[float] = []  # the last few levels that were seen, the newest last
        self._prefill = CostFit()
        self._rest_steps, self._rest_s, self._rest_expected_s = 0, 0.0, 0.0  # of answers, too few for a run of 8
        self._run_chunks = 0  # of the long run under way, and its seconds
        self._run_level = self._run_s = self._run_expected_s = 0.0
        self._decode_ratios = {run: _prior_ratios(HALF_LIFE_STEPS / run) for run in RUN_LENGTHS}
        self._prefill_ratios = _prior_ratios(HALF_LIFE_PREFILLS)

    @property
    def is_measured(self) -> bool:
        """Whether a decode step was measured: before that, no other number here means anything."""
        return self._decode.is_measured

    def decode_s(self, num_tokens: float, context: float) -> float:
        """Mean seconds of ``num_tokens`` steps that begin at ``context`` tokens."""
        return num_tokens * self._level * self._decode.at(context + num_tokens / 2)

    def usual_decode_s(self, num_tokens: float, context: float) -> float:
        """The same without the stalls: at the median of single steps."""
        return self.decode_s(num_tokens, context) * self._decode_ratios[1].quantile(0.5)

    def slow_decode_s(self, num_tokens: float, context: float) -> float:
        """The mean, taken to the slow quantile of runs of that length."""
        return self.decode_s(num_tokens, context) * self._decode_ratio(num_tokens)

    def prefill_s(self, num_tokens: float, context: float) -> float:
        """Mean seconds to evaluate ``num_tokens`` at once behind ``context`` tokens."""
        if num_tokens <= 0:
            return 0.0
        step_s, position = self.decode_s(1, context), context + num_tokens / 2
        token_s = self._prefill.at(position) if self._prefill.is_measured else PREFILL_SHARE * step_s
        return step_s + num_tokens * token_s

    def slow_prefill_s(self, num_tokens: float, context: float) -> float:
        """The same at the slow quantile."""
        return self.prefill_s(num_tokens, context) * max(1.0, self._prefill_ratios.quantile(SLOW))

    def learn_decode(self, context: int, steps_s: Sequence[float]) -> None:
        """Take the seconds of consecutive steps, the first of them at ``context`` tokens."""
        if not steps_s:
            return
        if not self.is_measured:  # something to compare with
            self._decode.learn(context, sum(steps_s) / len(steps_s))
        for start in range(0, len(steps_s), CHUNK):
            chunk_s = steps_s[start : start + CHUNK]
            self._compare(context + start, chunk_s)
            self._fit_decode(context + start, chunk_s)

    def learn_prefill(self, num_tokens: int, context: int, seconds: float) -> None:
        """Take the seconds of a prefill of ``num_tokens`` that were not cached, behind ``context`` that were."""
        if num_tokens < 2 or seconds <= 0.0 or not self.is_measured:  # one token is a step
            return
        if self._prefill.is_measured:
            ratio = seconds / max(self.prefill_s(num_tokens, context), 1e-9)
            self._prefill_ratios.add(ratio)
            if num_tokens >= CHUNK:
                self._look(ratio * self._level)
        tokens_s = max(seconds - self.decode_s(1, context), 0.1 * seconds)
        self._prefill.learn(context + num_tokens / 2, tokens_s / num_tokens)

    def relax(self, idle_s: float) -> None:
        """Nothing was measured for ``idle_s`` seconds: the level nears the mean, rare slowness is half forgotten."""
        kept = 2.0 ** (-max(idle_s, 0.0) / HALF_LIFE_S)
        self._level = self._level**kept
        self._forget_slowness(kept)

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain numbers."""
        return {
            "decode": self._decode.to_json(),
            "level": self._level,
            "looks": list(self._looks),
            "prefill": self._prefill.to_json(),
            "decode_ratios": {str(run): ratios.to_json() for run, ratios in self._decode_ratios.items()},
            "prefill_ratios": self._prefill_ratios.to_json(),
        }

    @staticmethod
    def from_json(value: Any) -> SpeedModel:
        """What ``to_json`` gave. Raises ValueError, KeyError or TypeError for anything else."""
        speed = SpeedModel()
        speed._decode.restore(value["decode"])
        speed._prefill.restore(value["prefill"])
        speed._level = float(value["level"])
        if not 0.0 < speed._level < math.inf:
            raise ValueError("not a level")
        speed._looks = [float(look) for look in value["looks"]][-LOOKS:]
        for run, ratios in speed._decode_ratios.items():
            ratios.restore(value["decode_ratios"][str(run)])
        speed._prefill_ratios.restore(value["prefill_ratios"])
        return speed

    def _compare(self, context: int, chunk_s: Sequence[float]) -> None:
        """Set what was measured against what was expected when each run began; a run may span requests."""
        step_ratios, chunk_ratios, run_ratios = (self._decode_ratios[run] for run in RUN_LENGTHS)
        expected_s = max(self.decode_s(len(chunk_s), context), 1e-9)
        step_ratios.add_all([seconds * len(chunk_s) / expected_s for seconds in chunk_s])
        seconds = sum(chunk_s)
        if len(chunk_s) < CHUNK:  # answers of a few tokens make a run together
            self._rest_steps += len(chunk_s)
            self._rest_s += seconds
            self._rest_expected_s += expected_s
            if self._rest_steps < CHUNK:
                return
            seconds, expected_s = self._rest_s, self._rest_expected_s
            self._rest_steps, self._rest_s, self._rest_expected_s = 0, 0.0, 0.0
        chunk_ratios.add(seconds / expected_s)
        if not self._run_chunks:
            self._run_level, self._run_s, self._run_expected_s = self._level, 0.0, 0.0
        self._run_chunks += 1
        self._run_s += seconds
        self._run_expected_s += expected_s * self._run_level / self._level
        if self._run_chunks * CHUNK == RUN_LENGTHS[-1]:
            run_ratios.add(self._run_s / self._run_expected_s)
            self._run_chunks = 0

    def _fit_decode(self, context: int, steps_s: Sequence[float]) -> None:
        position, step_s = context + len(steps_s) / 2, sum(steps_s) / len(steps_s)
        level = step_s / max(self._decode.at(position), 1e-9)
        self._level += LEVEL_WEIGHT * (min(level, LARGEST_JUMP * self._level) - self._level)
        self._decode.learn(position, step_s)
        if len(steps_s) >= LEAST_LOOK:
            self._look(level)

    def _look(self, level: float) -> None:
        """See whether the last looks agree that the device is at another level altogether; if so, be there at once."""
        self._looks = [*self._looks[1 - LOOKS :], level]
        if len(self._looks) < LOOKS:
            return
        slowest, fastest = max(self._looks), min(self._looks)
        if slowest * SHIFT < self._level:
            self._shift(slowest)
            self._forget_slowness(0.0)
        elif fastest > SHIFT * self._level:
            self._shift(fastest)

    def _shift(self, level: float) -> None:
        self._prefill.scale(level / self._level)
        self._level, self._looks, self._run_chunks = level, [], 0
        self._rest_steps, self._rest_s, self._rest_expected_s = 0, 0.0, 0.0

    def _forget_slowness(self, kept: float) -> None:
        for ratios in (*self._decode_ratios.values(), self._prefill_ratios):
            ratios.fade_above(PRIOR_RATIO, kept)

    def _decode_ratio(self, num_tokens: float) -> float:
        """The slow quantile for runs of ``num_tokens``, between the two lengths that are measured; at least 1."""
        place = min(max(math.log(max(num_tokens, 1.0), 8.0), 0.0), 2.0)
        left = min(int(place), 1)
        low, high = (self._decode_ratios[run].quantile(SLOW) for run in RUN_LENGTHS[left : left + 2])
        return max(1.0, low + (place - left) * (high - low))


def _prior_ratios(half_life: float) -> RecentQuantile:
    return RecentQuantile(PRIOR_RATIO, PRIOR_WEIGHT, half_life)
