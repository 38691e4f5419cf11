"""Quantized rows as NPUs take them: 4-bit blocks for products, whole numbers in float16 for look-ups.

Knows: what Qualcomm's HTP refuses (8-bit MatMulNBits, blocks above 128, look-ups in integer tables) and the exact way
around each. Does not know: files or graphs; nothing here rounds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quantize.int4 import Int4Tensor
from quantize.int8 import GROUP_SIZE, Int8Tensor
from quantize.onnx_layout import INT8_ZERO, OnnxRows, onnx_rows, pack_pairs

LARGEST_BLOCK = 128  # that HTP takes
_INT4_ZERO = 8


def product_parts(rows: Int4Tensor | Int8Tensor) -> tuple[OnnxRows, ...]:
    """4-bit rows whose products add up to that of ``rows``: one, or for 8 bits the high and the low half of each code.

    Exact: code + 128 = 16 * high + low, so w = (high - 8) * 16 * scale + low * scale.
    """
    if isinstance(rows, Int4Tensor):
        return (onnx_rows(rows, LARGEST_BLOCK),)
    codes = rows.codes.view(np.uint8) ^ np.uint8(INT8_ZERO)  # adds 128 to a signed byte
    scales = rows.scales.astype(np.float32)
    no_offset = np.zeros((len(codes), -(-scales.shape[1] // 2)), np.uint8)
    return (
        OnnxRows(4, GROUP_SIZE, pack_pairs(codes >> np.uint8(4)), 16 * scales, None),
        OnnxRows(4, GROUP_SIZE, pack_pairs(codes & np.uint8(15)), scales, no_offset),
    )


def table_rows(rows: Int4Tensor | Int8Tensor) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """Codes (N, K) without their zero points, whole numbers that float16 holds exactly, and scales (N, K / group)."""
    scales = rows.scales.astype(np.float32)
    if isinstance(rows, Int8Tensor):
        return rows.codes.astype(np.float16), scales
    zeros = np.full(scales.shape, _INT4_ZERO, np.uint8) if rows.zeros is None else rows.zeros
    return rows.codes.astype(np.float16) - zeros.repeat(rows.group_size, axis=1).astype(np.float16), scales
