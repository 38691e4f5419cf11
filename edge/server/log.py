"""What the server does, one JSON object a line, without prompts or answers unless they are asked for.

Knows: a file or standard error, and that a full disk must not stop an answer. Does not know: who writes what.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, TextIO


class Log:
    """Appends to the file at ``path`` (None: standard error). Safe from any thread; what cannot be written is counted,
    and told in the next line that can be.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._file: TextIO | None = None
        self._lock = Lock()
        self._num_lost = 0

    def write(self, event: str, **fields: Any) -> None:
        """One line: the time, the event, and what there is to know about it."""
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._lock:
            lost = {"lines_lost": self._num_lost} if self._num_lost else {}
            line = json.dumps({"time": moment, "event": event, **fields, **lost}, default=str)
            try:
                stream = self._stream()
                stream.write(f"{line}\n")
                stream.flush()
                self._num_lost = 0
            except (OSError, ValueError):  # no room, no right, or closed
                self._num_lost += 1
                self._close()

    def failure(self, event: str, error: BaseException, **fields: Any) -> None:
        """An error with where it came from; its text may quote a request, so only its kind is written."""
        places = [
            f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
        ]
        self.write(event, error=type(error).__name__, places=places, **fields)

    def close(self) -> None:
        """Let go of the file; a later line opens it again."""
        with self._lock:
            self._close()

    def _stream(self) -> TextIO:
        if self._path is None:
            return sys.stderr
        if self._file is None:
            self._file = self._path.open("a", encoding="utf-8")
        return self._file

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # what was buffered cannot be written either
                file.close()


def forward(name: str, log: Log) -> None:
    """Have warnings of the logger ``name`` written to ``log``, and nowhere else; without tracebacks."""

    class Forwarder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            log.write("warning", source=record.name, message=record.getMessage().strip())

    logger = logging.getLogger(name)
    logger.handlers, logger.propagate = [Forwarder(logging.WARNING)], False
