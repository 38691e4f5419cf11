"""How well a score orders things, and how honest it is as a probability; each figure with a bootstrap interval.

Knows: ranks, the area under the ROC curve, Spearman's correlation, the expected calibration error.
Does not know: what is scored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NUM_BINS = 10
NUM_DRAWS = 400


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of ``count`` things with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float
    count: int

    def to_json(self) -> dict[str, float | int | list[float]]:
        """Value, interval and count as plain numbers."""
        interval = [round(self.low, 4), round(self.high, 4)]
        return {"value": round(self.value, 4), "interval_95": interval, "count": self.count}


def ranks(values: NDArray[np.generic]) -> Floats:
    """From 1 up; equal values share the mean of their places."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    middle: Floats = last - (counts - 1) / 2.0
    return middle[inverse]


def auc(scores: Floats, labels: Floats) -> float:
    """The chance that something labelled 1 scores above something labelled 0; 0.5 where one of them is missing."""
    positive = labels > 0.5
    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    if not num_positive or not num_negative:
        return 0.5
    above = ranks(scores)[positive].sum() - num_positive * (num_positive + 1) / 2
    return float(above / (num_positive * num_negative))


def spearman(scores: Floats, values: Floats) -> float:
    """The correlation of the ranks; 0 where one side is constant."""
    first, second = ranks(scores), ranks(values)
    if first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def calibration_error(chances: Floats, outcomes: Floats) -> float:
    """The expected calibration error (arXiv 1706.04599): mean gap of chance and frequency over ten equal bins."""
    places = np.minimum((chances * NUM_BINS).astype(int), NUM_BINS - 1)
    gaps = np.bincount(places, chances - outcomes, NUM_BINS)
    return float(np.abs(gaps).sum() / max(len(chances), 1))


def bootstrap(figure: Callable[[Floats, Floats], float], first: Floats, second: Floats, seed: int = 0) -> Figure:
    """``figure`` of the pairs, and its percentile interval over resampled pairs (Efron 1979)."""
    rng, size = np.random.default_rng(seed), len(first)
    draws = [rng.integers(0, size, size) for _ in range(NUM_DRAWS)] if size else []
    values = [figure(first[draw], second[draw]) for draw in draws] or [0.0]
    low, high = np.quantile(values, [0.025, 0.975])
    return Figure(figure(first, second), float(low), float(high), size)
