"""Stage two: what the model's own next-token distributions say where the text alone is not enough.

Knows: logits, of the first tokens of a direct answer and where a judge would set its marker, and how their figures
become a chance. Does not know: how the logits come about, or who asks.

Entropy and margin of the first answer tokens under no thinking are low and high where a model knows its answer (as in
Self-Route, arXiv 2505.20664, with hidden states); a judge's odds are its decision, before it is made. The first digit
of a number is often sure where the next ones are guessed, so a few tokens are looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUM_TOKENS = 3  # of a direct answer that are looked at, at most
SIGNAL_NAMES = ("entropy", "margin", "top", "odds", "most entropy", "all entropy", "least margin", "all top")


@dataclass(frozen=True, slots=True)
class FirstToken:
    """Of the first token of a direct answer: ``entropy`` in nats, ``margin`` of the two likeliest as a log ratio,
    ``top`` the log of the likeliest's chance; ``odds`` of the judge's marker for thinking, as a log ratio, 0 without.

    ``next_ones`` are entropy, margin and top of the tokens behind it, each the likeliest.
    """

    entropy: float
    margin: float
    top: float
    odds: float = 0.0
    next_ones: tuple[tuple[float, float, float], ...] = ()

    def values(self) -> NDArray[np.float64]:
        """In the order of ``SIGNAL_NAMES``."""
        entropies, margins, tops = zip((self.entropy, self.margin, self.top), *self.next_ones, strict=True)
        own = (self.entropy, self.margin, self.top, self.odds)
        return np.array([*own, max(entropies), sum(entropies), min(margins), sum(tops)])


def read_signals(answer_logits: Sequence[NDArray[np.float32]], odds: float = 0.0) -> FirstToken:
    """The figures of the next-token distributions ``(vocab_size,)`` of one answer token after the other."""
    first, *others = (_figures(logits) for logits in answer_logits)
    return FirstToken(*first, odds, tuple(others))


def _figures(answer_logits: NDArray[np.float32]) -> tuple[float, float, float]:
    """Entropy, margin and top of one distribution."""
    logits = answer_logits.astype(np.float64)
    logits -= logits.max()
    chances = np.exp(logits)
    total = chances.sum()
    chances /= total
    second, first = np.partition(logits, -2)[-2:]
    entropy = float(np.log(total) - (chances * logits).sum())
    return entropy, float(first - second), float(first - np.log(total))


@dataclass(frozen=True, slots=True)
class Probe:
    """Learned for one model: ``weights`` of the text's logit and of the signals, a ``bias``, and the ``cut`` from which
    on it thinks."""

    weights: tuple[float, ...]
    bias: float
    cut: float

    def chance(self, text_score: float, signals: FirstToken) -> float:
        """That thinking pays, 0 to 1, from the router's score and the signals."""
        from edge.think.logistic import logit, sigmoid

        inputs = np.concatenate([logit(np.array([text_score])), signals.values()])
        return float(sigmoid(np.array(inputs @ np.array(self.weights) + self.bias)))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"weights": list(self.weights), "bias": self.bias, "cut": self.cut}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Probe:
        """What ``to_json`` gave. Raises ValueError, KeyError or TypeError for anything else."""
        weights = tuple(float(weight) for weight in value["weights"])
        if len(weights) != 1 + len(SIGNAL_NAMES):
            raise ValueError(f"a probe has {1 + len(SIGNAL_NAMES)} weights, not {len(weights)}")
        return Probe(weights, float(value["bias"]), float(value["cut"]))
