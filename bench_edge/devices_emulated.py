"""What ``make test-arm`` left: tests and answers on an emulated Arm machine, read from its file of JSON lines.

Knows: the names of those figures. Does not know: how they were made (``tests/arm/run.sh``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench_edge.devices_tables import EMULATED
from bench_edge.report import Check
from models.errors import UsageError

FIELDS = ("cpu", "backend", "same", "total")


def read_emulated(path: Path) -> list[dict[str, Any]]:
    """One row for every emulated processor and kind of check. Raises UsageError where there is no such file."""
    try:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        if rows and all(set(FIELDS) <= row.keys() and row["backend"] in EMULATED for row in rows):
            return rows
    except (OSError, ValueError, AttributeError) as exc:
        raise UsageError(f"{path} does not hold what `make test-arm` found ({exc}); run it first.") from exc
    raise UsageError(f"{path} does not hold what `make test-arm` found; run it first.")


def emulated_checks(rows: list[dict[str, Any]]) -> list[Check]:
    """The promised figures, of the worst processor."""

    def worst(*backends: str) -> float:
        return min((row["same"] / row["total"] for row in rows if row["backend"] in backends), default=0.0)

    processors = ", ".join(dict.fromkeys(row["cpu"] for row in rows))
    return [
        Check(
            "E.arm_1",
            f"emulated {processors}: recorded vectors and the router's decisions",
            worst("tests", "router"),
            1,
            "at_least",
        ),
        Check("E.arm_2", f"emulated {processors}: onnx answers as on x86-64", worst("onnx"), 0.98, "at_least"),
    ]
