"""Quantized tensors, spec and vocabulary as one GGUF file, through the ``gguf`` package.

Knows: the metadata llama.cpp wants, and how tensors follow each other. Does not know: how weights were rounded; a
writer re-lays and never quantizes. Memory holds one tensor at a time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from models.families import family_of
from models.spec import BLOCK_WIDTH, ModelSpec, TensorPlace
from quantize.gguf_blocks import Q4_0_BYTES, Q4_1_BYTES, Q8_0_BYTES, to_q4_0, to_q4_1, to_q8_0
from quantize.int4 import Int4Tensor
from quantize.int8 import Int8Tensor
from quantize.vocabulary import Vocabulary

if TYPE_CHECKING:
    from gguf import GGUFWriter

TensorFormat = Literal["F32", "Q4_0", "Q4_1", "Q8_0"]
Stored = Int4Tensor | Int8Tensor | NDArray[np.float32]

BLOCK_BYTES: dict[TensorFormat, int] = {
    "F32": 4 * BLOCK_WIDTH,
    "Q4_0": Q4_0_BYTES,
    "Q4_1": Q4_1_BYTES,
    "Q8_0": Q8_0_BYTES,
}


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a GGUF file says beside its weights. The first stop id becomes its EOS, the second its EOT."""

    name: str
    spec: ModelSpec
    vocabulary: Vocabulary
    stop_token_ids: tuple[int, ...]


def write_gguf(
    path: Path,
    facts: ModelFacts,
    formats: Mapping[TensorPlace, TensorFormat],
    chunks_of: Callable[[TensorPlace], Iterable[Stored]],
) -> None:
    """Write a GGUF file. ``formats`` gives every tensor in file order, ``chunks_of`` its rows in order, as chunks.

    Raises ModelError when the ``gguf`` package is missing, ValueError when the chunks are not what ``formats`` says,
    OSError when the disk is full.
    """
    gguf = _import_gguf()
    writer = gguf.GGUFWriter(path, family_of(facts.spec.family).gguf_architecture)
    try:
        _add_architecture(writer, facts)
        _add_vocabulary(writer, facts.vocabulary, facts.stop_token_ids)
        writer.add_file_type(gguf.LlamaFileType[_file_type(formats)])
        for place, tensor_format in formats.items():
            kind = gguf.GGMLQuantizationType[tensor_format]
            num_bytes = _num_bytes(place, tensor_format)
            writer.add_tensor_info(place.gguf_name, place.shape, np.dtype(np.float32), num_bytes, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for place, tensor_format in formats.items():
            writer.write_tensor_data(_lay_tensor(place, tensor_format, chunks_of(place)))
    finally:
        writer.close()


def _file_type(formats: Mapping[TensorPlace, TensorFormat]) -> str:
    """The gguf package's name for the format of most weights; as in other tools, the tables do not count."""
    weights: Counter[TensorFormat] = Counter({"F32": 0})
    for place, tensor_format in formats.items():
        if place.kind != "table":
            weights[tensor_format] += math.prod(place.shape)
    most = weights.most_common(1)[0][0]
    return "ALL_F32" if most == "F32" else f"MOSTLY_{most}"


def _import_gguf() -> ModuleType:
    try:
        import gguf
    except ImportError as exc:
        raise ModelError("The gguf package, which writes GGUF files, is missing; run: pip install gguf") from exc
    module: ModuleType = gguf
    return module


def _num_bytes(place: TensorPlace, tensor_format: TensorFormat) -> int:
    return math.prod(place.shape) * BLOCK_BYTES[tensor_format] // BLOCK_WIDTH


def _lay_tensor(place: TensorPlace, tensor_format: TensorFormat, chunks: Iterable[Stored]) -> NDArray[np.uint8]:
    """All bytes of one tensor; chunks are laid one by one, so that the floats of a large one are never all there."""
    laid = np.empty(_num_bytes(place, tensor_format), np.uint8)
    filled = 0
    for chunk in chunks:
        chunk_format, rows = _lay(chunk)
        if chunk_format != tensor_format or filled + rows.size > laid.size:
            raise ValueError(
                f"{place.gguf_name} was announced as {place.shape} {tensor_format}, got {chunk_format} rows"
            )
        laid[filled : filled + rows.size] = rows.reshape(-1)
        filled += rows.size
    if filled != laid.size:
        raise ValueError(f"{place.gguf_name} got {filled} of {laid.size} bytes")
    return laid


def _lay(tensor: Stored) -> tuple[TensorFormat, NDArray[np.uint8]]:
    """The format that holds ``tensor`` (exactly, but for the minima of zero points), and its bytes."""
    if isinstance(tensor, Int8Tensor):
        return "Q8_0", to_q8_0(tensor)
    if isinstance(tensor, Int4Tensor):
        return ("Q4_0", to_q4_0(tensor)) if tensor.zeros is None else ("Q4_1", to_q4_1(tensor))
    return "F32", np.ascontiguousarray(tensor, dtype="<f4").view(np.uint8)


def _add_architecture(writer: GGUFWriter, facts: ModelFacts) -> None:
    spec = facts.spec
    writer.add_type("model")
    writer.add_name(facts.name)
    writer.add_quantization_version(2)  # the version of the block layouts, as llama.cpp counts
    writer.add_block_count(spec.num_layers)
    writer.add_context_length(spec.context_length)
    writer.add_embedding_length(spec.hidden_size)
    writer.add_feed_forward_length(spec.feed_forward_size)
    writer.add_head_count(spec.num_heads)
    writer.add_head_count_kv(spec.num_kv_heads)
    writer.add_key_length(spec.head_dim)
    writer.add_value_length(spec.head_dim)
    writer.add_rope_dimension_count(spec.head_dim)
    writer.add_rope_freq_base(spec.rope_base)  # any scaling is in it already
    writer.add_layer_norm_rms_eps(spec.norm_eps)
    writer.add_vocab_size(spec.vocab_size)


def _add_vocabulary(writer: GGUFWriter, vocabulary: Vocabulary, stop_token_ids: tuple[int, ...]) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary.pre_tokenizer)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types([int(kind) for kind in vocabulary.kinds])
    writer.add_token_merges(vocabulary.merges)
    writer.add_add_bos_token(vocabulary.adds_bos)
    if vocabulary.bos_token_id is not None:
        writer.add_bos_token_id(vocabulary.bos_token_id)
    for add, token in zip((writer.add_eos_token_id, writer.add_eot_token_id), stop_token_ids, strict=False):
        add(token)
    if vocabulary.chat_template:
        writer.add_chat_template(vocabulary.chat_template)
