"""The caches of conversations in a file, so that a restart need not read them all again.

Knows: the layout, and how a file that is foreign, damaged or newer is told. Does not know: what a state means, or when
it is used. The file holds what people wrote, so nobody but its owner may read it, and there is none unless it was asked
for. Written whole or not at all:

    {"format": "edge-caches", "version": 1, "model": "…", "states": [{"prompt": [1, 2], "bytes": 123}, …]}⏎
    123 bytes, …
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from models.files import write_parts_atomically

FORMAT, VERSION = "edge-caches", 1
OWNER_ONLY = 0o600

State = tuple[tuple[int, ...], bytes]  # a prompt's token ids, and what a backend saved of it


def write_caches(path: Path, model: str, states: Sequence[State]) -> str | None:
    """Write ``states`` of ``model``. Returns None, or a sentence for the operator where that is not possible."""
    entries = [{"prompt": prompt, "bytes": len(state)} for prompt, state in states]
    head = {"format": FORMAT, "version": VERSION, "model": model, "states": entries}
    try:
        parts = (json.dumps(head).encode() + b"\n", *(state for _, state in states))
        write_parts_atomically(path, parts, mode=OWNER_ONLY)
    except OSError as exc:
        return f"The caches cannot be kept in {path} ({exc.strerror}); the next start reads conversations anew."
    return None


def read_caches(path: Path, model: str, limit_bytes: int) -> list[State]:
    """What ``write_caches`` wrote for the same ``model``; nothing where there is no such file, or it is damaged.

    A file of more than ``limit_bytes`` beside its first line gives its last states, those that were used last.
    """
    try:
        with path.open("rb") as file:
            entries = _entries(file.readline(), model)
            sizes = [size for _, size in entries]
            if file.seek(0, 2) - sum(sizes) < 0:
                return []
            file.seek(-sum(sizes), 2)
            states: list[State] = []
            left = sum(sizes)
            for prompt, size in entries:
                if left <= limit_bytes:
                    states.append((prompt, file.read(size)))
                else:
                    file.seek(size, 1)
                left -= size
            return states
    except (OSError, ValueError):
        return []


def _entries(line: bytes, model: str) -> list[tuple[tuple[int, ...], int]]:
    """The prompts and sizes in the first line. Raises ValueError for what is not ours, or another model's."""
    try:
        head = json.loads(line)
        if (head["format"], head["version"], head["model"]) != (FORMAT, VERSION, model):
            raise ValueError("it is another model's, or a newer version's")
        entries = [(tuple(map(int, entry["prompt"])), int(entry["bytes"])) for entry in head["states"]]
    except (KeyError, TypeError, OverflowError, RecursionError) as exc:
        raise ValueError(str(exc)) from exc
    if any(size < 0 for _, size in entries):
        raise ValueError("a size is negative")
    return entries
