"""Rounding with error feedback (GPTQ, arXiv 2210.17323) from a Gram matrix, as pure functions on arrays.

Knows: how the error made on earlier columns changes what later columns should be. Does not know: models or files.

With G + damping = M M^T, M upper triangular, the output error of the weight error E is |E M|^2, and column k of E M
holds only the errors of columns 0 to k. So column k is rounded to what cancels the errors before it: its weights minus
E[:, :k] M[:k, k] / M[k, k] (the same choice as GPTQ's, see arXiv 2307.13304, but G is not inverted, and errors are
read where they are needed instead of spread over all later columns). A whole group at once would be rounded to its
weights minus E[:, :first] M[:first, group] M[group, group]^-1; its grid is chosen for that. Rows do not touch each
other, so a few hundred at a time stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import CheckpointError
from quantize.awq import int4_from_columns
from quantize.grids import CLIPPING_SHARES, LARGEST_CODE, Grids, candidate_grids
from quantize.int4 import Int4Tensor

Floats = NDArray[np.float32]

DAMPING = 0.01  # of the mean of G's diagonal, added to it
CHUNK_ROWS = 512
FACTOR_TILE = 128  # columns


@dataclass(frozen=True, slots=True)
class GroupFeedback:
    """What one group needs of M; ``first`` columns are rounded before it.

    ``carry`` (first, group): times the errors before the group, what its weights are lowered by.
    ``inner`` (group, group): M inside the group. ``ratios``: the same with every column divided by its diagonal.
    """

    first: int
    carry: Floats
    inner: Floats
    ratios: Floats


@dataclass(frozen=True, slots=True)
class Feedback:
    """M of one input, cut into groups. ``order`` (K,) is the order in which columns are rounded, whole groups."""

    order: NDArray[np.intp]
    groups: tuple[GroupFeedback, ...]


def feedback_of(gram: Floats, group_size: int) -> Feedback:
    """Prepare error feedback for the layers that read inputs with ``gram`` (K, K).

    Strong columns go first, group by group and inside a group, while there are still many to correct their errors.
    Raises CheckpointError when ``gram`` is not that of finite inputs.
    """
    strengths = np.diagonal(gram).reshape(-1, group_size)
    inside = np.argsort(-strengths, axis=1, kind="stable") + np.arange(len(strengths))[:, None] * group_size
    order = inside[np.argsort(-strengths.sum(axis=1), kind="stable")].reshape(-1)
    factor = feedback_factor(gram, order)
    groups = []
    for first in range(0, len(factor), group_size):
        part = slice(first, first + group_size)
        inner = np.ascontiguousarray(factor[part, part])
        carry = factor[:first, part] @ np.linalg.inv(inner)
        groups.append(GroupFeedback(first, carry, inner, inner / inner.diagonal()))
    return Feedback(order, tuple(groups))


def refine(
    weights: Floats,
    feedback: Feedback,
    asymmetric: bool,
    *,
    scale: Floats | None = None,
    shares: Sequence[float] = CLIPPING_SHARES,
) -> Int4Tensor:
    """Round (N, K) with error feedback; each group tries the grids that ``shares`` name.

    With a ``scale`` (K,) it is ``weights * scale`` that is rounded, while ``feedback`` stays that of the unscaled
    inputs. Raises CheckpointError for weights beyond float16 scales.
    """
    scales = np.ones(weights.shape[1], np.float32) if scale is None else scale
    group_size = len(feedback.groups[0].inner)
    codes = np.empty(weights.shape[::-1], np.uint8)
    grids = [Grids(np.empty(len(weights), np.float32), np.empty(len(weights), np.float32)) for _ in feedback.groups]
    for first in range(0, len(weights), CHUNK_ROWS):
        rows = slice(first, first + CHUNK_ROWS)
        codes[feedback.order, rows], some = _refine_rows(weights[rows], feedback, scales, shares, asymmetric)
        for group, part in zip(feedback.groups, some, strict=True):
            grid = grids[feedback.order[group.first] // group_size]
            grid.scales[rows], grid.zeros[rows] = part.scales, part.zeros
    return int4_from_columns(codes, grids, asymmetric)


def feedback_factor(gram: Floats, order: NDArray[np.intp]) -> Floats:
    """The upper triangular M (K, K) with M M^T = G + damping, rows and columns in ``order``.

    There is more damping where float32 takes G for singular. Raises CheckpointError for a NaN or an infinity.
    """
    mean = float(np.trace(gram)) / len(gram)
    if not np.isfinite(mean):
        raise CheckpointError("The model computes a NaN or an infinity on the calibration text; it is broken.")
    for damping in (DAMPING, 10 * DAMPING, 100 * DAMPING):
        factor = gram[np.ix_(order, order)]
        np.einsum("kk->k", factor)[:] += np.float32(damping * mean if mean > 0 else 1.0)
        try:
            _factorize(factor)
            return factor
        except np.linalg.LinAlgError:
            continue
    raise CheckpointError("The inputs of a layer on the calibration text are not fit to calibrate with.")


def _factorize(matrix: Floats) -> None:
    """Turn a symmetric matrix into its upper triangular M with M M^T = matrix, tile by tile from the last corner on.

    LAPACK's routine makes the lower factor, and would need the matrix turned around before and after.
    """
    for first in reversed(range(0, len(matrix), FACTOR_TILE)):
        last = min(first + FACTOR_TILE, len(matrix))
        panel = matrix[:last, first:last]
        panel -= matrix[:last, last:] @ matrix[first:last, last:].T
        corner = np.linalg.cholesky(panel[first:][::-1, ::-1])[::-1, ::-1]
        panel[:first] = panel[:first] @ np.linalg.inv(corner).T
        panel[first:] = corner
        matrix[last:, first:last] = 0


def _refine_rows(
    weights: Floats, feedback: Feedback, scales: Floats, shares: Sequence[float], asymmetric: bool
) -> tuple[Floats, list[Grids]]:
    """Codes (K, N) of some rows (N, K), and the grids of the groups, both in the order of ``feedback``."""
    columns = np.ascontiguousarray(weights.T[feedback.order])
    stretch = scales[feedback.order]
    errors, codes = np.empty_like(columns), np.empty_like(columns)
    grids = []
    for group in feedback.groups:
        part = slice(group.first, group.first + len(group.inner))
        wished = columns[part] - group.carry.T @ errors[: group.first]
        grid, codes[part] = _refine_group(wished, group, stretch[part], shares, asymmetric)
        errors[part] = grid.values(codes[part]) / stretch[part, None] - columns[part]
        grids.append(grid)
    return codes, grids


def _refine_group(
    wished: Floats, group: GroupFeedback, stretch: Floats, shares: Sequence[float], asymmetric: bool
) -> tuple[Grids, Floats]:
    """Round (group, N) with feedback inside the group on every candidate; the grid (N,) and codes of the best."""
    wished = wished * stretch[:, None]  # from here on in the scale's coordinates
    ratios = group.ratios * stretch / stretch[:, None]
    candidates = candidate_grids(wished, shares, asymmetric)
    inverse, lowest, highest = candidates.inverse_scales(), -candidates.zeros, LARGEST_CODE - candidates.zeros
    steps = np.empty((len(wished), *inverse.shape), np.float32)  # codes less the zero point
    errors, misses = np.empty_like(steps), np.empty_like(steps)
    flat_errors = errors.reshape(len(wished), -1)
    for column in range(len(wished)):
        target = wished[column] - (ratios[:column, column] @ flat_errors[:column]).reshape(inverse.shape)
        step, miss = steps[column], misses[column]
        np.multiply(target, inverse, out=step)
        np.rint(step, out=step)
        np.maximum(step, lowest, out=step)
        np.minimum(step, highest, out=step)
        np.multiply(step, candidates.scales, out=miss)
        np.subtract(miss, wished[column], out=errors[column])
        miss -= target
    misses *= misses
    harm = np.square(group.inner.diagonal() / stretch) @ misses.reshape(len(wished), -1)
    choice = harm.reshape(inverse.shape).argmin(axis=0)
    best = candidates.take(choice)
    return best, np.take_along_axis(steps, choice[None, None], axis=1)[:, 0] + best.zeros
