"""One admitted request, held from two sides: the device's thread fills it, the client's task reads it.

Knows: how events cross from the one to the other, and how the request is stopped. Does not know: queues, HTTP, or what
the events mean. Where the answer is not streamed only its end crosses.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator
from threading import Lock

from edge.chat_types import Answer, StreamEvent
from edge.running_answer import RunningAnswer
from edge.server.ask import Ask
from edge.server.bell import Bell
from edge.server.queue import Need
from edge.server.refusal import Refusal


class Ticket:
    """``bell`` is of the client's event loop; ``asked_at_s``, ``due_s`` and ``last_s`` are readings of the device's
    clock. ``last_s`` is when nobody wants the answer any more, or when a late one is ended.
    """

    def __init__(
        self,
        ask: Ask,
        prompt: tuple[int, ...],
        need: Need,
        asked_at_s: float,
        due_s: float,
        note: str | None = None,
        *,
        last_s: float,
        bell: Bell,
    ) -> None:
        self.id = secrets.token_hex(12)  # whoever knows it may end this answer's thinking
        self.ask = ask
        self.prompt = prompt  # token ids
        self.need = need
        self.asked_at_s = asked_at_s
        self.due_s = due_s
        self.note = note  # what the queue has done to the answer, half a sentence
        self.last_s = last_s
        self.is_gone = False  # nobody reads this any more
        self.is_cut = False  # the answer was ended at ``limit_s``
        self._wants_answer = False
        self._is_done = False
        self._running: RunningAnswer | None = None
        self._lock = Lock()
        self._events: deque[StreamEvent | Refusal] = deque()  # no more than an answer has tokens
        self._bell = bell
        self._is_filled = asyncio.Event()
        self._is_called = False

    @property
    def limit_s(self) -> float:
        """When the answer is ended; never for a deadline of its own, which the engine looks after."""
        return self.last_s if self.ask.options.deadline_s is None else float("inf")

    def grant(self, last_s: float) -> None:
        """The answer begins now; one that may be late has until ``last_s``, or until it is due."""
        if self.last_s > self.due_s:
            self.last_s = max(self.due_s, last_s)

    def begin(self, running: RunningAnswer) -> None:
        """The device begins with ``running``; what was asked for while the request waited holds for it."""
        with self._lock:
            self._running = running
            if self.is_gone:
                running.stop()
            if self._wants_answer:
                running.stop_thinking()

    def stop(self) -> None:
        """The answer is not wanted any more: it ends within a token, wherever it is. Safe from any thread."""
        with self._lock:
            self.is_gone = self.is_gone or not self._is_done
            if self._running is not None:
                self._running.stop()

    def stop_thinking(self) -> None:
        """End the thinking and answer. Safe from any thread, and without effect on an answer."""
        with self._lock:
            self._wants_answer = True
            if self._running is not None:
                self._running.stop_thinking()

    def close_thinking(self, note: str) -> None:
        """The same for a reason of the server's own."""
        self.note = note
        self.stop_thinking()

    def cut(self) -> None:
        """End the answer with what was said."""
        with self._lock:
            self.is_cut = True
            if self._running is not None:
                self._running.stop()

    def put(self, event: StreamEvent | Refusal) -> None:
        """Hand over an event, from the device's thread. A reader that lags gets several at once."""
        self._is_done = isinstance(event, Refusal) or event.result is not None
        if not self._is_done and not self.ask.is_streamed:
            return
        self._events.append(event)
        if not self._is_called:
            self._is_called = True
            if not self._bell.ring(self._is_filled.set):  # the server has gone, and with it whoever reads
                self.is_gone = True

    async def batches(self) -> AsyncIterator[list[StreamEvent]]:
        """All events, several at once where they come faster than they are read. Raises Refusal where it failed."""
        while True:
            await self._is_filled.wait()
            self._is_filled.clear()
            self._is_called = False
            batch: list[StreamEvent] = []
            while self._events and not isinstance(self._events[0], Refusal):
                batch.append(self._events.popleft())  # type: ignore[arg-type]  # looked at before
            if batch:
                yield batch
                if batch[-1].result is not None:
                    return
            if self._events and isinstance(failure := self._events[0], Refusal):
                raise failure

    async def result(self) -> Answer:
        """The finished answer. Raises Refusal where it failed."""
        async for batch in self.batches():
            if (answer := batch[-1].result) is not None:
                return answer
        raise AssertionError("an answer ends with its result")
