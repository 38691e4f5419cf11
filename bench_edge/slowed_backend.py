"""A real backend that takes its time: every evaluation is followed by a real pause, so that a small model is slow.

Knows: the backend contract and a schedule of seconds. Does not know: deadlines; the code under measure runs unchanged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from bench_edge.wrapped_backend import WrappedBackend
from edge.backends.base import Backend, PrefillResult

PREFILL_SHARE = 0.1  # of a step: what each token of a prefill takes beyond the first
CHUNK = 16  # tokens of a prefill between two questions whether to stop


class SlowedBackend(WrappedBackend):
    """``inner`` at ``tokens_per_s``: a call that evaluates n tokens lasts 1 + 0.1 (n - 1) steps of that rate.

    The pauses keep to a schedule: what the model and the runtime themselves take between two calls is part of the step,
    so that the rate is the one that was chosen. ``clock`` gives seconds, ``pause`` waits for some.
    """

    def __init__(
        self,
        inner: Backend,
        tokens_per_s: float,
        *,
        clock: Callable[[], float] = time.perf_counter,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(inner)
        self._step_s = 1.0 / tokens_per_s
        self._clock, self._pause = clock, pause
        self._free_s = 0.0  # when the device is done with all it was given

    def prefill(
        self, sequence: int, tokens: Sequence[int], *, should_stop: Callable[[], bool] | None = None
    ) -> PrefillResult:
        self._begin()
        filled = self._inner.prefill(sequence, tokens, should_stop=should_stop)
        cached, num_done = filled.cached_tokens, 0
        while num_done < filled.evaluated_tokens:
            if should_stop is not None and should_stop():
                self._inner.cut(sequence, cached + num_done)
                return PrefillResult(cached, num_done, is_complete=False)
            count = min(CHUNK, filled.evaluated_tokens - num_done)
            self._last(PREFILL_SHARE * count + (0 if num_done else 1 - PREFILL_SHARE))
            num_done += count
        return filled

    def append(self, sequence: int, tokens: Sequence[int]) -> None:
        self._begin()
        self._inner.append(sequence, tokens)
        if tokens:
            self._last(1 + PREFILL_SHARE * (len(tokens) - 1))

    def _begin(self) -> None:
        now_s = self._clock()
        if now_s - self._free_s > self._step_s:  # it stood idle; less than a step is the runtime's share of one
            self._free_s = now_s

    def _last(self, steps: float) -> None:
        """Wait until the device would be done with ``steps`` more."""
        self._free_s += steps * self._step_s
        left_s = self._free_s - self._clock()
        if left_s > 0:
            self._pause(left_s)
