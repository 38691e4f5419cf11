"""A conversation on disk: one line of JSON, which anybody can read, and behind it what the cache held, as bytes.

Knows: the layout, and how a file that is foreign, damaged or newer is told. Does not know: engines, or what the bytes
mean; a file whose bytes are missing or cut off still gives its messages.

    {"format": "edge-session", "version": 1, "model": {…}, "system": …, "messages": […], "num_dropped": 0,
     "cache_bytes": 123}⏎
    123 bytes
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge.chat_types import Message
from models.errors import UsageError
from models.files import write_bytes_atomically
from models.tool_calls import ToolCall

FORMAT, VERSION = "edge-session", 1


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which model a conversation was held with; ``num_bytes`` of its weights."""

    name: str
    num_bytes: int
    dialect: str


@dataclass(frozen=True, slots=True)
class SavedSession:
    """``turns`` are questions and answers in turn, of which the first ``num_dropped`` messages are no longer shown to
    the model; ``cache`` is a backend's own, or None where there is none or it is damaged.
    """

    model: ModelIdentity
    system: str | None
    turns: tuple[Message, ...]
    num_dropped: int = 0
    cache: bytes | None = None


def write_session(path: Path, saved: SavedSession) -> None:
    """Write ``saved`` to ``path``, whole or not at all. Raises UsageError when it cannot be written."""
    cache, model = saved.cache or b"", saved.model
    head = {
        "format": FORMAT,
        "version": VERSION,
        "model": {"name": model.name, "bytes": model.num_bytes, "dialect": model.dialect},
        "system": saved.system,
        "messages": [_entry(message) for message in saved.turns],
        "num_dropped": saved.num_dropped,
        "cache_bytes": len(cache),
    }
    try:
        write_bytes_atomically(path, json.dumps(head, ensure_ascii=False).encode() + b"\n" + cache)
    except OSError as exc:
        raise UsageError(f"The conversation cannot be written to {path} ({exc.strerror}); name another file.") from exc


def read_session(path: Path) -> SavedSession:
    """What ``write_session`` wrote. Raises UsageError for a file that is missing, foreign, damaged or too new."""
    try:
        line, _, cache = path.read_bytes().partition(b"\n")
    except OSError as exc:
        raise UsageError(f"The conversation {path} cannot be read ({exc.strerror}); check its name.") from exc
    try:
        head = json.loads(line)
        is_ours, version = head["format"] == FORMAT, head["version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        is_ours, version = False, None
    if not is_ours:
        raise UsageError(f"{path} is not a saved conversation; name a file that /save or --session has written.")
    if version != VERSION:
        raise UsageError(f"{path} has the layout {version!r} and this version reads {VERSION}; use a newer version.")
    try:
        return _from_head(head, cache)
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise UsageError(f"The conversation {path} is damaged ({exc}); its first line is JSON, mend it there.") from exc


def _from_head(head: dict[str, Any], cache: bytes) -> SavedSession:
    model, system, num_dropped = head["model"], head["system"], head["num_dropped"]
    turns = tuple(_message(entry, number) for number, entry in enumerate(head["messages"]))
    if len(turns) % 2:
        raise ValueError("the last question has no answer")
    if not (system is None or isinstance(system, str)):
        raise ValueError("system is no text")
    if not isinstance(num_dropped, int) or num_dropped % 2 or not 0 <= num_dropped <= len(turns):
        raise ValueError(f"num_dropped is {num_dropped!r}")
    identity = ModelIdentity(str(model["name"]), int(model["bytes"]), str(model["dialect"]))
    is_whole = bool(cache) and len(cache) == head["cache_bytes"]
    return SavedSession(identity, system, turns, num_dropped, cache if is_whole else None)


def _entry(message: Message) -> dict[str, Any]:
    entry: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        entry["tool_calls"] = [asdict(call) for call in message.tool_calls]
    return entry


def _message(entry: Any, number: int) -> Message:
    role, content = entry["role"], entry["content"]
    if role != ("assistant" if number % 2 else "user") or not isinstance(content, str):
        raise ValueError(f"message {number + 1} is not the next of questions and answers in turn")
    calls = (
        ToolCall(str(call["name"]), dict(call["arguments"]), str(call["raw"])) for call in entry.get("tool_calls", ())
    )
    return Message(role, content, tuple(calls))
