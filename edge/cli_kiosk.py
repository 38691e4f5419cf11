"""The command ``edge kiosk``: ``edge serve`` with the page, and with defaults for passers-by at a touch screen.

Knows: these defaults. Does not know: the flags, which are those of ``edge serve``.
"""

from __future__ import annotations

from collections.abc import Callable

from edge.cli_serve import command_of
from edge.server.settings import Settings

# Somebody who stands there waits a moment, not a minute, and one screen has one asker at a time.
TOUCH = Settings(page=True, deadline_s=20.0, longest_s=60.0, queue=16)


def kiosk_command() -> Callable[..., int]:
    """``edge kiosk``."""
    return command_of(
        TOUCH, "Serve the model with a page for a touch screen (docs/kiosk.md); the options are those of serve."
    )
