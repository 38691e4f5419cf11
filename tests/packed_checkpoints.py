"""Tiny int4 checkpoints, packed code by code with Python integers from the published layouts.

Knows: AutoAWQ GEMM and compressed-tensors pack-quantized. Does not know: our own readers, so that their bugs cannot
hide here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tiny_checkpoints import tiny_config, tiny_weights, write_json, write_tiny_checkpoint

AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)  # nibble i of a word holds this column of its eight
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Layer:
    """A linear layer (N, K): codes and zeros 0 to 15, scales (N, K / group); zeros are 8 where symmetric."""

    codes: NDArray[np.int64]
    zeros: NDArray[np.int64]
    scales: NDArray[np.float16]

    @property
    def values(self) -> NDArray[np.float64]:
        """The weights, as the format defines them."""
        group = self.codes.shape[1] // self.scales.shape[1]
        return (self.codes - self.zeros.repeat(group, axis=1)) * self.scales.astype(np.float64).repeat(group, axis=1)


def random_layer(random: np.random.Generator, rows: int, width: int, group_size: int, *, symmetric: bool) -> Layer:
    """Every code and zero point occurs, code 15 in the highest nibble too (the sign bit of a word)."""
    grouped = (rows, 1 if group_size == -1 else width // group_size)
    zeros = np.full(grouped, 8) if symmetric else random.integers(0, 16, grouped)
    scales = (random.integers(100, 2000, grouped) / 2.0**15).astype(np.float16)
    return Layer(random.integers(0, 16, (rows, width)), zeros, scales)


def pack(codes: NDArray[np.int64], order: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6, 7)) -> NDArray[np.int32]:
    """(A, B) codes as (A, B / 8) words: nibble i of a word is code ``order[i]`` of its eight. B is filled up with 0."""
    rows = []
    for row in codes.tolist():
        row += [0] * (-len(row) % 8)
        eights = [row[first : first + 8] for first in range(0, len(row), 8)]
        rows.append([sum(eight[column] << (4 * place) for place, column in enumerate(order)) for eight in eights])
    return np.array(rows, np.uint32).view(np.int32)


def awq_tensors(name: str, layer: Layer) -> Arrays:
    """AutoAWQ GEMM: everything lies input by output, eight outputs in a word."""
    return {
        f"{name}.qweight": pack(layer.codes.T, AWQ_ORDER),
        f"{name}.qzeros": pack(layer.zeros.T, AWQ_ORDER),
        f"{name}.scales": np.ascontiguousarray(layer.scales.T),
    }


def pack_quantized_tensors(name: str, layer: Layer, *, symmetric: bool) -> Arrays:
    """compressed-tensors: codes eight inputs in a word, zero points eight outputs in a word."""
    tensors: Arrays = {
        f"{name}.weight_packed": pack(layer.codes),
        f"{name}.weight_scale": layer.scales,
        f"{name}.weight_shape": np.array(layer.codes.shape, np.int64),
    }
    if not symmetric:
        tensors[f"{name}.weight_zero_point"] = np.ascontiguousarray(pack(layer.zeros.T).T)
    return tensors


def awq_config(group_size: int = 32, **changes: Any) -> dict[str, Any]:
    """The quantization_config of the hub's AWQ repositories; None removes a key."""
    config = {
        "bits": 4,
        "group_size": group_size,
        "modules_to_not_convert": None,
        "quant_method": "awq",
        "version": "gemm",
        "zero_point": True,
    }
    return config | changes


def pack_quantized_config(group_size: int = 32, *, symmetric: bool = True, **weights: Any) -> dict[str, Any]:
    """The quantization_config that llm-compressor writes; ``weights`` change the scheme of the weights."""
    scheme: dict[str, Any] = {
        "actorder": None,
        "dynamic": False,
        "group_size": None if group_size == -1 else group_size,
        "num_bits": 4,
        "strategy": "channel" if group_size == -1 else "group",
        "symmetric": symmetric,
        "type": "int",
    }
    return {
        "config_groups": {
            "group_0": {
                "input_activations": None,
                "output_activations": None,
                "targets": ["Linear"],
                "weights": scheme | weights,
            }
        },
        "format": "pack-quantized",
        "ignore": ["lm_head"],
        "kv_cache_scheme": None,
        "quant_method": "compressed-tensors",
        "quantization_status": "compressed",
    }


@dataclass(frozen=True)
class PackedCheckpoint:
    """A folder, what its packed layers hold by weight name, and all its tensors as written."""

    folder: Path
    layers: dict[str, Layer]
    tensors: Arrays

    def rewrite(self, **changes: NDArray[Any] | None) -> None:
        """Write the weights again with some tensors changed (dots as double underscores), or removed by None."""
        named = {name.replace("__", "."): array for name, array in changes.items()}
        kept = {name: array for name, array in (self.tensors | named).items() if array is not None}
        save_file(kept, str(self.folder / "model.safetensors"))


def write_packed_checkpoint(
    folder: Path,
    kind: str,
    family: str = "hunyuan_v1_dense",
    *,
    group_size: int = 32,
    feed_forward: int = 96,
    tied: bool = True,
    float_layers: tuple[str, ...] = (),
) -> PackedCheckpoint:
    """``kind``: awq, symmetric or asymmetric (the last two pack-quantized). Layers in ``float_layers`` stay float."""
    write_tiny_checkpoint(folder, family, tied=tied)
    random = np.random.default_rng(7)
    layers: dict[str, Layer] = {}
    tensors: Arrays = {}
    for name, weights in tiny_weights(family, tied=tied).items():
        if "_proj" not in name or name in float_layers:
            tensors[name] = weights.astype(np.float16)
            continue
        rows, width = (feed_forward if size == 96 else size for size in weights.shape)
        layer = random_layer(random, rows, width, group_size, symmetric=kind == "symmetric")
        stem = name.removesuffix(".weight")
        layers[name] = layer
        tensors |= (
            awq_tensors(stem, layer)
            if kind == "awq"
            else pack_quantized_tensors(stem, layer, symmetric=kind == "symmetric")
        )
    quantization = (
        awq_config(group_size) if kind == "awq" else pack_quantized_config(group_size, symmetric=kind == "symmetric")
    )
    config = tiny_config(family, tied=tied, intermediate_size=feed_forward, quantization_config=quantization)
    write_json(folder / "config.json", config)
    save_file(tensors, str(folder / "model.safetensors"))
    return PackedCheckpoint(folder, layers, tensors)
