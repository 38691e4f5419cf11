"""A model held open, answering one request at a time; what a program that embeds this project talks to.

Knows: the model's lifetime, the lock around it, running answers and how they are stopped. Does not know: what happens
inside an answer (``answer``), or how a model is found and opened (``model_source``, ``loaded_model``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, get_ident
from types import TracebackType
from typing import TYPE_CHECKING, Self

from edge.answer import stream_answer
from edge.answer_log import AnswerLog, Waited
from edge.backends.base import BackendOptions
from edge.chat_types import Answer, AnswerOptions, Decision, Message, StreamEvent
from edge.limits import Due
from edge.loaded_model import LoadedModel, load_model
from edge.model_source import find_model
from edge.pace import Pace, pace_key
from edge.think.threads import ThreadChoice
from edge.turns import Turns
from models.errors import UsageError

if TYPE_CHECKING:
    from edge.session import Session


def load(
    model: str | Path | None = None,
    *,
    backend: str = "auto",
    context_size: int | None = None,
    num_threads: int | None = None,
    dialect: str | None = None,
) -> Engine:
    """Open ``model`` (a bundle's folder, a GGUF file, or None for the embedded model) and keep it open.

    ``org/name`` is a model that ``edge models pull`` has fetched from a hub; nothing is fetched here.
    ``context_size`` is in tokens. None, and ``"auto"`` for ``backend``, mean: chosen for this machine.
    Raises BundleError for a model that is missing, damaged or foreign, UnknownFamilyError for an unknown dialect,
    UsageError for an unknown backend, BackendError when the device or its package fails.
    """
    start_s = time.perf_counter()
    options = BackendOptions(context_size=context_size, num_threads=num_threads)
    loaded = load_model(find_model(model), backend=backend, options=options, dialect=dialect)
    return Engine(loaded, load_s=time.perf_counter() - start_s, chooses_threads=num_threads is None)


@dataclass(frozen=True, slots=True)
class Signals:
    """What other threads may ask of one running answer; ``wake`` makes one that still waits for its turn look."""

    wake: Callable[[], None]
    stop: Event = field(default_factory=Event)
    stop_thinking: Event = field(default_factory=Event)


class RunningAnswer:
    """An answer under way: iterate it for its events, the last of which carries the result.

    ``stop`` ends the answer with what has been said, ``stop_thinking`` ends the thinking and has the model answer; both
    may be called from any thread, and hold at once for an answer that still waits for its turn. Everything else belongs to the thread that iterates. Leaving the answer early
    (``close``, or leaving a ``with`` block) frees the engine.
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


class Engine:
    """A loaded model. Answers one request at a time; requests of other threads wait for their turn.

    ``clock`` gives seconds. ``chooses_threads``: under a deadline it may use fewer threads than the backend was opened
    with, where they have stalled. Close it, or use it in a ``with`` block, to free the device. ``model`` is what the answers
    are made with, for measuring and examining; its backend is not to be touched while an answer is under way.
    """

    def __init__(
        self,
        model: LoadedModel,
        *,
        load_s: float = 0.0,
        clock: Callable[[], float] = time.perf_counter,
        chooses_threads: bool = False,
    ) -> None:
        self.model = model
        self._load_s = load_s
        self._clock = clock
        self._turns = Turns()
        self._owner: int | None = None  # the thread whose answer is under way
        self._running_stop: Event | None = None
        self._is_closed = False
        self._chooses_threads = chooses_threads
        self._most_threads = model.backend.num_threads
        self._pace = Pace(pace_key(model), self._most_threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that a user should see once: a safe mode, a smaller context, what a dialect cannot do."""
        notes, note = self.model.backend.notes, self.model.dialect.note
        return (*notes, note) if note else notes

    def stream(
        self,
        messages: str | Sequence[Message],
        options: AnswerOptions | None = None,
        *,
        when_done: Callable[[Answer], None] | None = None,
    ) -> RunningAnswer:
        """Begin an answer to ``messages``, or to one user's text; nothing runs before the first event is asked for.

        ``when_done`` gets the result just before the last event. The events raise PromptError for an empty or too long
        prompt, UsageError when this thread's last answer is still under way, BackendError when the device fails.
        """
        turns = (Message("user", messages),) if isinstance(messages, str) else tuple(messages)
        signals = Signals(self._turns.look_again)
        return RunningAnswer(self._events(turns, options or AnswerOptions(), signals, when_done), signals)

    def answer(self, messages: str | Sequence[Message], options: AnswerOptions | None = None) -> Answer:
        """The whole answer at once: the stream, joined. Raises what the events of ``stream`` raise."""
        return self.stream(messages, options).result

    def session(self, system: str | None = None) -> Session:
        """A conversation on this engine; ``system`` is its system prompt (None: the dialect's default)."""
        from edge.session import Session

        return Session(self, system=system)

    def threads_for(self, deadline_s: float | None) -> ThreadChoice:
        """How many threads the next answer with this deadline (None: without one) will use, and why."""
        if not self._chooses_threads:
            return ThreadChoice(self._most_threads, "asked for")
        return self._pace.choose_threads(self._most_threads, deadline_s)

    def close(self) -> None:
        """Free the device; never waits, safe from any thread and to call twice.

        An answer under way in another thread is stopped, and frees the device when it ends or is dropped.
        """
        if not self._is_closed and self._owner is None:  # while an answer runs, it is still learning
            self._pace.keep()  # where it cannot be kept, the next run measures anew
        self._is_closed = True
        if (running_stop := self._running_stop) is not None:
            running_stop.set()
        if self._owner == get_ident():  # this thread's answer rests at an event, and will see that we closed
            self.model.backend.close()
        else:
            self._free_unless_busy()

    def _free_unless_busy(self) -> None:
        if self._turns.take_if_free():
            try:
                self.model.backend.close()
            finally:
                self._turns.leave()

    def _events(
        self,
        messages: tuple[Message, ...],
        options: AnswerOptions,
        signals: Signals,
        when_done: Callable[[Answer], None] | None,
    ) -> Generator[StreamEvent, None, None]:
        asked_at_s = self._clock()  # this runs when the first event is asked for
        due = Due(options.deadline_s, Waited(asked_at_s, load_s=self._load_s), self._clock, signals.stop)
        with self._turn(signals.stop, due.is_over) as is_ours:
            waited = Waited(asked_at_s, queue_s=self._clock() - asked_at_s, load_s=self._load_s)
            if not is_ours:
                yield self._ended_in_the_queue(waited, is_stopped=signals.stop.is_set())
                return
            self._load_s = 0.0  # the first answer waited for it, the later ones do not
            self._use_threads(self.threads_for(options.deadline_s).num_threads)
            if signals.stop_thinking.is_set():  # before it began
                options = replace(options, think="off", min_think_tokens=None)
            for event in stream_answer(
                self.model,
                0,
                messages,
                options,
                stop=signals.stop,
                stop_thinking=signals.stop_thinking,
                clock=self._clock,
                waited=waited,
                pace=self._pace,
            ):
                if event.result is not None and when_done is not None:
                    when_done(event.result)
                yield event
                if self._is_closed:
                    return

    def _ended_in_the_queue(self, waited: Waited, *, is_stopped: bool) -> StreamEvent:
        """The end of a request whose turn never came: the device was not touched, and no mode was decided."""
        why = "it was stopped before its turn came" if is_stopped else "the deadline passed before its turn came"
        decision = Decision(None, why, "asked" if is_stopped else "deadline")
        log, model = AnswerLog(self._clock, waited), self.model
        result = log.finish(decision, "stopped" if is_stopped else "deadline", model.name, model.backend.name)
        return StreamEvent("done", result=result)

    def _use_threads(self, num_threads: int) -> None:
        self._pace.use_threads(num_threads)
        if self.model.backend.num_threads != num_threads:
            self.model.backend.set_threads(num_threads)

    @contextmanager
    def _turn(self, stop: Event, is_called_off: Callable[[], bool]) -> Iterator[bool]:
        """Wait until the engine is free, and keep it; gives False, and no engine, where the wait was called off."""
        if self._owner == get_ident():
            raise UsageError("This thread's last answer is still under way; read it to its end, or close it.")
        if not self._turns.take(is_called_off):
            yield False
            return
        try:
            try:
                self._owner, self._running_stop = get_ident(), stop  # from here on ``close`` stops this answer
                if self._is_closed:
                    raise UsageError("This engine is closed; load the model again.")
                yield True
            finally:
                self._owner = self._running_stop = None
                self._turns.leave()
        finally:
            if self._is_closed:  # asked after the turn is over: whoever closes either gets it or is seen here
                self._free_unless_busy()
