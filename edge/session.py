"""A conversation: what was asked and answered, without old thoughts.

Knows: the history and when a turn becomes part of it. Does not know: how an answer is made, or what a cache holds; the
backend keeps the common prefix by itself, so that a next turn prefills the last answer and the new message only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.chat_types import Answer, AnswerOptions, Message

if TYPE_CHECKING:
    from edge.engine import Engine, RunningAnswer


class Session:
    """One conversation on an engine; ``system`` is its system prompt (None: the dialect's default)."""

    def __init__(self, engine: Engine, *, system: str | None = None) -> None:
        self._engine = engine
        self._system = () if system is None else (Message("system", system),)
        self._turns: tuple[Message, ...] = ()

    @property
    def messages(self) -> tuple[Message, ...]:
        """The history as the model is shown it: the system prompt, then questions and answers in turn."""
        return (*self._system, *self._turns)

    def stream(self, prompt: str, options: AnswerOptions | None = None) -> RunningAnswer:
        """Begin the answer to ``prompt``; raises what the events of ``Engine.stream`` raise.

        The turn joins the history when the answer ends, also when it was stopped with something said. A turn that
        failed, was closed early or has an empty answer leaves no trace.
        """
        question = Message("user", prompt)

        def remember(answer: Answer) -> None:
            said = answer.answer.strip()
            if said or answer.tool_calls:
                self._turns = (*self._turns, question, Message("assistant", said, answer.tool_calls))

        return self._engine.stream((*self.messages, question), options, when_done=remember)

    def answer(self, prompt: str, options: AnswerOptions | None = None) -> Answer:
        """The whole answer at once: the stream, joined."""
        return self.stream(prompt, options).result

    def clear(self) -> None:
        """Forget all questions and answers; the system prompt stays."""
        self._turns = ()
