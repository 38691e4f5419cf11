"""How a checkpoint is quantized, as one frozen value that the bundle keeps.

Knows: the choices and which of them fit together. Does not know: how they are carried out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from models.errors import UsageError
from models.families import FAMILIES
from models.spec import BLOCK_WIDTH
from quantize.int4 import ScaleChoice


@dataclass(frozen=True, slots=True)
class QuantRecipe:
    """Symmetric 4 bits by rounding to nearest; the tensors of the ``wide`` roles stay at 8 bits, norms at 32.

    ``bits`` 32 keeps every weight as it is, in float32: the reference that an int4 bundle is measured against.
    ``group_size``: weights that share a scale, a multiple of 32. ``scale``: see quantize.int4.quantize_symmetric.
    Raises UsageError for a value that cannot be honoured.
    """

    bits: int = 4
    group_size: int = BLOCK_WIDTH
    scale: ScaleChoice = "search"
    wide: tuple[str, ...] = ("embedding", "head")

    def __post_init__(self) -> None:
        if self.bits not in (4, 32):
            raise UsageError(f"bits is {self.bits}; use 4, or 32 to keep the weights as they are.")
        if self.group_size < BLOCK_WIDTH or self.group_size % BLOCK_WIDTH:
            raise UsageError(f"group_size is {self.group_size}; use a multiple of {BLOCK_WIDTH}.")
        if self.scale not in get_args(ScaleChoice):
            raise UsageError(f"scale is {self.scale!r}; use {' or '.join(get_args(ScaleChoice))}.")
        known = {row.role for family in FAMILIES.values() for row in family.rows if row.kind != "norm"}
        if unknown := sorted(set(self.wide) - known):
            raise UsageError(f"wide names the role {unknown[0]!r}; use roles among {', '.join(sorted(known))}.")
