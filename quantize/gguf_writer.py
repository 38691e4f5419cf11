"""Quantized tensors, spec and vocabulary as one GGUF file, through the ``gguf`` package.

Knows: the metadata llama.cpp wants, and how tensors follow each other. Does not know: how weights were rounded; a
writer re-lays and never quantizes. Memory holds one tensor at a time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from models.families import family_of
from models.spec import BLOCK_WIDTH, TensorPlace
from quantize.gguf_blocks import Q4_0_BYTES, Q4_1_BYTES, Q8_0_BYTES, to_q4_0, to_q4_1, to_q8_0
from quantize.int4 import Int4Tensor
from quantize.int8 import Int8Tensor
from quantize.stored import ModelFacts, Stored, TensorFormat, format_of
from quantize.vocabulary import Vocabulary

if TYPE_CHECKING:
    from gguf import GGUFWriter

BLOCK_BYTES: dict[TensorFormat, int] = {
    "F32": 4 * BLOCK_WIDTH,
    "Q4_0": Q4_0_BYTES,
    "Q4_1": Q4_1_BYTES,
    "Q8_0": Q8_0_BYTES,
}


class GgufWriter:
    """A quantize.writers.BundleWriter of one GGUF file. Memory holds the bytes of one tensor."""

    def __init__(self, path: Path, facts: ModelFacts, formats: Mapping[TensorPlace, TensorFormat]) -> None:
        """Begin the file at ``path`` with everything but the tensors, which ``formats`` gives in file order.

        Raises ModelError when the ``gguf`` package is missing, OSError when the disk is full.
        """
        gguf = _import_gguf()
        self._formats = formats
        self._places = iter(formats)
        self._tensor: _Tensor | None = None
        self._writer = gguf.GGUFWriter(path, family_of(facts.spec.family).gguf_architecture)
        try:
            _add_architecture(self._writer, facts)
            _add_vocabulary(self._writer, facts.vocabulary, facts.stop_token_ids)
            self._writer.add_file_type(gguf.LlamaFileType[_file_type(formats)])
            for place, tensor_format in formats.items():
                kind = gguf.GGMLQuantizationType[tensor_format]
                num_bytes = _num_bytes(place, tensor_format)
                self._writer.add_tensor_info(
                    place.gguf_name, place.shape, np.dtype(np.float32), num_bytes, raw_dtype=kind
                )
            self._writer.write_header_to_file()
            self._writer.write_kv_data_to_file()
            self._writer.write_ti_data_to_file()
        except BaseException:
            self.close()
            raise

    def add(self, place: TensorPlace, rows: Stored) -> None:
        """See quantize.writers.BundleWriter."""
        if self._tensor is None:
            self._tensor = _Tensor(next(self._places), self._formats)
        self._tensor.add(place, rows)
        if self._tensor.is_whole:
            self._writer.write_tensor_data(self._tensor.laid)
            self._tensor = None

    def finish(self) -> None:
        """See quantize.writers.BundleWriter."""
        missing = self._tensor.place if self._tensor else next(self._places, None)
        if missing is not None:
            raise ValueError(f"{missing.gguf_name} did not get all of its rows")

    def close(self) -> None:
        """See quantize.writers.BundleWriter."""
        self._writer.close()


class _Tensor:
    """All bytes of one tensor; rows are laid as they come, so that the floats of a large one are never all there."""

    def __init__(self, place: TensorPlace, formats: Mapping[TensorPlace, TensorFormat]) -> None:
        self.place = place
        self.tensor_format = formats[place]
        self.laid = np.empty(_num_bytes(place, self.tensor_format), np.uint8)
        self._filled = 0

    @property
    def is_whole(self) -> bool:
        return self._filled == self.laid.size

    def add(self, place: TensorPlace, rows: Stored) -> None:
        got, laid = format_of(rows), _lay(rows)
        if (place, got) != (self.place, self.tensor_format) or self._filled + laid.size > self.laid.size:
            raise ValueError(
                f"{self.place.gguf_name} was announced as {self.place.shape} {self.tensor_format}, "
                f"got {got} rows of {place.gguf_name}"
            )
        self.laid[self._filled : self._filled + laid.size] = laid.reshape(-1)
        self._filled += laid.size


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


def _lay(rows: Stored) -> NDArray[np.uint8]:
    """The bytes of ``rows``: exactly what they are, but for the minima of zero points."""
    if isinstance(rows, Int8Tensor):
        return to_q8_0(rows)
    if isinstance(rows, Int4Tensor):
        return to_q4_0(rows) if rows.zeros is None else to_q4_1(rows)
    return np.ascontiguousarray(rows, dtype="<f4").view(np.uint8)


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
