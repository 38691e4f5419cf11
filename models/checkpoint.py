"""A folder of safetensors, float or int4, opened, checked as a whole, and handed out by role, a few rows at a time.

Knows: shards, the tensors a family must have, their shapes. Does not know: how codes lie in a packed tensor
(``packing`` names its parts), or what is built of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import CheckpointError
from models.files import read_json_object
from models.packing import FLOATS, Packing, packing_from_config
from models.safetensors_file import StoredTensor, read_safetensors_header
from models.spec import ModelSpec, TensorPlace, spec_from_config

ROWS_BYTES = 64 * 1024 * 1024  # float32 bytes of one chunk of rows
_IGNORED_SUFFIXES = (".rotary_emb.inv_freq",)  # a buffer that old exporters wrote; it follows from the spec


@dataclass(frozen=True, slots=True)
class PackedLayer:
    """A layer that is int4 already: its tensors by what they are, as Packing.parts names them."""

    packing: Packing
    parts: dict[str, StoredTensor]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An opened checkpoint: all tensors of ``spec`` are there, whole, of the right type and shape.

    ``packed`` holds the layers whose codes are stored; everything else is in ``tensors``. ``packing`` is None for a
    float checkpoint.
    """

    folder: Path
    config: dict[str, Any]
    spec: ModelSpec
    tensors: dict[str, StoredTensor]  # by the name in the checkpoint
    packing: Packing | None
    packed: dict[TensorPlace, PackedLayer]

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
    """Open a Hugging Face folder with ``config.json`` and safetensors, sharded or not. Reads little beside headers.

    Linear layers may be floats, or 4-bit codes as AutoAWQ GEMM or compressed-tensors pack-quantized store them.
    Raises UnknownFamilyError for a family without a row; CheckpointError for anything missing, truncated, misshapen,
    of a wrong type, left over, or quantized in another way.
    """
    config = read_json_object(folder / "config.json", CheckpointError)
    spec = spec_from_config(config)
    packing = packing_from_config(config)
    stored = _read_headers(folder)
    tensors: dict[str, StoredTensor] = {}
    packed: dict[TensorPlace, PackedLayer] = {}
    for place in spec.places():
        name = place.checkpoint_name
        if packing is not None and _is_packed(place, packing, stored):
            packed[place] = _packed_layer(place, packing, stored, folder)
        else:
            tensors[name] = _checked(name, FLOATS, place.shape, stored, folder)
    if packing is not None and not packed:
        raise CheckpointError(f"config.json in {folder} announces {packing.name}, but no layer is packed.")
    wanted = tensors.keys() | {part.name for layer in packed.values() for part in layer.parts.values()}
    _refuse_leftovers(spec, wanted, stored, folder)
    return Checkpoint(folder, config, spec, tensors, packing, packed)


def _is_packed(place: TensorPlace, packing: Packing, stored: dict[str, StoredTensor]) -> bool:
    """Whether the codes of a layer are stored. One that lacks both codes and floats is missed as codes."""
    if packing.marker(place) in stored:
        return place.kind != "norm"
    return place.kind == "linear" and place.checkpoint_name not in stored


def _packed_layer(place: TensorPlace, packing: Packing, stored: dict[str, StoredTensor], folder: Path) -> PackedLayer:
    found = {
        key: _checked(part.name, part.dtypes, part.shape, stored, folder) for key, part in packing.parts(place).items()
    }
    if "shape" in found and tuple(found["shape"].read_integers().tolist()) != place.shape:
        raise CheckpointError(
            f"{found['shape'].name} says {found['shape'].read_integers().tolist()}, but config.json makes it "
            f"{list(place.shape)}."
        )
    return PackedLayer(packing, found)


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
            raise CheckpointError(f"{folder} holds no .safetensors file; only safetensors checkpoints can be read.")
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


def _checked(
    name: str, dtypes: tuple[str, ...], shape: tuple[int, ...], stored: dict[str, StoredTensor], folder: Path
) -> StoredTensor:
    """The tensor ``name``, which must be there as described."""
    tensor = stored.get(name)
    if tensor is None:
        raise CheckpointError(f"{folder} lacks the tensor {name}; the checkpoint is incomplete.")
    if tensor.dtype not in dtypes:
        raise CheckpointError(f"{name} is stored as {tensor.dtype}; only {', '.join(dtypes)} can be read there.")
    if tensor.shape != shape:
        raise CheckpointError(f"{name} has shape {tensor.shape}, but config.json makes it {shape}.")
    return tensor


def _refuse_leftovers(spec: ModelSpec, wanted: Set[str], stored: dict[str, StoredTensor], folder: Path) -> None:
    """A tensor nobody reads (a bias, an adapter) would change the model in silence, so it is refused."""
    spare = {"lm_head.weight"} if spec.has_tied_head else set()  # some exporters write the tied head a second time
    left = sorted(name for name in stored.keys() - wanted - spare if not name.endswith(_IGNORED_SUFFIXES))
    if left:
        raise CheckpointError(f"{folder} holds {left[0]}, a tensor that {spec.family} has no place for.")
