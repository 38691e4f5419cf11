"""Accuracy against the deadline as a picture, from the figures of the JSON line.

Knows: matplotlib, which the extra ``bench`` brings. Does not know: how the figures were measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

from bench_edge.deadline_curves import BUDGET, CUT, OFF, OURS, OURS_ALWAYS
from models.errors import UsageError
from models.files import write_bytes_atomically

WIDTH_INCHES, HEIGHT_INCHES, DOTS_PER_INCH = 8.0, 4.6, 150
# Colours that colour-blind readers can tell apart (Okabe and Ito); ours is the heaviest line.
STYLES: dict[str, dict[str, Any]] = {
    OFF: {"color": "#E69F00", "marker": "s"},
    BUDGET: {"color": "#CC79A7", "marker": "D", "linewidth": 3.5, "markersize": 8},
    CUT: {"color": "#009E73", "marker": "^", "linewidth": 1.4},
    OURS_ALWAYS: {"color": "#56B4E9", "marker": None, "linestyle": "--", "linewidth": 1.4},
    OURS: {"color": "#0072B2", "marker": "o", "linewidth": 2.8, "zorder": 5},
}
HAS_BAND = (OFF, CUT, BUDGET, OURS)


def check_can_draw() -> None:
    """Raises UsageError where matplotlib is missing; to be asked before anything long is measured."""
    if find_spec("matplotlib") is None:
        raise UsageError("A picture needs matplotlib, which is not installed; run `pip install 'edge-think[bench]'`.")


def draw(figures: Mapping[str, Any], path: Path) -> None:
    """Write the picture of ``figures`` (see ``deadline_curves.summarize``) to ``path``, as PNG.

    Raises UsageError where ``path`` cannot be written or matplotlib is missing.
    """
    check_can_draw()
    image = BytesIO()
    _figure(figures).savefig(image, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomically(path, image.getvalue())
    except OSError as exc:
        raise UsageError(f"{path} cannot be written ({exc.strerror}); name another file with --picture.") from exc


def _figure(figures: Mapping[str, Any]) -> Any:
    from matplotlib.figure import Figure  # no pyplot: nothing is shown, and no state is left behind

    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
    axes = figure.add_subplot()
    deadlines_s = figures["deadlines_s"]
    for name, style in STYLES.items():
        curve = figures["right"][name]
        low, high = zip(*(point["interval_95"] for point in curve), strict=True)
        if name in HAS_BAND:
            axes.fill_between(deadlines_s, _per_cent(low), _per_cent(high), color=style["color"], alpha=0.15, lw=0)
        axes.plot(deadlines_s, _per_cent([point["value"] for point in curve]), label=name, **{"markersize": 5, **style})
    _label(axes, figures)
    return figure


def _label(axes: Any, figures: Mapping[str, Any]) -> None:
    deadlines_s = figures["deadlines_s"]
    axes.set_xscale("log")
    axes.set_xticks(deadlines_s, [f"{deadline_s:g}" for deadline_s in deadlines_s])
    axes.minorticks_off()
    axes.set_ylim(0, 100)
    axes.set_xlabel("deadline, seconds from the request to the end of the answer")
    axes.set_ylabel("right by the deadline, %")
    device = f"spark slowed to {figures['tokens_per_s']:g} tokens/s"
    axes.set_title(f"{device}, {figures['num_problems']} held-out problems, 95 % bands", fontsize=11)
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda place: labels[place] != OURS)  # ours first
    axes.legend(
        [handles[place] for place in order], [labels[place] for place in order], loc="lower right", frameon=False
    )


def _per_cent(shares: Any) -> list[float]:
    return [100 * share for share in shares]
