"""Our ONNX graphs in ONNX Runtime: at accuracy level 1 they compute what our decoder does, however they are called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx_models import OnnxModel, copy_at_level, onnx, onnxruntime, read_weights
from packed_checkpoints import write_packed_checkpoint
from record_logit_vectors import LAST, VECTORS
from record_logit_vectors import TOKENS as RECORDED_TOKENS
from tiny_checkpoints import SPECIAL, write_tiny_checkpoint

from models.bundle import Bundle
from models.spec import ModelSpec
from quantize.decoder import logits_of
from quantize.pipeline import quantize_checkpoint
from quantize.recipe import QuantRecipe

ONNX = QuantRecipe(file_formats=("onnx",))
FAMILIES = list(SPECIAL)
TOKENS = [int(token) for token in np.random.default_rng(0).integers(0, 256, 24)]
BAR = 1e-5  # relative; what is promised is 1e-3


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Each family in turn."""
    return str(request.param)


def decoder_logits(path: Path, spec: ModelSpec, tokens: list[int]) -> NDArray[np.float32]:
    """Logits (T, vocabulary) of our decoder on the weights that an independent reader finds in a graph."""
    weights, norms = read_weights(path)
    values = norms | {name: weight.values for name, weight in weights.items()}
    return logits_of(spec, lambda place: values[place.checkpoint_name], tokens)


def exact_model(bundle: Bundle, tmp_path: Path) -> OnnxModel:
    """The bundle's graph, computed in float32."""
    return OnnxModel(copy_at_level(bundle.path, tmp_path / "exact", 1) / "model.onnx")


def relative_error(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """The length of the difference as a share of the length."""
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def assert_computes_the_same(bundle: Bundle, tmp_path: Path) -> None:
    """At once, in pieces, and token by token with the cache."""
    model = exact_model(bundle, tmp_path)
    expected = decoder_logits(bundle.file("onnx"), bundle.spec, TOKENS)
    for pieces in ([24], [10, 1, 13], [1] * 24):
        cache, seen = model.cache(), 0
        for length in pieces:
            piece = TOKENS[seen : seen + length]
            seen += length
            logits, cache = model.run([piece], [[1] * seen], cache)
            assert relative_error(logits[0], expected[seen - 1]) <= BAR


@pytest.mark.parametrize("tied", [True, False])
def test_onnx_runtime_computes_what_our_decoder_does(tmp_path: Path, family: str, tied: bool) -> None:
    """Norm order, rotation, head grouping, a query width of its own, the tied head: a mistake in any is far above."""
    source = write_tiny_checkpoint(tmp_path / "source", family, tied=tied)
    assert_computes_the_same(quantize_checkpoint(source, tmp_path / "out", ONNX), tmp_path)


def test_onnx_runtime_computes_what_transformers_does(tmp_path: Path, family: str) -> None:
    """Our decoder is not in this one: recorded logits of the weights, which lie on the grid."""
    bundle = quantize_checkpoint(write_tiny_checkpoint(tmp_path / "source", family), tmp_path / "out", ONNX)
    recorded = np.load(VECTORS / f"logits_{family}.npy").astype(np.float32)
    model = exact_model(bundle, tmp_path)
    first = len(RECORDED_TOKENS) - LAST + 1
    for length in range(first, len(RECORDED_TOKENS) + 1):
        logits, _ = model.run([list(RECORDED_TOKENS[:length])], [[1] * length], model.cache())
        assert relative_error(logits[0], recorded[length - first]) <= 1e-3


def test_the_shipped_level_is_the_fast_one(tmp_path: Path, family: str) -> None:
    """Activations are rounded to 8 bits there: near the same answer, and not the same."""
    bundle = quantize_checkpoint(write_tiny_checkpoint(tmp_path / "source", family), tmp_path / "out", ONNX)
    model = onnx.load(str(bundle.file("onnx")), load_external_data=False)
    levels = {
        attribute.i for node in model.graph.node for attribute in node.attribute if attribute.name == "accuracy_level"
    }
    assert levels == {4}
    shipped = OnnxModel(bundle.file("onnx"))
    logits, _ = shipped.run([TOKENS], [[1] * len(TOKENS)], shipped.cache())
    expected = decoder_logits(bundle.file("onnx"), bundle.spec, TOKENS)[-1]
    assert BAR < relative_error(logits[0], expected) < 0.2


@pytest.mark.parametrize(("kind", "group_size", "feed_forward"), [("awq", 64, 128), ("symmetric", -1, 96)])
def test_imported_codes_compute_the_same(
    tmp_path: Path, family: str, kind: str, group_size: int, feed_forward: int
) -> None:
    source = write_packed_checkpoint(tmp_path / "s", kind, family, group_size=group_size, feed_forward=feed_forward)
    assert_computes_the_same(quantize_checkpoint(source.folder, tmp_path / "out", ONNX), tmp_path)


@pytest.mark.parametrize("asymmetric", [True, False])
def test_tables_may_have_4_bits_and_layers_8(tmp_path: Path, family: str, asymmetric: bool) -> None:
    recipe = replace(ONNX, wide=("down", "query"), asymmetric=asymmetric)
    bundle = quantize_checkpoint(write_tiny_checkpoint(tmp_path / "source", family), tmp_path / "out", recipe)
    assert_computes_the_same(bundle, tmp_path)


def test_a_cache_in_place_can_be_cut_back(tmp_path: Path, family: str) -> None:
    """One buffer bound as past and as present, wrong tokens written and cut off, in pieces of several tokens."""
    bundle = quantize_checkpoint(write_tiny_checkpoint(tmp_path / "source", family), tmp_path / "out", ONNX)
    model = exact_model(bundle, tmp_path)
    expected = decoder_logits(bundle.file("onnx"), bundle.spec, TOKENS)
    buffers = {
        name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in model.cache(capacity=40).items()
    }

    def run(tokens: list[int], seen: int) -> NDArray[np.float32]:
        binding = model.session.io_binding()
        binding.bind_cpu_input("input_ids", np.array([tokens], np.int64))
        binding.bind_cpu_input("attention_mask", np.ones((1, seen + len(tokens)), np.int64))
        for name, buffer in buffers.items():
            binding.bind_ortvalue_input(name, buffer)
            binding.bind_ortvalue_output(name.replace("past_key_values", "present"), buffer)
        binding.bind_output("logits")
        model.session.run_with_iobinding(binding)
        logits: NDArray[np.float32] = binding.get_outputs()[-1].numpy()[0, 0]
        return logits

    assert relative_error(run(TOKENS[:8], 0), expected[7]) <= BAR
    run([5, 6, 7, 8, 9, 10], 8)
    assert relative_error(run(TOKENS[8:9], 8), expected[8]) <= BAR
    assert relative_error(run(TOKENS[9:], 9), expected[-1]) <= BAR


def test_rows_of_a_batch_may_differ_in_length(tmp_path: Path, family: str) -> None:
    """The last token of a short row is not the last column, and its next one goes where the row ends."""
    bundle = quantize_checkpoint(write_tiny_checkpoint(tmp_path / "source", family), tmp_path / "out", ONNX)
    model = exact_model(bundle, tmp_path)
    rows = [TOKENS[:6], TOKENS[6:9]]
    expected = [decoder_logits(bundle.file("onnx"), bundle.spec, [*row, 65]) for row in rows]
    logits, cache = model.run([rows[0], [*rows[1], 0, 0, 0]], [[1] * 6, [1, 1, 1, 0, 0, 0]], model.cache(2))
    for row, wanted in zip(logits, expected, strict=True):
        assert relative_error(row, wanted[-2]) <= BAR
    logits, _ = model.run([[65], [65]], [[1] * 7, [1, 1, 1, 1, 0, 0, 0]], cache)
    for row, wanted in zip(logits, expected, strict=True):
        assert relative_error(row, wanted[-1]) <= BAR


def test_far_positions_have_exact_angles(tmp_path: Path, family: str) -> None:
    """Angles of a few thousand in float32 are off by so much that the last bits of a rotation are noise."""
    bundle = quantize_checkpoint(write_tiny_checkpoint(tmp_path / "source", family), tmp_path / "out", ONNX)
    assert bundle.spec.context_length == 4096
    model = exact_model(bundle, tmp_path)
    tokens = [int(token) for token in np.random.default_rng(1).integers(0, 256, 1500)]
    logits, _ = model.run([tokens], [[1] * len(tokens)], model.cache())
    assert relative_error(logits[0], decoder_logits(bundle.file("onnx"), bundle.spec, tokens)[-1]) <= BAR
