"""The one folder that outlives a run: small JSON files, and whatever else the runtime remembers.

Knows: where the folder is, and how to read and write in it without ever failing an answer for its sake.
Does not know: what the files mean. The folder may be moved (``EDGE_STATE``) or deleted at any time.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any


def state_folder() -> Path:
    """``EDGE_STATE`` where set, else ``edge-think`` in XDG_STATE_HOME or ``~/.local/state``; it need not exist.

    Raises OSError for a user without a home folder.
    """
    try:
        if named := os.environ.get("EDGE_STATE"):
            return Path(named).expanduser()
        home = os.environ.get("XDG_STATE_HOME")
        return (Path(home) if home else Path.home() / ".local" / "state") / "edge-think"
    except RuntimeError as exc:
        raise OSError(errno.ENOENT, str(exc).rstrip("."), "the state folder") from exc


def read_state(name: str) -> dict[str, Any]:
    """The JSON object in the state file ``name``; empty where it is missing, unreadable or damaged."""
    try:
        value = json.loads((state_folder() / name).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def write_state(name: str, value: dict[str, Any]) -> str | None:
    """Write ``value`` as the state file ``name``, whole or not at all.

    Returns None, or a sentence for the user where the folder cannot be written: state is a convenience.
    """
    from models.files import json_bytes, write_bytes_atomically  # not needed on a start that only reads

    shown = name
    try:
        path = state_folder() / name
        shown = str(path)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_bytes_atomically(path, json_bytes(value))
    except OSError as exc:
        return f"Nothing can be remembered in {shown} ({exc.strerror}); set EDGE_STATE to a folder that can be written."
    return None
