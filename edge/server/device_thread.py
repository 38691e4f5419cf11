"""The one thread that touches the device: it loads the model, tries it out, and answers.

Knows: threads. Does not know: models, or what it is given to do. A library that shares its work among helper threads
keeps a set of helpers for every thread that calls it, and with more of them than cores each step of a decode waits for
the system's scheduler.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

Result = TypeVar("Result")


class DeviceThread:
    """Runs what it is given, in order, until ``end``. ``call`` and ``end`` are for any other thread."""

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="device", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether it is there to do something."""
        return self._thread.is_alive()

    def call(self, function: Callable[[], Result]) -> Result:
        """The result of ``function``, once it ran there; raises what it raises."""
        outcomes: SimpleQueue[tuple[Result, None] | tuple[None, BaseException]] = SimpleQueue()

        def run() -> None:
            try:
                outcomes.put((function(), None))
            except BaseException as exc:  # it belongs to whoever called
                outcomes.put((None, exc))

        self.begin(run)
        result, error = outcomes.get()
        if error is not None:
            raise error
        return result  # type: ignore[return-value]  # there is one where there is no error

    def begin(self, function: Callable[[], object]) -> None:
        """Have ``function`` run there, which must not raise; nobody waits for it."""
        self._work.put(function)

    def end(self, timeout_s: float) -> bool:
        """Nothing more will come; wait until all is done, and say whether it is."""
        self._work.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (function := self._work.get()) is not None:
            function()
            del function
