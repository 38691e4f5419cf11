"""Symmetric 8-bit tensors, for what is too sensitive for 4 bits: embeddings and heads.

Knows: codes, scales, and how to round floats to them. Does not know: byte layouts or files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import CheckpointError

GROUP_SIZE = 32


@dataclass(frozen=True, slots=True)
class Int8Tensor:
    """Weights (N, K) as w = code * scale: ``codes`` (N, K) int8, ``scales`` (N, K / 32) float16."""

    codes: NDArray[np.int8]
    scales: NDArray[np.float16]

    def dequantize(self) -> NDArray[np.float32]:
        """The weights that the codes stand for, (N, K) float32."""
        grouped = self.codes.reshape(*self.scales.shape, GROUP_SIZE).astype(np.float32)
        return (grouped * self.scales[:, :, None].astype(np.float32)).reshape(self.codes.shape)


def quantize_int8(weights: NDArray[np.float32]) -> Int8Tensor:
    """Round (N, K) float32 weights to 8 bits in groups of 32; each scale is rounded to float16 before the codes are.

    Raises ValueError when K is no multiple of 32, CheckpointError for weights beyond float16 scales.
    """
    num_rows, num_columns = weights.shape
    if num_columns % GROUP_SIZE:
        raise ValueError(f"{num_columns} columns do not fall into groups of {GROUP_SIZE}")
    groups = weights.reshape(num_rows, -1, GROUP_SIZE)
    largest = np.abs(groups).max(axis=2)
    if largest.max(initial=0) / 127 > np.finfo(np.float16).max:
        raise CheckpointError(f"A weight is {largest.max()}, too large for a float16 scale; the checkpoint is broken.")
    scales = (largest / np.float32(127)).astype(np.float16)
    wide = scales.astype(np.float32)
    inverse = np.divide(np.float32(1), wide, out=np.zeros_like(wide), where=wide != 0)
    codes = np.rint(groups * inverse[:, :, None]).clip(-127, 127).astype(np.int8)
    return Int8Tensor(codes.reshape(weights.shape), scales)
