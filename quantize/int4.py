"""The one canonical 4-bit tensor that every reader fills and every writer re-lays.

Knows: codes, scales, zero points, and how to round floats to them. Does not know: byte layouts or files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import CheckpointError

SYMMETRIC_ZERO = 8  # the code that means 0.0 where no zero points are stored

ScaleChoice = Literal["largest", "search"]

# Scales tried, as shares of the one that maps the largest weight to code 0; below 1 the largest weights are clipped.
_SEARCHED_SHARES = (1.07, 1.0, 0.94, 0.87)
_CHUNK_WEIGHTS = 1 << 18  # a chunk that stays in the processor's cache while the shares are tried


@dataclass(frozen=True, slots=True)
class Int4Tensor:
    """Weights (N, K) of a linear layer as w = (code - zero) * scale, groups of ``group_size`` along K.

    ``codes``: (N, K) uint8, 0 to 15. ``scales``: (N, K / group_size) float16, may be negative.
    ``zeros``: (N, K / group_size) uint8, 0 to 15, or None for 8 everywhere (symmetric).
    Raises ValueError for arrays that do not fit together.
    """

    codes: NDArray[np.uint8]
    scales: NDArray[np.float16]
    zeros: NDArray[np.uint8] | None
    group_size: int

    def __post_init__(self) -> None:
        num_rows, num_columns = self.codes.shape
        if self.group_size < 1 or num_columns % self.group_size:
            raise ValueError(f"{num_columns} columns do not fall into groups of {self.group_size}")
        grouped = (num_rows, num_columns // self.group_size)
        if self.scales.shape != grouped or (self.zeros is not None and self.zeros.shape != grouped):
            raise ValueError(f"scales {self.scales.shape} or zeros do not have the shape {grouped} of the groups")
        if self.codes.dtype != np.uint8 or self.scales.dtype != np.float16:
            raise ValueError(f"codes must be uint8 and scales float16, not {self.codes.dtype} and {self.scales.dtype}")
        if self.codes.size and self.codes.max() > 15:
            raise ValueError(f"a code is {self.codes.max()}, above 15")

    def dequantize(self) -> NDArray[np.float32]:
        """The weights that the codes stand for, (N, K) float32, computed as every GGUF reader does."""
        grouped = self.codes.reshape(*self.scales.shape, self.group_size).astype(np.float32)
        zeros = np.float32(SYMMETRIC_ZERO) if self.zeros is None else self.zeros[:, :, None].astype(np.float32)
        return ((grouped - zeros) * self.scales[:, :, None].astype(np.float32)).reshape(self.codes.shape)


def quantize_symmetric(
    weights: NDArray[np.float32], group_size: int, scale_choice: ScaleChoice = "search"
) -> Int4Tensor:
    """Round (N, K) float32 weights to symmetric 4 bits, each row and group by itself.

    A scale is rounded to float16 before the codes are, so that the codes are the nearest ones for the scale that is
    stored. ``largest`` maps the weight of largest magnitude to code 0; ``search`` tries shares of that scale, with a
    least-squares step after each, and keeps the smallest squared error of the group.
    Raises ValueError when K is no multiple of ``group_size``, CheckpointError for weights beyond float16 scales.
    """
    num_rows, num_columns = weights.shape
    if num_columns % group_size:
        raise ValueError(f"{num_columns} columns do not fall into groups of {group_size}")
    groups = weights.reshape(-1, group_size)
    codes = np.empty(groups.shape, np.uint8)
    scales = np.empty((len(groups), 1), np.float16)
    shares = _SEARCHED_SHARES if scale_choice == "search" else ()
    step = max(1, _CHUNK_WEIGHTS // group_size)
    for first in range(0, len(groups), step):
        part = slice(first, first + step)
        codes[part], scales[part] = _round_groups(groups[part], shares)
    return Int4Tensor(codes.reshape(weights.shape), scales.reshape(num_rows, -1), None, group_size)


def _round_groups(
    groups: NDArray[np.float32], shares: tuple[float, ...]
) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Codes (G, group) and scales (G, 1); without ``shares`` the scale is the plain one."""
    plain = _largest_scales(groups)
    best_scales = _storable(plain)
    best_codes = _nearest(groups, best_scales)
    best_errors = _squared_errors(groups, best_codes, best_scales)
    for share in shares:
        first_codes = _nearest(groups, _storable(plain * np.float32(share)))
        scales = _storable(_least_squares_scales(groups, first_codes))
        codes = _nearest(groups, scales)
        errors = _squared_errors(groups, codes, scales)
        is_better = errors < best_errors
        best_errors = np.where(is_better, errors, best_errors)
        best_scales = np.where(is_better, scales, best_scales)
        best_codes = np.where(is_better, codes, best_codes)
    return (best_codes + SYMMETRIC_ZERO).astype(np.uint8), best_scales


def _largest_scales(groups: NDArray[np.float32]) -> NDArray[np.float32]:
    """The scale (G, 1) that maps the weight of largest magnitude to -8: the sign is free, so no code is wasted."""
    largest = np.take_along_axis(groups, np.abs(groups).argmax(axis=1, keepdims=True), axis=1)
    scales: NDArray[np.float32] = largest / np.float32(-8)
    if np.abs(scales).max(initial=0) > np.finfo(np.float16).max:
        raise CheckpointError(
            f"A weight is {np.abs(largest).max()}, too large for a float16 scale; the checkpoint is broken."
        )
    return scales


def _storable(scales: NDArray[np.float32]) -> NDArray[np.float16]:
    limit = np.finfo(np.float16).max
    return scales.clip(-limit, limit).astype(np.float16)


def _nearest(groups: NDArray[np.float32], scales: NDArray[np.float16]) -> NDArray[np.float32]:
    """Signed codes -8 to 7, as float32; 0 where the scale is 0."""
    wide = scales.astype(np.float32)
    inverse = np.divide(np.float32(1), wide, out=np.zeros_like(wide), where=wide != 0)
    return np.rint(groups * inverse).clip(-8, 7)


def _least_squares_scales(groups: NDArray[np.float32], codes: NDArray[np.float32]) -> NDArray[np.float32]:
    """The scale (G, 1) with the smallest squared error for fixed codes: <w, q> / <q, q>."""
    products = _row_products(groups, codes)
    norms = _row_products(codes, codes)
    return np.divide(products, norms, out=np.zeros_like(products), where=norms != 0)


def _squared_errors(
    groups: NDArray[np.float32], codes: NDArray[np.float32], scales: NDArray[np.float16]
) -> NDArray[np.float32]:
    """Squared error (G, 1) of each group."""
    difference = groups - codes * scales.astype(np.float32)
    return _row_products(difference, difference)


def _row_products(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """The inner product (G, 1) of each row of (G, K) with its counterpart."""
    products: NDArray[np.float32] = np.einsum("gk,gk->g", left, right)
    return products[:, None]
