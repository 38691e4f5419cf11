"""ONNX graphs of bundles, run by ONNX Runtime and taken apart with the onnx package.

Knows: the names that the graphs' users know, and the published layouts of their operators. Does not know: our own
writer, so that its bugs cannot hide here.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

Cache = dict[str, NDArray[np.float32]]
FILES = ("model.onnx", "model.onnx.data", "genai_config.json", "tokenizer_config.json", "tokenizer.json")


def copy_at_level(folder: Path, target: Path, level: int, **settings: Any) -> Path:
    """A copy of a bundle's ONNX files whose products are computed at accuracy ``level``; returns ``target``.

    ``settings`` replace some of those that genai_config.json has for the model.
    """
    target.mkdir()
    for name in FILES[1:]:
        shutil.copyfile(folder / name, target / name)
    model = onnx.load(str(folder / "model.onnx"), load_external_data=False)
    for attribute in (attribute for node in model.graph.node for attribute in node.attribute):
        if attribute.name == "accuracy_level":
            attribute.i = level
    (target / "model.onnx").write_bytes(model.SerializeToString())
    config = json.loads((folder / "genai_config.json").read_text("utf-8"))
    config["model"] |= settings
    (target / "genai_config.json").write_text(json.dumps(config), encoding="utf-8")
    return target


class OnnxModel:
    """A graph in ONNX Runtime, with one thread."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.outputs = [output.name for output in self.session.get_outputs()]

    def cache(self, batch: int = 1, capacity: int = 0) -> Cache:
        """A cache without a token, with room for ``capacity`` of them."""
        inputs = [value for value in self.session.get_inputs() if value.name.startswith("past")]
        return {value.name: np.zeros((batch, value.shape[1], capacity, value.shape[3]), np.float32) for value in inputs}

    def run(
        self, tokens: Sequence[Sequence[int]], mask: Sequence[Sequence[int]], cache: Mapping[str, NDArray[np.float32]]
    ) -> tuple[NDArray[np.float32], Cache]:
        """Logits (batch, vocabulary) after the last token of every row, and the cache after all of them."""
        feeds = {"input_ids": np.array(tokens, np.int64), "attention_mask": np.array(mask, np.int64), **cache}
        found = dict(zip(self.outputs, self.session.run(None, feeds), strict=True))
        logits = found.pop("logits")
        return logits[:, 0], {name.replace("present", "past_key_values"): array for name, array in found.items()}


@dataclass(frozen=True)
class ReadWeight:
    """A weight (N, K): codes and zeros as numbers, scales and zeros (N, K / block)."""

    codes: NDArray[np.int64]
    scales: NDArray[np.float32]
    zeros: NDArray[np.int64]

    @property
    def values(self) -> NDArray[np.float32]:
        """The weights, as the operators define them; a product of float32 numbers, as in every reader."""
        block = self.codes.shape[1] // self.scales.shape[1]
        differences = (self.codes - self.zeros.repeat(block, axis=1)).astype(np.float32)
        return differences * self.scales.repeat(block, axis=1)


def read_weights(path: Path) -> tuple[dict[str, ReadWeight], dict[str, NDArray[np.float32]]]:
    """The quantized weights and the norms of a graph, by the names of a checkpoint."""
    model = onnx.load(str(path))
    arrays = {array.name: onnx.numpy_helper.to_array(array) for array in model.graph.initializer}
    weights: dict[str, ReadWeight] = {}
    for node in model.graph.node:
        order = {"MatMulNBits": (1, 2, 3), "GatherBlockQuantized": (0, 2, 3)}.get(node.op_type)
        if order is None:
            continue
        bits = next(attribute.i for attribute in node.attribute if attribute.name == "bits")
        codes, scales, *zeros = (arrays[node.input[number]] for number in order if number < len(node.input))
        name = node.input[order[0]].partition(".codes")[0]
        plain = unpack(zeros[0], bits, scales.shape[1]) if zeros else np.full(scales.shape, 1 << (bits - 1))
        weights[name] = ReadWeight(unpack(codes.reshape(len(codes), -1), bits), scales, plain)
    norms = {name: array for name, array in arrays.items() if "norm" in name}
    return weights, norms


def unpack(packed: NDArray[np.uint8], bits: int, num_columns: int | None = None) -> NDArray[np.int64]:
    """Bytes (N, B) as numbers (N, B * 8 / bits): of two in a byte, the low nibble is the first."""
    numbers = packed.astype(np.int64)
    if bits == 4:
        numbers = np.array([[half for byte in row for half in (byte % 16, byte // 16)] for row in numbers.tolist()])
    return numbers[:, :num_columns]
