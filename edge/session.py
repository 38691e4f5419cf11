"""A conversation: what was asked and answered, without old thoughts.

Knows: the history, when a turn becomes part of it, what happens when it no longer fits, and how it is kept in a file.
Does not know: how an answer is made, or what a cache holds; the backend keeps the common prefix by itself, so that a
next turn prefills the last answer and the new message only.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from edge.chat_types import Answer, AnswerOptions, Message
from edge.room import most_tokens, reserved_tokens, turns_to_drop
from edge.session_file import SavedSession, write_session
from models.errors import PromptError, UsageError

if TYPE_CHECKING:
    from edge.engine import Engine
    from edge.running_answer import RunningAnswer

WhenFull = Literal["drop", "refuse"]


class Session:
    """One conversation on an engine; ``system`` is its system prompt (None: the dialect's default).

    ``when_full``: a prompt that leaves less than a quarter of the context to its answer loses its oldest turns until
    half is free, or is refused. The system prompt stays. Raises UsageError for another word.
    """

    def __init__(self, engine: Engine, *, system: str | None = None, when_full: WhenFull = "drop") -> None:
        if when_full not in get_args(WhenFull):
            raise UsageError(f"when_full is {when_full!r}; use drop or refuse.")
        self.engine = engine
        self.when_full: WhenFull = when_full
        self.notes: tuple[str, ...] = ()  # sentences that a user should see once: what could not be brought back
        self._system = system
        self._turns: tuple[Message, ...] = ()
        self._num_dropped = 0  # messages

    @property
    def messages(self) -> tuple[Message, ...]:
        """The history as the model is shown it: the system prompt, then questions and answers in turn."""
        return self._shown(self._num_dropped)

    @property
    def num_dropped_turns(self) -> int:
        """Questions, with their answers, that are no longer shown to the model."""
        return self._num_dropped // 2

    def stream(self, prompt: str, options: AnswerOptions | None = None) -> RunningAnswer:
        """Begin the answer to ``prompt``; its events raise what those of ``Engine.stream`` raise.

        The turn joins the history when the answer ends, also when it was stopped with something said. A turn that
        failed, was closed early or has an empty answer leaves no trace. Raises PromptError where the conversation is
        full and is to be refused.
        """
        question, options = Message("user", prompt), options or AnswerOptions()
        num_dropped = self._make_room(question, options)

        def remember(answer: Answer) -> None:
            said = answer.answer.strip()
            if said or answer.tool_calls:
                self._turns = (*self._turns, question, Message("assistant", said, answer.tool_calls))
                self._num_dropped = num_dropped

        return self.engine.stream((*self._shown(num_dropped), question), options, when_done=remember)

    def answer(self, prompt: str, options: AnswerOptions | None = None) -> Answer:
        """The whole answer at once: the stream, joined."""
        return self.stream(prompt, options).result

    def clear(self) -> None:
        """Forget all questions and answers; the system prompt stays."""
        self._turns, self._num_dropped = (), 0

    def save(self, path: str | Path) -> None:
        """Write the conversation to ``path``, whole or not at all, with the cache where the backend can give it.

        ``Engine.load_session`` brings it back. Raises UsageError when the file cannot be written, or while an answer
        of this thread is under way.
        """
        cache = self.engine.save_cache(self.messages) if self._turns else None
        identity = self.engine.model_identity
        write_session(Path(path), SavedSession(identity, self._system, self._turns, self._num_dropped, cache))

    @staticmethod
    def restored(engine: Engine, saved: SavedSession, *, when_full: WhenFull = "drop") -> Session:
        """The conversation that ``saved`` holds; of another model it keeps the messages, and notes that."""
        session = Session(engine, system=saved.system, when_full=when_full)
        session._turns, session._num_dropped = saved.turns, saved.num_dropped
        if not saved.turns:
            return session
        if saved.model != engine.model_identity:
            session.notes = (f"This conversation was held with {saved.model.name}; only its messages are taken over.",)
        elif saved.cache is None or not engine.restore_cache(saved.cache):
            session.notes = ("Only the messages of this conversation were kept; the next answer reads them anew.",)
        return session

    def _shown(self, num_dropped: int) -> tuple[Message, ...]:
        system = () if self._system is None else (Message("system", self._system),)
        return (*system, *self._turns[num_dropped:])

    def _make_room(self, question: Message, options: AnswerOptions) -> int:
        """How many messages are not shown from here on. Raises PromptError where none may go."""
        context_size = self.engine.model.backend.context_size
        reserve = reserved_tokens(context_size, options.max_tokens)

        def prompt_tokens(num_turns: int) -> int:
            return self.engine.count_tokens((*self._shown(self._num_dropped + 2 * num_turns), question))

        if most_tokens((*self._shown(self._num_dropped), question)) + reserve <= context_size:
            return self._num_dropped
        num_turns = (len(self._turns) - self._num_dropped) // 2
        dropped = turns_to_drop(prompt_tokens, num_turns, context_size, reserve)
        if dropped and self.when_full == "refuse":
            raise PromptError(
                f"The conversation is full: with this message it has {prompt_tokens(0):,} tokens, the context holds "
                f"{context_size:,}, and {reserve:,} are kept for the answer; begin a new one, or let old turns go."
            )
        return self._num_dropped + 2 * dropped
