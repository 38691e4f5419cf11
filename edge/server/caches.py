"""What the device has evaluated of other conversations than the last, kept so that it need not be read again.

Knows: prompts as token ids, a backend's saved states, a limit in bytes; the least recently used goes first. Does not
know: messages, who asks, or how states come through a restart (``cache_file``). The backend itself keeps the common
prefix of one prompt and the next; this is for conversations that take turns.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from models.errors import BackendError

if TYPE_CHECKING:
    from edge.backends.base import Backend

SEQUENCE = 0  # the one that the engine answers on
LEAST_TOKENS = 64  # fewer are evaluated as fast as they are copied
MOST_STATES = 1024  # what begins alike is looked through one by one

Prompt = tuple[int, ...]


class ConversationCaches:
    """States of ``backend``, ``limit_bytes`` in all. For the device's thread; any other may call ``cached_tokens``."""

    def __init__(self, backend: Backend, limit_bytes: int) -> None:
        self._backend = backend
        self._limit_bytes = limit_bytes
        self._states: OrderedDict[Prompt, bytes] = OrderedDict()
        self._by_start: dict[Prompt, tuple[Prompt, ...]] = {}  # those states' prompts by their first LEAST_TOKENS
        self._current: Prompt = ()  # what the sequence begins with
        self.num_bytes = 0  # memory in use

    def cached_tokens(self, prompt: Prompt) -> int:
        """How many tokens of ``prompt`` would not have to be evaluated; safe from any thread."""
        best = self._best_for(prompt)
        return max(common_length(self._current, prompt), common_length(best, prompt))

    def make_ready(self, prompt: Prompt) -> None:
        """Before an answer to ``prompt``: put aside what it would overwrite, bring back what it continues."""
        here, best = common_length(self._current, prompt), self._best_for(prompt)
        is_better = common_length(best, prompt) - here >= LEAST_TOKENS
        state = self._take(best) if is_better else None  # before it has to make room for another
        if is_better or len(self._current) - here >= LEAST_TOKENS:
            self._put_aside()
        if state is not None:
            with suppress(BackendError):  # it is evaluated anew
                self._backend.restore(SEQUENCE, state)
        self._current = prompt

    def states(self) -> list[tuple[Prompt, bytes]]:
        """All that is known, the least recently used first; what the sequence holds now is put aside for it."""
        self._put_aside()
        return list(self._states.items())

    def refill(self, states: Iterable[tuple[Prompt, bytes]]) -> None:
        """Take back what ``states`` gave, within the limit; a backend that cannot use one says so when it is needed."""
        for prompt, state in states:
            self._put(prompt, state)

    def _best_for(self, prompt: Prompt) -> Prompt:
        """The prompt of the state that has most in common with ``prompt``; empty where none has enough."""
        alike = self._by_start.get(prompt[:LEAST_TOKENS], ())
        return max(alike, key=lambda known: common_length(known, prompt), default=())

    def _put_aside(self) -> None:
        if len(self._current) < LEAST_TOKENS or not self._limit_bytes:
            return
        try:
            state = self._backend.save(SEQUENCE)
        except BackendError:  # a device that cannot save has nothing to keep
            return
        self._put(self._current, state)

    def _put(self, prompt: Prompt, state: bytes) -> None:
        if prompt in self._states:
            self._take(prompt)
        self._states[prompt] = state
        self.num_bytes += len(state)
        start = prompt[:LEAST_TOKENS]
        self._by_start[start] = (*self._by_start.get(start, ()), prompt)
        while self.num_bytes > self._limit_bytes or len(self._states) > MOST_STATES:
            self._take(next(iter(self._states)))

    def _take(self, prompt: Prompt) -> bytes:
        state = self._states.pop(prompt)
        self.num_bytes -= len(state)
        start = prompt[:LEAST_TOKENS]
        others = tuple(known for known in self._by_start[start] if known != prompt)
        if others:
            self._by_start[start] = others
        else:
            del self._by_start[start]
        return state


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
