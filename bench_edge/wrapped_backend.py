"""A backend around another one, for a bench to change one thing and leave all else as it ships.

Knows: the backend contract. Does not know: what its heirs change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from edge.backends.base import Backend, PrefillResult

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class WrappedBackend(Backend):
    """Hands everything on to ``inner``, as a device that gives logits in one place only."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self.name, self.notes = inner.name, inner.notes
        self.context_size, self.kv_bytes_per_token = inner.context_size, inner.kv_bytes_per_token
        self.vocab_size, self.num_sequences = inner.vocab_size, inner.num_sequences
        self.num_threads, self.changes_threads_freely = inner.num_threads, inner.changes_threads_freely

    def prefill(
        self, sequence: int, tokens: Sequence[int], *, should_stop: Callable[[], bool] | None = None
    ) -> PrefillResult:
        return self._inner.prefill(sequence, tokens, should_stop=should_stop)

    def append(self, sequence: int, tokens: Sequence[int]) -> None:
        self._inner.append(sequence, tokens)

    def logits(self, sequence: int, banned: Sequence[int] = ()) -> NDArray[np.float32]:
        return self._inner.logits(sequence, banned)

    def length(self, sequence: int) -> int:
        return self._inner.length(sequence)

    def cut(self, sequence: int, length: int) -> None:
        self._inner.cut(sequence, length)

    def save(self, sequence: int) -> bytes:
        return self._inner.save(sequence)

    def restore(self, sequence: int, state: bytes) -> None:
        self._inner.restore(sequence, state)

    def set_threads(self, num_threads: int) -> None:
        self._inner.set_threads(num_threads)
        self.num_threads = num_threads

    def run_ahead(self, is_allowed: bool) -> None:
        self._inner.run_ahead(is_allowed)

    def close(self) -> None:
        self._inner.close()
