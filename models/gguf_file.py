"""The header of a GGUF file.

Knows: GGUF versions 2 and 3, little-endian: metadata, tensor descriptions, whether the file is whole.
Does not know: weights, how text is split into tokens, llama.cpp.
Every count and length is checked against the file's size before anything is allocated.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from models.errors import BundleError

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_LENGTH = struct.Struct("<Q")

# tensor type -> elements and bytes of a block; a type that is not here is not checked for size
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip

_CONTROL_TOKEN, _USER_DEFINED_TOKEN = 3, 4
_STOP_KEYS = ("eos_token_id", "eot_token_id", "eom_token_id")


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor's description. ``shape`` has the contiguous dimension first; ``type`` is ggml's number."""

    name: str
    shape: tuple[int, ...]
    type: int
    offset_bytes: int  # from the start of the tensor data


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """All of a file but its weights. Arrays of ``metadata`` are tuples."""

    path: Path
    version: int
    metadata: Mapping[str, Any]
    tensors: tuple[GgufTensor, ...]
    data_start_bytes: int

    @property
    def architecture(self) -> str:
        """llama.cpp's name of the body, empty when the file does not say."""
        return str(self.metadata.get("general.architecture", ""))

    @property
    def chat_template(self) -> str | None:
        """The jinja chat template, or None."""
        template = self.metadata.get("tokenizer.chat_template")
        return template if isinstance(template, str) else None

    @property
    def tokens(self) -> tuple[str, ...]:
        """The texts of the vocabulary as stored; byte-level vocabularies store letters that stand for bytes."""
        return self.tokenizer_array("tokens", str)

    @property
    def added_tokens(self) -> dict[str, int]:
        """Control and user-defined tokens by text: what ordinary text must not become."""
        return self._tokens_of({_CONTROL_TOKEN, _USER_DEFINED_TOKEN})

    @property
    def control_tokens(self) -> dict[str, int]:
        """Those of ``added_tokens`` that the file calls control."""
        return self._tokens_of({_CONTROL_TOKEN})

    @property
    def stop_token_ids(self) -> frozenset[int]:
        """The tokens the file names as ends: of text, of turn, of message."""
        ids = (self._tokenizer_id(key) for key in _STOP_KEYS)
        return frozenset(token for token in ids if token is not None)

    @property
    def bos_token_id(self) -> int | None:
        """The token that every prompt must start with, None where the file wants none."""
        is_habit = self.tokenizer_text("model") == "llama" or self.tokenizer_text("pre") == "llama-bpe"
        adds_bos = self.metadata.get("tokenizer.ggml.add_bos_token", is_habit)
        return self._tokenizer_id("bos_token_id") if adds_bos else None

    def token_text(self, key: str) -> str:
        """The text of the token called ``key`` (``"bos"``, ``"eos"``); empty when the file names none."""
        token = self._tokenizer_id(f"{key}_token_id")
        return "" if token is None else self.tokens[token]

    def tokenizer_text(self, key: str) -> str:
        """A ``tokenizer.ggml`` value as text, empty when it is missing."""
        return str(self.metadata.get(f"tokenizer.ggml.{key}", ""))

    def tokenizer_array(self, key: str, kind: type) -> tuple[Any, ...]:
        """A ``tokenizer.ggml`` array of ``kind``, empty when it is missing or of another kind."""
        array = self.metadata.get(f"tokenizer.ggml.{key}", ())
        return array if isinstance(array, tuple) and all(isinstance(entry, kind) for entry in array[:1]) else ()

    def _tokens_of(self, kinds: set[int]) -> dict[str, int]:
        texts = self.tokens
        chosen = (token for token, kind in enumerate(self.tokenizer_array("token_type", int)) if kind in kinds)
        return {texts[token]: token for token in chosen if token < len(texts) and texts[token]}

    def _tokenizer_id(self, key: str) -> int | None:
        token = self.metadata.get(f"tokenizer.ggml.{key}")
        return token if isinstance(token, int) and 0 <= token < len(self.tokens) else None


def read_gguf_header(path: Path) -> GgufHeader:
    """Read the header and check that the tensor data is all there.

    Raises BundleError for a file that is missing, empty, truncated, damaged, big-endian or no GGUF.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _HeaderReader(data).read(path)
    except OSError as exc:
        raise BundleError(f"The model file {path} cannot be read ({exc.strerror}); check the path.") from exc
    except _NotGgufError as exc:
        raise BundleError(f"The model file {path} is not usable: {exc}.") from exc
    except (ValueError, struct.error) as exc:  # mmap's and struct's words for "too short"
        raise BundleError(f"The model file {path} is empty or ends in its header; download it again.") from exc


class _NotGgufError(Exception):
    """What is wrong with the file, without its path."""


class _HeaderReader:
    """A cursor over the bytes of a file."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._position = 0

    def read(self, path: Path) -> GgufHeader:
        """The whole header; every tensor lies inside the file."""
        version = self._version()
        num_tensors, num_entries = self._number("Q"), self._number("Q")
        metadata = {}
        for _ in range(num_entries):
            key = self._string()
            metadata[key] = self._value(self._number("I"))
        tensors = tuple(self._tensor() for _ in range(num_tensors))
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise _NotGgufError(f"it is damaged (general.alignment is {alignment!r}); download it again")
        data_start = -(-self._position // alignment) * alignment
        self._check_complete(tensors, data_start)
        return GgufHeader(path, version, metadata, tensors, data_start)

    def _version(self) -> int:
        magic = self._take(4)
        version: int = self._number("I")
        if magic != b"GGUF":
            raise _NotGgufError(
                f"it starts with {magic!r}, so it is no GGUF file; give a .gguf file or a bundle folder"
            )
        if version & 0xFFFF == 0:
            raise _NotGgufError("it is a big-endian GGUF file; use a little-endian one")
        if version not in (2, 3):
            raise _NotGgufError(f"it is GGUF version {version}; use a file of version 2 or 3")
        return version

    def _tensor(self) -> GgufTensor:
        name, num_dimensions = self._string(), self._number("I")
        if num_dimensions > 4:
            raise _NotGgufError(f"it is damaged (tensor {name!r} has {num_dimensions} dimensions); download it again")
        shape = tuple(self._number("Q") for _ in range(num_dimensions))
        return GgufTensor(name, shape, self._number("I"), self._number("Q"))

    def _check_complete(self, tensors: Iterable[GgufTensor], data_start: int) -> None:
        for tensor in tensors:
            block_elements, block_bytes = _BLOCKS.get(tensor.type, (1, 0))
            num_bytes = prod(tensor.shape) // block_elements * block_bytes
            missing = data_start + tensor.offset_bytes + num_bytes - len(self._data)
            if missing > 0:
                raise _NotGgufError(
                    f"it is truncated ({missing} bytes are missing from tensor {tensor.name!r} on); download it again"
                )

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._array(self._number("I"), self._number("Q"))
        return self._number(self._code(kind))

    def _array(self, kind: int, count: int) -> tuple[Any, ...]:
        if kind == _STRING:
            return self._strings(count)
        layout = f"<{count}{self._code(kind)}"
        return struct.unpack(layout, self._take(count * struct.calcsize(f"<{self._code(kind)}")))

    def _code(self, kind: int) -> str:
        if kind not in _NUMBERS:
            raise _NotGgufError(f"it is damaged (a value of the unknown type {kind}); download it again")
        return _NUMBERS[kind]

    def _number(self, code: str) -> Any:
        return struct.unpack(f"<{code}", self._take(struct.calcsize(f"<{code}")))[0]

    def _string(self) -> str:
        return self._take(self._number("Q")).decode("utf-8", "replace")

    def _strings(self, count: int) -> tuple[str, ...]:
        """``count`` strings in a row: the one hot loop, some 300,000 strings of a large vocabulary."""
        data, position, end, texts = self._data, self._position, len(self._data), []
        for _ in range(count):
            (length,) = _LENGTH.unpack_from(data, position)
            begin = position + 8
            position = begin + length
            if position > end:
                raise _NotGgufError("it ends in its header; download it again")
            texts.append(data[begin:position].decode("utf-8", "replace"))
        self._position = position
        return tuple(texts)

    def _take(self, num_bytes: int) -> bytes:
        begin, self._position = self._position, self._position + num_bytes
        if self._position > len(self._data):
            raise _NotGgufError("it ends in its header; download it again")
        return self._data[begin : self._position]
