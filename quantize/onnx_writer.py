"""Quantized tensors as an ONNX graph with its data file, in a folder that onnxruntime-genai loads.

Knows: which array holds what. Does not know: how weights were rounded; a writer re-lays and never quantizes. Rows
go to the disk as they come, so memory holds a chunk, and the file may be of any size.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from models.errors import UsageError
from models.files import json_bytes
from models.spec import TensorPlace
from quantize.genai_files import GENAI_NAME, ONNX_NAME, genai_config, num_positions
from quantize.hub_files import TOKENIZER_CONFIG_NAME, tokenizer_config
from quantize.onnx_data import AnnouncedRows, DataFile
from quantize.onnx_graph import build_model
from quantize.onnx_layout import onnx_rows
from quantize.onnx_nodes import DataArray, DataTensors, DataWeight, import_onnx
from quantize.stored import ModelFacts, Stored, TensorFormat

DATA_NAME = "model.onnx.data"
ACCURACY_LEVEL = 4  # of MatMulNBits: activations rounded to int8, which is fastest; 1 would compute in float32


def check_onnx_tensors(formats: Mapping[TensorPlace, TensorFormat]) -> None:
    """Raises UsageError for weights in floats, which these graphs have no operator for."""
    for place, tensor_format in formats.items():
        if place.kind != "norm" and tensor_format == "F32":
            raise UsageError(
                f"{place.checkpoint_name} would stay in floats, but the formats onnx and npu hold 4 or 8 bits; "
                "leave the format out, or bits 32."
            )


class OnnxWriter:
    """A quantize.writers.BundleWriter of a graph, its data file, and what onnxruntime-genai wants beside them."""

    def __init__(self, folder: Path, facts: ModelFacts, formats: Mapping[TensorPlace, TensorFormat]) -> None:
        """Begin the data file in ``folder``. Raises ModelError when the ``onnx`` package is missing."""
        import_onnx()
        self._folder, self._facts = folder, facts
        self._announced = AnnouncedRows(formats)
        self._weights: dict[TensorPlace, DataWeight] = {}
        self._norms: dict[TensorPlace, DataArray] = {}
        self._data = DataFile(folder / DATA_NAME)

    def add(self, place: TensorPlace, rows: Stored) -> None:
        """See quantize.writers.BundleWriter."""
        first_row = self._announced.take(place, rows)
        if isinstance(rows, np.ndarray):
            if place not in self._norms:
                self._norms[place] = self._data.reserve(place.checkpoint_name, "FLOAT", place.shape)
            self._data.write(self._norms[place], first_row, rows)
            return
        laid = onnx_rows(rows)
        if place not in self._weights:
            self._weights[place] = self._data.reserve_weight(place.checkpoint_name, place.shape[0], laid)
        self._data.write_weight(self._weights[place], first_row, laid)

    def finish(self) -> None:
        """See quantize.writers.BundleWriter."""
        self._announced.check_all_came()
        spec = self._facts.spec
        self._data.flush()
        tensors = DataTensors(DATA_NAME, self._weights, self._norms)
        model = build_model(spec, tensors, num_positions(spec), ACCURACY_LEVEL)
        (self._folder / ONNX_NAME).write_bytes(model.SerializeToString(deterministic=True))
        (self._folder / GENAI_NAME).write_bytes(json_bytes(genai_config(self._facts)))
        (self._folder / TOKENIZER_CONFIG_NAME).write_bytes(json_bytes(tokenizer_config(self._facts)))

    def close(self) -> None:
        """See quantize.writers.BundleWriter."""
        self._data.close()
