"""Generated text, piece by piece, becomes judge, thinking, answer and tool calls.

Knows: the dialect's tag table, the tags of tool calls, the phase it was told to start in. Pure: no I/O, no clock.
Does not know: who generates, when to stop, how anything is shown.

Tags are matched on text, across any split. White space beside them belongs to them: one line end after an opening tag
and one before any tag is dropped, and all of it between two tags. Everything else comes out exactly, and only what may
still become a tag is held back. A tool call may stand anywhere, in the midst of thinking too; it is held back whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from models.dialect import Dialect, Phase
from models.tool_calls import may_become_call, read_tool_call

PieceKind = Literal["judge", "marker", "thinking", "answer", "tool_call"]

_KINDS: dict[Phase, PieceKind] = {"judge": "judge", "thinking": "thinking", "answer": "answer"}
_ORDER: dict[Phase, int] = {"gap": -1, "judge": 0, "thinking": 1, "answer": 2, "done": 3}


@dataclass(frozen=True, slots=True)
class Piece:
    """New text of one kind; a ``marker`` is a tag that says the mode, a ``tool_call`` what stands between its tags."""

    kind: PieceKind
    text: str


class StreamParser:
    """One answer's parser. ``phase`` is where the stream stands; ``think`` is the mode, None until it is known.

    Models stray from their format, so: text that stands where a tag should be is answer; a tag that opens a phase opens
    it anywhere, thinking inside an answer included; a tag that closes a phase left long ago is dropped; after the last
    closing tag nothing but tool calls counts.

    The first two of ``call_tags`` open and close a tool call, what stands behind them is dropped; empty: there are
    none. A call that is no JSON, or is not closed, is text of the phase it stands in, tags and all, and counts in
    ``num_malformed_calls``; one that only lacks its closing tag is a call.
    """

    def __init__(self, dialect: Dialect, phase: Phase, call_tags: tuple[str, ...] = ()) -> None:
        self.phase: Phase = phase
        self.think: bool | None = None
        self.num_calls = self.num_malformed_calls = 0
        self._tags = dialect.tags
        self._call_tags = call_tags
        self._matcher = _matcher((*dialect.tags, *self._call_tags))
        self._call: str | None = None  # what was written of a call so far
        self._held = ""
        self._drops_line_end = False

    def feed(self, text: str) -> list[Piece]:
        """The pieces that are certain after ``text``."""
        if not self._held and not self._matcher.may_begin.search(text):
            return self._text(text)
        buffer, position, pieces = self._held + text, 0, []
        for match in self._matcher.tag.finditer(buffer):
            pieces += self._text(buffer[position : match.start()])
            pieces += self._cross(match[1])
            position = match.end()
        keep = self._matcher.begun_length(buffer[position:])
        self._held = buffer[len(buffer) - keep :]
        return pieces + self._text(buffer[position : len(buffer) - keep])

    @property
    def is_inside_tag(self) -> bool:
        """Whether the text so far ends in what may be the beginning of a tag, or in a tool call."""
        return bool(self._held.strip()) or self._call is not None

    def begin_answer(self) -> None:
        """Whatever comes next is answer: the runtime itself has seen to that."""
        self.phase, self.think = "answer", bool(self.think)
        self._held, self._call, self._drops_line_end = "", None, False

    def flush(self) -> list[Piece]:
        """What was held back, now that no more text comes."""
        held, self._held = self._held, ""
        return self._text(held) + self._end_call("")

    def _text(self, text: str) -> list[Piece]:
        """Text without tags, as a piece of the current phase."""
        if self._call is not None:
            self._call += text
            return [] if may_become_call(self._call) else self._end_call("")  # talk of a tag is no call
        if self._drops_line_end and text:
            text, self._drops_line_end = text.removeprefix("\n"), False
        if self.phase == "gap":
            text = text.lstrip()
            if text:
                self.phase = "answer"
        if not text or self.phase == "done":
            return []
        if self.think is None and self.phase != "judge" and text.strip():
            self.think = self.phase == "thinking"
        return [Piece(_KINDS[self.phase], text)]

    def _cross(self, text: str) -> list[Piece]:
        """Pass over the tag ``text``."""
        if text in self._call_tags or self._call is not None:
            return self._cross_in_call(text)
        tag = self._tags[text]
        is_stale = tag.closes is not None and _ORDER[tag.closes] < _ORDER[self.phase]
        if self.phase == "done" or is_stale:
            return []
        self.phase, self._drops_line_end = tag.leads_to, True
        if tag.think is None:
            return []
        if self.think is None:
            self.think = tag.think
        return [Piece("marker", text)]

    def _cross_in_call(self, text: str) -> list[Piece]:
        """Pass over a tag that opens or closes a call or several, or that stands inside one."""
        opener, closer = self._call_tags[:2]
        if text == closer:
            return self._end_call(closer) if self._call is not None else []
        if self._call is None:
            self._call, self._drops_line_end = ("", False) if text == opener else (None, True)
            return []
        if read_tool_call(self._call) is None and _ends_in_string(self._call):
            self._call += text
            return []
        return self._end_call("") + self._cross(text)  # the closing tag is missing

    def _end_call(self, closer: str) -> list[Piece]:
        """The call so far as a piece; or, where it is none, as text with its tags."""
        if self._call is None:
            return []
        written, self._call = self._call, None
        if read_tool_call(written) is not None:
            self.num_calls, self._drops_line_end = self.num_calls + 1, True
            return [Piece("tool_call", written)]
        is_begun = "{" in written or "```" in written
        self.num_malformed_calls += is_begun and may_become_call(written)
        return self._text(f"{self._call_tags[0]}{written}{closer}")


def _ends_in_string(text: str) -> bool:
    """Whether the JSON that ``text`` begins breaks off inside a string."""
    return len(re.sub(r"\\.", "", text, flags=re.DOTALL).split('"')) % 2 == 0


@dataclass(frozen=True, slots=True)
class _Matcher:
    """Finds tags: ``tag`` a whole one, ``may_begin`` the characters worth a look, ``beginnings`` what must be held."""

    tag: re.Pattern[str]
    may_begin: re.Pattern[str]
    beginnings: frozenset[str]
    longest: int

    def begun_length(self, text: str) -> int:
        """Length of the longest end of ``text`` that may still become a tag, with the line end before it."""
        lengths = range(min(self.longest, len(text)), 0, -1)
        return next((length for length in lengths if text[-length:] in self.beginnings), 0)


@lru_cache(maxsize=16)
def _matcher(tags: tuple[str, ...]) -> _Matcher:
    whole = [*tags, *(f"\n{tag}" for tag in tags)]
    beginnings = frozenset(tag[:length] for tag in whole for length in range(1, len(tag)))
    first = "".join(sorted({tag[0] for tag in whole}))
    alternatives = "|".join(re.escape(tag) for tag in tags)
    return _Matcher(
        tag=re.compile(f"\n?({alternatives})"),
        may_begin=re.compile(f"[{re.escape(first)}]"),
        beginnings=beginnings,
        longest=max(map(len, beginnings), default=0),
    )
