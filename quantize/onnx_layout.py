"""The byte layouts of ONNX Runtime's block-quantized operators, MatMulNBits and GatherBlockQuantized.

Knows: where each nibble, scale and zero point lies. Does not know: how codes were found, or files; nothing here rounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantize.int4 import Int4Tensor
from quantize.int8 import GROUP_SIZE, Int8Tensor

LARGEST_BLOCK = 256  # the operators take powers of two from 16 up to this
INT8_ZERO = 128  # the unsigned code that means 0.0 where no zero points are stored


@dataclass(frozen=True, slots=True)
class OnnxRows:
    """Whole rows of a weight (N, K) as w = (code - zero) * scale in blocks of ``block`` along K.

    ``codes``: (N, K * bits / 8) uint8, of 4 bits the low nibble is the earlier weight. ``scales``: (N, K / block)
    float32. ``zeros``: (N, ceil(K / block / 2)) uint8, packed like codes of 4 bits, or None for the middle code.
    """

    bits: int
    block: int
    codes: NDArray[np.uint8]
    scales: NDArray[np.float32]
    zeros: NDArray[np.uint8] | None


def onnx_rows(rows: Int4Tensor | Int8Tensor, largest_block: int = LARGEST_BLOCK) -> OnnxRows:
    """``rows`` in their new order. Exact: codes stay, a group that is no block is several, float32 holds any scale.

    ``largest_block``: of 4-bit rows.
    """
    if isinstance(rows, Int8Tensor):
        codes = rows.codes.view(np.uint8) ^ np.uint8(INT8_ZERO)  # adds 128 to a signed byte
        return OnnxRows(8, GROUP_SIZE, codes, rows.scales.astype(np.float32), None)
    block = block_of(rows.group_size, largest_block)
    repeats = rows.group_size // block
    return OnnxRows(
        bits=4,
        block=block,
        codes=pack_pairs(rows.codes),
        scales=rows.scales.astype(np.float32).repeat(repeats, axis=1),
        zeros=None if rows.zeros is None else pack_pairs(rows.zeros.repeat(repeats, axis=1)),
    )


def block_of(group_size: int, largest: int = LARGEST_BLOCK) -> int:
    """The largest block up to ``largest``, a power of two, that divides ``group_size``, a multiple of 32."""
    return min(group_size & -group_size, largest)


def pack_pairs(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Codes (N, K) of 0 to 15 to bytes (N, ceil(K / 2)): the low nibble is the earlier code, a missing one is 0."""
    even, odd = codes[:, ::2], codes[:, 1::2]
    packed = even.copy()
    packed[:, : odd.shape[1]] |= odd << np.uint8(4)
    return packed
