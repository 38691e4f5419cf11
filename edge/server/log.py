"""What the server does, one JSON object a line, without prompts or answers unless they are asked for.

Knows: a file or standard error, and that a full disk must not stop an answer. Does not know: who writes what.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, TextIO

GATHER_S = 0.05  # a line is on the disk so much later at most, if the disk is not slower
MAX_WAITING = 10_000  # lines, while the disk stands still; the next ones are lost
CLOSING_S = 5.0  # how long the last lines may take


class Log:
    """Appends to the file at ``path`` (None: standard error). Safe from any thread, and never waits for the disk: a
    thread of its own writes, several lines at once. What cannot be written is counted, and told in the next line that
    can be.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._file: TextIO | None = None
        self._waiting: deque[tuple[float, str, dict[str, Any]]] = deque()
        self._changed = Event()
        self._lock = Lock()  # of the thread's beginning and end
        self._thread: Thread | None = None
        self._is_closing = False
        self._num_lost = 0

    def write(self, event: str, **fields: Any) -> None:
        """One line: the time, the event, and what there is to know about it."""
        if len(self._waiting) >= MAX_WAITING:
            self._num_lost += 1
            return
        self._waiting.append((time.time(), event, fields))
        if not self._changed.is_set():
            self._changed.set()
        if self._thread is None:
            self._begin()

    def failure(self, event: str, error: BaseException, **fields: Any) -> None:
        """An error with where it came from; its text may quote a request, so only its kind is written."""
        places = [
            f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
        ]
        self.write(event, error=type(error).__name__, places=places, **fields)

    def close(self) -> None:
        """Write what waits and let go of the file; a later line opens it again."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None:
                self._is_closing = True
                self._changed.set()
                thread.join(CLOSING_S)  # a reader of standard error that has stopped must not hold up the end
                self._is_closing = thread.is_alive()  # then it still ends, and no other writes beside it

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = Thread(target=self._work, name="log", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        is_last = False
        while not is_last:
            self._changed.wait()
            if not self._is_closing:
                time.sleep(GATHER_S)
            self._changed.clear()  # before the lines are taken: one that comes now sets it again
            is_last = self._is_closing
            self._append([self._waiting.popleft() for _ in range(len(self._waiting))])
        if self._file is not None:
            self._close()

    def _append(self, entries: list[tuple[float, str, dict[str, Any]]]) -> None:
        num_lost, self._num_lost = self._num_lost, 0
        lines = [_line(*entry) for entry in entries]
        if num_lost and entries:
            lines[0] = _line(*entries[0], lines_lost=num_lost)
        try:
            stream = self._stream()
            stream.writelines(lines)
            stream.flush()
        except (OSError, ValueError):  # no room, no right, or closed
            self._num_lost += num_lost + len(lines)
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


def _line(time_s: float, event: str, fields: dict[str, Any], **more: int) -> str:
    moment = datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds")
    return json.dumps({"time": moment, "event": event, **fields, **more}, default=str) + "\n"


def forward(name: str, log: Log) -> None:
    """Have warnings of the logger ``name`` written to ``log``, and nowhere else; without tracebacks."""

    class Forwarder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            log.write("warning", source=record.name, message=record.getMessage().strip())

    logger = logging.getLogger(name)
    logger.handlers, logger.propagate = [Forwarder(logging.WARNING)], False
