"""The 4-bit grids that a group of weights may be rounded to: which are worth a try, and the nearest codes on one.

Knows: scales and zero points that can be stored, symmetric and asymmetric. Does not know: what an error costs.
Groups stand in columns here, (group, N): one weight of every row lies side by side, so that sweeping a group weight by
weight runs through memory in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import CheckpointError
from quantize.int4 import SYMMETRIC_ZERO

Floats = NDArray[np.float32]

LARGEST_CODE = 15
PLAIN_SHARES = (1.0,)  # the grid that just spans the group
# Below 1 the largest weights are clipped; above 1 a symmetric group's second side gets a finer fit.
CLIPPING_SHARES = (1.08, 1.0, 0.94, 0.88, 0.82, 0.76, 0.69, 0.62)


@dataclass(frozen=True, slots=True)
class Grids:
    """One grid for each of N groups, or C of them: w = (code - zero) * scale; scales are exact in float16."""

    scales: Floats  # (..., N)
    zeros: Floats  # the same shape, whole numbers 0 to 15

    def take(self, choice: NDArray[np.intp]) -> Grids:
        """Of (C, N) grids the one that ``choice`` (N,) names for each group."""
        columns = np.arange(len(choice))
        return Grids(self.scales[choice, columns], self.zeros[choice, columns])

    def nearest(self, weights: Floats) -> Floats:
        """The codes (..., N) of ``weights`` that broadcast against the grids; zero where the scale is 0."""
        codes = weights * self.inverse_scales()
        codes += self.zeros
        np.rint(codes, out=codes)
        return np.clip(codes, 0, LARGEST_CODE, out=codes)

    def values(self, codes: Floats) -> Floats:
        """The weights that ``codes`` stand for."""
        values: Floats = (codes - self.zeros) * self.scales
        return values

    def inverse_scales(self) -> Floats:
        """1 / scale, 0 where the scale is 0."""
        return np.divide(np.float32(1), self.scales, out=np.zeros_like(self.scales), where=self.scales != 0)


def candidate_grids(groups: Floats, shares: Sequence[float], asymmetric: bool) -> Grids:
    """Grids (C, N) for groups (group, N): for each of the C ``shares``, the spanning scale times that share.

    Symmetric grids put the weight of largest magnitude on code 0, whatever its sign. Raises CheckpointError for weights
    beyond float16 scales.
    """
    factors = np.asarray(shares, np.float32)[:, None]
    if asymmetric:
        low, high = np.minimum(groups.min(axis=0), 0), np.maximum(groups.max(axis=0), 0)
        spans = (high - low) * factors
        scales = storable_scales(spans / LARGEST_CODE)
        # a clipped span keeps its centre
        shifts = np.divide(low + (high - low) * (1 - factors) / 2, scales, out=np.zeros_like(scales), where=scales != 0)
        return Grids(scales, np.clip(np.rint(-shifts), 0, LARGEST_CODE))
    largest = np.take_along_axis(groups, np.abs(groups).argmax(axis=0)[None], axis=0)
    scales = storable_scales(largest / np.float32(-SYMMETRIC_ZERO) * factors)
    return Grids(scales, np.full_like(scales, SYMMETRIC_ZERO))


def storable_scales(scales: Floats) -> Floats:
    """Rounded to what float16 holds. Raises CheckpointError for scales beyond that."""
    largest = np.abs(scales).max(initial=0)
    if not largest <= np.finfo(np.float16).max:
        raise CheckpointError(f"A weight needs the scale {largest}, too large for float16; the checkpoint is broken.")
    return scales.astype(np.float16).astype(np.float32)
