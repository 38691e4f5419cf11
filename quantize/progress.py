"""How far a long run is, as one value handed to whoever shows it.

Knows: counts and the time left. Does not know: terminals.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """``done`` of ``total`` steps of one kind, and the step that comes next: a tensor's name, or ``block 3``."""

    done: int
    total: int
    step: str
    seconds_left: float | None = None  # of this kind of step; None while nothing is known
