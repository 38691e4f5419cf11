"""What the device has evaluated of other conversations than the last, kept so that it need not be read again.

Knows: prompts as token ids, a backend's saved states, a limit in bytes; the least recently used goes first. Does not
know: messages, or who asks. The backend itself keeps the common prefix of one prompt and the next; this is for
conversations that take turns.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from models.errors import BackendError

if TYPE_CHECKING:
    from edge.backends.base import Backend

SEQUENCE = 0  # the one that the engine answers on
LEAST_TOKENS = 64  # fewer are evaluated as fast as they are copied

Prompt = tuple[int, ...]


class ConversationCaches:
    """States of ``backend``, ``limit_bytes`` in all. For the device's thread; any other may call ``cached_tokens``."""

    def __init__(self, backend: Backend, limit_bytes: int) -> None:
        self._backend = backend
        self._limit_bytes = limit_bytes
        self._states: OrderedDict[Prompt, bytes] = OrderedDict()
        self._current: Prompt = ()  # what the sequence begins with
        self._known: tuple[Prompt, ...] = ()  # all of these, for other threads

    @property
    def num_bytes(self) -> int:
        """Memory in use."""
        return sum(map(len, self._states.values()))

    def cached_tokens(self, prompt: Prompt) -> int:
        """How many tokens of ``prompt`` would not have to be evaluated; safe from any thread."""
        return max((common_length(known, prompt) for known in self._known), default=0)

    def make_ready(self, prompt: Prompt) -> None:
        """Before an answer to ``prompt``: put aside what it would overwrite, bring back what it continues."""
        here = common_length(self._current, prompt)
        best = max(self._states, key=lambda known: common_length(known, prompt), default=())
        is_better = common_length(best, prompt) - here >= LEAST_TOKENS
        state = self._states.pop(best) if is_better else None  # before it has to make room for another
        if is_better or len(self._current) - here >= LEAST_TOKENS:
            self._put_aside()
        if state is not None:
            with suppress(BackendError):  # it is evaluated anew
                self._backend.restore(SEQUENCE, state)
        self._current = prompt
        self._known = (prompt, *self._states)

    def _put_aside(self) -> None:
        if len(self._current) < LEAST_TOKENS or not self._limit_bytes:
            return
        try:
            state = self._backend.save(SEQUENCE)
        except BackendError:  # a device that cannot save has nothing to keep
            return
        self._states.pop(self._current, None)
        self._states[self._current] = state
        while self.num_bytes > self._limit_bytes:
            self._states.popitem(last=False)


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """How many elements two sequences have in common from their start."""
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while high - low > 1:  # equal up to low, different within high
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low
