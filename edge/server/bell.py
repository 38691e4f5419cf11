"""Tells an event loop from another thread that there is something to do, without holding up that thread.

Knows: event loops, a pipe, and the interpreter's lock. Does not know: what there is to do.

``loop.call_soon_threadsafe`` writes to a socket and lets go of the interpreter's lock for it; the loop, woken by that
very byte, takes the lock, and the caller waits until the loop has done its work: with many clients this cost the device
an eighth of its time. Here the byte is written with the lock held, which the loop gets when the caller next computes
outside of the interpreter, as the device does for most of each token.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections import deque
from collections.abc import Callable
from threading import Lock

_write = ctypes.PyDLL(None).write  # PyDLL: keeps the interpreter's lock
_write.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t)
_write.restype = ctypes.c_ssize_t


class Bell:
    """For ``loop``, in which it is made and closed; ``ring`` is for any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._calls: deque[Callable[[], object]] = deque()
        self._is_rung = False
        self._lock = Lock()  # a number of a closed pipe may be another file's
        self._inner, self._outer = os.pipe()
        for end in (self._inner, self._outer):
            os.set_blocking(end, False)
        loop.add_reader(self._inner, self._hear)

    def ring(self, call: Callable[[], object]) -> bool:
        """Have the loop run ``call`` soon, which must not raise; False where there is no loop any more."""
        self._calls.append(call)
        with self._lock:
            if self._outer < 0 or self.loop.is_closed():
                return False
            if not self._is_rung:
                self._is_rung = True
                _write(self._outer, b"!", 1)
        return True

    def close(self) -> None:
        """Free the pipe; what was rung for and not heard is dropped."""
        with self._lock:
            inner, outer = self._inner, self._outer
            self._inner = self._outer = -1
        if outer >= 0:
            if not self.loop.is_closed():
                self.loop.remove_reader(inner)
            os.close(inner)
            os.close(outer)

    __del__ = close  # a loop that is closed lets go of its readers without a word

    def _hear(self) -> None:
        os.read(self._inner, 64)
        self._is_rung = False  # before the calls are looked at: one that comes now rings again
        while self._calls:
            self._calls.popleft()()


def bell_of(loop: asyncio.AbstractEventLoop, last: Bell | None) -> Bell:
    """``last`` where it is that of ``loop``, else another one in its place; to be called in ``loop``."""
    if last is not None and last.loop is loop:
        return last
    if last is not None:
        last.close()
    return Bell(loop)
