"""What one request asks for, whichever API it came through.

Knows: messages, options, and how the answer is wanted. Does not know: JSON, HTTP, or either API's names.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from edge.chat_types import AnswerOptions, Message
from edge.server.passages import Passage


@dataclass(frozen=True, slots=True)
class Ask:
    """``stops`` end the answer where one of them would begin. ``is_best_effort``: where the deadline cannot be kept, an
    answer without thinking, as soon as possible, instead of a refusal. ``ignored`` are the request's fields that change
    nothing here, which the reply lists. ``wants_notes``: quote what the operator's notes say about the question;
    ``quotes`` are what was found.
    """

    messages: tuple[Message, ...]
    options: AnswerOptions
    stops: tuple[str, ...] = ()
    is_best_effort: bool = False
    is_streamed: bool = False
    wants_usage: bool = False  # at the end of a stream
    ignored: tuple[str, ...] = ()
    wants_notes: bool = False
    quotes: tuple[Passage, ...] = ()

    def with_options(self, **changed: Any) -> Ask:
        """The same with other options of the answer."""
        return replace(self, options=replace(self.options, **changed))
