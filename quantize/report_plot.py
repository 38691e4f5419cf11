"""The errors of a model's layers as inline SVG: a picture a role, blocks from left to right, all of one scale.

Knows: axes, lines and points. Does not know: the page around them, which gives the colours (classes before, after).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from models.summary import LayerError, percent

WIDTH, HEIGHT = 320, 190  # of one picture, in its own units
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 8, 24  # its margins
NUM_LINES = 4  # of the grid, beside that at zero
MAX_LABELS = 9  # of blocks on an axis


@dataclass(frozen=True, slots=True)
class _Axes:
    """Where a block and an error lie in a picture: blocks ``first`` to ``last``, errors 0 to ``top``."""

    first: int
    last: int
    top: float

    def x(self, block: int) -> str:
        share = (block - self.first) / (self.last - self.first) if self.last > self.first else 0.5
        return f"{LEFT + share * (WIDTH - LEFT - RIGHT):.1f}"

    def y(self, error: float) -> str:
        return f"{TOP + (1 - error / self.top) * (HEIGHT - TOP - BOTTOM):.1f}"


def layer_plots(errors: Sequence[LayerError]) -> str:
    """A ``figure`` for each role of ``errors``, at least one, in their order."""
    top = nice_top(max(max(error.error, error.plain_error or 0.0) for error in errors))
    roles = dict.fromkeys(error.role for error in errors)
    return "".join(_figure(role, [error for error in errors if error.role == role], top) for role in roles)


def nice_top(largest: float) -> float:
    """The upper end of an axis that begins at 0: 1, 2, 4, 6, 8 or 10 times a power of ten, at least ``largest``."""
    if largest <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(largest))
    return next((factor * power for factor in (1, 2, 4, 6, 8) if factor * power >= largest), 10 * power)


def _figure(role: str, errors: Sequence[LayerError], top: float) -> str:
    name = role.replace("_", " ")
    worst = max(errors, key=lambda error: error.error)
    label = f"{name}: at most {percent(worst.error)} percent, in block {worst.block}"
    axes = _Axes(errors[0].block, errors[-1].block, top)
    plain = [(error.block, error.plain_error) for error in errors if error.plain_error is not None]
    kept = [(error.block, error.error) for error in errors]
    return (
        f'<figure><figcaption>{escape(name)}</figcaption>\n<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(label)}">\n{"".join(_grid(axes))}'
        f"{_series(plain, 'before', axes)}{_series(kept, 'after', axes)}</svg></figure>\n"
    )


def _grid(axes: _Axes) -> Iterator[str]:
    for number in range(NUM_LINES + 1):
        error = axes.top * number / NUM_LINES
        height = axes.y(error)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height}" y2="{height}"/>'
        yield f'<text x="{LEFT - 6}" y="{height}" dy="4" text-anchor="end">{100 * error:.3g} %</text>\n'
    step = math.ceil((axes.last - axes.first + 1) / MAX_LABELS)
    for block in range(axes.first, axes.last + 1, step):
        yield f'<text x="{axes.x(block)}" y="{HEIGHT - 7}" text-anchor="middle">{block}</text>\n'


def _series(points: Sequence[tuple[int, float]], kind: str, axes: _Axes) -> str:
    """A line through ``points``, each a dot that says its value where a mouse rests on it."""
    if not points:
        return ""
    line = " ".join(f"{axes.x(block)},{axes.y(error)}" for block, error in points)
    dots = "".join(
        f'<circle class="{kind}" cx="{axes.x(block)}" cy="{axes.y(error)}" r="2.5">'
        f"<title>block {block}: {percent(error)} %</title></circle>\n"
        for block, error in points
    )
    return f'<polyline class="{kind}" points="{line}"/>\n{dots}'
