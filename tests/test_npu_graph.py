"""The graphs for NPUs, run by ONNX Runtime on the CPU: they compute what our decoder does, in chunks and by steps."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx_models import onnx, onnxruntime, read_weights
from packed_checkpoints import write_packed_checkpoint
from tiny_checkpoints import SPECIAL, write_tiny_checkpoint

from models.bundle import Bundle
from quantize.decoder import logits_of
from quantize.pipeline import quantize_checkpoint
from quantize.recipe import QuantRecipe

NPU = QuantRecipe(file_formats=("onnx", "npu"))
FAMILIES = list(SPECIAL)
TOKENS = [int(token) for token in np.random.default_rng(0).integers(0, 256, 70)]  # more than a chunk
BAR = 1e-5  # relative; what is promised is 1e-3
SPELLINGS = ("", "_plain")  # of norms
HTP_OPERATORS = {
    "Add", "Cast", "Concat", "Gather", "MatMul", "MatMulNBits", "Mul", "RMSNormalization", "Reshape", "Sigmoid",
    "Softmax", "Split", "Sub", "Transpose",
}  # fmt: skip
PLAIN_OPERATORS = HTP_OPERATORS - {"RMSNormalization"} | {"Div", "ReduceMean", "Sqrt"}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Each family in turn."""
    return str(request.param)


class StaticModel:
    """Both graphs of a bundle with one cache, driven by their documented inputs alone; ``suffix`` of their roles."""

    def __init__(self, bundle: Bundle, suffix: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.sessions = {}
        for role in ("npu_prefill", "npu_decode"):
            path = str(bundle.file(f"{role}{suffix}"))
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            shapes = {value.name: value.shape for value in session.get_inputs()}
            self.sessions[shapes["tokens"][1]] = session
        self.cache = {name: np.zeros(shape, np.float32) for name, shape in shapes.items() if "past" in name}
        self.capacity = shapes["past_value.0"][2]

    def run(self, tokens: list[int], start: int) -> NDArray[np.float32]:
        """Logits after the last of ``tokens``, which stand from ``start`` on."""
        length = 1 if len(tokens) == 1 else max(self.sessions)
        count, session = len(tokens), self.sessions[length]
        mask = np.full((1, 1, length, self.capacity + length), -1e4, np.float32)
        mask[..., :start] = 0
        for row in range(length):
            mask[0, 0, row, self.capacity : self.capacity + row + 1] = 0
        feeds = {
            "tokens": np.array([tokens + [0] * (length - count)], np.int32),
            "positions": np.minimum(np.arange(start, start + length), self.capacity - 1).astype(np.int32),
            "mask": mask,
            **({"last": np.array([count - 1], np.int32)} if length > 1 else {}),
            **self.cache,
        }
        names = [value.name for value in session.get_outputs()]
        found = dict(zip(names, session.run(None, feeds), strict=True))
        for name, cache in self.cache.items():
            new = found[name.replace("past", "new")]
            if "key" in name:
                cache[..., start : start + count] = new[..., :count]
            else:
                cache[:, :, start : start + count] = new[:, :, :count]
        return np.asarray(found["logits"][0, 0])


def assert_computes_the_same(bundle: Bundle) -> None:
    """In chunks, token by token, and mixed; an independent reader takes the weights from the other format."""
    weights, norms = read_weights(bundle.file("onnx"))
    values = norms | {name: weight.values for name, weight in weights.items()}
    expected = logits_of(bundle.spec, lambda place: values[place.checkpoint_name], TOKENS)
    for pieces, suffix in product(([64, 6], [1] * 20, [5, 1, 30, 1, 1]), SPELLINGS):
        model, seen = StaticModel(bundle, suffix), 0
        for length in pieces:
            logits = model.run(TOKENS[seen : seen + length], seen)
            seen += length
            error = np.linalg.norm(logits - expected[seen - 1]) / np.linalg.norm(expected[seen - 1])
            assert error <= BAR


@pytest.mark.parametrize("tied", [True, False])
def test_they_compute_what_our_decoder_does(tmp_path: Path, family: str, tied: bool) -> None:
    """Norm order, rotation, shared keys, the halves of 8-bit codes, the mask: a mistake in any is far above."""
    source = write_tiny_checkpoint(tmp_path / "source", family, tied=tied)
    assert_computes_the_same(quantize_checkpoint(source, tmp_path / "out", NPU))


@pytest.mark.parametrize(("kind", "group_size", "feed_forward"), [("awq", 64, 128), ("symmetric", -1, 96)])
def test_imported_codes_compute_the_same(
    tmp_path: Path, family: str, kind: str, group_size: int, feed_forward: int
) -> None:
    source = write_packed_checkpoint(tmp_path / "s", kind, family, group_size=group_size, feed_forward=feed_forward)
    assert_computes_the_same(quantize_checkpoint(source.folder, tmp_path / "out", NPU))


@pytest.mark.parametrize("asymmetric", [True, False])
def test_tables_may_have_4_bits_and_layers_8(tmp_path: Path, family: str, asymmetric: bool) -> None:
    recipe = replace(NPU, wide=("down", "query"), asymmetric=asymmetric)
    assert_computes_the_same(
        quantize_checkpoint(write_tiny_checkpoint(tmp_path / "source", family), tmp_path / "out", recipe)
    )


def test_only_operators_and_shapes_that_an_npu_takes(tmp_path: Path, family: str) -> None:
    """One dynamic dimension, or one operator from outside this list, and a device leaves the graph to the CPU."""
    bundle = quantize_checkpoint(write_tiny_checkpoint(tmp_path / "source", family), tmp_path / "out", NPU)
    for role, operators in (
        ("npu_prefill", HTP_OPERATORS),
        ("npu_decode", HTP_OPERATORS),
        ("npu_prefill_plain", PLAIN_OPERATORS),
        ("npu_decode_plain", PLAIN_OPERATORS),
    ):
        onnx.checker.check_model(str(bundle.file(role)))
        graph = onnx.shape_inference.infer_shapes(onnx.load(str(bundle.file(role)), load_external_data=False)).graph
        assert {node.op_type for node in graph.node} <= operators
        bits = {
            a.i for node in graph.node for a in node.attribute if node.op_type == "MatMulNBits" and a.name == "bits"
        }
        assert bits == {4}
        for value in (*graph.input, *graph.output, *graph.value_info):
            assert all(dimension.dim_value > 0 for dimension in value.type.tensor_type.shape.dim)


def test_all_graphs_read_one_data_file(tmp_path: Path) -> None:
    """A second copy of the weights would be half of the bundle."""
    bundle = quantize_checkpoint(write_tiny_checkpoint(tmp_path / "source"), tmp_path / "out", NPU)
    locations = []
    for role in ("npu_prefill", "npu_decode", "npu_prefill_plain", "npu_decode_plain"):
        graph = onnx.load(str(bundle.file(role)), load_external_data=False).graph
        locations.append({array.name: str(array.external_data) for array in graph.initializer if array.external_data})
    assert all(location == locations[0] for location in locations)
    assert bundle.file("npu_data").name in locations[0]["cos_table"]
