"""How large each part of a model became, and how far it was rounded: embedding, head, and every kind of layer.

Knows: formats and errors of tensors. Does not know: how they were chosen or measured.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from models.spec import BLOCK_WIDTH, TensorPlace
from quantize.gguf_writer import BLOCK_BYTES
from quantize.rounding import RoundingErrors
from quantize.stored import TensorFormat


def part_report(formats: Mapping[TensorPlace, TensorFormat], errors: RoundingErrors) -> list[dict[str, Any]]:
    """A record a role, all norms as one: how many tensors of each format, weights, bytes, and the relative error."""
    parts: dict[str, list[TensorPlace]] = {}
    for place in formats:
        parts.setdefault("norms" if place.kind == "norm" else place.role, []).append(place)
    return [_record(part, places, formats, errors) for part, places in parts.items()]


def _record(
    part: str, places: Sequence[TensorPlace], formats: Mapping[TensorPlace, TensorFormat], errors: RoundingErrors
) -> dict[str, Any]:
    sizes = {place: math.prod(place.shape) for place in places}
    return {
        "part": part,
        "formats": dict(sorted(Counter(formats[place] for place in places).items())),
        "weights": sum(sizes.values()),
        "bytes": sum(size * BLOCK_BYTES[formats[place]] // BLOCK_WIDTH for place, size in sizes.items()),
        "error": errors.together(place.gguf_name for place in places),
    }
