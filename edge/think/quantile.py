"""Quantiles of a stream of positive numbers that forgets slowly, in a few dozen plain numbers.

Knows: a histogram with logarithmic bins and weights that halve with age. Pure: no clock, no I/O.
Does not know: what the numbers measure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

BIN_RATIO = 1.05  # a quantile is exact to 5 %, and never below the truth
SMALLEST = 1e-6
RESCALE_ABOVE = 1e9
_LOG_RATIO = math.log(BIN_RATIO)


class RecentQuantile:
    """``prior_value`` counts as ``prior_weight`` observations, older than all others.

    The weight of an observation halves with every ``half_life`` later ones.
    """

    def __init__(self, prior_value: float, prior_weight: float, half_life: float) -> None:
        self._bins: dict[int, float] = {_bin_of(prior_value): prior_weight}
        self._total = prior_weight
        self._weight = 1.0  # of the next observation: new ones grow instead of old ones shrinking
        self._growth = 2.0 ** (1.0 / half_life)
        self._found: dict[float, float] = {}  # quantiles asked for since the last change: a plan asks often

    def add(self, value: float) -> None:
        """Take one observation."""
        self.add_all((value,))

    def add_all(self, values: Iterable[float]) -> None:
        """Take observations, the oldest first."""
        bins, weight, growth = self._bins, self._weight, self._growth
        for value in values:
            place = _bin_of(value)
            bins[place] = bins.get(place, 0.0) + weight
            self._total += weight
            weight *= growth
        self._weight = weight
        self._found.clear()
        if weight > RESCALE_ABOVE:
            self._rescale()

    @property
    def num_recent(self) -> float:
        """Observations so far, old ones counting less; the prior counts as its weight."""
        return self._total / self._weight

    def quantile(self, share: float) -> float:
        """The upper edge of the bin below which at least ``share`` (0 to 1) of the weight lies."""
        if share not in self._found:
            self._found[share] = BIN_RATIO ** self._bin_at(share)
        return self._found[share]

    def share_within(self, value: float) -> float:
        """The share, 0 to 1, of the weight that lies in bins up to that of ``value``."""
        edge = _bin_of(value)
        return sum(weight for place, weight in self._bins.items() if place <= edge) / self._total

    def middle_above(self, value: float) -> float | None:
        """The median of what lies in bins above that of ``value``; None where that is less than one observation."""
        within = self.share_within(value)
        if (1.0 - within) * self.num_recent < 0.999:
            return None
        return self.quantile(within + 0.5 * (1.0 - within))

    def log_normal(self, share: float) -> tuple[float, float]:
        """Mean and standard deviation of the logarithms.

        What lies outside of the quantiles ``1 - share`` and ``share`` counts as if it lay there: no single one decides.
        """
        lowest, highest = self._bin_at(1.0 - share), self._bin_at(share)
        mean = squares = 0.0
        for place, weight in self._bins.items():
            place = min(max(place, lowest), highest)
            mean += weight * place
            squares += weight * place * place
        mean /= self._total
        return _LOG_RATIO * mean, _LOG_RATIO * math.sqrt(max(squares / self._total - mean * mean, 0.0))

    def fade_above(self, value: float, share: float) -> None:
        """Leave ``share`` (0 to 1) of the weight of all that was above ``value``; what was usual keeps its weight."""
        edge, kept = _bin_of(value), {}
        for place, weight in self._bins.items():
            left = weight if place <= edge else share * weight
            if left > 0.0:
                kept[place] = left
        self._found.clear()
        self._bins = kept or {edge: self._total}
        self._total = sum(self._bins.values())

    def to_json(self) -> list[list[float]]:
        """Pairs of bin and weight; the newest observation weighs 1."""
        self._rescale()
        return [[place, self._bins[place]] for place in sorted(self._bins)]

    def restore(self, value: Any) -> None:
        """Continue from what ``to_json`` gave. Raises ValueError for anything else."""
        pairs = [(int(place), float(weight)) for place, weight in value]
        if not pairs or not all(abs(place) < 1000 and 0 < weight < math.inf for place, weight in pairs):
            raise ValueError("not a histogram")
        self._found.clear()
        self._bins = dict(pairs)
        self._total = sum(self._bins.values())
        self._weight = 1.0

    def _bin_at(self, share: float) -> int:
        wanted, seen = share * self._total, 0.0
        places = sorted(self._bins)
        for place in places:
            seen += self._bins[place]
            if seen >= wanted:
                return place
        return places[-1]

    def _rescale(self) -> None:
        kept = {place: weight / self._weight for place, weight in self._bins.items()}
        self._bins = {place: weight for place, weight in kept.items() if weight > 1e-6} or kept
        self._total = sum(self._bins.values())
        self._weight = 1.0


def _bin_of(value: float) -> int:
    return math.ceil(math.log(max(value, SMALLEST)) / _LOG_RATIO - 1e-9)
