"""A real backend of a model with random weights, given something to say: time is the model's own, the words are not.

Knows: the dialect's tags, and how long the thinking and the answer are to be. Does not know: deadlines or plans.
Random weights never end a thought or an answer by themselves; a real model does, and the runtime reckons with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bench_edge.wrapped_backend import WrappedBackend
from edge.backends.base import PrefillResult
from edge.loaded_model import LoadedModel
from models.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SENTENCE = 11  # tokens
LETTERS = "abcdefghijklmnopqrstuvwxyz."


class SpokenBackend(WrappedBackend):
    """``model``'s backend, which says sentences of single letters on one sequence.

    Every step is computed, its logits included; then the token to be said next is made the likeliest. The thinking
    takes ``thinking_tokens`` (infinity: it never ends) and the answer ``answer_tokens``.
    """

    thinking_tokens: float = math.inf
    answer_tokens: float = 16

    def __init__(self, model: LoadedModel) -> None:
        """Raises ModelError for a vocabulary without letters, think tags or a stop token."""
        super().__init__(model.backend)
        token_id = model.tokenizer.token_id
        starts = [tag for tag, what in model.dialect.tags.items() if what.leads_to == "thinking"]
        ends = [
            tag for tag, what in model.dialect.tags.items() if what.closes == "thinking" or what.leads_to == "answer"
        ]
        self._is_thinking_after = {token_id(tag): tag in starts for tag in (*starts, *ends)}
        self._end_of_thinking = token_id(model.dialect.think_closers[0]) if model.dialect.think_closers else None
        letters = [token for letter in LETTERS for token in model.tokenizer.encode_user(letter)]
        if len(letters) != len(LETTERS) or self._end_of_thinking is None or not model.stop_ids:
            raise ModelError(f"{model.name} has no letters, think tags or stop token to speak with.")
        *self._letters, self._point = letters
        self._stop = min(model.stop_ids)
        self._held: list[int] = []
        self._logits = np.zeros(self.vocab_size, np.float32)
        self._likeliest = 0

    def prefill(
        self, sequence: int, tokens: Sequence[int], *, should_stop: Callable[[], bool] | None = None
    ) -> PrefillResult:
        filled = self._inner.prefill(sequence, tokens, should_stop=should_stop)
        self._held = list(tokens[: self._inner.length(sequence)])
        return filled

    def append(self, sequence: int, tokens: Sequence[int]) -> None:
        self._inner.append(sequence, tokens)
        self._held += tokens

    def cut(self, sequence: int, length: int) -> None:
        self._inner.cut(sequence, length)
        del self._held[length:]

    def logits(self, sequence: int, banned: Sequence[int] = ()) -> NDArray[np.float32]:
        self._inner.logits(sequence)  # where the device computes behind our back, this waits for it
        self._logits[self._likeliest] = 0
        self._likeliest = self._next_token()
        self._logits[self._likeliest] = 20
        return self._logits

    def _next_token(self) -> int:
        num_spoken, is_thinking = 0, False
        for token in reversed(self._held):
            if token in self._is_thinking_after:
                is_thinking = self._is_thinking_after[token]
                break
            num_spoken += 1
        if num_spoken >= (self.thinking_tokens if is_thinking else self.answer_tokens):
            assert self._end_of_thinking is not None
            return self._end_of_thinking if is_thinking else self._stop
        if num_spoken % SENTENCE == SENTENCE - 1:
            return self._point
        return self._letters[(num_spoken * num_spoken + num_spoken // SENTENCE) % len(self._letters)]
