"""Whether the shipped bundles answer as well as the floats they were made of, in every mode.

Knows: which sparks are here. Does not know: how problems are answered and compared, which ``think`` does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import models
from bench_edge.report import Check
from bench_edge.think import compare_modes, measure_float
from bench_edge.think_run import ThinkRun
from models.spark.tasks import test_set

SPARKS = {"spark": "spark", "spark-hunyuan": "spark_hunyuan"}  # the folder of each beside this package's models
MOST_POINTS = 0.7


def shipped_sparks() -> dict[str, Path]:
    """The folders, with a checkpoint and a bundle in them, of the sparks that are here."""
    root = Path(models.__file__ or "").parent
    return {name: root / folder for name, folder in SPARKS.items() if (root / folder / "checkpoint").is_dir()}


def measure(folder: Path, num_problems: int, run: ThinkRun) -> dict[str, Any]:
    """By mode: accuracy of the bundle in ``folder`` less that of its checkpoint, in points, on the same problems."""
    problems = test_set()[:num_problems]
    outcomes = run.measure(str(folder / "bundle"), problems)
    return compare_modes(outcomes, measure_float(run, folder / "checkpoint", problems))


def accuracy_checks(figures: dict[str, Any]) -> list[Check]:
    """The promised figure: of the worst mode of the worst model."""
    worst = min(row["value"] for modes in figures.values() for row in modes.values())
    return [
        Check(
            "B.acc", f"int4 against bf16, worst mode of {', '.join(figures)}, points", worst, -MOST_POINTS, "at_least"
        )
    ]
