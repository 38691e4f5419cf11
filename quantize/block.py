"""One block from floats to int4: scales searched and folded, linear layers rounded, all of it kept where it helps.

Knows: the order of the steps in a block, and what is reported of them. Does not know: files, other blocks, writers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from models.families import ScaleGroup, family_of
from models.spec import ModelSpec, TensorPlace
from quantize.awq import ScaleChoice, apply_scale, output_error, sample_rows, search_clip, search_scale
from quantize.calibrate import InputSums
from quantize.gguf_blocks import stored_values
from quantize.int4 import Int4Tensor
from quantize.recipe import QuantRecipe
from quantize.refine import feedback_of, refine
from quantize.rounding import round_plain

Floats = NDArray[np.float32]
Rounding = Callable[[Floats, Floats], Int4Tensor]  # weights (N, K) and a scale (K,): weights * scale, rounded

RANKING_SHARES = (1.0, 0.9, 0.8)
REPORT_WEIGHTS = 1 << 20  # of one layer, on whose rows its output error is measured


@dataclass(frozen=True, slots=True)
class GroupReport:
    """What one scale group got: ``kept`` is plain, clipped or refined; plain where nothing else was better.

    ``ratio``: see quantize.awq.search_scale. ``error_share``: the squared output error of the sampled rows as a share
    of plain rounding's.
    """

    producer: str  # its GGUF name
    kept: str
    ratio: float
    error_share: float


@dataclass(frozen=True, slots=True)
class LayerReport:
    """The relative output errors |X (W' - W)| / |X W| of one layer: of plain rounding, and of what is kept."""

    tensor: str  # its GGUF name
    plain_error: float
    error: float


@dataclass(slots=True)
class QuantizedBlock:
    """What the steps leave of a block: ``weights`` by role, scales folded in; ``stored``, its int4 layers.

    ``scales`` (K,) by producer are what was folded. ``harms``, where measured: by GGUF name, how far one int4 layer
    alone moves the block's output, relative to that.
    """

    weights: dict[str, Floats]
    stored: dict[str, Int4Tensor] = field(default_factory=dict)
    scales: dict[str, Floats] = field(default_factory=dict)
    groups: list[GroupReport] = field(default_factory=list)
    layers: list[LayerReport] = field(default_factory=list)
    harms: dict[str, float] = field(default_factory=dict)


def quantize_block(
    spec: ModelSpec,
    places: Mapping[str, TensorPlace],
    weights: Mapping[str, Floats],
    sums: InputSums,
    recipe: QuantRecipe,
) -> QuantizedBlock:
    """Quantize the linear layers of one block, given by role, for what they read; those of ``wide`` roles stay floats.

    Raises CheckpointError for weights or inputs that no grid can hold.
    """
    block = QuantizedBlock(dict(weights))
    for group in reversed(family_of(spec.family).scale_groups):  # a layer's rows are scaled before it is rounded
        gram, magnitudes = sums.take(group.producer)
        choice, round_for = _choose(block, places, group, gram, magnitudes, recipe)
        _fold(block, group, choice.scale)
        for role in group.consumers:
            if role not in recipe.wide:
                block.stored[role] = round_for(block.weights[role], choice.scale)
                block.layers.append(_layer_report(block, places[role], gram, choice.scale, recipe))
            block.weights[role] = block.weights[role] * choice.scale
    return block


def _choose(
    block: QuantizedBlock,
    places: Mapping[str, TensorPlace],
    group: ScaleGroup,
    gram: Floats,
    magnitudes: Floats,
    recipe: QuantRecipe,
) -> tuple[ScaleChoice, Rounding]:
    """The scale of a group and the way its layers are rounded; ones and plainly, where no scale beats that."""
    consumers = [block.weights[role] for role in group.consumers if role not in recipe.wide]
    can_scale = len(block.weights[group.producer]) == len(magnitudes)

    def plain(weights: Floats, scale: Floats) -> Int4Tensor:
        return round_plain(weights * scale, recipe)

    def search(rounding: Rounding, num_points: int) -> ScaleChoice:
        def read_back(weights: Floats, scale: Floats) -> Floats:
            return stored_values(rounding(weights, scale)) / scale

        return search_scale(consumers, gram, magnitudes, read_back, num_points)

    kept, ranked = _rounding(gram, recipe)
    choice, plain_choice = search(ranked, recipe.grid if can_scale else 1), search(plain, 1)
    name = "refined" if recipe.refine == "gptq" else "clipped"
    if not choice.error < plain_choice.error:
        kept, choice, name = plain, plain_choice, "plain"
    share = choice.error / plain_choice.error if plain_choice.error > 0 else 1.0
    block.groups.append(GroupReport(places[group.producer].gguf_name, name, choice.ratio, rounded(share)))
    return choice, kept


def _rounding(gram: Floats, recipe: QuantRecipe) -> tuple[Rounding, Rounding]:
    """How the layers that read inputs with ``gram`` are rounded, and how to rank scales: with fewer grids, if slow."""
    if recipe.refine == "gptq":
        feedback = feedback_of(gram, recipe.group_size)
        refining = partial(refine, feedback=feedback, asymmetric=recipe.asymmetric)
        return (
            lambda weights, scale: refining(weights, scale=scale),
            lambda weights, scale: refining(weights, scale=scale, shares=RANKING_SHARES),
        )

    def clip(weights: Floats, scale: Floats) -> Int4Tensor:
        return search_clip(weights, gram, recipe.group_size, recipe.asymmetric, scale=scale)

    return clip, clip


def _fold(block: QuantizedBlock, group: ScaleGroup, scale: Floats) -> None:
    """Divide the producer by a scale that is about to be multiplied into the consumers."""
    if (scale != 1).any():
        block.scales[group.producer] = scale
        block.weights[group.producer], _ = apply_scale(block.weights[group.producer], (), scale)


def _layer_report(
    block: QuantizedBlock, place: TensorPlace, gram: Floats, scale: Floats, recipe: QuantRecipe
) -> LayerReport:
    """Errors on a sample of rows, before the scale is folded into the layer."""
    sample = sample_rows(block.weights[place.role], REPORT_WEIGHTS)
    norm = output_error(sample, gram)

    def relative(values: Floats) -> float:
        return rounded(math.sqrt(output_error(values - sample, gram) / norm) if norm > 0 else 0.0)

    written = sample_rows(stored_values(block.stored[place.role]), REPORT_WEIGHTS) / scale
    return LayerReport(place.gguf_name, relative(round_plain(sample, recipe).dequantize()), relative(written))


def relative_distance(values: Floats, wanted: Floats) -> float:
    """|values - wanted| / |wanted|, 0 where nothing is wanted."""
    norm = float(np.linalg.norm(wanted))
    return float(np.linalg.norm(values - wanted)) / norm if norm > 0 else 0.0


def rounded(number: float) -> float:
    """To four digits: what differs further back is the order of summing."""
    return float(f"{number:.4g}")
