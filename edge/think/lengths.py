"""How long a model's texts are: answers, thoughts and judgements, learned from every request.

Knows: token counts by kind of text. Pure: no clock, no I/O. Does not know: tokens, tags, or where numbers are kept.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from edge.think.quantile import RecentQuantile

TextKind = Literal["judge", "thinking", "thought_answer", "direct_answer"]

# Tokens of each before the first real one: short chat answers, one sentence of judgement.
PRIOR_TOKENS: dict[TextKind, int] = {"judge": 32, "thinking": 128, "thought_answer": 64, "direct_answer": 64}
PRIOR_WEIGHT = 0.005  # of one text: gone after the first real one, or short answers would never be trusted
FEW = 2.0  # texts; the longest of n texts is reckoned with as (1 + FEW / n) times as long
HALF_LIFE = 200.0  # texts
LONG = 0.99
BEYOND = 1.33  # from the 99th to the 99.9th percentile of a log-normal, in its standard deviations
CUT_FACTOR = 2.0  # a text that was cut short would have been longer: how much is not known, so twice
SHORTEST_USEFUL, LONGEST_USEFUL, USEFUL_SHARE = 8, 256, 0.6  # of thinking, in tokens


class LengthModel:
    """One quantile for each kind of text; a new model and dialect starts from ``PRIOR_TOKENS``."""

    def __init__(self) -> None:
        self._lengths = {
            kind: RecentQuantile(PRIOR_TOKENS[kind], PRIOR_WEIGHT, HALF_LIFE) for kind in get_args(TextKind)
        }

    def learn(self, kind: TextKind, num_tokens: int, *, was_cut: bool = False) -> None:
        """Take the length of one text; ``was_cut``: it did not end of its own accord."""
        if num_tokens > 0:
            self._lengths[kind].add(num_tokens * (CUT_FACTOR if was_cut else 1.0))

    def typical(self, kind: TextKind) -> int:
        """The median, in tokens."""
        return max(1, int(self._lengths[kind].quantile(0.5)))

    def reserve(self, kind: TextKind) -> int:
        """Tokens that nearly every text of this kind fits in (the 99.9th percentile of a log-normal).

        Until an answer was thought about, the direct ones stand for those.
        """
        if kind == "thought_answer" and not self._has_seen(kind):
            kind = "direct_answer"
        lengths = self._lengths[kind]
        if not self._has_seen(kind):
            return PRIOR_TOKENS[kind]
        middle, high = lengths.quantile(0.5), lengths.quantile(LONG)
        return max(1, int(middle * (high / middle) ** BEYOND * (1.0 + FEW / lengths.num_recent)))

    def useful_thinking(self) -> int:
        """The fewest thinking tokens that are worth beginning, 8 to 256: a thought that breaks off early is no use."""
        return min(max(int(USEFUL_SHARE * self.typical("thinking")), SHORTEST_USEFUL), LONGEST_USEFUL)

    def _has_seen(self, kind: TextKind) -> bool:
        return self._lengths[kind].num_recent >= 0.5

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain numbers."""
        return {kind: lengths.to_json() for kind, lengths in self._lengths.items()}

    @staticmethod
    def from_json(value: Any) -> LengthModel:
        """What ``to_json`` gave. Raises ValueError, KeyError or TypeError for anything else."""
        model = LengthModel()
        for kind, lengths in model._lengths.items():
            lengths.restore(value[kind])
        return model
