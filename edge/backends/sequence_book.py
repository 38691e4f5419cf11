"""The book of what every sequence holds, kept the same way by every backend.

Knows: token lists, one capacity shared by all sequences, the vocabulary's size. Does not know: devices or logits.
"""

from __future__ import annotations

from collections.abc import Sequence

from models.errors import BackendError, ContextFullError


class SequenceBook:
    """Token lists of ``num_sequences`` sequences that share ``capacity`` tokens; checks come before any evaluation."""

    def __init__(self, num_sequences: int, capacity: int, vocab_size: int) -> None:
        self.capacity = capacity
        self._vocab_size = vocab_size
        self._held: list[list[int]] = [[] for _ in range(num_sequences)]

    def held(self, sequence: int) -> list[int]:
        """The live token list of ``sequence``. Raises BackendError for a sequence that was not opened."""
        if not 0 <= sequence < len(self._held):
            self.check_open()
            raise BackendError(f"There is no sequence {sequence}; the backend was opened with {len(self._held)}.")
        return self._held[sequence]

    def close(self) -> None:
        """Forget all sequences; every later use raises BackendError."""
        self._held.clear()

    def check_open(self) -> None:
        """Raises BackendError after ``close``."""
        if not self._held:
            raise BackendError("The backend is closed; open the model again.")

    def kept_prefix(self, sequence: int, tokens: Sequence[int]) -> int:
        """How many tokens of ``sequence`` a prefill with ``tokens`` keeps: the common prefix, but never all of them."""
        return min(common_length(self.held(sequence), tokens), len(tokens) - 1)

    def check_prefill(self, sequence: int, tokens: Sequence[int]) -> None:
        """Raises BackendError or ContextFullError unless ``sequence`` may hold exactly ``tokens``."""
        self.held(sequence)
        if not tokens:
            raise BackendError("A prefill of no tokens has no logits; give at least one token.")
        self._check_ids(tokens)
        self._check_room(self._held_by_others(sequence), len(tokens))

    def check_append(self, sequence: int, tokens: Sequence[int]) -> None:
        """Raises BackendError or ContextFullError unless ``tokens`` fit behind those of ``sequence``."""
        self.held(sequence)
        self._check_ids(tokens)
        self._check_room(sum(map(len, self._held)), len(tokens))

    def check_cut(self, sequence: int, length: int) -> None:
        """Raises BackendError unless ``sequence`` holds at least ``length`` tokens."""
        held = len(self.held(sequence))
        if not 0 <= length <= held:
            raise BackendError(f"Sequence {sequence} holds {held} tokens and cannot be cut to {length}.")

    def _held_by_others(self, sequence: int) -> int:
        own = len(self.held(sequence))
        return sum(map(len, self._held)) - own

    def _check_room(self, num_held: int, num_new: int) -> None:
        if num_held + num_new > self.capacity:
            raise ContextFullError(
                f"The context of {self.capacity} tokens is full: {num_held} are held and {num_new} more do not fit; "
                "shorten the conversation or open the model with a larger context."
            )

    def _check_ids(self, tokens: Sequence[int]) -> None:
        if tokens and (min(tokens) < 0 or max(tokens) >= self._vocab_size):
            bad = next(token for token in tokens if not 0 <= token < self._vocab_size)
            raise BackendError(
                f"Token {bad} is not in this model's vocabulary of {self._vocab_size}; "
                "use the tokenizer that belongs to the model."
            )


def common_length(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens both begin with."""
    limit = min(len(left), len(right))
    for position in range(limit):
        if left[position] != right[position]:
            return position
    return limit
