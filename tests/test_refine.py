"""quantize.refine and quantize.grids: error feedback against a slow and plain reading of the method."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import CheckpointError
from quantize.awq import output_error, search_clip
from quantize.grids import PLAIN_SHARES, candidate_grids
from quantize.int4 import quantize_symmetric
from quantize.refine import DAMPING, feedback_factor, feedback_of, refine

Floats = NDArray[np.float32]
RANDOM = np.random.default_rng(7)


def make_layer(num_rows: int = 24, width: int = 96, seed: int = 3) -> tuple[Floats, Floats]:
    """Weights (N, K) and the Gram matrix (K, K) of inputs whose channels hang together and differ in strength."""
    random = np.random.default_rng(seed)
    weights = random.standard_normal((num_rows, width)).astype(np.float32)
    mixing = random.standard_normal((width, width)) * 0.3 + np.eye(width)
    inputs = random.standard_normal((4 * width, width)) @ mixing * random.uniform(0.2, 3, width)
    return weights, (inputs.T @ inputs / len(inputs)).astype(np.float32)


def textbook_gptq(weights: Floats, gram: Floats, group_size: int) -> Floats:
    """GPTQ as its paper has it: the inverse, its Cholesky factor, every error spread over all later columns."""
    width = len(gram)
    order = feedback_of(gram, group_size).order
    damped = gram.astype(np.float64) + DAMPING * np.trace(gram) / width * np.eye(width)
    upper = np.linalg.cholesky(np.linalg.inv(damped[np.ix_(order, order)])).T
    left = weights.astype(np.float64)[:, order]
    result = np.empty_like(left)
    for column in range(width):
        if column % group_size == 0:
            part = slice(column, column + group_size)
            own = left[:, part].copy()
            grid = candidate_grids(own.T.astype(np.float32), PLAIN_SHARES, False)
        codes = grid.nearest(left[:, column].astype(np.float32))
        result[:, column] = grid.values(codes)[0]
        error = (left[:, column] - result[:, column]) / upper[column, column]
        left[:, column:] -= np.outer(error, upper[column, column:])
    values = np.empty_like(weights)
    values[:, order] = result
    return values


def test_it_is_gptq() -> None:
    """Our form needs no inverse and spreads no errors; a slip in the algebra would still give plausible codes."""
    weights, gram = make_layer()
    ours = refine(weights, feedback_of(gram, 32), False, shares=PLAIN_SHARES).dequantize()
    theirs = textbook_gptq(weights, gram, 32)
    assert (np.abs(ours - theirs) < 1e-3).mean() > 0.98  # a code on the edge may fall to either side
    assert output_error(ours - weights, gram) == pytest.approx(output_error(theirs - weights, gram), rel=0.05)


@pytest.mark.parametrize("asymmetric", [False, True])
def test_feedback_makes_outputs_better_and_weights_worse(asymmetric: bool) -> None:
    weights, gram = make_layer()
    plain = search_clip(weights, None, 32, asymmetric).dequantize() - weights
    refined = refine(weights, feedback_of(gram, 32), asymmetric).dequantize() - weights
    assert output_error(refined, gram) < 0.5 * output_error(plain, gram)
    assert np.linalg.norm(refined) > np.linalg.norm(plain)


def test_more_grids_are_no_worse() -> None:
    weights, gram = make_layer()
    feedback = feedback_of(gram, 32)
    plain = output_error(refine(weights, feedback, False, shares=PLAIN_SHARES).dequantize() - weights, gram)
    assert output_error(refine(weights, feedback, False).dequantize() - weights, gram) < plain


def test_the_factor_is_that_of_the_damped_gram() -> None:
    _, gram = make_layer()
    order = RANDOM.permutation(len(gram))
    factor = feedback_factor(gram, order)
    damped = gram + DAMPING * np.trace(gram) / len(gram) * np.eye(len(gram))
    assert np.array_equal(factor, np.triu(factor))
    np.testing.assert_allclose(factor @ factor.T, damped[np.ix_(order, order)], rtol=1e-4, atol=1e-3)


def test_rows_do_not_touch_each_other() -> None:
    """Rows are refined in chunks, which must not show."""
    weights, gram = make_layer(num_rows=600, width=32)
    feedback = feedback_of(gram, 32)
    together, alone = refine(weights, feedback, False), refine(weights[550:551], feedback, False)
    np.testing.assert_array_equal(together.codes[550], alone.codes[0])
    np.testing.assert_array_equal(together.scales[550], alone.scales[0])


@pytest.mark.parametrize("group_size", [32, 64, 128])
def test_weights_on_the_grid_stay(group_size: int) -> None:
    _, gram = make_layer(width=128)
    on_grid = quantize_symmetric(RANDOM.standard_normal((5, 128)).astype(np.float32), group_size, "largest")
    values = on_grid.dequantize()
    np.testing.assert_array_equal(refine(values, feedback_of(gram, group_size), False).dequantize(), values)


def test_a_scale_is_taken_back_by_who_divides() -> None:
    weights, gram = make_layer()
    feedback = feedback_of(gram, 32)
    scale = RANDOM.uniform(0.5, 2, len(gram)).astype(np.float32)
    scaled = refine(weights, feedback, False, scale=scale).dequantize() / scale - weights
    unscaled = refine(weights, feedback, False).dequantize() - weights
    assert output_error(scaled, gram) < 2 * output_error(unscaled, gram)


@pytest.mark.parametrize("dead", ["one", "all"])
def test_channels_that_are_always_zero_are_no_trouble(dead: str) -> None:
    """A Gram matrix with empty rows is singular; calibration text that never uses a channel is common."""
    weights, gram = make_layer()
    gone = slice(5, 6) if dead == "one" else slice(None)
    gram[gone], gram[:, gone] = 0, 0
    assert np.isfinite(refine(weights, feedback_of(gram, 32), False).dequantize()).all()


def test_inputs_that_are_not_finite_are_named() -> None:
    _, gram = make_layer()
    gram[3, 3] = np.nan
    with pytest.raises(CheckpointError, match="computes a NaN or an infinity"):
        feedback_of(gram, 32)


def test_a_weight_beyond_float16_scales_is_named() -> None:
    weights, gram = make_layer()
    weights[1, 2] = 1e7
    with pytest.raises(CheckpointError, match="too large for float16"):
        refine(weights, feedback_of(gram, 32), False)


def test_asymmetric_grids_hold_zero_and_the_ends() -> None:
    """A group of one sign must still have a code for what is near zero, or padding would become noise."""
    groups = np.stack([RANDOM.uniform(0.2, 1, 32), RANDOM.uniform(-3, -1, 32), np.zeros(32)], axis=1).astype(np.float32)
    grids = candidate_grids(groups, PLAIN_SHARES, True)
    values = grids.values(grids.nearest(groups))
    assert np.abs(values - groups).max(axis=0) == pytest.approx(np.zeros(3), abs=float(grids.scales.max()) * 0.51)
    assert ((grids.zeros >= 0) & (grids.zeros <= 15)).all()
