"""The words that the runtime puts into a running model's mouth: to close its thinking, or to go on with it.

Knows: a dialect's closings and the language of the question. Does not know: when any of this is called for.
"""

from __future__ import annotations

from edge.stream_parser import StreamParser
from models.dialect import Dialect, Phase
from models.dialect_base import CLOSING_LINES, WAIT_LINES, language_of
from models.tokenizer import ChatTokenizer


class ForcedText:
    """For one answer; ``question`` is the user's text."""

    def __init__(self, dialect: Dialect, tokenizer: ChatTokenizer, question: str) -> None:
        self._dialect = dialect
        self._tokenizer = tokenizer
        self._language = language_of(question)

    def closing(self, parser: StreamParser, *, is_soft: bool, said: str) -> str | None:
        """What ends the parser's phase and opens the answer; None where that cannot be done just now.

        ``is_soft``: with a closing line, where there is thinking. ``said`` is the text so far, or its end.
        """
        text = self._dialect.closings.get(parser.phase)
        if text is None or parser.is_inside_tag:
            return None
        if is_soft and parser.phase == "thinking":
            text = f"\n{CLOSING_LINES[self._language]}{text}"
        return text.removeprefix("\n") if said.endswith("\n") else text

    def answer_opening(self, phase: Phase, said: str, *, is_closed: bool) -> str:
        """What is left of the fixed text between ``phase`` and the first word of the answer, behind ``said``.

        ``is_closed``: the tag that ends the phase was said already.
        """
        text = self._dialect.closings.get(phase, "")
        for whole in (text, text.lstrip("\n")):
            lengths = range(len(whole), 0, -1)
            if found := next((length for length in lengths if said.endswith(whole[:length])), 0):
                return whole[found:]
        return text.lstrip("\n").partition("\n")[2].lstrip("\n") if is_closed else text

    def wait(self, said: str) -> str:
        """What goes on with thinking that the model wanted to end."""
        line = WAIT_LINES[self._language]
        return f"{line}\n" if said.endswith("\n") else f"\n{line}\n"

    @property
    def num_closing_tokens(self) -> tuple[int, int]:
        """How many tokens closing the thinking takes, and how many more with a closing line."""
        closing = self._dialect.closings.get("thinking", "")
        num_hard = len(self.encode(closing))
        return num_hard, len(self.encode(f"\n{CLOSING_LINES[self._language]}{closing}")) - num_hard

    def encode(self, text: str) -> list[int]:
        """The ids of one of these texts."""
        return self._tokenizer.encode_control(text)
