"""An answer under way, as its caller has it: its events, its result, and how it is stopped.

Knows: events and what other threads may ask. Does not know: engines, devices, or how an answer is made.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from threading import Event
from types import TracebackType
from typing import Self

from edge.chat_types import Answer, StreamEvent
from models.errors import UsageError


@dataclass(frozen=True, slots=True)
class Signals:
    """What other threads may ask of one running answer; ``wake`` makes one that still waits for its turn look."""

    wake: Callable[[], None]
    stop: Event = field(default_factory=Event)
    stop_thinking: Event = field(default_factory=Event)


class RunningAnswer:
    """An answer under way: iterate it for its events, the last of which carries the result.

    ``stop`` ends the answer with what has been said, ``stop_thinking`` ends the thinking and has the model answer; both
    may be called from any thread, also while the answer still waits for its turn. Everything else belongs to the thread
    that iterates. Leaving the answer early (``close``, or leaving a ``with`` block) frees the engine.
    """

    def __init__(self, events: Generator[StreamEvent, None, None], signals: Signals) -> None:
        self._events = events
        self._signals = signals
        self.is_answering = False  # past all thinking, as far as the events read so far tell
        self._result: Answer | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> StreamEvent:
        event = next(self._events)
        if event.kind == "answer" or (event.decision is not None and event.decision.think is False):
            self.is_answering = True
        if event.result is not None:
            self._result = event.result
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def result(self) -> Answer:
        """The finished answer; what has not been iterated yet is run to its end first."""
        for _ in self:
            pass
        if self._result is None:
            raise UsageError(
                "This answer was closed before its end and has no result; call stop() to keep what was said."
            )
        return self._result

    def stop(self) -> None:
        """End the answer early, with what has been said; safe from any thread, and more than once."""
        self._signals.stop.set()
        self._signals.wake()

    def stop_thinking(self) -> None:
        """End the thinking and answer from what there is; safe from any thread, and without effect on an answer."""
        self._signals.stop_thinking.set()

    def close(self) -> None:
        """Drop what is left of the answer and free the engine."""
        self._events.close()
