"""What must not be said just now: think tags once thinking is over, the end of what has not begun.

Knows: the tags of a dialect, their ids, and the guard that finds them on text. Does not know: backends, parsers, or how
a token is taken back.

Where there is to be thinking, what would end it before the first thought is banned, and after that, while it owes some
tokens, the tags that close it are found on text (the loop goes on with a line of its own there). Once there is no more
thinking, the think tags are banned, and for a while whatever would end an answer that has no word yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

from edge.tag_guard import TagGuard

if TYPE_CHECKING:
    from edge.loaded_model import LoadedModel

LONGEST_WAIT = 24  # tokens, spelt-out tags among them; a model that has nothing to say by then may end


class TokenBans:
    """For one answer of ``model``; ``owes_thinking`` says whether the thinking under way is shorter than it must be."""

    def __init__(self, model: LoadedModel, owes_thinking: Callable[[], bool]) -> None:
        self.waits_for: Literal["thought", "answer"] | None = None
        self.keeps_thinking = False  # while it is shorter than asked for
        self._model = model
        self._owes_thinking = owes_thinking
        self._is_answer = False
        self._last_wait = 0  # a position from which on an answer may be empty
        self._guard: TagGuard | None = None
        self._ids: tuple[int, ...] = ()
        self._here: dict[int, tuple[int, ...]] = {}  # position -> first tokens of tags that were unsaid there

    def at(self, position: int) -> tuple[int, ...]:
        """The tokens that must not come at ``position``."""
        return self._ids + self._here.get(position, ()) if self._here else self._ids

    def feed(self, text: str) -> tuple[str, int]:
        """``text`` of one token through the guard: what is safe, and the number of tokens to unsay."""
        if self._guard is None:
            return text, 0
        if self.keeps_thinking and not self._guard.is_holding and not self._owes_thinking():
            self._guard, self.keeps_thinking = None, False
            return text, 0
        return self._guard.feed(text)

    @property
    def is_holding(self) -> bool:
        """Whether text is held back."""
        return self._guard is not None and self._guard.is_holding

    def flush(self, text: str = "") -> str:
        """The last ``text`` and what is held back before it, without a tag that is complete."""
        if self._guard is None:
            return text
        safe, num_unsaid = self._guard.feed(text)
        return safe if num_unsaid else safe + self._guard.flush()

    def unsaid(self, position: int, token: int) -> None:
        """``token`` began a tag at ``position``: it must not come there again."""
        self._here[position] = (*self._here.get(position, ()), token)

    def wait_for_thought(self) -> None:
        """Thinking that was decided on must not be over before it began."""
        self.waits_for = "thought"
        self._ban(self._model.dialect.think_closers)

    def thought_came(self) -> str:
        """There is a thought now; returns the text that was held back."""
        held = self.flush()
        self.waits_for, self._guard, self._ids = None, None, ()
        if self._owes_thinking():
            self._guard, self.keeps_thinking = TagGuard(self._model.dialect.think_closers), True
        return held

    def begin_answer(self, position: int, *, is_open: bool) -> None:
        """There is no (more) thinking from ``position`` on; ``is_open``: the answer's tag, if any, was said."""
        if self._is_answer:
            return
        self._is_answer, self.keeps_thinking, self._guard = True, False, None
        self._last_wait = position + LONGEST_WAIT
        self.look_for_answer(position, is_open=is_open, has_begun=False)

    def look_for_answer(self, position: int, *, is_open: bool, has_begun: bool) -> None:
        """Ban the think tags, and while there is nothing of an answer what would end it."""
        if self.is_holding:
            return
        dialect = self._model.dialect
        if not has_begun and position < self._last_wait:
            self.waits_for = "answer"
            self._ban(dialect.control_texts if is_open else dialect.no_answer_texts)
        else:
            self.waits_for, self._guard, self._ids = None, TagGuard(dialect.think_tags), self._model.think_tag_ids

    def _ban(self, tags: Iterable[str]) -> None:
        """``tags`` by id and on text, and every stop token."""
        ids = (self._model.tokenizer.token_id(tag) for tag in tags)
        self._ids = (*(token for token in ids if token is not None), *self._model.stop_ids)
        self._guard = TagGuard(tags)
