"""Layers that are int4 already, as Int4Tensors: codes are carried over, never rounded again.

Knows: the order of codes and zero points in the words of AutoAWQ GEMM and of compressed-tensors pack-quantized.
Does not know: files, headers, or where the codes go next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.checkpoint import Checkpoint, PackedLayer
from models.errors import CheckpointError
from models.packing import CODES_PER_WORD
from models.spec import TensorPlace
from quantize.int4 import SYMMETRIC_ZERO, Int4Tensor

CHUNK_WEIGHTS = 1 << 22  # of one chunk: its words, codes and float32 values are some 60 MB

# Which nibble of a word holds column 0, 1, ... of its eight.
_AWQ_NIBBLES = (0, 4, 1, 5, 2, 6, 3, 7)
_PLAIN_NIBBLES = (0, 1, 2, 3, 4, 5, 6, 7)


@dataclass(frozen=True, slots=True)
class PackedRows:
    """Some whole rows of a packed layer: the tensor, and its scales (N, K / group) before they became float16."""

    tensor: Int4Tensor
    source_scales: NDArray[np.float32]

    def source_values(self) -> NDArray[np.float32]:
        """The weights (N, K) that the checkpoint stands for."""
        tensor = self.tensor
        codes = tensor.codes.reshape(*tensor.scales.shape, tensor.group_size).astype(np.float32)
        zeros = np.float32(SYMMETRIC_ZERO) if tensor.zeros is None else tensor.zeros[:, :, None].astype(np.float32)
        values: NDArray[np.float32] = (codes - zeros) * self.source_scales[:, :, None]
        return values.reshape(tensor.codes.shape)


def read_packed_rows(
    checkpoint: Checkpoint, place: TensorPlace, chunk_weights: int = CHUNK_WEIGHTS
) -> Iterator[PackedRows]:
    """The packed layer ``place`` in order, as chunks of whole rows.

    Raises CheckpointError for scales that are NaN, infinite, or beyond float16.
    """
    layer = checkpoint.packed[place]
    words = layer.parts["codes"].read_integers()
    scales, zeros = _scales(layer), _zeros(layer, place.shape[0])
    num_rows, width = place.shape
    group_size = layer.packing.group_of(place)
    step = max(1, chunk_weights // width // CODES_PER_WORD) * CODES_PER_WORD
    for first in range(0, num_rows, step):
        last = min(first + step, num_rows)
        if _is_awq(layer):
            columns = words[:, first // CODES_PER_WORD : -(-last // CODES_PER_WORD)]
            codes = np.ascontiguousarray(unpack_words(columns, _AWQ_NIBBLES)[:, : last - first].T)
        else:
            codes = unpack_words(words[first:last], _PLAIN_NIBBLES)
        part = slice(first, last)
        some_zeros = None if zeros is None else zeros[part]
        yield PackedRows(Int4Tensor(codes, scales[part].astype(np.float16), some_zeros, group_size), scales[part])


def unpack_words(words: NDArray[Any], nibbles: tuple[int, ...]) -> NDArray[np.uint8]:
    """int32 words (A, B) as codes (A, 8 B) uint8; column 8 b + j is nibble ``nibbles[j]`` of word b."""
    unsigned = np.ascontiguousarray(words).view(np.uint32)  # signed words would shift ones in
    codes = np.empty((*unsigned.shape, CODES_PER_WORD), np.uint8)
    for column, nibble in enumerate(nibbles):
        codes[..., column] = (unsigned >> np.uint32(4 * nibble)) & np.uint32(15)
    return codes.reshape(len(unsigned), -1)


def _is_awq(layer: PackedLayer) -> bool:
    return layer.packing.name == "AutoAWQ GEMM"


def _scales(layer: PackedLayer) -> NDArray[np.float32]:
    """(N, K / group) float32, row by row."""
    stored = layer.parts["scales"]
    scales = stored.read_rows(0, stored.shape[0])
    if np.abs(scales).max(initial=0) > np.finfo(np.float16).max:
        raise CheckpointError(f"{stored.name} holds {np.abs(scales).max()}, which is too large for a float16 scale.")
    return np.ascontiguousarray(scales.T) if _is_awq(layer) else scales


def _zeros(layer: PackedLayer, num_rows: int) -> NDArray[np.uint8] | None:
    """(N, K / group) uint8, None where the layer is symmetric. Both methods pack zero points along N."""
    if "zeros" not in layer.parts:
        return None
    words = layer.parts["zeros"].read_integers()
    by_group = unpack_words(words, _AWQ_NIBBLES) if _is_awq(layer) else unpack_words(words.T, _PLAIN_NIBBLES)
    return np.ascontiguousarray(by_group.T[:num_rows])
