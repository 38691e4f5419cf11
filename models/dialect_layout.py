"""How the messages of a conversation are laid out: runs of marks and of people's own text in turn.

Knows: messages, parts, and layouts made of fixed marks. Does not know: tags, modes, or any particular dialect.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, Protocol

from models.tool_calls import ToolCall, ToolFormat

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; an assistant's ``content`` is its answer alone, without thoughts or tags.

    ``tool_calls`` are those of an assistant; what came of one goes back as the ``content`` of a ``tool``.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """A run of prompt text. Control text may become tag and mark tokens, user text never does."""

    text: str
    is_control: bool


class Layout(Protocol):
    """Where the marks of a prompt stand around the texts of its messages."""

    @property
    def tool_format(self) -> ToolFormat | None:
        """How tools are written down; None: not at all."""
        ...

    def lay_out(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> tuple[Part, ...]:
        """The parts up to where the assistant's own text begins, control and user parts in turn.

        ``tools`` and messages of tools only where there is a ``tool_format``.
        """
        ...


@dataclass(frozen=True, slots=True)
class MarkLayout:
    """A layout of fixed marks: ``start``, each turn between its marks, then ``opening`` of the assistant's turn."""

    system: tuple[str, str]
    user: tuple[str, str]
    assistant: tuple[str, str]
    opening: str
    start: str = ""
    tool_format: ToolFormat | None = None

    def lay_out(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> tuple[Part, ...]:
        """Marks as control parts, contents as user parts."""
        if tools and messages[0].role != "system":
            messages = (Message("system", ""), *messages)
        marks = {"system": self.system, "user": self.user, "assistant": self.assistant, "tool": self.user}
        parts = [_mark(self.start)]
        for role, turns in groupby(messages, key=lambda message: message.role):
            before, after = marks[role]
            if role == "tool":  # neighbours share one turn
                parts += (_mark(before), *self._results(turns), _mark(after))
                continue
            for message in turns:
                parts += (_mark(before), Part(message.content, is_control=False), *self._calls(message))
                parts += self._definitions(message, tools) if role == "system" else ()
                parts.append(_mark(after))
        return join_parts((*parts, _mark(self.opening)))

    def _definitions(self, system: Message, tools: Sequence[Mapping[str, Any]]) -> Iterator[Part]:
        if not tools or self.tool_format is None:
            return
        before, after = self.tool_format.definitions
        yield _mark(f"\n\n{before}" if system.content else before)
        for tool in tools:
            yield from (_mark("\n"), Part(json.dumps(tool, ensure_ascii=False), is_control=False))
        yield _mark(after)

    def _calls(self, message: Message) -> Iterator[Part]:
        if not message.tool_calls or self.tool_format is None:
            return
        margin, (opening, closing) = self.tool_format.margin, self.tool_format.calls
        lead = f"{margin if message.content else ''}{opening}"
        for call in message.tool_calls:
            before, after = self.tool_format.call
            yield _mark(f"{lead}{before}{margin}")
            yield from (Part(self.tool_format.write(call), is_control=False), _mark(f"{margin}{after}"))
            lead = "\n"
        yield _mark(closing)

    def _results(self, messages: Iterable[Message]) -> Iterator[Part]:
        assert self.tool_format is not None
        margin, (lead, closing) = self.tool_format.margin, self.tool_format.results
        before, after = self.tool_format.result
        for message in messages:
            yield _mark(f"{lead}{before}{margin}")
            yield from (Part(message.content, is_control=False), _mark(f"{margin}{after}"))
            lead = "\n"
        yield _mark(closing)


def join_parts(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Neighbours of one kind become one part and empty parts vanish: the ids of a control run depend on its whole."""
    runs: list[Part] = []
    for part in parts:
        if part.text and runs and runs[-1].is_control == part.is_control:
            runs[-1] = Part(runs[-1].text + part.text, part.is_control)
        elif part.text:
            runs.append(part)
    return tuple(runs)


def _mark(text: str) -> Part:
    return Part(text, is_control=True)
