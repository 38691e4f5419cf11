"""Quantized tensors as an ONNX graph with its data file, in a folder that onnxruntime-genai loads.

Knows: how the data file is filled. Does not know: how weights were rounded; a writer re-lays and never quantizes. Rows
go to the disk as they come, so memory holds a chunk, and the file may be of any size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import UsageError
from models.files import json_bytes
from models.spec import TensorPlace
from quantize.genai_files import GENAI_NAME, ONNX_NAME, genai_config, num_positions
from quantize.hub_files import TOKENIZER_CONFIG_NAME, tokenizer_config
from quantize.onnx_graph import build_model
from quantize.onnx_layout import OnnxRows, onnx_rows
from quantize.onnx_nodes import DataArray, DataTensors, DataWeight, import_onnx
from quantize.stored import ModelFacts, Stored, TensorFormat, format_of

DATA_NAME = "model.onnx.data"
ACCURACY_LEVEL = 4  # of MatMulNBits: activations rounded to int8, which is fastest; 1 would compute in float32
_ALIGNMENT = 64  # bytes; where an array may begin
_TYPES: dict[str, np.dtype[Any]] = {"FLOAT": np.dtype("<f4"), "UINT8": np.dtype(np.uint8)}


def check_onnx_tensors(formats: Mapping[TensorPlace, TensorFormat]) -> None:
    """Raises UsageError for weights in floats, which these graphs have no operator for."""
    for place, tensor_format in formats.items():
        if place.kind != "norm" and tensor_format == "F32":
            raise UsageError(
                f"{place.checkpoint_name} would stay in floats, but the format onnx holds 4 or 8 bits; "
                "leave the format out, or bits 32."
            )


class OnnxWriter:
    """A quantize.writers.BundleWriter of a graph, its data file, and what onnxruntime-genai wants beside them."""

    def __init__(self, folder: Path, facts: ModelFacts, formats: Mapping[TensorPlace, TensorFormat]) -> None:
        """Begin the data file in ``folder``. Raises ModelError when the ``onnx`` package is missing."""
        import_onnx()
        self._folder, self._facts, self._formats = folder, facts, formats
        self._places = iter(formats)
        self._place = next(self._places, None)
        self._num_rows = 0  # of the current place, that are written
        self._weights: dict[TensorPlace, DataWeight] = {}
        self._norms: dict[TensorPlace, DataArray] = {}
        self._data = _DataFile(folder / DATA_NAME)

    def add(self, place: TensorPlace, rows: Stored) -> None:
        """See quantize.writers.BundleWriter."""
        self._check(place, rows)
        if isinstance(rows, np.ndarray):
            if place not in self._norms:
                self._norms[place] = self._data.reserve(place.checkpoint_name, "FLOAT", place.shape)
            self._data.write(self._norms[place], self._num_rows, rows)
        else:
            self._add_weight(place, onnx_rows(rows))
        self._num_rows += _num_rows(rows)
        if self._num_rows == place.shape[0]:
            self._place, self._num_rows = next(self._places, None), 0

    def finish(self) -> None:
        """See quantize.writers.BundleWriter."""
        if self._place is not None:
            raise ValueError(f"{self._place.checkpoint_name} did not get all of its rows")
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

    def _check(self, place: TensorPlace, rows: Stored) -> None:
        wanted, room = self._place, 0 if self._place is None else self._place.shape[0] - self._num_rows
        if place != wanted or format_of(rows) != self._formats[place] or _num_rows(rows) > room:
            raise ValueError(
                f"{room} rows of {wanted.checkpoint_name if wanted else 'nothing'} were announced, "
                f"got {_num_rows(rows)} rows {format_of(rows)} of {place.checkpoint_name}"
            )

    def _add_weight(self, place: TensorPlace, rows: OnnxRows) -> None:
        if place not in self._weights:
            self._weights[place] = self._reserve(place, rows)
        weight = self._weights[place]
        if (weight.bits, weight.block, weight.zeros is None) != (rows.bits, rows.block, rows.zeros is None):
            raise ValueError(f"{place.checkpoint_name} changes its groups on the way")
        parts = ((weight.codes, rows.codes), (weight.scales, rows.scales), (weight.zeros, rows.zeros))
        for array, values in parts:
            if array is not None and values is not None:
                self._data.write(array, self._num_rows, values)

    def _reserve(self, place: TensorPlace, rows: OnnxRows) -> DataWeight:
        """Room for a whole weight that begins with ``rows``."""

        def reserve(part: str, type_name: str, values: NDArray[Any]) -> DataArray:
            return self._data.reserve(f"{place.checkpoint_name}.{part}", type_name, (place.shape[0], values.shape[1]))

        return DataWeight(
            bits=rows.bits,
            block=rows.block,
            codes=reserve("codes", "UINT8", rows.codes),
            scales=reserve("scales", "FLOAT", rows.scales),
            zeros=None if rows.zeros is None else reserve("zeros", "UINT8", rows.zeros),
        )


class _DataFile:
    """Arrays one behind the other in a file, each filled by rows."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._end = 0

    def reserve(self, name: str, type_name: str, shape: tuple[int, ...]) -> DataArray:
        """Room for an array of this shape."""
        num_bytes = math.prod(shape) * _TYPES[type_name].itemsize
        array = DataArray(name, type_name, shape, self._end, num_bytes)
        self._end += -(-num_bytes // _ALIGNMENT) * _ALIGNMENT
        return array

    def write(self, array: DataArray, first_row: int, rows: NDArray[Any]) -> None:
        """Fill the rows of ``array`` from ``first_row`` on."""
        row_bytes = array.num_bytes // array.shape[0]
        self._file.seek(array.offset + first_row * row_bytes)
        self._file.write(np.ascontiguousarray(rows, dtype=_TYPES[array.type_name]).data)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _num_rows(rows: Stored) -> int:
    return len(rows) if isinstance(rows, np.ndarray) else len(rows.codes)
