"""ONNX graphs of bundles, run by ONNX Runtime and taken apart by the onnx package.

Knows: the names that the graphs' users know. Does not know: our own writer, so that its bugs cannot hide here.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

Cache = dict[str, NDArray[np.float32]]


def copy_at_level(folder: Path, target: Path, level: int) -> Path:
    """A copy of a bundle's ONNX files whose products are computed at accuracy ``level``; returns ``target``."""
    target.mkdir()
    for name in ("model.onnx.data", "genai_config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(folder / name, target / name)
    model = onnx.load(str(folder / "model.onnx"), load_external_data=False)
    for attribute in (attribute for node in model.graph.node for attribute in node.attribute):
        if attribute.name == "accuracy_level":
            attribute.i = level
    (target / "model.onnx").write_bytes(model.SerializeToString())
    return target


class OnnxModel:
    """A graph in ONNX Runtime, with one thread."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._outputs = [output.name for output in self.session.get_outputs()]

    def empty_cache(self, batch: int = 1) -> Cache:
        """A cache without a token."""
        inputs = [value for value in self.session.get_inputs() if value.name.startswith("past")]
        return {value.name: np.zeros((batch, value.shape[1], 0, value.shape[3]), np.float32) for value in inputs}

    def run(
        self, tokens: Sequence[Sequence[int]], mask: Sequence[Sequence[int]], cache: Mapping[str, NDArray[np.float32]]
    ) -> tuple[NDArray[np.float32], Cache]:
        """Logits (batch, vocabulary) after the last token of every row, and the cache after all of them."""
        feeds = {"input_ids": np.array(tokens, np.int64), "attention_mask": np.array(mask, np.int64), **cache}
        found = dict(zip(self._outputs, self.session.run(None, feeds), strict=True))
        logits = found.pop("logits")
        return logits[:, 0], {name.replace("present", "past_key_values"): array for name, array in found.items()}
