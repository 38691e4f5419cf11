"""Plain rounding, tensor by tensor: which format each one gets, its rounded rows, and the error that was made.

Knows: the recipe, the spec's tensors. Does not know: files, or byte layouts.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from models.errors import UsageError
from models.spec import ModelSpec, TensorPlace
from quantize.gguf_writer import Stored, TensorFormat
from quantize.int4 import quantize_symmetric
from quantize.int8 import quantize_int8
from quantize.recipe import QuantRecipe


def plan_formats(spec: ModelSpec, recipe: QuantRecipe) -> dict[TensorPlace, TensorFormat]:
    """The format of every tensor, in file order. Raises UsageError where a row does not fall into the groups."""
    return {place: _format_of(place, recipe) for place in spec.places()}


def _format_of(place: TensorPlace, recipe: QuantRecipe) -> TensorFormat:
    if place.kind == "norm" or recipe.bits == 32:
        return "F32"
    if place.role in recipe.wide:
        return "Q8_0"
    if place.shape[1] % recipe.group_size:
        raise UsageError(
            f"group_size is {recipe.group_size}, but a row of {place.checkpoint_name} has {place.shape[1]} weights; "
            "use a group size that divides every width, 32 always does."
        )
    return "Q4_0"


def round_rows(rows: NDArray[np.float32], tensor_format: TensorFormat, recipe: QuantRecipe) -> Stored:
    """Whole rows of one tensor, rounded to what ``tensor_format`` holds."""
    if tensor_format == "F32":
        return rows
    if tensor_format == "Q8_0":
        return quantize_int8(rows)
    return quantize_symmetric(rows, recipe.group_size, recipe.scale)


class RoundingErrors:
    """The relative error |rounded - float| / |float| of each tensor, added up chunk by chunk."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, float]] = {}

    def add(self, name: str, rows: NDArray[np.float32], stored: Stored) -> None:
        """Count a chunk of tensor ``name``; float tensors have no error and are not listed."""
        if isinstance(stored, np.ndarray):
            return
        difference = (stored.dequantize() - rows).reshape(-1)
        flat = rows.reshape(-1)
        error, norm = self._sums.get(name, (0.0, 0.0))
        self._sums[name] = error + float(np.dot(difference, difference)), norm + float(np.dot(flat, flat))

    def relative(self) -> dict[str, float]:
        """By tensor name, to four digits, so that a different order of summing gives the same text."""
        return {
            name: float(f"{math.sqrt(error / norm) if norm else 0.0:.4g}") for name, (error, norm) in self._sums.items()
        }
