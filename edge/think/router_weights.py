"""The router's learned numbers, and the file they are kept in.

Knows: shapes, rounding to bytes, and how outputs become a score. Does not know: prompts, or how it is learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from edge.think.prompt_features import NUM_COUNTS, NUM_POOLS
from edge.think.prompt_tokens import HASH_BITS
from models.errors import BundleError

Floats = NDArray[np.float32]
KINDS = ("chat", "text", "story", "school", "exam", "knowledge", "steps", "work")
NUM_KINDS = len(KINDS)
LEAST_LOGIT = -30.0
WIDTH = NUM_KINDS + 1  # numbers that a word has: one for each kind, and one for the difficulty of questions of fact
NUM_INPUTS = NUM_COUNTS + NUM_POOLS * WIDTH
PATH = Path(__file__).with_name("router_weights.npz")


@dataclass(frozen=True, slots=True)
class RouterWeights:
    """``table`` ``(65536, WIDTH)`` of words, ``layer`` ``(NUM_INPUTS, 16)``, ``bias`` ``(16,)``; float32.

    The first eight outputs are logits of the kinds, the others of a wrong direct answer to a prompt of that kind.
    """

    table: Floats
    layer: Floats
    bias: Floats

    @staticmethod
    def mix(outputs: Floats) -> Floats:
        """``(..., 16)`` outputs to scores ``(...)``: chance of a kind times chance to be wrong there."""
        kinds = outputs[..., :NUM_KINDS]
        powers = np.exp(kinds - kinds.max(-1, keepdims=True))
        wrong = 1.0 / (1.0 + np.exp(-np.maximum(outputs[..., NUM_KINDS:], LEAST_LOGIT)))
        return np.asarray((powers * wrong).sum(-1) / powers.sum(-1), np.float32)

    def save(self, path: Path) -> None:
        """Write the weights; each column of the table is rounded to 255 steps. Raises OSError."""
        steps = np.maximum(np.abs(self.table).max(0), 1e-9) / 127
        table = np.round(self.table / steps).astype(np.int8)
        np.savez(path, table=table, steps=steps.astype(np.float32), layer=self.layer, bias=self.bias)

    @staticmethod
    def load(path: Path = PATH) -> RouterWeights:
        """Read what ``save`` wrote. Raises BundleError for a file that is missing, damaged or of another version."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                table = arrays["table"] * arrays["steps"]
                layer, bias = arrays["layer"], arrays["bias"]
        except (OSError, ValueError, KeyError, BadZipFile) as exc:
            raise BundleError(
                f"The router's weights in {path} cannot be read ({exc}); install the package again."
            ) from exc
        expected = ((1 << HASH_BITS, WIDTH), (NUM_INPUTS, 2 * NUM_KINDS), (2 * NUM_KINDS,))
        if (table.shape, layer.shape, bias.shape) != expected:
            raise BundleError(f"The router's weights in {path} are of another version; install the package again.")
        return RouterWeights(table, layer, bias)
