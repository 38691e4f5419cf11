"""Tokens that were computed before they were asked for: the beginning of a direct answer that the probe has looked at.

Knows: the tokens a sequence holds beyond those that were accepted, and the logits before each. Does not know: why they
were computed, or how a token is picked from logits.

The loop asks and tells it what it would ask and tell the backend. As long as the tokens it picks are the drafted ones,
the device has nothing to do; what lies behind the first other one is cut away. Logits are the device's own, so that
what is drawn from them is what would have been drawn without a draft; tags that open an answer, which were evaluated
together, have none and are taken for the only choice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge.backends.base import Backend, PrefillResult


@dataclass(frozen=True, slots=True)
class Draft:
    """``tokens`` that a sequence holds behind ``opening``, and the logits before each, None for a tag's.

    Tags were evaluated with the opening, the others took ``steps_s`` seconds.
    """

    opening: list[int]
    tokens: list[int]
    logits: list[NDArray[np.float32] | None]
    steps_s: float

    @property
    def num_tags(self) -> int:
        """How many of the tokens took no step."""
        return sum(logits is None for logits in self.logits)


class DraftedTokens:
    """What the loop takes for its ``backend``, one of whose sequences holds ``draft``.

    ``not_timed`` is called where the time to the next token is no decode step's: it was there already, or the device
    has to go back for it.
    """

    def __init__(self, backend: Backend, draft: Draft, not_timed: Callable[[], None]) -> None:
        self.num_taken = 0
        self._backend = backend
        self._held = list(draft.opening)
        self._ahead = list(zip(draft.tokens, draft.logits, strict=True))[::-1]  # the next one last
        self._not_timed = not_timed

    def logits(self, sequence: int, banned: Sequence[int] = ()) -> NDArray[np.float32]:
        """See ``Backend.logits``."""
        if not self._ahead:
            return self._backend.logits(sequence, banned)
        token, logits = self._ahead[-1]
        if logits is not None:
            return logits
        if token in banned:
            self.prefill(sequence, self._held)
            return self._backend.logits(sequence, banned)
        sure = np.full(self._backend.vocab_size, -np.inf, np.float32)
        sure[token] = 0.0
        return sure

    def append(self, sequence: int, tokens: Sequence[int]) -> None:
        """See ``Backend.append``."""
        for place, token in enumerate(tokens):
            if self._ahead and token == self._ahead[-1][0]:
                self._held.append(self._ahead.pop()[0])
                self.num_taken += 1
                self._not_timed()
                continue
            if self._ahead:
                self._ahead.clear()
                self._not_timed()
                self._backend.cut(sequence, len(self._held))
            return self._backend.append(sequence, tokens[place:])
        return None

    def prefill(self, sequence: int, tokens: Sequence[int]) -> PrefillResult:
        """See ``Backend.prefill``; the draft is over."""
        self._ahead.clear()
        self._not_timed()
        return self._backend.prefill(sequence, tokens)
