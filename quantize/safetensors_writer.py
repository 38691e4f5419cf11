"""One safetensors file, written tensor by tensor as the values come, so that memory holds only what is handed over.

Knows: the header, which stands first and is known last: room for it is left, and filled up with spaces. Does not know:
what a tensor is for.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEADER_BYTES_PER_TENSOR = 256  # the name, the type, two sizes and two offsets
TYPES: dict[str, np.dtype[Any]] = {
    "BF16": np.dtype("<u2"),  # numpy has no bfloat16: its 16 bits are handed over
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "I32": np.dtype("<i4"),
}


class SafetensorsWriter:
    """The file at ``path`` with at most ``num_tensors`` tensors: ``begin`` and ``write`` each, ``finish``, ``close``.

    Raises OSError when the disk is full.
    """

    def __init__(self, path: Path, num_tensors: int) -> None:
        self._room = HEADER_BYTES_PER_TENSOR * (num_tensors + 1)
        self._header: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # what transformers looks for
        self._end = self._missing = 0
        self._type = TYPES["F32"]
        self._file = path.open("wb")
        self._file.seek(8 + self._room)

    def begin(self, name: str, dtype: str, shape: tuple[int, ...]) -> None:
        """The next tensor. Raises ValueError where the one before is not whole."""
        self._check_whole()
        self._type = TYPES[dtype]
        self._missing = math.prod(shape) * self._type.itemsize
        start, self._end = self._end, self._end + self._missing
        self._header[name] = {"dtype": dtype, "shape": shape, "data_offsets": (start, self._end)}

    def write(self, values: NDArray[Any]) -> None:
        """The next values of the tensor that was begun. Raises ValueError for more than were announced."""
        array = np.ascontiguousarray(values, dtype=self._type)
        self._missing -= array.nbytes
        if self._missing < 0:
            raise ValueError(f"{next(reversed(self._header))} gets {-self._missing} bytes more than were announced")
        self._file.write(array.data)

    def finish(self) -> None:
        """Write the header. Raises ValueError where the last tensor is not whole, or where the header has no room."""
        self._check_whole()
        text = json.dumps(self._header).encode()
        if len(text) > self._room:
            raise ValueError(f"the header needs {len(text)} bytes, and there is room for {self._room}")
        self._file.seek(0)
        self._file.write(self._room.to_bytes(8, "little") + text.ljust(self._room))
        self._file.flush()

    def close(self) -> None:
        """Let the file go, whole or not."""
        self._file.close()

    def _check_whole(self) -> None:
        if self._missing:
            raise ValueError(f"{next(reversed(self._header))} lacks {self._missing} bytes")
