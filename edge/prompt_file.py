"""A file of prompts, one JSON value a line.

Knows: what a line may be: a string, ``{"prompt": "…"}``, or ``{"messages": [{"role": "user", "content": "…"}, …]}``.
Does not know: how a prompt is answered. A wrong line is an error of its own, so that the others are answered.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from edge.chat_types import Message, Role
from models.errors import PromptError, UsageError


@dataclass(frozen=True, slots=True)
class PromptLine:
    """One line that is not blank; ``number`` counts from 1."""

    number: int
    data: bytes

    def messages(self) -> tuple[Message, ...]:
        """What the line asks. Raises PromptError naming the line."""
        try:
            return _messages(json.loads(self.data))
        except (ValueError, RecursionError) as exc:  # of which UnicodeDecodeError and JSONDecodeError are kinds
            raise PromptError(f"Line {self.number} is not JSON in UTF-8 ({exc}); write one JSON value a line.") from exc
        except PromptError as exc:
            raise PromptError(f"Line {self.number}: {exc}") from exc


def read_prompt_file(path: Path) -> list[PromptLine]:
    """The lines of ``path`` (``-``: standard input). Raises UsageError when it cannot be read or holds none."""
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as exc:
        raise UsageError(f"The file of prompts {path} cannot be read ({exc.strerror}); check its name.") from exc
    lines = [PromptLine(number, line) for number, line in enumerate(data.split(b"\n"), 1) if line.strip()]
    if not lines:
        raise UsageError(f"The file of prompts {path} is empty; write one JSON value a line.")
    return lines


def _messages(value: Any) -> tuple[Message, ...]:
    if isinstance(value, str):
        return (Message("user", value),)
    if isinstance(value, dict) and value.keys() == {"prompt"} and isinstance(value["prompt"], str):
        return (Message("user", value["prompt"]),)
    if isinstance(value, dict) and value.keys() == {"messages"} and isinstance(value["messages"], list):
        return tuple(_message(entry) for entry in value["messages"])
    found = f"an object with {', '.join(map(repr, value))}" if isinstance(value, dict) else type(value).__name__
    raise PromptError(f'this is {found}; write a string, {{"prompt": "…"}} or {{"messages": […]}}.')


def _message(entry: Any) -> Message:
    if not isinstance(entry, dict) or entry.keys() != {"role", "content"} or not isinstance(entry["content"], str):
        raise PromptError('a message is not of the form {"role": "…", "content": "…"}; correct it.')
    if entry["role"] not in get_args(Role):
        raise PromptError(f"the role {entry['role']!r} is none of {', '.join(get_args(Role))}; correct it.")
    return Message(entry["role"], entry["content"])
