"""Tokens that were computed before they were asked for: the beginning of a direct answer that the probe has looked at.

Knows: the tokens a sequence holds beyond those that were accepted, and the logits before each. Does not know: why they
were computed, or how a token is picked from logits.

The loop asks and tells it what it would ask and tell the backend. As long as the tokens it picks are the drafted ones,
the device has nothing to do; what lies behind the first other one is cut away. Logits are the device's own, so that
what is drawn from them is what would have been drawn without a draft.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge.backends.base import Backend, PrefillResult


class DraftedTokens:
    """On a sequence of ``backend`` that holds ``accepted`` tokens and the ``drafted`` ones behind them.

    ``logits`` are those before each drafted token; None where they are not known: it is taken for the only one then,
    unless it is banned. ``when_taken`` is called for each drafted token that is picked.
    """

    def __init__(
        self,
        backend: Backend,
        accepted: Sequence[int],
        drafted: Sequence[int],
        logits: Sequence[NDArray[np.float32] | None],
        when_taken: Callable[[], None],
    ) -> None:
        self._backend = backend
        self._held = list(accepted)
        self._ahead = list(zip(drafted, logits, strict=True))[::-1]  # the next one last
        self._when_taken = when_taken

    def logits(self, sequence: int, banned: Sequence[int] = ()) -> NDArray[np.float32]:
        """See ``Backend.logits``."""
        if not self._ahead:
            return self._backend.logits(sequence, banned)
        token, logits = self._ahead[-1]
        if logits is not None:
            return logits
        if token in banned:
            self._ahead.clear()
            self._backend.prefill(sequence, self._held)
            return self._backend.logits(sequence, banned)
        sure = np.full(self._backend.vocab_size, -np.inf, np.float32)
        sure[token] = 0.0
        return sure

    def append(self, sequence: int, tokens: Sequence[int]) -> None:
        """See ``Backend.append``."""
        for place, token in enumerate(tokens):
            if not self._ahead:
                return self._backend.append(sequence, tokens[place:])
            if token != self._ahead[-1][0]:
                self._ahead.clear()
                self._backend.cut(sequence, len(self._held))
                return self._backend.append(sequence, tokens[place:])
            self._held.append(self._ahead.pop()[0])
            self._when_taken()
        return None

    def prefill(self, sequence: int, tokens: Sequence[int]) -> PrefillResult:
        """See ``Backend.prefill``; the draft is over."""
        self._ahead.clear()
        return self._backend.prefill(sequence, tokens)
