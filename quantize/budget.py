"""Which layers stay at 8 bits when a size budget leaves room for some: those whose 4 bits do most harm for their size.

Knows: measured harms and sizes. Does not know: how either was found.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from models.errors import UsageError
from models.spec import BLOCK_WIDTH, TensorPlace
from quantize.gguf_writer import BLOCK_BYTES
from quantize.stored import TensorFormat


def widen_within(
    formats: Mapping[TensorPlace, TensorFormat], harms: Mapping[str, float], bits: float
) -> dict[TensorPlace, TensorFormat]:
    """``formats`` with as many linear layers at Q8_0 as keep the average of all linear weights at ``bits`` or less.

    ``harms`` are relative errors of a block's output, by GGUF name: what is widened first has the most squared harm
    for a weight. Raises UsageError for a budget that is below what no widening at all takes.
    """
    linear = [place for place in formats if place.kind == "linear"]
    room = bits * sum(map(_num_weights, linear)) - sum(_bits_of(place, formats[place]) for place in linear)
    if room < 0:
        least = sum(_bits_of(place, formats[place]) for place in linear) / sum(map(_num_weights, linear))
        raise UsageError(f"bits is {bits}, but these layers take {least:.3f} as they are; give at least that.")
    widened = dict(formats)
    for place in _most_harmful_first(linear, harms):
        cost = _bits_of(place, "Q8_0") - _bits_of(place, formats[place])
        if 0 < cost <= room:
            widened[place] = "Q8_0"
            room -= cost
    return widened


def _most_harmful_first(places: Iterable[TensorPlace], harms: Mapping[str, float]) -> list[TensorPlace]:
    return sorted(places, key=lambda place: -(harms.get(place.gguf_name, 0.0) ** 2) / _num_weights(place))


def _num_weights(place: TensorPlace) -> int:
    return math.prod(place.shape)


def _bits_of(place: TensorPlace, tensor_format: TensorFormat) -> float:
    return _num_weights(place) * 8 * BLOCK_BYTES[tensor_format] / BLOCK_WIDTH
