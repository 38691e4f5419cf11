"""A folder of float safetensors, opened, checked as a whole, and handed out by role, a few rows at a time.

Knows: shards, the tensors a family must have, their shapes. Does not know: quantization, or what is built of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import CheckpointError
from models.files import read_json_object
from models.safetensors_file import FLOAT_BYTES, StoredTensor, read_safetensors_header
from models.spec import ModelSpec, TensorPlace, spec_from_config

ROWS_BYTES = 64 * 1024 * 1024  # float32 bytes of one chunk of rows
_IGNORED_SUFFIXES = (".rotary_emb.inv_freq",)  # a buffer that old exporters wrote; it follows from the spec


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An opened checkpoint: all tensors of ``spec`` are there, whole, float and of the right shape."""

    folder: Path
    config: dict[str, Any]
    spec: ModelSpec
    tensors: dict[str, StoredTensor]  # by the name in the checkpoint

    def read(self, place: TensorPlace) -> NDArray[np.float32]:
        """The whole tensor as float32. Raises CheckpointError for a NaN or an infinity."""
        return self.tensors[place.checkpoint_name].read_rows(0, place.shape[0])

    def read_rows(self, place: TensorPlace, chunk_bytes: int = ROWS_BYTES) -> Iterator[NDArray[np.float32]]:
        """The tensor in order, as chunks of whole rows of at most ``chunk_bytes`` (and at least one row)."""
        stored = self.tensors[place.checkpoint_name]
        num_rows = place.shape[0]
        step = max(1, chunk_bytes // (4 * math.prod(place.shape[1:])))
        for first in range(0, num_rows, step):
            yield stored.read_rows(first, min(first + step, num_rows))


def open_checkpoint(folder: Path) -> Checkpoint:
    """Open a Hugging Face folder with ``config.json`` and float safetensors, sharded or not. Reads headers only.

    Raises UnknownFamilyError for a family without a row; CheckpointError for anything missing, truncated, misshapen,
    not float, left over, or quantized already.
    """
    config = read_json_object(folder / "config.json", CheckpointError)
    spec = spec_from_config(config)
    if config.get("quantization_config"):
        raise CheckpointError(f"{folder} is quantized already; give the float checkpoint it was made from.")
    stored = _read_headers(folder)
    places = spec.places()
    for place in places:
        _check(place, stored, folder)
    _refuse_leftovers(spec, {place.checkpoint_name for place in places}, stored, folder)
    return Checkpoint(folder, config, spec, {place.checkpoint_name: stored[place.checkpoint_name] for place in places})


def _read_headers(folder: Path) -> dict[str, StoredTensor]:
    stored: dict[str, StoredTensor] = {}
    for name in _shard_names(folder):
        shard = read_safetensors_header(folder / name)
        if twice := stored.keys() & shard.keys():
            raise CheckpointError(f"{folder} holds {min(twice)} in two files; remove what does not belong there.")
        stored.update(shard)
    return stored


def _shard_names(folder: Path) -> list[str]:
    index_path = folder / "model.safetensors.index.json"
    if not index_path.exists():
        names = sorted(path.name for path in folder.glob("*.safetensors"))
        if not names:
            raise CheckpointError(
                f"{folder} holds no .safetensors file; only float safetensors checkpoints can be read."
            )
        return names
    weight_map = read_json_object(index_path, CheckpointError).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index_path} has no weight_map; it is damaged, fetch it again.")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if Path(name).name != name:
            raise CheckpointError(f"{index_path} points outside its folder, to {name!r}; do not trust this checkpoint.")
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} lacks the shard {name}; the checkpoint is incomplete, fetch it again.")
    return names


def _check(place: TensorPlace, stored: dict[str, StoredTensor], folder: Path) -> None:
    tensor = stored.get(place.checkpoint_name)
    if tensor is None:
        raise CheckpointError(f"{folder} lacks the tensor {place.checkpoint_name}; the checkpoint is incomplete.")
    if tensor.dtype not in FLOAT_BYTES:
        raise CheckpointError(f"{tensor.name} is stored as {tensor.dtype}; only {', '.join(FLOAT_BYTES)} can be read.")
    if tensor.shape != place.shape:
        raise CheckpointError(f"{tensor.name} has shape {tensor.shape}, but config.json makes it {place.shape}.")


def _refuse_leftovers(spec: ModelSpec, wanted: set[str], stored: dict[str, StoredTensor], folder: Path) -> None:
    """A tensor nobody reads (a bias, an adapter) would change the model in silence, so it is refused."""
    spare = {"lm_head.weight"} if spec.has_tied_head else set()  # some exporters write the tied head a second time
    left = sorted(name for name in stored.keys() - wanted - spare if not name.endswith(_IGNORED_SUFFIXES))
    if left:
        raise CheckpointError(f"{folder} holds {left[0]}, a tensor that {spec.family} has no place for.")
