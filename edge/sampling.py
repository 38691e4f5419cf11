"""Logits become a token: greedy, or drawn after temperature, top-k and top-p.

Knows: arrays of logits and a seeded random generator. Does not know: models, tokens' text, or which tags are banned.
The order is that of the reference implementations: temperature, then the ``top_k`` likeliest, then the smallest set
of those that reaches ``top_p`` (nucleus sampling, arXiv 1904.09751).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.errors import BackendError

GREEDY_BELOW = 1e-3  # of temperature: a logit 0.1 behind the best would have a chance of e^-100
BLOCK = 64


class Sampler:
    """Picks tokens, the same ones for the same seed and logits.

    ``temperature`` 0 (in fact below 0.001) is greedy, and the lowest id wins a tie; ``top_k`` 0 and ``top_p`` 1 are no
    limit; ``seed`` None takes a fresh one.
    """

    def __init__(self, temperature: float = 0.0, top_k: int = 0, top_p: float = 1.0, seed: int | None = None) -> None:
        self._temperature = temperature
        self._top_k = top_k
        self._top_p = top_p
        self.is_greedy = temperature < GREEDY_BELOW or top_k == 1
        self._random = None if self.is_greedy else np.random.default_rng(seed)

    def pick(self, logits: NDArray[np.float32], banned: Sequence[int] = ()) -> int:
        """The next token from ``(vocab_size,) float32`` logits, which are left as they are.

        ``banned`` ids are not picked. Raises BackendError for logits that allow no choice: NaN, +infinity, or -infinity
        throughout.
        """
        if banned:
            logits = logits.copy()
            logits[list(banned)] = -np.inf
        best = int(logits.argmax())  # NaN counts as the largest here, so that this one number tells of both troubles
        if not math.isfinite(logits[best]):
            raise BackendError(
                f"The model computed {logits[best]} where its best logit should be; the model file or the machine's "
                "kernels are broken, so run `edge doctor`."
            )
        return best if self._random is None else self._draw(logits, logits[best])

    def _draw(self, logits: NDArray[np.float32], largest: np.float32) -> int:
        tokens = _top_k(logits, self._top_k)
        chosen = logits if tokens is None else logits[tokens]
        with np.errstate(over="ignore"):  # a logit of -1e38 is a mask too
            weights = np.exp((chosen - largest) / np.float32(self._temperature))
        kept = _top_p(weights, self._top_p)
        if kept is not None:
            weights, tokens = weights[kept], kept if tokens is None else tokens[kept]
        edges = np.cumsum(weights, dtype=np.float64)
        assert self._random is not None
        drawn = int(np.searchsorted(edges, self._random.random() * edges[-1], side="right"))
        return drawn if tokens is None else int(tokens[drawn])


def _top_k(logits: NDArray[np.float32], top_k: int) -> NDArray[np.intp] | None:
    """The ids of the ``top_k`` largest logits, ascending; None for all of them.

    At least ``top_k`` logits reach the ``top_k``-th largest of the blocks' maxima, so that only those above it need
    to be looked at closely: exact, and five times as fast as a partition of a large vocabulary.
    """
    if not 0 < top_k < len(logits):
        return None
    num_blocks = len(logits) // BLOCK
    candidates = np.arange(len(logits))
    if num_blocks > top_k:
        maxima = logits[: num_blocks * BLOCK].reshape(num_blocks, BLOCK).max(axis=1)
        bound = np.partition(maxima, -top_k)[-top_k]
        candidates = np.flatnonzero(logits >= bound)
    largest = candidates[np.argpartition(logits[candidates], -top_k)[-top_k:]]
    largest.sort()
    return largest


def _top_p(weights: NDArray[np.float32], top_p: float) -> NDArray[np.intp] | None:
    """Indices of the smallest set of weights whose share reaches ``top_p``, likeliest first; None for all of them.

    Weights below a ``1 - top_p`` part of the mean add up to less than what is cut away, so that they need no sorting.
    """
    if top_p >= 1:
        return None
    total = weights.sum(dtype=np.float64)
    candidates = np.flatnonzero(weights >= (1 - top_p) * total / len(weights))
    order = candidates[np.argsort(-weights[candidates], kind="stable")]
    shares = np.cumsum(weights[order], dtype=np.float64)
    return order[: int(np.searchsorted(shares, top_p * total)) + 1]
