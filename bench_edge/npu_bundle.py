"""A shipped bundle with graphs for NPUs beside its own files, of the very codes that its GGUF holds.

Knows: how blocks of GGUF are read back into codes, none rounded. Does not know: graphs, or what device takes them.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.model_source import find_model
from models.bundle import write_bundle
from models.manifest import MANIFEST_NAME, Manifest
from models.spec import BLOCK_WIDTH, TensorPlace
from quantize.int4 import Int4Tensor
from quantize.int8 import Int8Tensor
from quantize.npu_writer import NpuWriter
from quantize.stored import ModelFacts, Stored, format_of
from quantize.vocabulary import Vocabulary
from quantize.writers import roles_of

NO_WORDS = Vocabulary((), (), (), "", None, adds_bos=False, chat_template=None)  # the graphs hold none


def npu_bundle(model: str, folder: Path, *, capacity: int | None = None, chunk_size: int | None = None) -> Path:
    """The bundle in ``folder``, written if there is none of these weights yet; sizes in tokens, None: the writer's own.

    Raises ModelError when the ``onnx`` package is missing.
    """
    shipped = find_model(model).bundle
    assert shipped is not None
    records = shipped.manifest.files
    weights = next(record for record in records.values() if record.role == "gguf")
    path = folder / f"{shipped.name}-npu-{weights.sha256[:12]}{f'-{capacity}-{chunk_size}' if capacity else ''}"
    if (path / MANIFEST_NAME).is_file():
        return path

    def fill(partial: Path) -> Manifest:
        for name in records:
            shutil.copyfile(shipped.path / name, partial / name)
        stored = read_stored(shipped.file("gguf"), list(shipped.spec.places()))
        facts = ModelFacts(shipped.name, shipped.spec, NO_WORDS, shipped.manifest.stop_token_ids)
        formats = {place: format_of(rows) for place, rows in stored.items()}
        writer = NpuWriter(partial, facts, formats, capacity=capacity, chunk_size=chunk_size)
        try:
            for place, rows in stored.items():
                writer.add(place, rows)
            writer.finish()
        finally:
            writer.close()
        return shipped.manifest

    roles = {name: record.role for name, record in records.items()} | roles_of(["npu"])
    return write_bundle(path, roles, fill).path


def read_stored(path: Path, places: list[TensorPlace]) -> dict[TensorPlace, Stored]:
    """Codes and scales as they lie in the GGUF file at ``path``, of blocks that hold no zero points."""
    import gguf

    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    return {place: _stored(tensors[place.gguf_name], place) for place in places}


def _stored(tensor: Any, place: TensorPlace) -> Stored:
    kind = tensor.tensor_type.name
    if kind == "F32":
        return np.array(tensor.data, np.float32).reshape(place.shape)
    num_rows, num_columns = place.shape
    blocks = np.array(tensor.data, np.uint8).reshape(num_rows, num_columns // BLOCK_WIDTH, -1)
    scales = blocks[..., :2].copy().view("<f2")[..., 0].astype(np.float16)
    codes: NDArray[np.uint8] = blocks[..., 2:]
    if kind == "Q8_0":
        return Int8Tensor(codes.copy().view(np.int8).reshape(place.shape), scales)
    if kind == "Q4_0":
        nibbles = np.concatenate([codes & 15, codes >> 4], axis=-1)
        return Int4Tensor(nibbles.reshape(place.shape), scales, None, BLOCK_WIDTH)
    raise ValueError(f"{place.gguf_name} is {kind}; Q4_0, Q8_0 and F32 are read")
