"""The chats a user asked to keep: one JSON line a turn, in the state folder.

Knows: the file and its lines. Does not know: who asks, or what a conversation is.
"""

from __future__ import annotations

import json
import os

from edge.chat_types import Answer
from edge.state import state_folder

FILE_NAME = "history.jsonl"


def keep_turn(prompt: str, answer: Answer) -> str | None:
    """Add a turn to the history. Returns None, or a sentence for the user where it cannot be written."""
    line = json.dumps({"prompt": prompt, "thinking": answer.thinking, "answer": answer.answer}, ensure_ascii=False)
    try:
        path = state_folder() / FILE_NAME
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as exc:
        return (
            f"This chat is not kept: {exc.filename or FILE_NAME} cannot be written ({exc.strerror}); "
            "set EDGE_STATE to another folder."
        )
    return None


def kept_prompts() -> list[str]:
    """The prompts of earlier turns, oldest first; a line that is damaged is left out."""
    try:
        lines = (state_folder() / FILE_NAME).read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return []
    return [prompt for line in lines if (prompt := _prompt_of(line))]


def _prompt_of(line: str) -> str:
    try:
        prompt = json.loads(line).get("prompt")
    except (ValueError, AttributeError):
        return ""
    return prompt if isinstance(prompt, str) else ""
