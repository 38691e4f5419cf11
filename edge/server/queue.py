"""Who is answered next, and who cannot be answered in time any more.

Knows: when each request is due and how long its answer takes at least. Pure: no clock, no threads.
Does not know: requests, devices, or how the times are reckoned (``forecast``).

The earliest due goes first, which keeps every deadline that any order keeps (Liu and Layland, 1973). A request without
a deadline is due after the server's usual time; it ages, since a newer one is due later. A new request is admitted
where neither it nor any that waits would be late for it: those ahead count with their mean times, which add up to
something steady, and the request itself with its slow time.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

Item = TypeVar("Item")
_numbers = count()


@dataclass(frozen=True, slots=True)
class Need:
    """Seconds that an answer takes without thinking: in the mean, and where the device is slow."""

    mean_s: float
    slow_s: float


@dataclass(frozen=True, slots=True, order=True)
class Waiting(Generic[Item]):
    """One place in the queue; ``due_s`` is a reading of the clock."""

    due_s: float
    number: int = field(init=False, default_factory=lambda: next(_numbers))  # who came first, where both are due
    need: Need = field(compare=False)
    item: Item = field(compare=False)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request is admitted; if not, the deadline that could be kept now, and when its own could be again.

    All in seconds from now.
    """

    is_admitted: bool
    possible_s: float = 0.0
    retry_after_s: float = 0.0


class DeadlineQueue(Generic[Item]):
    """At most ``limit`` requests that wait for the device."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: list[Waiting[Item]] = []
        self._latest_free_s: float | None = None  # None: to be reckoned anew

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Item]:
        return (waiting.item for waiting in self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether nobody else may wait."""
        return len(self._waiting) >= self._limit

    def judge(self, due_s: float, need: Need, now_s: float, free_s: float) -> Verdict:
        """Whether a request with ``need``, due at ``due_s``, could be admitted; the device is free at ``free_s``."""
        backlog_s = max(free_s - now_s, 0.0) + sum(waiting.need.mean_s for waiting in self._waiting)
        possible_s = backlog_s + need.slow_s
        if self.is_full:
            first = self._waiting[0].need.mean_s if self._waiting else 0.0
            return Verdict(False, possible_s, max(free_s - now_s, 0.0) + first)
        if self._is_kept(due_s, need, max(free_s, now_s)):
            return Verdict(True, possible_s)
        return Verdict(False, possible_s, max(possible_s - (due_s - now_s), 0.0))

    def _is_kept(self, due_s: float, need: Need, start_s: float) -> bool:
        """Whether the new one is in time, and all behind it that are in time without it."""
        delay_s = 0.0  # what the new one costs those behind it
        for waiting in self._waiting:
            if not delay_s and waiting.due_s > due_s:
                if start_s + need.slow_s > due_s:
                    return False
                delay_s = need.mean_s
            end_s = start_s + waiting.need.slow_s
            if delay_s and end_s <= waiting.due_s < end_s + delay_s:
                return False
            start_s += waiting.need.mean_s
        return bool(delay_s) or start_s + need.slow_s <= due_s

    def add(self, due_s: float, need: Need, item: Item) -> Waiting[Item]:
        """Put a request in its place; gives what ``remove`` takes."""
        waiting = Waiting(due_s, need, item)
        insort(self._waiting, waiting)
        self._latest_free_s = None
        return waiting

    def take(self) -> Item | None:
        """The next request, out of the queue; None where nobody waits."""
        self._latest_free_s = None
        return self._waiting.pop(0).item if self._waiting else None

    def remove(self, item: Item) -> bool:
        """Forget a request that is not wanted any more; False where it does not wait."""
        for place, waiting in enumerate(self._waiting):
            if waiting.item is item:
                del self._waiting[place]
                self._latest_free_s = None
                return True
        return False

    def latest_free_s(self) -> float:
        """When the device has to be free so that all who wait are in time; infinity where nobody waits."""
        if self._latest_free_s is None:
            latest_s, ahead_s = float("inf"), 0.0
            for waiting in self._waiting:
                latest_s = min(latest_s, waiting.due_s - ahead_s - waiting.need.slow_s)
                ahead_s += waiting.need.mean_s
            self._latest_free_s = latest_s
        return self._latest_free_s
