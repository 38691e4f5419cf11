"""One safetensors file, read with plain file reads so that memory holds only what was asked for.

Knows: the header (8 bytes of length, then JSON), float16, bfloat16, float32, int32 and int64. Numpy has no bfloat16 and
the safetensors package needs torch for it, so its 16 bits are widened here. A memory map would be shorter, but its
pages count as this process's memory. Does not know: what a tensor is for.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import CheckpointError

MAX_HEADER_BYTES = 100_000_000  # the format's own limit
FLOAT_BYTES = {"F16": 2, "BF16": 2, "F32": 4}
INTEGER_BYTES = {"I32": 4, "I64": 8}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where one tensor lies: ``start`` is its first byte in ``path``, ``dtype`` the format's own name."""

    path: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int

    def read_rows(self, first: int, last: int) -> NDArray[np.float32]:
        """Rows ``first`` to ``last`` (exclusive) along the first axis, as float32.

        Raises CheckpointError for a NaN or an infinity, and when the file cannot be read.
        """
        raw_type = np.dtype("<f4" if self.dtype == "F32" else "<f2" if self.dtype == "F16" else "<u2")
        raw = self._read(raw_type, first, last)
        values = _widen_bfloat16(raw) if self.dtype == "BF16" else raw.astype(np.float32, copy=False)
        if not np.isfinite(values).all():
            raise CheckpointError(f"{self.name} in {self.path} holds a NaN or an infinity; the checkpoint is broken.")
        return values.reshape((last - first, *self.shape[1:]))

    def read_integers(self) -> NDArray[np.signedinteger[Any]]:
        """The whole tensor, int32 or int64 as stored. Raises CheckpointError when the file cannot be read."""
        return self._read(np.dtype("<i4" if self.dtype == "I32" else "<i8"), 0, self.shape[0]).reshape(self.shape)

    def _read(self, raw_type: np.dtype[Any], first: int, last: int) -> NDArray[Any]:
        """Rows ``first`` to ``last``, flat."""
        row_size = math.prod(self.shape[1:])
        count = (last - first) * row_size
        try:
            raw = np.fromfile(self.path, raw_type, count, offset=self.start + first * row_size * raw_type.itemsize)
        except OSError as exc:
            raise CheckpointError(f"{self.path} cannot be read: {exc.strerror}.") from exc
        if raw.size != count:
            raise CheckpointError(
                f"{self.path} ended inside {self.name}; it changed while it was read, fetch it again."
            )
        return raw


def _widen_bfloat16(raw: NDArray[np.uint16]) -> NDArray[np.float32]:
    return (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)


def read_safetensors_header(path: Path) -> dict[str, StoredTensor]:
    """The tensors of ``path`` by name, each checked to lie inside the file with the bytes its shape needs.

    Raises CheckpointError naming the file, and the tensor where there is one.
    """
    try:
        file_bytes = path.stat().st_size
        with path.open("rb") as stream:
            header_bytes = int.from_bytes(stream.read(8), "little")
            if file_bytes < 8 or header_bytes > min(file_bytes - 8, MAX_HEADER_BYTES):
                raise CheckpointError(f"{path} is truncated or not a safetensors file; fetch it again.")
            header = json.loads(stream.read(header_bytes))
    except OSError as exc:
        raise CheckpointError(f"{path} cannot be read: {exc.strerror}; fetch it again.") from exc
    except (ValueError, RecursionError) as exc:
        raise CheckpointError(f"{path} has an unreadable header ({exc}); it is not a safetensors file.") from exc
    if not isinstance(header, dict):
        raise CheckpointError(f"{path} has a header that is not an object; it is not a safetensors file.")
    header.pop("__metadata__", None)
    return {name: _stored_tensor(path, name, entry, 8 + header_bytes, file_bytes) for name, entry in header.items()}


def _stored_tensor(path: Path, name: str, entry: Any, data_start: int, file_bytes: int) -> StoredTensor:
    try:
        dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    except (TypeError, KeyError, ValueError) as exc:
        raise CheckpointError(f"{path} describes {name} wrongly; it is damaged, fetch it again.") from exc
    numbers = (*shape, begin, end)
    if not all(isinstance(number, int) and number >= 0 for number in numbers) or not isinstance(dtype, str):
        raise CheckpointError(f"{path} describes {name} wrongly; it is damaged, fetch it again.")
    if data_start + end > file_bytes:
        raise CheckpointError(
            f"{path} is truncated: {name} ends at byte {data_start + end}, the file at {file_bytes}; fetch it again."
        )
    item_bytes = (FLOAT_BYTES | INTEGER_BYTES).get(dtype)
    if item_bytes and end - begin != math.prod(shape) * item_bytes:
        raise CheckpointError(f"{name} in {path} has {end - begin} bytes, not what its shape {shape} needs.")
    return StoredTensor(path, name, dtype, shape, data_start + begin)
