"""The byte layouts of GGUF blocks of 32 weights: Q4_0, Q4_1, Q8_0.

Knows: where each nibble and each scale lies. Does not know: how codes were found; nothing here rounds a weight.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.errors import CheckpointError
from models.spec import BLOCK_WIDTH
from quantize.int4 import Int4Tensor
from quantize.int8 import Int8Tensor

Q4_0_BYTES, Q4_1_BYTES, Q8_0_BYTES = 18, 20, 34  # of one block


def pack_nibbles(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Codes (..., 32) to bytes (..., 16): byte j holds element j in its low and element j + 16 in its high nibble."""
    half = BLOCK_WIDTH // 2
    return codes[..., :half] | (codes[..., half:] << np.uint8(4))


def to_q4_0(tensor: Int4Tensor) -> NDArray[np.uint8]:
    """Rows (N, K / 32 * 18) uint8. Exact: a wider group repeats its scale. Raises ValueError for zero points."""
    if tensor.zeros is not None:
        raise ValueError("Q4_0 has no zero points; this tensor goes into Q4_1")
    return _rows(_per_block(tensor.scales, tensor), pack_nibbles(_blocks(tensor)))


def to_q4_1(tensor: Int4Tensor) -> NDArray[np.uint8]:
    """Rows (N, K / 32 * 20) uint8: codes unchanged; only the minimum -zero * scale is rounded to float16."""
    if tensor.zeros is None:
        raise ValueError("a symmetric tensor goes into Q4_0, which is smaller and exact")
    minima = _minima(tensor.zeros, tensor.scales)
    return _rows(_per_block(tensor.scales, tensor), _per_block(minima, tensor), pack_nibbles(_blocks(tensor)))


def _minima(zeros: NDArray[np.uint8], scales: NDArray[np.float16]) -> NDArray[np.float16]:
    minima = -zeros.astype(np.float32) * scales.astype(np.float32)
    if np.abs(minima).max(initial=0) > np.finfo(np.float16).max:
        raise CheckpointError(f"A zero point stands for {np.abs(minima).max()}, too large for a float16 minimum.")
    return minima.astype(np.float16)


def stored_values(tensor: Int4Tensor) -> NDArray[np.float32]:
    """The weights (N, K) float32 that a reader of the written blocks gets: those of Q4_1 have a rounded minimum."""
    if tensor.zeros is None:
        return tensor.dequantize()
    codes = tensor.codes.reshape(*tensor.scales.shape, tensor.group_size).astype(np.float32)
    minima = _minima(tensor.zeros, tensor.scales).astype(np.float32)
    values: NDArray[np.float32] = codes * tensor.scales[:, :, None].astype(np.float32) + minima[:, :, None]
    return values.reshape(tensor.codes.shape)


def to_q8_0(tensor: Int8Tensor) -> NDArray[np.uint8]:
    """Rows (N, K / 32 * 34) uint8. Exact."""
    codes = tensor.codes.view(np.uint8).reshape(*tensor.scales.shape, BLOCK_WIDTH)
    return _rows(_float16_bytes(tensor.scales), codes)


def _blocks(tensor: Int4Tensor) -> NDArray[np.uint8]:
    if tensor.group_size % BLOCK_WIDTH:
        raise ValueError(f"groups of {tensor.group_size} do not fill blocks of {BLOCK_WIDTH}")
    return tensor.codes.reshape(tensor.codes.shape[0], -1, BLOCK_WIDTH)


def _per_block(values: NDArray[np.float16], tensor: Int4Tensor) -> NDArray[np.uint8]:
    return _float16_bytes(values.repeat(tensor.group_size // BLOCK_WIDTH, axis=1))


def _float16_bytes(values: NDArray[np.float16]) -> NDArray[np.uint8]:
    """(N, G) float16 to (N, G, 2) little-endian bytes."""
    return np.ascontiguousarray(values, dtype="<f2").view(np.uint8).reshape(*values.shape, 2)


def _rows(*fields: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fields (N, G, bytes) of each block, side by side, as rows of bytes."""
    return np.concatenate(fields, axis=-1).reshape(fields[0].shape[0], -1)
