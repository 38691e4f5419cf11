"""The text a model is calibrated on: a file's texts and conversations, these in the model's own dialect.

Knows: the built-in file, JSON lines, rendering with thinking on and with thinking off. Does not know: tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.dialect import Dialect, Message, Prompt
from models.errors import PromptError, UsageError

BUILT_IN_TEXT = Path(__file__).with_name("calibration.jsonl")
MAX_TEXT_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """A prompt and what the model says to it, tags included, its stop token not; ``prompt`` None: a text alone."""

    prompt: Prompt | None
    said: str


def read_samples(path: Path, dialect: Dialect) -> list[Sample]:
    """What the file at ``path`` holds, in order.

    A ``.jsonl`` file has an object a line: ``{"text": ...}``, or ``{"messages": [...]}`` that end with the assistant's
    answer; its ``reasoning_content`` is rendered as thinking. Any other file is one plain text.
    Raises UsageError for a file that cannot be read or is not of this form.
    """
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise UsageError(f"{path} is larger than {MAX_TEXT_BYTES} bytes; a few hundred kilobytes are enough.")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"The calibration text {path} cannot be read ({exc}); give UTF-8 text or JSONL.") from exc
    if path.suffix != ".jsonl":
        return [Sample(None, text)]
    samples: list[Sample] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                samples += _samples_of(json.loads(line), dialect)
            except (ValueError, KeyError, TypeError, AttributeError, PromptError) as exc:
                raise UsageError(
                    f'Line {number} of {path} is neither {{"text": ...}} nor {{"messages": [...]}} that end with the '
                    f"assistant's answer ({exc!r}); correct it."
                ) from exc
    return samples


def _samples_of(entry: Mapping[str, Any], dialect: Dialect) -> Iterator[Sample]:
    """A text as it is; a conversation with thinking on and with thinking off, as far as the model has both."""
    if "text" in entry:
        yield Sample(None, _text(entry["text"]))
        return
    *turns, reply = entry["messages"]
    if reply["role"] != "assistant":
        raise ValueError(f"the last role is {reply['role']!r}")
    messages = [Message(turn["role"], _text(turn["content"])) for turn in turns]
    thinking, content = _text(reply.get("reasoning_content") or ""), _text(reply["content"])
    ending = "\n</answer>" if "</answer>" in dialect.tags else ""
    if not dialect.forced_off:
        yield Sample(dialect.render(messages, "auto"), content + ending)
        return
    if thinking and dialect.forced_on:
        yield Sample(dialect.render(messages, "on"), thinking + dialect.closings["thinking"] + content + ending)
    has_answer_tag = "<answer>" in dialect.tags and not dialect.forced_off.endswith("<answer>\n")
    opening = "<answer>\n" if has_answer_tag else ""
    yield Sample(dialect.render(messages, "off"), opening + content + ending)


def _text(value: Any) -> str:
    """``value``, which must be text that can be written as UTF-8."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    value.encode()
    return value
