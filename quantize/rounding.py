"""Tensor by tensor: which format each one gets, its rows rounded or carried over, and the error that was made.

Knows: the recipe, the checkpoint's tensors. Does not know: files, or byte layouts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from models.checkpoint import Checkpoint, PackedLayer
from models.errors import UsageError
from models.packing import Packing
from models.spec import ModelSpec, TensorPlace
from quantize.awq import search_clip
from quantize.gguf_blocks import stored_values
from quantize.grids import CLIPPING_SHARES, PLAIN_SHARES
from quantize.int4 import Int4Tensor, quantize_symmetric
from quantize.int8 import quantize_int8
from quantize.packed import read_packed_rows
from quantize.recipe import QuantRecipe
from quantize.stored import Stored, TensorFormat

# What is stored of a tensor, in order, and the floats that it stands for.
ChunksOf = Callable[[TensorPlace, TensorFormat], Iterator[tuple[Stored, NDArray[np.float32]]]]

NONE_PACKED: Mapping[TensorPlace, PackedLayer] = MappingProxyType({})


def plan_formats(
    spec: ModelSpec, recipe: QuantRecipe, packed: Mapping[TensorPlace, PackedLayer] = NONE_PACKED
) -> dict[TensorPlace, TensorFormat]:
    """The format of every tensor, in file order; ``packed`` are the layers that are int4 already.

    Raises UsageError where a row does not fall into the groups, and for a recipe that asks int4 layers to be rounded.
    """
    for layer in packed.values():
        _refuse_rounding_choices(layer.packing, recipe)
    return {place: _format_of(place, recipe, packed) for place in spec.places()}


def _refuse_rounding_choices(packing: Packing, recipe: QuantRecipe) -> None:
    default = QuantRecipe()
    for name in ("bits", "group_size", "scale", "asymmetric", "method"):
        if getattr(recipe, name) != getattr(default, name):
            raise UsageError(
                f"{name} is {getattr(recipe, name)!r}, but this checkpoint is int4 already ({packing.name}) and its "
                f"codes are carried over; leave {name} out, or give the float checkpoint."
            )


def _format_of(place: TensorPlace, recipe: QuantRecipe, packed: Mapping[TensorPlace, PackedLayer]) -> TensorFormat:
    if place in packed:
        return "Q4_0" if packed[place].packing.is_symmetric else "Q4_1"
    if place.kind == "norm" or recipe.bits == 32:
        return "F32"
    if place.role in recipe.wide or packed:  # what its makers left in floats is sensitive
        return "Q8_0"
    if place.shape[1] % recipe.group_size:
        raise UsageError(
            f"group_size is {recipe.group_size}, but a row of {place.checkpoint_name} has {place.shape[1]} weights; "
            "use a group size that divides every width, 32 always does."
        )
    return int4_format(recipe)


def stored_chunks(
    checkpoint: Checkpoint, place: TensorPlace, tensor_format: TensorFormat, recipe: QuantRecipe
) -> Iterator[tuple[Stored, NDArray[np.float32]]]:
    """One tensor in order, as chunks of whole rows: what is written, and the values it stands for."""
    if place in checkpoint.packed:
        for packed in read_packed_rows(checkpoint, place):
            yield packed.tensor, packed.source_values()
    else:
        for rows in checkpoint.read_rows(place):
            yield round_rows(rows, tensor_format, recipe), rows


def round_rows(rows: NDArray[np.float32], tensor_format: TensorFormat, recipe: QuantRecipe) -> Stored:
    """Whole rows of one tensor, rounded to what ``tensor_format`` holds."""
    if tensor_format == "F32":
        return rows
    if tensor_format == "Q8_0":
        return quantize_int8(rows)
    return round_plain(rows, recipe)


def round_plain(weights: NDArray[np.float32], recipe: QuantRecipe) -> Int4Tensor:
    """Weights (N, K) rounded to the nearest codes, every weight's error counting the same."""
    if not recipe.asymmetric:
        return quantize_symmetric(weights, recipe.group_size, recipe.scale)
    shares = CLIPPING_SHARES if recipe.scale == "search" else PLAIN_SHARES
    return search_clip(weights, None, recipe.group_size, True, shares=shares)


def int4_format(recipe: QuantRecipe) -> TensorFormat:
    """The GGUF format of the recipe's int4 tensors."""
    return "Q4_1" if recipe.asymmetric else "Q4_0"


def values_of(stored: Stored) -> NDArray[np.float32]:
    """The weights that a reader of the bundle gets."""
    if isinstance(stored, Int4Tensor):
        return stored_values(stored)
    return stored if isinstance(stored, np.ndarray) else stored.dequantize()


class RoundingErrors:
    """The relative error |rounded - float| / |float| of each tensor, added up chunk by chunk."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, float]] = {}

    def add(self, name: str, rows: NDArray[np.float32], stored: Stored) -> None:
        """Count a chunk of tensor ``name``; float tensors have no error and are not listed."""
        if isinstance(stored, np.ndarray):
            return
        difference = (values_of(stored) - rows).reshape(-1)
        flat = rows.reshape(-1)
        error, norm = self._sums.get(name, (0.0, 0.0))
        self._sums[name] = error + float(np.dot(difference, difference)), norm + float(np.dot(flat, flat))

    def relative(self) -> dict[str, float]:
        """By tensor name, to four digits, so that a different order of summing gives the same text."""
        return {name: _relative(error, norm) for name, (error, norm) in self._sums.items()}

    def together(self, names: Iterable[str]) -> float | None:
        """Of several tensors as if they were one; None where none of them was rounded."""
        sums = [self._sums[name] for name in names if name in self._sums]
        return _relative(*map(sum, zip(*sums, strict=True))) if sums else None


def _relative(error: float, norm: float) -> float:
    return float(f"{math.sqrt(error / norm) if norm else 0.0:.4g}")
