"""The text a model is calibrated and measured on, as windows of tokens, and the sums over what its layers then read.

Knows: windows, Gram matrices. Does not know: files and dialects (``calibration_text``), networks, or what the sums are
for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from models.dialect import Dialect
from models.errors import UsageError
from models.tokenizer import ChatTokenizer
from quantize.calibration_text import BUILT_IN_TEXT, Sample, read_samples
from quantize.recipe import QuantRecipe

Floats = NDArray[np.float32]

GRAM_TILE = 1024  # channels
HELD_OUT_EVERY = 6  # of the pieces, one is kept for measuring


@dataclass(frozen=True, slots=True)
class Windows:
    """Token windows (W, T) int32; ``is_reply`` (W, T) marks the tokens that the model itself would have written."""

    tokens: NDArray[np.int32]
    is_reply: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, slots=True)
class CalibrationText:
    """Windows to calibrate on and windows, of other text, to measure on; ``num_distinct_tokens`` before any repeat."""

    name: str
    calibration: Windows
    held_out: Windows  # none where the text is too short to spare any
    num_distinct_tokens: int


@dataclass(frozen=True, slots=True)
class _Document:
    tokens: list[int]
    is_reply: list[bool]


def read_calibration_text(
    path: Path | None, dialect: Dialect, tokenizer: ChatTokenizer, recipe: QuantRecipe
) -> CalibrationText:
    """The recipe's windows from the text at ``path``, from the built-in set where it is None; always the same ones.

    A ``.jsonl`` file has an object a line: ``{"text": ...}``, or ``{"messages": [...]}`` that end with the assistant's
    answer; its ``reasoning_content`` is rendered as thinking. Any other file is one plain text. Every window begins
    where a document does; a text that is too short is repeated in another order.
    Raises UsageError for a file that cannot be read or is not of this form.
    """
    length = recipe.window_tokens
    documents = [_document(sample, dialect, tokenizer) for sample in read_samples(path or BUILT_IN_TEXT, dialect)]
    pieces = [piece for document in documents for piece in _cut(document, length)]
    spared = pieces[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY] if recipe.held_out else []
    used = [piece for number, piece in enumerate(pieces, 1) if not spared or number % HELD_OUT_EVERY]
    num_tokens = sum(len(piece.tokens) for piece in used)
    if num_tokens < 2:
        raise UsageError(f"{path or BUILT_IN_TEXT} holds no text to calibrate on; give another file.")
    return CalibrationText(
        "built-in" if path is None else path.name,
        _fill_windows(_endless(used), recipe.windows, length),
        _fill_windows(iter(spared), recipe.held_out, length),
        min(num_tokens, recipe.windows * length),
    )


def _document(sample: Sample, dialect: Dialect, tokenizer: ChatTokenizer) -> _Document:
    """The tokens of a text; or of a prompt and what the model says to it, up to its stop token."""
    if sample.prompt is None:
        tokens = tokenizer.encode_user(sample.said)
        return _Document(tokens, [True] * len(tokens))
    prompt, forced = tokenizer.encode_prompt(sample.prompt)
    reply = tokenizer.encode_control(sample.said)
    stops = (tokenizer.token_id(text) for text in dialect.stop_tokens)
    reply += [stop for stop in stops if stop is not None][:1]
    given = [*prompt, *forced]
    return _Document([*given, *reply], [False] * len(given) + [True] * len(reply))


def _cut(document: _Document, length: int) -> Iterator[_Document]:
    """Pieces of at most ``length`` tokens."""
    for first in range(0, len(document.tokens), length):
        part = slice(first, first + length)
        yield _Document(document.tokens[part], document.is_reply[part])


def _endless(pieces: list[_Document]) -> Iterator[_Document]:
    """All pieces in order, then again and again in other orders."""
    random = Random(0)
    while True:
        yield from pieces
        pieces = random.sample(pieces, len(pieces))


def _fill_windows(pieces: Iterator[_Document], num_windows: int, length: int) -> Windows:
    """At most ``num_windows`` windows; what of a piece does not fit into a window is left out."""
    tokens: list[list[int]] = []
    is_reply: list[list[bool]] = []
    while len(tokens) < num_windows:
        some: list[_Document] = []
        while sum(len(piece.tokens) for piece in some) < length and (piece := next(pieces, None)) is not None:
            some.append(piece)
        joined = list(chain.from_iterable(piece.tokens for piece in some))[:length]
        if len(joined) < length:
            break
        tokens.append(joined)
        is_reply.append(list(chain.from_iterable(piece.is_reply for piece in some))[:length])
    shape = (len(tokens), length)
    return Windows(np.array(tokens, np.int32).reshape(shape), np.array(is_reply, np.bool_).reshape(shape))


class InputSums:
    """What the consumers of each scale group read, summed over windows: an Observer for quantize.decoder.run_block."""

    def __init__(self) -> None:
        self._grams: dict[str, Floats] = {}
        self._magnitudes: dict[str, Floats] = {}
        self._num_tokens: dict[str, int] = {}

    def __call__(self, producer: str, values: Floats) -> None:
        """Add inputs (T, K)."""
        if producer not in self._grams:
            width = values.shape[1]
            self._grams[producer] = np.zeros((width, width), np.float32)
            self._magnitudes[producer] = np.zeros(width, np.float32)
            self._num_tokens[producer] = 0
        _add_gram(self._grams[producer], values)
        self._magnitudes[producer] += np.abs(values).sum(axis=0)
        self._num_tokens[producer] += len(values)

    def take(self, producer: str) -> tuple[Floats, Floats]:
        """The Gram matrix (K, K) and the mean magnitudes (K,), both of one token on average; given away, not kept."""
        count = np.float32(self._num_tokens.pop(producer))
        gram = self._grams.pop(producer)
        for first in range(0, len(gram), GRAM_TILE):
            tile = slice(first, first + GRAM_TILE)
            gram[tile, :first] = gram[:first, tile].T
        gram /= count
        return gram, self._magnitudes.pop(producer) / count


def _add_gram(gram: Floats, values: Floats) -> None:
    """Add X^T X of ``values`` (T, K) to the tiles on and above the diagonal of ``gram`` (K, K)."""
    for first in range(0, len(gram), GRAM_TILE):
        for second in range(first, len(gram), GRAM_TILE):
            rows, columns = slice(first, first + GRAM_TILE), slice(second, second + GRAM_TILE)
            gram[rows, columns] += values[:, rows].T @ values[:, columns]
