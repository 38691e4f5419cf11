"""Who has the device: one request at a time, and the others wait in a way that can be called off.

Knows: threads that wait for each other. Does not know: requests, deadlines, or what is done with the device.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition

LOOK_EVERY_S = 0.05  # a waiting thread asks again whether it is called off; its clock may not be this machine's


class Turns:
    """Safe from any thread, and from a signal handler."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._is_taken = False

    def take(self, is_called_off: Callable[[], bool]) -> bool:
        """Wait until it is this thread's turn; False, and no turn, once ``is_called_off`` says so."""
        with self._changed:
            while not is_called_off():
                if not self._is_taken:
                    self._is_taken = True
                    return True
                self._changed.wait(LOOK_EVERY_S)
            return False

    def take_if_free(self) -> bool:
        """Take the turn without waiting; False where somebody has it."""
        with self._changed:
            is_free, self._is_taken = not self._is_taken, True
            return is_free

    def leave(self) -> None:
        """The turn is over; the next one may begin."""
        with self._changed:
            self._is_taken = False
            self._changed.notify_all()

    def look_again(self) -> None:
        """Let everybody who waits ask at once whether they are called off."""
        with self._changed:
            self._changed.notify_all()
