"""A model held open, answering one request at a time; what a program that embeds this project talks to.

Knows: the model's lifetime, whose turn it is, how many threads are used. Does not know: what happens inside an answer
(``answer``), what its caller may do with it (``running_answer``), or how a model is found and opened (``model_source``,
``loaded_model``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from threading import Event, get_ident
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from edge.answer import stream_answer
from edge.answer_log import AnswerLog, Waited
from edge.backends.base import BackendOptions
from edge.chat_types import Answer, AnswerOptions, Decision, Message, StreamEvent
from edge.limits import Due
from edge.loaded_model import LoadedModel, load_model
from edge.model_source import find_model
from edge.opening import Opening
from edge.pace import Pace, pace_key
from edge.running_answer import RunningAnswer, Signals
from edge.think.threads import ThreadChoice
from edge.turns import Turns
from models.errors import BackendError, UsageError

if TYPE_CHECKING:
    from edge.session import Session, WhenFull
    from edge.session_file import ModelIdentity
    from edge.think.probe import ProbeSignals


def load(
    model: str | Path | None = None,
    *,
    backend: str = "auto",
    context_size: int | None = None,
    num_threads: int | None = None,
    gpu_layers: int | None = None,
    dialect: str | None = None,
) -> Engine:
    """Open ``model`` (a bundle's folder, a GGUF file, an embedded model's name, or None for spark) and keep it open.

    ``org/name`` is a model that ``edge models pull`` has fetched from a hub; nothing is fetched here.
    ``context_size`` is in tokens; ``gpu_layers`` are kept on a GPU by a llama.cpp that was built for one. None, and
    ``"auto"`` for ``backend``, mean: chosen for this machine.
    Raises BundleError for a model that is missing, damaged or foreign, UnknownFamilyError for an unknown dialect,
    UsageError for an unknown backend, BackendError when the device or its package fails.
    """
    start_s = time.perf_counter()
    options = BackendOptions(context_size=context_size, num_threads=num_threads, gpu_layers=gpu_layers)
    loaded = load_model(find_model(model), backend=backend, options=options, dialect=dialect)
    return Engine(loaded, load_s=time.perf_counter() - start_s, chooses_threads=num_threads is None)


class Engine:
    """A loaded model. Answers one request at a time; requests of other threads wait for their turn.

    ``clock`` gives seconds. ``chooses_threads``: under a deadline it may use fewer threads than the backend was opened
    with, where they have stalled. Close it, or use it in a ``with`` block, to free the device. ``model`` is what it
    answers with, for measuring and examining; its backend is not to be touched while an answer is under way.
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
        notes, note = (*self.model.notes, *self.model.backend.notes), self.model.dialect.note
        return (*notes, note) if note else notes

    def stream(
        self,
        messages: str | Sequence[Message],
        options: AnswerOptions | None = None,
        *,
        when_done: Callable[[Answer], None] | None = None,
        asked_at_s: float | None = None,
    ) -> RunningAnswer:
        """Begin an answer to ``messages``, or to one user's text; nothing runs before the first event is asked for.

        ``when_done`` gets the result just before the last event. ``asked_at_s`` is when the request was made, a reading
        of the engine's clock, for one that has waited elsewhere (None: when the first event is asked for). The events
        raise PromptError for an empty or too long prompt, UsageError when this thread's last answer is still under way,
        BackendError when the device fails.
        """
        turns = (Message("user", messages),) if isinstance(messages, str) else tuple(messages)
        signals = Signals(self._turns.look_again)
        return RunningAnswer(self._events(turns, options or AnswerOptions(), signals, when_done, asked_at_s), signals)

    def answer(self, messages: str | Sequence[Message], options: AnswerOptions | None = None) -> Answer:
        """The whole answer at once: the stream, joined. Raises what the events of ``stream`` raise."""
        return self.stream(messages, options).result

    def session(self, system: str | None = None, *, when_full: WhenFull = "drop") -> Session:
        """A conversation on this engine; ``system`` is its system prompt (None: the dialect's default).

        ``when_full``: drop its oldest turns, or refuse the next. Raises UsageError for another word.
        """
        from edge.session import Session

        return Session(self, system=system, when_full=when_full)

    def load_session(self, path: str | Path, *, when_full: WhenFull = "drop") -> Session:
        """The conversation that ``Session.save`` wrote to ``path``, with its cache where that is still good.

        One of another model brings its messages, and a note. Raises UsageError for a file that is missing, damaged or
        no conversation, and while an answer of this thread is under way.
        """
        from edge.session import Session
        from edge.session_file import read_session

        return Session.restored(self, read_session(Path(path)), when_full=when_full)

    @property
    def pace(self) -> Pace:
        """What was learned of the device and the model's texts; not to be read while an answer is under way."""
        return self._pace

    @property
    def model_identity(self) -> ModelIdentity:
        """What tells this model from others in a saved conversation."""
        from edge.session_file import ModelIdentity

        path = self.model.path
        return ModelIdentity(self.model.name, path.stat().st_size if path.is_file() else 0, self.model.dialect.name)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt that ``messages`` become, up to the assistant's turn."""
        return len(self.encode(messages))

    def encode(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> list[int]:
        """Token ids of that prompt; safe from any thread. Raises PromptError for messages that are none."""
        tokens, _ = self.model.tokenizer.encode_prompt(self.model.dialect.render(messages, "auto", tools))
        return tokens

    def save_cache(self, messages: Sequence[Message]) -> bytes | None:
        """The device's state once it holds ``messages`` and all that comes before a next one; None where it has none.

        Waits for its turn and evaluates what is missing. Raises UsageError while an answer of this thread is under way.
        """
        backend = self.model.backend
        continued = (self.encode((*messages, Message("user", text))) for text in ("a", "b"))
        tokens = [one for one, other in takewhile(lambda pair: pair[0] == pair[1], zip(*continued, strict=False))]
        with self._turn(Event(), lambda: False):
            try:
                backend.prefill(0, tokens)
                return backend.save(0)
            except BackendError:
                return None

    def restore_cache(self, state: bytes) -> bool:
        """Put back what ``save_cache`` gave; False where this device cannot use it. Waits for its turn as that does."""
        with self._turn(Event(), lambda: False):
            try:
                self.model.backend.restore(0, state)
            except BackendError:
                return False
        return True

    def look_ahead(self, messages: Sequence[Message]) -> ProbeSignals | None:
        """What the model would say first without thinking (``think.probe``). Waits for its turn."""
        with self._turn(Event(), lambda: False):
            opening = Opening(self.model, 0, messages, should_stop=lambda: False, clock=self._clock)
            return opening.look_ahead(self._pace.speed)

    def threads_for(self, deadline_s: float | None) -> ThreadChoice:
        """How many threads the next answer with this deadline (None: without one) will use, and why."""
        if not self._chooses_threads:
            return ThreadChoice(self._most_threads, "asked for")
        if not self.model.backend.changes_threads_freely:
            return ThreadChoice(self._most_threads, "this backend would have to open the model again to use fewer")
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
        asked_at_s: float | None,
    ) -> Generator[StreamEvent, None, None]:
        asked_at_s = self._clock() if asked_at_s is None else asked_at_s  # this runs when the first event is asked for
        due = Due(options.deadline_s, Waited(asked_at_s, load_s=self._load_s), self._clock, signals.stop)
        with self._turn(signals.stop, due.is_over) as is_ours:
            waited = Waited(asked_at_s, queue_s=self._clock() - asked_at_s, load_s=self._load_s)
            self._load_s = 0.0  # the first answer waited for it, the later ones do not
            if not is_ours:
                yield self._ended_in_the_queue(waited, is_stopped=signals.stop.is_set())
                return
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
        before = "its turn came" if waited.queue_s > waited.load_s else "the model was loaded"
        why = "it was stopped before its turn came" if is_stopped else f"the deadline passed before {before}"
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
