"""quantize.awq: scales that change nothing by themselves, and searches that find what a slow search finds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from record_logit_vectors import TOKENS
from test_refine import make_layer
from tiny_checkpoints import QK_NORMS, write_tiny_checkpoint

from models.checkpoint import open_checkpoint
from models.families import family_of
from quantize.awq import (
    apply_scale,
    candidate_scale,
    output_error,
    sample_rows,
    search_clip,
    search_scale,
)
from quantize.block import quantize_block
from quantize.calibrate import InputSums
from quantize.decoder import logits_of, rotation_of, run_block, split_places
from quantize.grids import CLIPPING_SHARES, PLAIN_SHARES
from quantize.int4 import quantize_symmetric
from quantize.recipe import QuantRecipe

Floats = NDArray[np.float32]


def test_the_output_error_is_that_of_the_outputs() -> None:
    random = np.random.default_rng(0)
    inputs, difference = random.standard_normal((50, 8)), random.standard_normal((3, 8))
    expected = np.square(inputs @ difference.T).sum()
    assert output_error(difference, inputs.T @ inputs) == pytest.approx(expected)


@pytest.mark.parametrize("family", list(QK_NORMS))
def test_folding_leaves_the_float_output_unchanged(tmp_path: Path, family: str) -> None:
    """A scale folded into the wrong tensor, or along the wrong axis, changes the model before it is quantized."""
    checkpoint = open_checkpoint(write_tiny_checkpoint(tmp_path / "source", family))
    random = np.random.default_rng(2)
    weights = {place.checkpoint_name: checkpoint.read(place) for place in checkpoint.spec.places()}
    before = logits_of(checkpoint.spec, lambda place: weights[place.checkpoint_name], TOKENS)
    num_folded = 0
    for places in split_places(checkpoint.spec)[1]:
        names = {role: place.checkpoint_name for role, place in places.items()}
        for group in family_of(family).scale_groups:
            consumers = [names[role] for role in group.consumers]
            width = weights[consumers[0]].shape[1]
            if len(weights[names[group.producer]]) != width:
                continue  # grouped heads: the values have fewer channels than what is gathered of them
            scale = random.uniform(0.3, 3, width).astype(np.float32)
            producer, folded = apply_scale(weights[names[group.producer]], [weights[name] for name in consumers], scale)
            weights |= {names[group.producer]: producer, **dict(zip(consumers, folded, strict=True))}
            num_folded += 1
    assert num_folded == 3 * checkpoint.spec.num_layers
    after = logits_of(checkpoint.spec, lambda place: weights[place.checkpoint_name], TOKENS)
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-4 * np.abs(before).max())


def plain(weights: Floats, scale: Floats) -> Floats:
    """Rounded to nearest under a scale, and the scale taken back."""
    return quantize_symmetric(weights * scale, 32).dequantize() / scale


def test_the_search_keeps_the_best_of_its_grid() -> None:
    weights, gram = make_layer()
    magnitudes = np.sqrt(np.diagonal(gram))
    choice = search_scale([weights], gram, magnitudes, plain, 10)
    errors = [
        output_error(plain(weights, candidate_scale(magnitudes, point / 10)) - weights, gram) for point in range(10)
    ]
    assert choice.error == pytest.approx(min(errors))
    assert choice.ratio == int(np.argmin(errors)) / 10
    assert choice.error < errors[0]
    np.testing.assert_array_equal(choice.scale, candidate_scale(magnitudes, choice.ratio))


def test_a_scale_is_normalised_and_ratio_0_is_none() -> None:
    magnitudes = np.array([0.0, 1e-3, 1, 100], np.float32)
    np.testing.assert_array_equal(candidate_scale(magnitudes, 0.0), np.ones(4))
    scale = candidate_scale(magnitudes, 0.5)
    assert scale.max() * scale.min() == pytest.approx(1)
    assert np.isfinite(scale).all()


def test_weights_on_the_grid_are_not_scaled() -> None:
    """Plain rounding is perfect there; whatever a scale gains on a sample would be a loss."""
    weights, gram = make_layer()
    on_grid = quantize_symmetric(weights, 32, "largest").dequantize()
    choice = search_scale([on_grid], gram, np.sqrt(np.diagonal(gram)), plain, 5)
    assert (choice.ratio, choice.error) == (0, 0)


def test_clipping_is_no_more_harmful_than_any_of_its_grids() -> None:
    weights, gram = make_layer(num_rows=6, width=64)
    clipped = search_clip(weights, gram, 32, False)
    for first in (0, 32):
        part = slice(first, first + 32)
        harm = [
            np.einsum("nk,kl,nl->n", error, gram[part, part], error)
            for share in CLIPPING_SHARES
            for error in [
                search_clip(weights[:, part], None, 32, False, shares=[share]).dequantize() - weights[:, part]
            ]
        ]
        ours = clipped.dequantize()[:, part] - weights[:, part]
        assert (np.einsum("nk,kl,nl->n", ours, gram[part, part], ours) <= np.min(harm, axis=0) * 1.0001).all()


def test_without_clipping_it_is_plain_rounding() -> None:
    weights, _ = make_layer()
    ours, theirs = (
        search_clip(weights, None, 32, False, shares=PLAIN_SHARES),
        quantize_symmetric(weights, 32, "largest"),
    )
    np.testing.assert_array_equal(ours.scales, theirs.scales)
    assert (ours.codes == theirs.codes).mean() > 0.999  # a half may fall to either side


def test_samples_are_whole_rows_of_a_bounded_size() -> None:
    weights = np.arange(100 * 8, dtype=np.float32).reshape(100, 8)
    sample = sample_rows(weights, 50 * 8)
    assert sample.shape == (50, 8)
    assert (sample[0] == weights[0]).all() and (sample[-1] == weights[-1]).all()
    assert sample_rows(weights, 10**6) is weights


@pytest.mark.parametrize("refine", ["none", "gptq"])
@pytest.mark.parametrize("asymmetric", [False, True])
def test_a_block_is_better_than_plainly_rounded(tmp_path: Path, refine: str, asymmetric: bool) -> None:
    """Every layer by its own report, and the output of the whole block."""
    checkpoint = open_checkpoint(write_tiny_checkpoint(tmp_path / "source"))
    spec, places = checkpoint.spec, split_places(checkpoint.spec)[1][0]
    random = np.random.default_rng(4)
    weights = {
        role: checkpoint.read(place) if place.kind == "norm" else random.standard_normal(place.shape, np.float32) / 8
        for role, place in places.items()
    }
    hidden = random.standard_normal((128, spec.hidden_size), np.float32) * random.uniform(0.1, 4, spec.hidden_size)
    hidden = hidden.astype(np.float32)
    rotation, sums = rotation_of(spec, len(hidden)), InputSums()
    wanted = run_block(spec, weights, hidden, rotation, sums)
    recipe = QuantRecipe(method="awq", refine=refine, asymmetric=asymmetric, grid=4)
    block = quantize_block(spec, places, weights, sums, recipe)
    folded = run_block(spec, block.weights, hidden, rotation)
    np.testing.assert_allclose(folded, wanted, atol=1e-4 * np.abs(wanted).max())
    assert [group.producer for group in block.groups if group.kept != "plain" and group.error_share >= 1] == []
    if refine == "gptq":
        assert [layer.tensor for layer in block.layers if layer.error >= layer.plain_error] == []
    ours = block.weights | {role: tensor.dequantize() for role, tensor in block.stored.items()}
    rounded = weights | {role: quantize_symmetric(weights[role], 32).dequantize() for role in block.stored}
    errors = [np.linalg.norm(run_block(spec, some, hidden, rotation) - wanted) for some in (ours, rounded)]
    assert errors[0] < errors[1] * (0.8 if refine == "gptq" else 1)


def test_a_block_on_the_grid_keeps_plain_rounding_and_says_so(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_tiny_checkpoint(tmp_path / "source"))
    spec, places = checkpoint.spec, split_places(checkpoint.spec)[1][0]
    weights = {role: checkpoint.read(place) for role, place in places.items()}
    hidden = np.random.default_rng(4).standard_normal((64, spec.hidden_size), np.float32)
    sums = InputSums()
    run_block(spec, weights, hidden, rotation_of(spec, 64), sums)
    block = quantize_block(spec, places, weights, sums, replace(QuantRecipe(method="awq"), grid=3))
    assert {(group.kept, group.ratio) for group in block.groups} == {("plain", 0)}
    assert block.scales == {}
    for role, tensor in block.stored.items():
        np.testing.assert_array_equal(tensor.dequantize(), weights[role])
