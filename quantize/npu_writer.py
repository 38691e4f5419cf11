"""Quantized tensors as ONNX graphs for NPUs over one data file: a chunk of a prefill, and one token.

Knows: which array holds what, how many tokens the graphs are made for. Does not know: operators or devices; a writer
re-lays and never quantizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from models.spec import TensorPlace
from quantize.decoder import rotation_of
from quantize.int4 import Int4Tensor
from quantize.int8 import Int8Tensor
from quantize.npu_graph import NpuTensors, build_npu_model
from quantize.npu_layout import product_parts, table_rows
from quantize.onnx_data import AnnouncedRows, DataFile
from quantize.onnx_nodes import DataArray, DataTensors, DataWeight, import_onnx
from quantize.stored import ModelFacts, Stored, TensorFormat

PREFILL_NAME, DECODE_NAME, NPU_DATA_NAME = "npu_prefill.onnx", "npu_decode.onnx", "npu.onnx.data"
PLAIN_PREFILL_NAME, PLAIN_DECODE_NAME = "npu_prefill.plain.onnx", "npu_decode.plain.onnx"  # with the norms spelled out
CAPACITY = 1024  # tokens of the cache: every step reads all of it, so that more costs time also when it is empty
CHUNK_SIZE = 64  # tokens of a prefill call


class NpuWriter:
    """A quantize.writers.BundleWriter of both graphs, both again in plain arithmetic, and their data file."""

    def __init__(
        self,
        folder: Path,
        facts: ModelFacts,
        formats: Mapping[TensorPlace, TensorFormat],
        *,
        capacity: int | None = None,
        chunk_size: int | None = None,
    ) -> None:
        """Begin the data file in ``folder``; a simulator wants graphs for fewer tokens than CAPACITY and CHUNK_SIZE.

        Raises ModelError when the ``onnx`` package is missing.
        """
        import_onnx()
        self._capacity = min(facts.spec.context_length, capacity or CAPACITY)
        self._chunk_size = min(chunk_size or CHUNK_SIZE, self._capacity)
        self._folder, self._spec = folder, facts.spec
        self._announced = AnnouncedRows(formats)
        self._parts: dict[TensorPlace, list[DataWeight]] = {}
        self._norms: dict[TensorPlace, DataArray] = {}
        self._table: list[DataArray] = []
        self._data = DataFile(folder / NPU_DATA_NAME)

    def add(self, place: TensorPlace, rows: Stored) -> None:
        """See quantize.writers.BundleWriter."""
        first_row = self._announced.take(place, rows)
        if isinstance(rows, np.ndarray):
            if place not in self._norms:
                self._norms[place] = self._data.reserve(place.checkpoint_name, "FLOAT", place.shape)
            self._data.write(self._norms[place], first_row, rows)
            return
        if place.role == "embedding":
            self._add_table(place, first_row, rows)
        if place.role != "embedding" or self._spec.has_tied_head:
            self._add_product(place, first_row, rows)

    def finish(self) -> None:
        """See quantize.writers.BundleWriter."""
        self._announced.check_all_came()
        rotation = rotation_of(self._spec, self._capacity)
        angles = []
        for name, values in (("cos_table", rotation.cos), ("sin_table", rotation.sin)):
            angles.append(self._data.reserve(name, "FLOAT", values.shape))
            self._data.write(angles[-1], 0, values)
        self._data.flush()
        weights = {place: parts[0] for place, parts in self._parts.items()}
        low_halves = {place: parts[1] for place, parts in self._parts.items() if len(parts) > 1}
        data = DataTensors(NPU_DATA_NAME, weights, self._norms)
        tensors = NpuTensors(data, low_halves, *self._table, *angles)
        for name, length, is_plain in (
            (PREFILL_NAME, self._chunk_size, False),
            (DECODE_NAME, 1, False),
            (PLAIN_PREFILL_NAME, self._chunk_size, True),
            (PLAIN_DECODE_NAME, 1, True),
        ):
            model = build_npu_model(self._spec, tensors, length, spells_norms=is_plain)
            (self._folder / name).write_bytes(model.SerializeToString(deterministic=True))

    def close(self) -> None:
        """See quantize.writers.BundleWriter."""
        self._data.close()

    def _add_table(self, place: TensorPlace, first_row: int, rows: Int4Tensor | Int8Tensor) -> None:
        codes, scales = table_rows(rows)
        if not self._table:
            name, num_rows = place.checkpoint_name, place.shape[0]
            self._table = [
                self._data.reserve(f"{name}.table", "FLOAT16", (num_rows, codes.shape[1])),
                self._data.reserve(f"{name}.table_scales", "FLOAT", (num_rows, scales.shape[1])),
            ]
        self._data.write(self._table[0], first_row, codes)
        self._data.write(self._table[1], first_row, scales)

    def _add_product(self, place: TensorPlace, first_row: int, rows: Int4Tensor | Int8Tensor) -> None:
        parts = product_parts(rows)
        if place not in self._parts:
            names = (place.checkpoint_name, f"{place.checkpoint_name}.low")
            self._parts[place] = [
                self._data.reserve_weight(name, place.shape[0], part)
                for name, part in zip(names[: len(parts)], parts, strict=True)
            ]
        for weight, part in zip(self._parts[place], parts, strict=True):
            self._data.write_weight(weight, first_row, part)
