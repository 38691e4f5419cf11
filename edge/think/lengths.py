"""How long a model's texts are: answers, thoughts and judgements, learned from every request.

Knows: token counts by kind of text. Pure: no clock, no I/O. Does not know: tokens, tags, or where numbers are kept.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

from edge.think.quantile import RecentQuantile

TextKind = Literal["judge", "thinking", "thought_answer", "closed_answer", "direct_answer", "shaped_answer"]
"""``thought_answer`` follows thinking that ended by itself, ``closed_answer`` thinking that was closed; an answer in a
shape (a schema, a grammar) is a ``shaped_answer``, whatever comes before it."""

# Tokens of each before the first real one: short chat answers, one sentence of judgement.
PRIOR_TOKENS: dict[TextKind, int] = {
    "judge": 32,
    "thinking": 16,
    "thought_answer": 64,
    "closed_answer": 64,
    "direct_answer": 64,
    "shaped_answer": 64,
}
PRIOR_WEIGHT = 0.005  # of one text: gone after the first real one, or short answers would never be trusted
PRIOR_THOUGHTS = 2.0  # texts; the prior of thinking is short and lasts a little: what is not tried is never learned
FEW = 2.0  # texts; the longest of n texts is reckoned with as (1 + FEW / n) times as long
HALF_LIFE = 200.0  # texts
LONG = 0.95  # the share whose spread is measured; the longest are counted as no longer
BEYOND = 3.6  # from a log-normal's middle to its 99.95th percentile, in spreads measured with 5 % cut off at each end
MOST_OF_ONE = 1.02  # the weight of one text, and of the prior
CUT_FACTOR = 2.0  # a text that was cut short would have been longer, and where none was so long, twice as long
USUAL = 0.4  # of the thoughts; the rest of the way to the middle is bought by what the answer's reserve leaves over
SHORTEST_USEFUL, LONGEST_USEFUL = 8, 128  # of thinking, in tokens


class LengthModel:
    """One quantile for each kind of text; a new model and dialect starts from ``PRIOR_TOKENS``."""

    def __init__(self) -> None:
        self._lengths = {
            kind: RecentQuantile(PRIOR_TOKENS[kind], PRIOR_THOUGHTS if kind == "thinking" else PRIOR_WEIGHT, HALF_LIFE)
            for kind in get_args(TextKind)
        }

    def learn(self, kind: TextKind, num_tokens: int, *, was_cut: bool = False) -> None:
        """Take the length of one text; ``was_cut``: it did not end of its own accord."""
        if num_tokens <= 0:
            return
        lengths = self._lengths[kind]
        longer = lengths.middle_above(num_tokens) if was_cut else num_tokens  # as long as the longer ones usually are
        lengths.add(CUT_FACTOR * num_tokens if longer is None else longer)

    def typical(self, kind: TextKind) -> int:
        """The median, in tokens."""
        return max(1, int(self._lengths[kind].quantile(0.5)))

    def reserve(self, kind: TextKind) -> int:
        """Tokens that nearly every text of this kind fits in (the 99.95th percentile of a log-normal).

        The longest of few texts is left out: one that rambles says nothing of the others. What stands for answers to
        finished thoughts until there was one: direct answers, or the usual answer to a thought that was closed.
        """
        if kind == "thought_answer" and not self._has_seen(kind):
            closed = self.typical("closed_answer") if self._has_seen("closed_answer") else 0
            return max(self.reserve("direct_answer"), closed)
        lengths = self._lengths[kind]
        if not self._has_seen(kind):
            return PRIOR_TOKENS[kind]
        share = min(LONG, 1.0 - MOST_OF_ONE / max(lengths.num_recent, 2.0))
        middle, spread = lengths.log_normal(share)
        far = max(math.exp(middle + BEYOND * spread), lengths.quantile(share))
        return max(1, int(far * (1.0 + FEW / lengths.num_recent)))

    def share_within(self, kind: TextKind, num_tokens: int) -> float:
        """The share, 0 to 1, of the texts of a kind that are no longer than so many tokens."""
        return self._lengths[kind].share_within(num_tokens)

    def useful_thinking(self) -> int:
        """The fewest thinking tokens that are worth beginning, 8 to 128: two thoughts in five end within so many."""
        return min(max(int(self._lengths["thinking"].quantile(USUAL)), SHORTEST_USEFUL), LONGEST_USEFUL)

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
