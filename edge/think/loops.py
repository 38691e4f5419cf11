"""Tells when a text goes round in circles: the same tokens, or the same lines, again and again.

Knows: token ids and lines. Pure: no clock, no I/O. Does not know: what follows from it.
"""

from __future__ import annotations

from collections.abc import Sequence

LONGEST_PERIOD = 64  # tokens
LEAST_REPEATS, LEAST_SPAN = 4, 48  # a period must come this often, and fill this many tokens
LONGEST_LOOP = LEAST_REPEATS * LONGEST_PERIOD  # tokens to look back
LINE_REPEATS, SHORTEST_LINE = 4, 12  # lines that are the same, and characters of a line worth a look
KEPT_LINES = 16


def repeated_period(tokens: Sequence[int]) -> int:
    """The length of the run of tokens that ``tokens`` ends in repeating; 0 when it does not."""
    size = len(tokens)
    if size < LEAST_SPAN:
        return 0
    last = tokens[-1]
    for period in range(1, min(LONGEST_PERIOD, size // LEAST_REPEATS) + 1):
        if tokens[-1 - period] != last:
            continue
        span = max(LEAST_SPAN, LEAST_REPEATS * period)
        if span <= size and tokens[size - span + period :] == tokens[size - span : size - period]:
            return period
    return 0


class LineLoop:
    """Counts how often each of the last lines came; short lines do not count, since lists and sums are full of them."""

    __slots__ = ("_lines", "_parts")

    def __init__(self) -> None:
        self._parts: list[str] = []  # of the line under way
        self._lines: list[str] = []

    def feed(self, text: str) -> bool:
        """Take new text; True when a line ended that has now come ``LINE_REPEATS`` times."""
        self._parts.append(text)
        if "\n" not in text:
            return False
        *ended, rest = "".join(self._parts).split("\n")
        self._parts, is_loop = [rest], False
        for line in ended:
            line = line.strip()
            if len(line) >= SHORTEST_LINE:
                self._lines = [*self._lines[1 - KEPT_LINES :], line]
                is_loop = is_loop or self._lines.count(line) >= LINE_REPEATS
        return is_loop
