"""Hugging Face folders of the true shapes of real models with random weights, for measuring time and memory only.

Knows: safetensors files as they are written, float (bfloat16) or int4 (AutoAWQ), the configs, and the synthetic
vocabulary of ``shapes`` as a tokenizer.json. Does not know: what is done with them.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench_edge.shapes import Shape, synthetic_vocabulary
from models.files import json_bytes
from models.packing import PackedPart, Packing
from models.spec import ModelSpec, TensorPlace
from quantize.safetensors_writer import TYPES, SafetensorsWriter
from quantize.vocabulary import QWEN2_SPLIT, TokenKind

Kind = Literal["float", "awq"]
PACKING = Packing("AutoAWQ GEMM", 128, is_symmetric=False)
SHARD_BYTES = 4 << 30
CHUNK_ITEMS = 1 << 24


@dataclass(frozen=True, slots=True)
class RandomTensor:
    """One tensor to be written: ``filling`` says what its values are."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    filling: Literal["weights", "ones", "codes", "zeros", "scales"]
    width: int  # inputs of the layer: weights are about 1 / sqrt(width)

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * TYPES[self.dtype].itemsize


def write_random_checkpoint(shape: Shape, kind: Kind, folder: Path, seed: int = 0) -> None:
    """Write the folder, under another name until it is whole. Memory holds a chunk of one tensor.

    ``awq``: linear layers are 4-bit codes in groups of 128, as AutoAWQ packs them; the rest is float16.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _write_tensors(list(_tensors(shape.spec, kind)), partial, np.random.default_rng(seed))
        (partial / "config.json").write_bytes(json_bytes(_config(shape, kind)))
        (partial / "tokenizer.json").write_bytes(json_bytes(_tokenizer(shape)))
        (partial / "tokenizer_config.json").write_bytes(json_bytes(_tokenizer_config(shape)))
        os.rename(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _tensors(spec: ModelSpec, kind: Kind) -> Iterator[RandomTensor]:
    float_type = "BF16" if kind == "float" else "F16"
    for place in spec.places():
        if kind == "awq" and place.kind == "linear":
            parts = PACKING.parts(place)
            yield _packed(parts["codes"], "I32", "codes", place)
            yield _packed(parts["zeros"], "I32", "zeros", place)
            yield _packed(parts["scales"], "F16", "scales", place)
        else:
            filling: Literal["ones", "weights"] = "ones" if place.kind == "norm" else "weights"
            yield RandomTensor(place.checkpoint_name, float_type, place.shape, filling, place.shape[-1])


def _packed(
    part: PackedPart, dtype: str, filling: Literal["codes", "zeros", "scales"], place: TensorPlace
) -> RandomTensor:
    return RandomTensor(part.name, dtype, part.shape, filling, place.shape[1])


# --- safetensors ----------------------------------------------------------------------------------------------------


def _write_tensors(tensors: list[RandomTensor], folder: Path, random: np.random.Generator) -> None:
    """One file, or shards with their index."""
    shards: list[list[RandomTensor]] = [[]]
    for tensor in tensors:
        if shards[-1] and sum(other.num_bytes for other in shards[-1]) + tensor.num_bytes > SHARD_BYTES:
            shards.append([])
        shards[-1].append(tensor)
    if len(shards) == 1:
        return _write_shard(folder / "model.safetensors", tensors, random)
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        _write_shard(folder / name, shard, random)
        weight_map |= {tensor.name: name for tensor in shard}
    index = {"metadata": {"total_size": sum(tensor.num_bytes for tensor in tensors)}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_bytes(json_bytes(index))


def _write_shard(path: Path, tensors: list[RandomTensor], random: np.random.Generator) -> None:
    writer = SafetensorsWriter(path, len(tensors))
    try:
        for tensor in tensors:
            writer.begin(tensor.name, tensor.dtype, tensor.shape)
            count = math.prod(tensor.shape)
            for first in range(0, count, CHUNK_ITEMS):
                writer.write(_values(tensor, min(CHUNK_ITEMS, count - first), random))
        writer.finish()
    finally:
        writer.close()


def _values(tensor: RandomTensor, count: int, random: np.random.Generator) -> NDArray[Any]:
    """``count`` values as they lie in the file."""
    if tensor.filling in ("codes", "zeros"):
        words = random.integers(0, 1 << 32, count, np.uint32)
        if tensor.filling == "zeros":  # 7 or 8 in every nibble
            words = (words & np.uint32(0x11111111)) + np.uint32(0x77777777)
        return words.view(np.int32)
    deviation = np.float32(tensor.width**-0.5)
    if tensor.filling == "scales":  # codes around the zero point deviate by 4.6
        return (random.uniform(0.5, 1.5, count) * deviation / 4.6).astype(np.float16)
    floats = np.ones(count, np.float32)
    if tensor.filling == "weights":
        floats = random.standard_normal(count, np.float32) * deviation
    return floats.astype(np.float16) if tensor.dtype == "F16" else (floats.view(np.uint32) >> 16).astype(np.uint16)


# --- configs --------------------------------------------------------------------------------------------------------


def _config(shape: Shape, kind: Kind) -> dict[str, Any]:
    spec = shape.spec
    config: dict[str, Any] = {
        "model_type": spec.family,
        "hidden_act": "silu",
        "hidden_size": spec.hidden_size,
        "intermediate_size": spec.feed_forward_size,
        "num_hidden_layers": spec.num_layers,
        "num_attention_heads": spec.num_heads,
        "num_key_value_heads": spec.num_kv_heads,
        "head_dim": spec.head_dim,
        "vocab_size": spec.vocab_size,
        "max_position_embeddings": spec.context_length,
        "rms_norm_eps": spec.norm_eps,
        "rope_theta": spec.rope_base,
        "tie_word_embeddings": spec.has_tied_head,
        "eos_token_id": list(shape.stop_token_ids),
    }
    if kind == "awq":
        settings = {"bits": 4, "group_size": PACKING.group_size, "version": "gemm", "zero_point": True}
        config["quantization_config"] = {"quant_method": "awq", "modules_to_not_convert": None, **settings}
    return config


def _tokenizer(shape: Shape) -> dict[str, Any]:
    """The synthetic vocabulary in the form of the ``tokenizers`` library."""
    vocabulary = synthetic_vocabulary(shape)
    normal = vocabulary.tokens[: shape.first_mark]
    added = [
        {"id": token, "content": text, "special": kind is TokenKind.CONTROL, **dict.fromkeys(_FLAGS, False)}
        for token, (text, kind) in enumerate(zip(vocabulary.tokens, vocabulary.kinds, strict=True))
        if token >= shape.first_mark
    ]
    splits_like_qwen = vocabulary.pre_tokenizer == "qwen2"
    split = {"type": "Split", "pattern": {"Regex": QWEN2_SPLIT}, "behavior": "Isolated", "invert": False}
    letters = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": not splits_like_qwen}
    steps = [split, letters] if splits_like_qwen else [letters]
    return {
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
        "decoder": letters,
        "model": {
            "type": "BPE",
            "vocab": {text: token for token, text in enumerate(normal)},
            "merges": vocabulary.merges,
        },
    }


_FLAGS = ("single_word", "lstrip", "rstrip", "normalized")


def _tokenizer_config(shape: Shape) -> dict[str, Any]:
    if shape.bos_token_id is None:
        return {"add_bos_token": False}
    return {"add_bos_token": True, "bos_token": shape.marks[shape.bos_token_id]}
