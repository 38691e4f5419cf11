"""Stage two: what the model's own next-token distributions say where the text alone is not enough.

Knows: logits, of the first tokens of a direct answer and where a judge would set its marker, and how their figures
become a chance. Does not know: how the logits come about, or who asks.

Entropy and margin of the first answer tokens under no thinking are low and high where a model knows its answer (as in
Self-Route, arXiv 2505.20664, with hidden states); a judge's odds are its decision, before it is made. Both come from
one forward pass where the device gives logits in two places of it, else from two. The first digit of a number is often
sure where the next one is guessed, so that a model that would answer directly has its next token looked at, too: that
token is the answer's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUM_TOKENS = 2  # of a direct answer that are looked at, at most
SURE = 0.8  # a chance from which on thinking begins without another look, which would take a step of it
SIGNAL_NAMES = ("entropy", "margin", "top", "odds", "most entropy", "all entropy", "least margin", "all top")


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one next-token distribution: ``entropy`` in nats, ``margin`` of the two likeliest as a log ratio, ``top`` the
    log of the likeliest's chance."""

    entropy: float
    margin: float
    top: float

    @staticmethod
    def of(logits: NDArray[np.float32]) -> Figures:
        """From logits ``(vocab_size,)``."""
        values = logits.astype(np.float64)
        values -= values.max()
        chances = np.exp(values)
        total = chances.sum()
        chances /= total
        second, first = np.partition(values, -2)[-2:]
        entropy = float(np.log(total) - (chances * values).sum())
        return Figures(entropy, float(first - second), float(first - np.log(total)))


@dataclass(frozen=True, slots=True)
class ProbeSignals:
    """``tokens`` of a direct answer, one or more, each the likeliest behind the ones before; ``odds`` of the judge's
    marker for thinking against the other, as a log ratio, 0 without a judge."""

    tokens: tuple[Figures, ...]
    odds: float = 0.0

    def values(self) -> NDArray[np.float64]:
        """In the order of ``SIGNAL_NAMES``."""
        first = self.tokens[0]
        entropies = [token.entropy for token in self.tokens]
        worst = max(entropies), sum(entropies), min(token.margin for token in self.tokens)
        return np.array(
            [first.entropy, first.margin, first.top, self.odds, *worst, sum(token.top for token in self.tokens)]
        )

    def looks(self) -> tuple[tuple[float, ...], ...]:
        """The values after one token, after two, and so on."""
        ends = range(1, len(self.tokens) + 1)
        return tuple(tuple(ProbeSignals(self.tokens[:end], self.odds).values().tolist()) for end in ends)


@dataclass(frozen=True, slots=True)
class Look:
    """Learned for one model: ``weights`` of the text's logit and of the signals, and a ``bias``."""

    weights: tuple[float, ...]
    bias: float


def sure_from(cut: float) -> float:
    """The chance from which on a probe that thinks from ``cut`` on looks no further."""
    return max(SURE, cut)


@dataclass(frozen=True, slots=True)
class Probe:
    """``looks``: what is learned for one answer token, for two, and so on. It thinks from ``cut`` on."""

    looks: tuple[Look, ...]
    cut: float

    def chance(self, text_score: float, signals: ProbeSignals) -> float:
        """That thinking pays, 0 to 1, from the router's score and the signals."""
        from edge.think.logistic import logit, sigmoid

        look = self.looks[min(len(signals.tokens), len(self.looks)) - 1]
        inputs = np.concatenate([logit(np.array([text_score])), signals.values()])
        return float(sigmoid(np.array(inputs @ np.array(look.weights) + look.bias)))

    def is_settled(self, chance: float, num_tokens: int) -> bool:
        """Whether no other token is looked at: it is sure to think, or all that can be has been."""
        return num_tokens >= len(self.looks) or chance >= sure_from(self.cut)

    def settle(self, text_score: float, signals: ProbeSignals) -> tuple[float, int]:
        """The chance by which it decides where all ``signals`` are known, and how many tokens it looks at for it."""
        for end in range(1, len(signals.tokens)):
            chance = self.chance(text_score, ProbeSignals(signals.tokens[:end], signals.odds))
            if self.is_settled(chance, end):
                return chance, end
        return self.chance(text_score, signals), len(signals.tokens)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"looks": [{"weights": list(look.weights), "bias": look.bias} for look in self.looks], "cut": self.cut}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Probe:
        """What ``to_json`` gave. Raises ValueError, KeyError or TypeError for anything else."""
        looks = tuple(
            Look(tuple(float(weight) for weight in look["weights"]), float(look["bias"])) for look in value["looks"]
        )
        for look in looks:
            if len(look.weights) != 1 + len(SIGNAL_NAMES):
                raise ValueError(f"a look has {1 + len(SIGNAL_NAMES)} weights, not {len(look.weights)}")
        if not looks:
            raise ValueError("a probe has one look or more")
        return Probe(looks, float(value["cut"]))
