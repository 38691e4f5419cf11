"""Activation-aware scaling and clipping (AWQ, arXiv 2306.00978) on Gram matrices, as pure functions on arrays.

Knows: that the output error of a linear layer is tr(D G D^T) with D the weights' error and G = X^T X of its input, so
that one pass over the calibration text serves the whole search. Does not know: models, files, or how errors feed back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantize.grids import CLIPPING_SHARES, Grids, candidate_grids, storable_scales
from quantize.int4 import Int4Tensor

Floats = NDArray[np.float32]

GRID_POINTS = 20
SMALLEST_SCALE = 1e-4
SAMPLE_WEIGHTS = 1 << 18  # of one layer, to rank the scales on


@dataclass(frozen=True, slots=True)
class ScaleChoice:
    """What a search found: ``scale`` (K,) is all ones for ``ratio`` 0. ``error``: squared, of the sampled rows."""

    scale: Floats
    ratio: float
    error: float


def output_error(difference: Floats, gram: Floats) -> float:
    """tr(D G D^T): the squared output error of a weight error D (N, K) on inputs with the Gram matrix G (K, K)."""
    return float(np.vdot(difference @ gram, difference))


def sample_rows(weights: Floats, num_weights: int = SAMPLE_WEIGHTS) -> Floats:
    """Whole rows of ``weights`` (N, K), evenly spread, of at most ``num_weights`` weights (and at least 32 rows)."""
    num_rows = max(32, num_weights // weights.shape[1])
    if len(weights) <= num_rows:
        return weights
    return weights[np.linspace(0, len(weights) - 1, num_rows).astype(np.intp)]


def search_scale(
    weights: Sequence[Floats],
    gram: Floats,
    mean_magnitudes: Floats,
    round_weights: Callable[[Floats, Floats], Floats],
    num_points: int = GRID_POINTS,
) -> ScaleChoice:
    """The scale (K,) = mean|x|^ratio, normalised, with which rounding ``weights`` (each (N, K)) harms outputs least.

    The ratios are 0, 1 / num_points, ... below 1. ``round_weights`` takes weights and a scale, rounds what the scale
    makes of them, and gives back what that stands for, without the scale. A sample of rows ranks the ratios.
    """
    samples = [sample_rows(layer, SAMPLE_WEIGHTS // len(weights)) for layer in weights]
    best: ScaleChoice | None = None
    for point in range(num_points):
        scale = candidate_scale(mean_magnitudes, point / num_points)
        error = sum(output_error(round_weights(sample, scale) - sample, gram) for sample in samples)
        if best is None or error < best.error:
            best = ScaleChoice(scale, point / num_points, error)
    assert best is not None, "num_points is 1 or more"
    return best


def candidate_scale(mean_magnitudes: Floats, ratio: float) -> Floats:
    """mean|x|^ratio (K,), divided by the root of its largest times its smallest value; ones for ratio 0."""
    scale = np.maximum(mean_magnitudes.astype(np.float64) ** ratio, SMALLEST_SCALE)
    normed: Floats = (scale / np.sqrt(scale.max() * scale.min())).astype(np.float32)
    return normed


def apply_scale(producer: Floats, consumers: Sequence[Floats], scale: Floats) -> tuple[Floats, list[Floats]]:
    """Divide the producer, a norm (K,) or the rows of a layer (K, M), and multiply the consumers' columns (N, K).

    What the consumers compute is unchanged.
    """
    divided: Floats = producer / (scale if producer.ndim == 1 else scale[:, None])
    return divided, [layer * scale for layer in consumers]


def search_clip(
    weights: Floats,
    gram: Floats | None,
    group_size: int,
    asymmetric: bool,
    *,
    scale: Floats | None = None,
    shares: Sequence[float] = CLIPPING_SHARES,
) -> Int4Tensor:
    """Round (N, K) to the nearest codes; of the grids that ``shares`` name, each group gets the least harmful one.

    Harm is d G d^T with the group's own part of ``gram``; without it every weight's error counts the same. With a
    ``scale`` (K,) it is ``weights * scale`` that is rounded, while ``gram`` stays that of the unscaled inputs.
    Raises CheckpointError for weights beyond float16 scales.
    """
    columns = np.ascontiguousarray((weights if scale is None else weights * scale).T)
    codes = np.empty(columns.shape, np.uint8)
    grids = []
    for first in range(0, len(columns), group_size):
        part = slice(first, first + group_size)
        own = None if gram is None else gram[part, part]
        if own is not None and scale is not None:
            own = own / np.outer(scale[part], scale[part])
        grid, codes[part] = _least_harmful(columns[part], own, shares, asymmetric)
        grids.append(grid)
    return int4_from_columns(codes, grids, asymmetric)


def int4_from_columns(codes: NDArray[np.uint8], grids: Sequence[Grids], asymmetric: bool) -> Int4Tensor:
    """Codes (K, N) and one grid (N,) for each run of groups along K, as a tensor of rows."""
    scales = np.stack([grid.scales for grid in grids], axis=1).astype(np.float16)
    zeros = np.stack([grid.zeros for grid in grids], axis=1).astype(np.uint8) if asymmetric else None
    return Int4Tensor(np.ascontiguousarray(codes.T), scales, zeros, len(codes) // len(grids))


def _least_harmful(
    groups: Floats, gram: Floats | None, shares: Sequence[float], asymmetric: bool
) -> tuple[Grids, NDArray[np.uint8]]:
    """The grid (N,) and the codes (group, N): of every share's grid, and of its least-squares fit to its own codes."""
    candidates = candidate_grids(groups, shares, asymmetric)
    best = candidates.take(np.zeros(groups.shape[1], np.intp))
    best_codes = best.nearest(groups)
    best_harm = _harm(groups, best, best_codes, gram)
    for scales, zeros in zip(candidates.scales, candidates.zeros, strict=True):
        first = Grids(scales, zeros)
        fitted = _fit(groups, first, first.nearest(groups), gram)
        for grid in (first, fitted) if len(shares) > 1 else ():
            codes = grid.nearest(groups)
            harm = _harm(groups, grid, codes, gram)
            is_better = harm < best_harm
            best_harm = np.where(is_better, harm, best_harm)
            best_codes = np.where(is_better, codes, best_codes)
            best = Grids(np.where(is_better, grid.scales, best.scales), np.where(is_better, grid.zeros, best.zeros))
    return best, best_codes.astype(np.uint8)


def _harm(groups: Floats, grid: Grids, codes: Floats, gram: Floats | None) -> Floats:
    """d G d^T (N,) of each group."""
    difference = grid.values(codes) - groups
    harm: Floats = np.einsum("gn,gn->n", difference if gram is None else gram @ difference, difference)
    return harm


def _fit(groups: Floats, grid: Grids, codes: Floats, gram: Floats | None) -> Grids:
    """The same zero points with the scales that are best for ``codes``: <w, q> / <q, q> in the metric of ``gram``."""
    steps = codes - grid.zeros
    weighed = steps if gram is None else gram @ steps
    products, norms = np.einsum("gn,gn->n", groups, weighed), np.einsum("gn,gn->n", steps, weighed)
    fitted = np.divide(products, norms, out=grid.scales.copy(), where=norms > 0)
    return Grids(storable_scales(fitted), grid.zeros)
