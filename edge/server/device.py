"""The one thread that owns the device, and the queue in front of it.

Knows: who may use the device and until when, so that all who wait are in time. Does not know: HTTP, the APIs, or how an
answer is made.

Thinking is what gives way. An answer that was admitted may think until its own deadline, but only for as long as those
who wait can spare: that is planned when it begins, and looked at again with every token while it thinks. A deadline
that a request names is the engine's to keep; the server's own, for a request without one, is kept here, so that it does
not change how the engine decides about thinking.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Condition
from typing import TYPE_CHECKING

from edge.answer import check_messages
from edge.chat_types import Answer, AnswerOptions, StreamEvent
from edge.limits import check_limits, check_tools
from edge.opening import check_room
from edge.server.bell import Bell, bell_of
from edge.server.cache_file import read_caches, write_caches
from edge.server.caches import ConversationCaches
from edge.server.denials import called_off, passed, refusal_of, stopping, too_late, with_note
from edge.server.device_thread import DeviceThread
from edge.server.forecast import Forecast, Means
from edge.server.queue import DeadlineQueue
from edge.server.refusal import FAILED, Refusal
from edge.server.stops import until_stop
from edge.server.thinking import WITHOUT_THINKING, with_budget
from edge.server.ticket import Ticket
from edge.server.under_way import UnderWay
from models.errors import EdgeError

if TYPE_CHECKING:
    from edge.engine import Engine
    from edge.server.ask import Ask

Report = Callable[[Ticket, Answer | Refusal], None]

OTHERS_WAIT = "others are waiting"
TIME_RUNS_OUT = "the server's own deadline is near"
BEST_EFFORT = "the deadline could not be kept, so this is the best effort"
LONG_PROMPT = 20_000  # characters; a shorter one is encoded faster than a thread is begun
TRIAL = AnswerOptions(think="off", temperature=0.0, max_tokens=4)
THINKING_SHARE = 0.5  # of the time that those who wait can spare; all of it would leave nothing for surprises
DELIVERY_S, DELIVERY_SHARE = 0.01, 0.1  # of a deadline, at most: the way back, and a client that has to wake up
KEEP_EVERY_S = 60.0  # what was learned of the device is written to the disk so often


class Device:
    """``deadline_s`` is that of requests without one, ``longest_s`` the most that anyone gets. ``cache_bytes`` are for
    conversations that take turns, which ``cache_file`` brings through a restart. ``report`` is told of every end, from
    the device's thread. ``clock`` is the engine's. ``thread`` is where the engine was loaded (None: elsewhere).
    """

    def __init__(
        self,
        engine: Engine,
        *,
        queue_limit: int,
        deadline_s: float,
        longest_s: float,
        cache_bytes: int,
        cache_file: Path | None = None,
        report: Report,
        clock: Callable[[], float] = time.perf_counter,
        thread: DeviceThread | None = None,
    ) -> None:
        self.engine = engine
        self._deadline_s = deadline_s
        self._longest_s = longest_s
        self._report = report
        self.caches = ConversationCaches(engine.model.backend, cache_bytes)
        self._cache_bytes, self._cache_file = cache_bytes, cache_file
        self._clock = clock
        self._queue: DeadlineQueue[Ticket] = DeadlineQueue(queue_limit)
        self._changed = Condition()
        self._running: UnderWay | None = None
        self._is_stopping = False
        self.self_test = "not made yet"
        self.note: str | None = None  # a sentence for the operator about how it was stopped
        self._free_at_s = 0.0  # when the last answer ended
        self._means = Means()
        self._forecast = Forecast()
        self._thread = thread or DeviceThread()
        self._bell: Bell | None = None

    def start(self) -> None:
        """Try the model out, which measures it where that was never done, and begin to answer."""
        self._thread.call(self._try_out)
        self._thread.begin(self._work)

    def _try_out(self) -> None:
        answer = self.engine.answer("2+3=?", TRIAL)
        self.self_test = "passed" if answer.usage.answer_tokens else "no answer came"
        self._forecast = Forecast.of(self.engine.pace, self._means)
        if self._cache_file is not None:
            self.caches.refill(read_caches(self._cache_file, str(self.engine.model_identity), self._cache_bytes))

    @property
    def num_waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    @property
    def is_busy(self) -> bool:
        """Whether an answer is under way."""
        return self._running is not None

    @property
    def is_alive(self) -> bool:
        """Whether the device's thread is there to answer."""
        return self._thread.is_alive and not self._is_stopping

    async def submit(self, ask: Ask) -> Ticket:
        """Admit ``ask``. Raises Refusal where it cannot be in time, UsageError where it cannot be honoured at all."""
        asked_at_s = self._clock()
        if sum(len(message.content) for message in ask.messages) > LONG_PROMPT:  # others need the event loop
            prompt = await asyncio.to_thread(self._read, ask)
        else:
            prompt = self._read(ask)
        bell = self._bell = bell_of(asyncio.get_running_loop(), self._bell)
        with self._changed:
            if self._is_stopping:
                raise stopping()
            ticket = self._admit(ask, prompt, asked_at_s, bell)
            self._changed.notify()
        return ticket

    def _read(self, ask: Ask) -> tuple[int, ...]:
        """The prompt's token ids. Raises UsageError for what is known now that this model cannot do."""
        check_limits(self.engine.model, ask.options)
        check_tools(self.engine.model, ask.options)
        prompt = tuple(self.engine.encode(check_messages(ask.messages), ask.options.tools))
        check_room(len(prompt), self.engine.model.backend.context_size)
        return prompt

    def _admit(self, ask: Ask, prompt: tuple[int, ...], asked_at_s: float, bell: Bell) -> Ticket:
        options, running, now_s = ask.options, self._running, self._clock()
        free_s = now_s + (running.left_s(now_s) if running is not None else 0.0)
        need = self._forecast.need(len(prompt), self.caches.cached_tokens(prompt), options.max_tokens)
        wished_s = min(options.deadline_s or self._deadline_s, self._longest_s)
        deadline_s = wished_s - min(DELIVERY_S, DELIVERY_SHARE * wished_s)
        verdict = self._queue.judge(asked_at_s + deadline_s, need, now_s, free_s)
        if verdict.is_admitted:
            own_s = None if options.deadline_s is None else deadline_s
            timed, due_s, note = ask.with_options(deadline_s=own_s), asked_at_s + deadline_s, None
        elif self._queue.is_full or not ask.is_best_effort:
            raise too_late(verdict, wished_s, DELIVERY_S, is_full=self._queue.is_full)
        else:
            late_s = min(max(2 * verdict.possible_s, deadline_s), self._longest_s)
            timed = ask.with_options(deadline_s=None, **WITHOUT_THINKING)
            due_s, note = asked_at_s + late_s, BEST_EFFORT  # its place in the queue; later is better than never
        last_s = due_s if note is None else asked_at_s + self._longest_s
        ticket = Ticket(timed, prompt, need, asked_at_s, due_s, note, last_s=last_s, bell=bell)
        self._queue.add(ticket.due_s, need, ticket)
        return ticket

    def drop(self, ticket: Ticket) -> None:
        """The answer is not wanted any more: it leaves the queue, or the device within one token."""
        with self._changed:
            was_waiting = self._queue.remove(ticket)
        ticket.stop()
        if was_waiting:
            ticket.put(called_off())

    def find(self, ticket_id: str) -> Ticket | None:
        """The request of that id, while it waits or runs."""
        with self._changed:
            running = self._running
            tickets = [*self._queue] if running is None else [running.ticket, *self._queue]
        return next((ticket for ticket in tickets if ticket.id == ticket_id), None)

    def stop(self, timeout_s: float) -> bool:
        """Refuse who waits, let the running answer end without further thinking, and free the device.

        True where it ended by itself within ``timeout_s``. Caches are kept where that was asked for.
        """
        with self._changed:
            self._is_stopping = True
            running, waiting = self._running, list(self._queue)
            for ticket in waiting:
                self._queue.remove(ticket)
            self._changed.notify_all()
        for ticket in waiting:
            ticket.put(stopping())
        if running is not None:
            running.ticket.stop_thinking()
        is_whole = self._thread.end(timeout_s)
        if not is_whole and running is not None:
            running.ticket.stop()
            self._thread.end(timeout_s)
        if self._cache_file is not None and not self._thread.is_alive:
            self.note = write_caches(self._cache_file, str(self.engine.model_identity), self.caches.states())
        self.engine.close()
        return is_whole

    def _work(self) -> None:
        kept_at_s = self._clock()
        while not self._is_stopping:
            ticket = self._next()
            if ticket is not None:
                self._serve(ticket)
            if self._clock() - kept_at_s >= KEEP_EVERY_S:
                kept_at_s = self._clock()
                self.engine.pace.keep()  # where that is not possible, the next start measures anew

    def _next(self) -> Ticket | None:
        """The ticket that is due next; None where none came for a while, or to stop."""
        with self._changed:
            if not self._queue and not self._is_stopping:
                self._changed.wait(KEEP_EVERY_S)
            ticket = None if self._is_stopping else self._queue.take()
            if ticket is not None:  # what lies between two answers is a cost of the second
                start_s = max(ticket.asked_at_s, self._free_at_s)
                self._running = UnderWay(ticket, start_s, self._forecast)
            return ticket

    def _serve(self, ticket: Ticket) -> None:
        """One answer, from its first event to its last; whatever happens, the device is free afterwards."""
        assert self._running is not None
        running_now = self._running
        try:
            now_s = self._clock()
            if now_s >= ticket.last_s:
                raise passed(now_s - ticket.asked_at_s)
            ticket.grant(now_s + self._deadline_s)
            self.caches.make_ready(ticket.prompt)
            running = self.engine.stream(ticket.ask.messages, self._planned(ticket), asked_at_s=ticket.asked_at_s)
            ticket.begin(running)
            with running:
                for event in until_stop(running, ticket.ask.stops):
                    if event.result is not None:
                        self._finish(ticket, event)
                    else:
                        ticket.put(with_note(event, ticket.note))
                        self._follow(running_now, event)
        except EdgeError as exc:
            self._fail(ticket, refusal_of(exc))
        except Exception as exc:  # the thread must outlive whatever happens in one answer
            refusal = Refusal(FAILED, "internal_error", "The server made a mistake; its log says more.")
            refusal.__cause__ = exc
            self._fail(ticket, refusal)
        finally:
            self._running = None

    def _finish(self, ticket: Ticket, event: StreamEvent) -> None:
        answer = with_note(event, ticket.note).result
        assert answer is not None and self._running is not None
        if ticket.is_cut:
            answer = replace(answer, finish_reason="deadline")
        self._free_at_s = self._clock()
        self._means.learn(answer, self._free_at_s - self._running.start_s, self._forecast)
        self._forecast = Forecast.of(self.engine.pace, self._means)
        self._running = None
        is_empty = answer.finish_reason == "deadline" and not answer.raw
        ticket.put(passed(answer.timings.total_s) if is_empty else replace(event, result=answer))
        self._report(ticket, answer)

    def _fail(self, ticket: Ticket, refusal: Refusal) -> None:
        self._running = None
        ticket.put(refusal)
        self._report(ticket, refusal)

    def _planned(self, ticket: Ticket) -> AnswerOptions:
        """The options of ``ticket``, with no more thinking than those who wait can spare."""
        options, model = ticket.ask.options, self.engine.model
        if options.think == "off" or model.dialect.asks_for_steps:
            return options
        latest_s = self._latest_free_s()
        if latest_s == float("inf"):
            return options
        spare_s = latest_s - self._clock() - ticket.need.mean_s
        fitting = self._forecast.thinking_tokens(THINKING_SHARE * spare_s, len(ticket.prompt))
        if fitting < self.engine.pace.lengths.useful_thinking():
            ticket.note = OTHERS_WAIT
            return replace(options, **WITHOUT_THINKING)
        return with_budget(options, fitting)

    def _follow(self, running: UnderWay, event: StreamEvent) -> None:
        """Keep the books of the answer under way; close its thinking, or end it, where time runs out."""
        running.hear(event)
        ticket, now_s = running.ticket, self._clock()
        if not running.is_thinking:
            is_late = now_s > ticket.due_s and running.num_pieces > 0
            if now_s > ticket.limit_s or (is_late and now_s + running.left_s(now_s) > self._latest_free_s()):
                ticket.cut()
            return
        end_s = now_s + running.left_s(now_s)
        if len(self._queue) and end_s > self._latest_free_s():
            ticket.close_thinking(OTHERS_WAIT)
        elif end_s > ticket.limit_s:
            ticket.close_thinking(TIME_RUNS_OUT)

    def _latest_free_s(self) -> float:
        with self._changed:
            return self._queue.latest_free_s()
