"""Quantized tensors and spec as an ONNX graph, the data file beside it, and the settings of onnxruntime-genai.

Knows: how the data file is filled, what stands in genai_config.json. Does not know: how weights were rounded; a writer
re-lays and never quantizes. Rows go to the disk as they come, so memory holds a chunk, and files may be of any size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import UsageError
from models.families import family_of
from models.files import json_bytes
from models.spec import ModelSpec, TensorPlace
from quantize.onnx_graph import PAST_NAME, PRESENT_NAME, build_model
from quantize.onnx_layout import OnnxRows, onnx_rows
from quantize.onnx_nodes import DataArray, DataTensors, DataWeight, import_onnx
from quantize.stored import ModelFacts, Stored, TensorFormat, format_of

ONNX_NAME, DATA_NAME = "model.onnx", "model.onnx.data"
GENAI_NAME, TOKENIZER_CONFIG_NAME = "genai_config.json", "tokenizer_config.json"
FAST_LEVEL, EXACT_LEVEL = 4, 1  # of accuracy: activations rounded to int8, or kept in float32
MOST_POSITIONS = 32768  # a table of angles for the 262144 that some models name takes as much room as their embedding
MOST_TOKENS = 4096  # what onnxruntime-genai makes room for unless told otherwise; it takes the room at once
_ALIGNMENT = 64  # bytes; where an array may begin
_TYPES: dict[str, np.dtype[Any]] = {"FLOAT": np.dtype("<f4"), "UINT8": np.dtype(np.uint8)}


def check_onnx_tensors(formats: Mapping[TensorPlace, TensorFormat]) -> None:
    """Raises UsageError for weights in floats, which these graphs have no operator for."""
    for place, tensor_format in formats.items():
        if place.kind != "norm" and tensor_format == "F32":
            raise UsageError(
                f"{place.checkpoint_name} would stay in floats, but the format onnx holds 4 or 8 bits; "
                "leave the format out, or bits 32."
            )


class OnnxWriter:
    """A quantize.writers.BundleWriter of a graph, its data file, and what onnxruntime-genai wants beside them."""

    def __init__(
        self,
        folder: Path,
        facts: ModelFacts,
        formats: Mapping[TensorPlace, TensorFormat],
        accuracy_level: int = FAST_LEVEL,
    ) -> None:
        """Begin the data file in ``folder``. Raises ModelError when the ``onnx`` package is missing."""
        import_onnx()
        self._folder, self._facts, self._formats, self._accuracy_level = folder, facts, formats, accuracy_level
        self._places = iter(formats)
        self._place = next(self._places, None)
        self._num_rows = 0  # of the current place, that are written
        self._weights: dict[TensorPlace, DataWeight] = {}
        self._norms: dict[TensorPlace, DataArray] = {}
        self._data = _DataFile(folder / DATA_NAME)

    def add(self, place: TensorPlace, rows: Stored) -> None:
        """See quantize.writers.BundleWriter."""
        self._check(place, rows)
        if isinstance(rows, np.ndarray):
            if place not in self._norms:
                self._norms[place] = self._data.reserve(place.checkpoint_name, "FLOAT", place.shape)
            self._data.write(self._norms[place], self._num_rows, rows)
        else:
            self._add_weight(place, onnx_rows(rows))
        self._num_rows += _num_rows(rows)
        if self._num_rows == place.shape[0]:
            self._place, self._num_rows = next(self._places, None), 0

    def finish(self) -> None:
        """See quantize.writers.BundleWriter."""
        if self._place is not None:
            raise ValueError(f"{self._place.checkpoint_name} did not get all of its rows")
        spec = self._facts.spec
        self._data.flush()
        tensors = DataTensors(DATA_NAME, self._weights, self._norms)
        model = build_model(spec, tensors, num_positions(spec), self._accuracy_level)
        (self._folder / ONNX_NAME).write_bytes(model.SerializeToString(deterministic=True))
        (self._folder / GENAI_NAME).write_bytes(json_bytes(genai_config(self._facts)))
        (self._folder / TOKENIZER_CONFIG_NAME).write_bytes(json_bytes(tokenizer_config(self._facts)))

    def close(self) -> None:
        """See quantize.writers.BundleWriter."""
        self._data.close()

    def _check(self, place: TensorPlace, rows: Stored) -> None:
        wanted, room = self._place, 0 if self._place is None else self._place.shape[0] - self._num_rows
        if place != wanted or format_of(rows) != self._formats[place] or _num_rows(rows) > room:
            raise ValueError(
                f"{room} rows of {wanted.checkpoint_name if wanted else 'nothing'} were announced, "
                f"got {_num_rows(rows)} rows {format_of(rows)} of {place.checkpoint_name}"
            )

    def _add_weight(self, place: TensorPlace, rows: OnnxRows) -> None:
        if place not in self._weights:
            self._weights[place] = self._reserve(place, rows)
        weight = self._weights[place]
        if (weight.bits, weight.block, weight.zeros is None) != (rows.bits, rows.block, rows.zeros is None):
            raise ValueError(f"{place.checkpoint_name} changes its groups on the way")
        parts = ((weight.codes, rows.codes), (weight.scales, rows.scales), (weight.zeros, rows.zeros))
        for array, values in parts:
            if array is not None and values is not None:
                self._data.write(array, self._num_rows, values)

    def _reserve(self, place: TensorPlace, rows: OnnxRows) -> DataWeight:
        """Room for a whole weight that begins with ``rows``."""

        def reserve(part: str, type_name: str, values: NDArray[Any]) -> DataArray:
            return self._data.reserve(f"{place.checkpoint_name}.{part}", type_name, (place.shape[0], values.shape[1]))

        return DataWeight(
            bits=rows.bits,
            block=rows.block,
            codes=reserve("codes", "UINT8", rows.codes),
            scales=reserve("scales", "FLOAT", rows.scales),
            zeros=None if rows.zeros is None else reserve("zeros", "UINT8", rows.zeros),
        )


class _DataFile:
    """Arrays one behind the other in a file, each filled by rows."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._end = 0

    def reserve(self, name: str, type_name: str, shape: tuple[int, ...]) -> DataArray:
        """Room for an array of this shape."""
        num_bytes = math.prod(shape) * _TYPES[type_name].itemsize
        array = DataArray(name, type_name, shape, self._end, num_bytes)
        self._end += -(-num_bytes // _ALIGNMENT) * _ALIGNMENT
        return array

    def write(self, array: DataArray, first_row: int, rows: NDArray[Any]) -> None:
        """Fill the rows of ``array`` from ``first_row`` on."""
        row_bytes = array.num_bytes // array.shape[0]
        self._file.seek(array.offset + first_row * row_bytes)
        self._file.write(np.ascontiguousarray(rows, dtype=_TYPES[array.type_name]).data)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def num_positions(spec: ModelSpec) -> int:
    """Tokens that a graph of ``spec`` can hold: those the model was made for, as far as there are angles."""
    return min(spec.context_length, MOST_POSITIONS)


def genai_config(facts: ModelFacts) -> dict[str, Any]:
    """genai_config.json: what onnxruntime-genai has to know of the graph, and the model's own sampling."""
    spec, sampling = facts.spec, facts.sampling
    begin = facts.vocabulary.bos_token_id
    decoder = {
        "session_options": {"provider_options": []},
        "filename": ONNX_NAME,
        "hidden_size": spec.hidden_size,
        "head_size": spec.head_dim,
        "num_hidden_layers": spec.num_layers,
        "num_attention_heads": spec.num_heads,
        "num_key_value_heads": spec.num_kv_heads,
        "inputs": {
            "input_ids": "input_ids",
            "attention_mask": "attention_mask",
            "past_key_names": f"{PAST_NAME}.%d.key",
            "past_value_names": f"{PAST_NAME}.%d.value",
        },
        "outputs": {
            "logits": "logits",
            "present_key_names": f"{PRESENT_NAME}.%d.key",
            "present_value_names": f"{PRESENT_NAME}.%d.value",
        },
    }
    model = {
        "type": family_of(spec.family).genai_type,
        "vocab_size": spec.vocab_size,
        "context_length": num_positions(spec),
        **({} if begin is None else {"bos_token_id": begin}),
        "eos_token_id": list(facts.stop_token_ids),
        "pad_token_id": facts.stop_token_ids[0],
        "decoder": decoder,
    }
    search = {
        "do_sample": sampling.temperature > 0,
        "temperature": sampling.temperature or 1.0,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "max_length": min(num_positions(spec), MOST_TOKENS),
        "past_present_share_buffer": True,
    }
    return {"model": model, "search": search}


def tokenizer_config(facts: ModelFacts) -> dict[str, Any]:
    """tokenizer_config.json: what a tokenizer.json leaves open."""
    vocabulary = facts.vocabulary
    begin = vocabulary.bos_token_id
    end = vocabulary.tokens[facts.stop_token_ids[0]]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": num_positions(facts.spec),
        "add_bos_token": vocabulary.adds_bos,
        "bos_token": None if begin is None else vocabulary.tokens[begin],
        "eos_token": end,
        "pad_token": end,
        **({} if vocabulary.chat_template is None else {"chat_template": vocabulary.chat_template}),
    }


def _num_rows(rows: Stored) -> int:
    return len(rows) if isinstance(rows, np.ndarray) else len(rows.codes)
