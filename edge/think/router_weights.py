"""The router's learned numbers, and the file they are kept in.

Knows: shapes, rounding to bytes, and how outputs become a score. Does not know: prompts, or how it is learned.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from edge.think.prompt_features import NUM_COUNTS, NUM_POOLS
from edge.think.prompt_tokens import HASH_BITS
from models.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

KINDS = ("chat", "text", "story", "school", "exam", "knowledge", "steps", "work")
NUM_KINDS = len(KINDS)
LEAST_LOGIT = -30.0
WIDTH = NUM_KINDS + 1  # numbers that a word has: one for each kind, and one for the difficulty of questions of fact
NUM_INPUTS = NUM_COUNTS + NUM_POOLS * WIDTH
TABLE_BYTES = (1 << HASH_BITS) * WIDTH
NUM_FLOATS = WIDTH + 2 * NUM_KINDS * (NUM_INPUTS + 1)  # steps of the table, layer, bias
MARK = b"edge router 1\n"  # another number for another meaning of the same shapes
PATH = os.path.join(os.path.dirname(__file__), "router_weights.bin")  # pathlib would take a fifth of the load time


@dataclass(frozen=True, slots=True)
class RouterWeights:
    """``codes`` ``(65536, WIDTH) int8`` of words; ``steps`` ``(WIDTH,)``, what one of each column is worth; ``layer``
    ``(NUM_INPUTS, 16)`` and ``bias`` ``(16,)``, all three float32.

    Codes are whole numbers, so that their sums are the same in whatever order a processor adds them up; while they are
    learned they are float32.
    The first eight outputs are logits of the kinds, the others of a wrong direct answer to a prompt of that kind.
    """

    codes: NDArray[np.int8] | Floats
    steps: Floats
    layer: Floats
    bias: Floats

    @property
    def table(self) -> Floats:
        """``(65536, WIDTH)``: the words."""
        return self.codes * self.steps

    @staticmethod
    def mix(outputs: Floats) -> Floats:
        """``(..., 16)`` outputs to scores ``(...)``: chance of a kind times chance to be wrong there."""
        kinds = outputs[..., :NUM_KINDS]
        powers = np.exp(kinds - kinds.max(-1, keepdims=True))
        wrong = 1.0 / (1.0 + np.exp(-np.maximum(outputs[..., NUM_KINDS:], LEAST_LOGIT)))
        return np.asarray((powers * wrong).sum(-1) / powers.sum(-1), np.float32)

    def save(self, path: Path) -> None:
        """Write the weights, each column of the table rounded to 255 steps, behind a mark. Raises OSError."""
        table = self.table
        steps = (np.maximum(np.abs(table).max(0), 1e-9) / 127).astype("<f4")
        parts = (np.round(table / steps).astype(np.int8), steps, self.layer.astype("<f4"), self.bias.astype("<f4"))
        path.write_bytes(MARK + b"".join(part.tobytes() for part in parts))

    @staticmethod
    def load(path: str | Path = PATH) -> RouterWeights:
        """Read what ``save`` wrote. Raises BundleError for a file that is missing, damaged or of another version."""
        try:
            data = _read(path)
        except OSError as exc:
            raise BundleError(
                f"The router's weights {path} cannot be read ({exc}); install the package again."
            ) from exc
        if not data.startswith(MARK) or len(data) != len(MARK) + TABLE_BYTES + 4 * NUM_FLOATS:
            raise BundleError(
                f"The router's weights {path} are damaged or of another version; install the package again."
            )
        codes = np.frombuffer(data, np.int8, TABLE_BYTES, len(MARK)).reshape(-1, WIDTH)
        floats = np.frombuffer(data, "<f4", NUM_FLOATS, len(MARK) + TABLE_BYTES).astype(np.float32)
        steps, layer, bias = np.split(floats, [WIDTH, WIDTH + 2 * NUM_KINDS * NUM_INPUTS])
        return RouterWeights(codes, steps, layer.reshape(NUM_INPUTS, 2 * NUM_KINDS), bias)


def _read(path: str | Path) -> bytes:
    with open(path, "rb") as file:
        return file.read()


@cache
def weights_hash(path: str | Path = PATH) -> str:
    """Names the weights in the file at ``path``; empty where it cannot be read, which ``load`` will say."""
    import hashlib

    try:
        return hashlib.sha256(_read(path)).hexdigest()
    except OSError:
        return ""
