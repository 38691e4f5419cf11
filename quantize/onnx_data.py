"""The data file beside ONNX graphs: arrays one behind the other, each filled by rows as they come.

Knows: where an array begins, which rows are still owed. Does not know: operators, or how weights were rounded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.spec import TensorPlace
from quantize.onnx_layout import OnnxRows
from quantize.onnx_nodes import DataArray, DataWeight
from quantize.stored import Stored, TensorFormat, format_of

_ALIGNMENT = 64  # bytes; where an array may begin
_TYPES: dict[str, np.dtype[Any]] = {
    "FLOAT": np.dtype("<f4"),
    "FLOAT16": np.dtype("<f2"),
    "UINT8": np.dtype(np.uint8),
}


class DataFile:
    """Arrays one behind the other in a file, each filled by rows; rows go to the disk as they come."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._end = 0

    def reserve(self, name: str, type_name: str, shape: tuple[int, ...]) -> DataArray:
        """Room for an array of this shape."""
        num_bytes = math.prod(shape) * _TYPES[type_name].itemsize
        array = DataArray(name, type_name, shape, self._end, num_bytes)
        self._end += -(-num_bytes // _ALIGNMENT) * _ALIGNMENT
        return array

    def reserve_weight(self, name: str, num_rows: int, rows: OnnxRows) -> DataWeight:
        """Room for a weight of ``num_rows`` that begins with ``rows``."""

        def reserve(part: str, type_name: str, values: NDArray[Any]) -> DataArray:
            return self.reserve(f"{name}.{part}", type_name, (num_rows, values.shape[1]))

        return DataWeight(
            bits=rows.bits,
            block=rows.block,
            codes=reserve("codes", "UINT8", rows.codes),
            scales=reserve("scales", "FLOAT", rows.scales),
            zeros=None if rows.zeros is None else reserve("zeros", "UINT8", rows.zeros),
        )

    def write(self, array: DataArray, first_row: int, rows: NDArray[Any]) -> None:
        """Fill the rows of ``array`` from ``first_row`` on."""
        row_bytes = array.num_bytes // array.shape[0]
        self._file.seek(array.offset + first_row * row_bytes)
        self._file.write(np.ascontiguousarray(rows, dtype=_TYPES[array.type_name]).data)

    def write_weight(self, weight: DataWeight, first_row: int, rows: OnnxRows) -> None:
        """Fill the rows of ``weight`` from ``first_row`` on. Raises ValueError for rows of other groups."""
        if (weight.bits, weight.block, weight.zeros is None) != (rows.bits, rows.block, rows.zeros is None):
            raise ValueError(f"{weight.codes.name} changes its groups on the way")
        parts = ((weight.codes, rows.codes), (weight.scales, rows.scales), (weight.zeros, rows.zeros))
        for array, values in parts:
            if array is not None and values is not None:
                self.write(array, first_row, values)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class AnnouncedRows:
    """The tensors that were announced, in their order, and how many rows of the current one have come."""

    def __init__(self, formats: Mapping[TensorPlace, TensorFormat]) -> None:
        self._formats = formats
        self._places = iter(formats)
        self._place = next(self._places, None)
        self._num_rows = 0

    def take(self, place: TensorPlace, rows: Stored) -> int:
        """The row of ``place`` that ``rows`` begin at. Raises ValueError for rows that are not the announced ones."""
        wanted, room = self._place, 0 if self._place is None else self._place.shape[0] - self._num_rows
        num_rows, first = len(rows) if isinstance(rows, np.ndarray) else len(rows.codes), self._num_rows
        if place != wanted or format_of(rows) != self._formats[place] or num_rows > room:
            raise ValueError(
                f"{room} rows of {wanted.checkpoint_name if wanted else 'nothing'} were announced, "
                f"got {num_rows} rows {format_of(rows)} of {place.checkpoint_name}"
            )
        self._num_rows += num_rows
        if self._num_rows == place.shape[0]:
            self._place, self._num_rows = next(self._places, None), 0
        return first

    def check_all_came(self) -> None:
        """Raises ValueError where rows are missing."""
        if self._place is not None:
            raise ValueError(f"{self._place.checkpoint_name} did not get all of its rows")
