"""Counts and differences with 95 % intervals.

Knows: the Wilson score interval (Wilson 1927), percentiles and paired mean differences. Does not know: what is counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NORMAL_95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Proportion:
    """``count`` of ``total``, with its 95 % Wilson interval."""

    count: int
    total: int

    @property
    def value(self) -> float:
        """The share; 0 of an empty group is 0."""
        return self.count / self.total if self.total else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end of the 95 % Wilson score interval."""
        if not self.total:
            return 0.0, 1.0
        share, total, square = self.value, self.total, NORMAL_95**2
        center = (share + square / (2 * total)) / (1 + square / total)
        half = NORMAL_95 * math.sqrt(share * (1 - share) / total + square / (4 * total**2)) / (1 + square / total)
        return max(0.0, center - half), min(1.0, center + half)

    def to_json(self) -> dict[str, float | int | list[float]]:
        """Share, counts and interval as plain numbers."""
        return {
            "value": round(self.value, 5),
            "count": self.count,
            "total": self.total,
            "interval_95": [round(end, 5) for end in self.interval],
        }

    def __str__(self) -> str:
        low, high = self.interval
        return f"{100 * self.value:.1f} % ({100 * low:.1f}-{100 * high:.1f})"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of ``values`` that at least ``share`` (above 0, up to 1) of them do not exceed (nearest rank)."""
    return sorted(values)[math.ceil(share * len(values) - 1e-9) - 1]


def paired_difference(first: Sequence[float], second: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """Mean of ``first - second`` over the same problems, with its 95 % normal interval."""
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    mean = float(difference.mean())
    half = NORMAL_95 * float(difference.std(ddof=1)) / math.sqrt(len(difference)) if len(difference) > 1 else math.inf
    return mean, (mean - half, mean + half)
