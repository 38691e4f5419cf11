"""Quantized tensors as AutoAWQ writes them (safetensors, version "gemm"), for vLLM, transformers and those who read it.

Knows: the order of codes in a word, the names of the parts, what config.json says of them. Does not know: how weights
were rounded; a writer re-lays and never quantizes. Memory holds one layer.

Codes, zero points and scales are carried over exactly, and so are norms, in float32. The format has no 8 bits: an
embedding and a head are written as the float16 nearest to what they stand for, as AutoAWQ's own files have them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import CheckpointError, UsageError
from models.files import json_bytes
from models.packing import CODES_PER_WORD, Packing
from models.spec import TensorPlace
from quantize.hub_files import GENERATION_CONFIG_NAME, TOKENIZER_CONFIG_NAME, generation_config, tokenizer_config
from quantize.int4 import SYMMETRIC_ZERO, Int4Tensor
from quantize.safetensors_writer import SafetensorsWriter
from quantize.stored import ModelFacts, Stored, TensorFormat, format_of

WEIGHTS_NAME, CONFIG_NAME = "model.safetensors", "config.json"
PARTS = 3  # of a packed layer
COLUMNS = (0, 2, 4, 6, 1, 3, 5, 7)  # which of eight outputs nibble 0, 1, ... of a word holds


def check_awq_tensors(formats: Mapping[TensorPlace, TensorFormat]) -> None:
    """Raises UsageError for tensors that an AutoAWQ file has no place for."""
    for place, tensor_format in formats.items():
        is_int4 = tensor_format in ("Q4_0", "Q4_1")
        if place.kind == "linear" and not is_int4:
            raise UsageError(
                f"{place.checkpoint_name} would be {tensor_format}, but the format awq holds every linear layer at 4 "
                "bits; leave the format out, or what keeps that layer wider."
            )
        if place.kind == "table" and is_int4:
            raise UsageError(
                f"{place.checkpoint_name} would be {tensor_format}, but the format awq holds embedding and head in "
                f"floats; leave the format out, or name {place.role} among the wide."
            )
        if place.kind == "linear" and place.shape[0] % CODES_PER_WORD:
            raise UsageError(
                f"{place.checkpoint_name} has {place.shape[0]} outputs, but the format awq holds multiples of "
                f"{CODES_PER_WORD}; leave the format out."
            )


class AwqWriter:
    """A quantize.writers.BundleWriter of a folder that vLLM and transformers load as an AutoAWQ model."""

    def __init__(self, folder: Path, facts: ModelFacts, formats: Mapping[TensorPlace, TensorFormat]) -> None:
        """Begin the weights' file in ``folder``. Raises OSError when the disk is full."""
        self._folder, self._facts, self._formats = folder, facts, formats
        self._places = iter(formats)
        self._place = next(self._places, None)
        self._rows: list[Int4Tensor] = []  # of a layer: a word holds eight rows, so it is laid as a whole
        self._num_rows = 0
        self._groups: set[tuple[int, int]] = set()  # weights that share a scale, and of a row
        self._file = SafetensorsWriter(folder / WEIGHTS_NAME, PARTS * len(formats))

    def add(self, place: TensorPlace, rows: Stored) -> None:
        """See quantize.writers.BundleWriter. Raises CheckpointError for a table that float16 cannot hold."""
        num_rows = len(rows) if isinstance(rows, np.ndarray) else len(rows.codes)
        end = self._num_rows + num_rows
        if place != self._place or format_of(rows) != self._formats[place] or end > place.shape[0]:
            raise ValueError(f"{num_rows} rows {format_of(rows)} of {place.checkpoint_name} were not announced")
        if isinstance(rows, Int4Tensor):
            self._rows.append(rows)
        else:
            self._write_floats(place, rows if isinstance(rows, np.ndarray) else rows.dequantize())
        self._num_rows = end
        if end == place.shape[0]:
            if self._rows:
                self._write_layer(place)
            self._place, self._num_rows, self._rows = next(self._places, None), 0, []

    def finish(self) -> None:
        """See quantize.writers.BundleWriter. Raises UsageError for layers that differ in their groups."""
        if self._place is not None:
            raise ValueError(f"{self._place.checkpoint_name} did not get all of its rows")
        self._file.finish()
        for name, content in (
            (CONFIG_NAME, awq_config(self._facts.config, _common_group(self._groups))),
            (TOKENIZER_CONFIG_NAME, tokenizer_config(self._facts)),
            (GENERATION_CONFIG_NAME, generation_config(self._facts)),
        ):
            (self._folder / name).write_bytes(json_bytes(content))

    def close(self) -> None:
        """See quantize.writers.BundleWriter."""
        self._file.close()

    def _write_floats(self, place: TensorPlace, values: NDArray[np.float32]) -> None:
        """Rows of a norm or a table, as they come."""
        dtype = "F32" if place.kind == "norm" else "F16"
        if not self._num_rows:
            self._file.begin(place.checkpoint_name, dtype, place.shape)
        self._file.write(values if dtype == "F32" else _to_float16(place, values))

    def _write_layer(self, place: TensorPlace) -> None:
        """Codes, zero points and scales, input by output."""
        group_size = self._rows[0].group_size
        self._groups.add((group_size, place.shape[1]))
        codes = np.concatenate([rows.codes for rows in self._rows])
        scales = np.concatenate([rows.scales for rows in self._rows])
        zeros = np.concatenate([_zeros(rows) for rows in self._rows])
        parts = Packing("AutoAWQ GEMM", group_size, is_symmetric=False).parts(place)
        for part, dtype, values in (
            (parts["codes"], "I32", pack_words(codes)),
            (parts["zeros"], "I32", pack_words(zeros)),
            (parts["scales"], "F16", scales.T),
        ):
            self._file.begin(part.name, dtype, part.shape)
            self._file.write(values)


def _zeros(rows: Int4Tensor) -> NDArray[np.uint8]:
    return np.full(rows.scales.shape, SYMMETRIC_ZERO, np.uint8) if rows.zeros is None else rows.zeros


def pack_words(codes: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Codes 0 to 15 (N, K), N a multiple of 8, as words (K, N / 8): eight outputs of one input, in AutoAWQ's order."""
    eights = np.ascontiguousarray(codes.T).reshape(codes.shape[1], -1, CODES_PER_WORD)
    words = np.zeros(eights.shape[:2], np.uint32)
    for nibble, column in enumerate(COLUMNS):
        words |= eights[:, :, column].astype(np.uint32) << np.uint32(4 * nibble)
    return words.view(np.int32)


def awq_config(config: Mapping[str, Any], group_size: int) -> dict[str, Any]:
    """config.json of the checkpoint, saying that its linear layers are int4 in groups of ``group_size`` (-1: a row)."""
    kept = {key: value for key, value in config.items() if key not in ("quantization_config", "compression_config")}
    kept |= {key: "float16" for key in ("torch_dtype", "dtype") if key in config or key == "torch_dtype"}
    settings = {"bits": 4, "group_size": group_size, "version": "gemm", "zero_point": True}
    return {**kept, "quantization_config": {"quant_method": "awq", "modules_to_not_convert": None, **settings}}


def _common_group(groups: set[tuple[int, int]]) -> int:
    """The one group size of all layers; -1 where each row is one group."""
    sizes = {size for size, _ in groups}
    if len(sizes) == 1:
        return sizes.pop()
    if all(size == width for size, width in groups):
        return -1
    raise UsageError(
        f"The layers have groups of {', '.join(map(str, sorted(sizes)))}, but the format awq has one size for all; "
        "leave the format out."
    )


def _to_float16(place: TensorPlace, values: NDArray[np.float32]) -> NDArray[np.float16]:
    largest = np.abs(values).max(initial=0)
    if largest > np.finfo(np.float16).max:
        raise CheckpointError(
            f"{place.checkpoint_name} holds {largest}, too large for float16; leave the format awq out."
        )
    return values.astype(np.float16)
