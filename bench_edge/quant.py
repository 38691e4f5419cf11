"""What 4 bits cost: time and memory of making them, divergence from the float model, and accuracy.

Knows: the parts of this bench, their options and the order they run in. Does not know: how any of them measures.

Four parts, all of them unless some are named: `edge quantize` on checkpoints of true shapes; the sparks rounded in
several ways, and by llama.cpp's own quantizer, on the same text; our AWQ beside the retired AutoAWQ's own; the shipped
sparks' accuracy against their floats.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench_edge import quant_accuracy, quant_autoawq, quant_cost, quant_quality
from bench_edge.arguments import BenchParser, whole_number
from bench_edge.kept import KeptRun
from bench_edge.quant_tables import tables
from bench_edge.report import BenchReport, Check, print_report
from bench_edge.think_run import ThinkRun
from models.errors import UsageError
from models.spark.tasks import TEST_SIZE

SEED = 0

Measured = tuple[dict[str, Any], list[Check]]
"""The figures of one part for the JSON line, and the promised ones among them."""


def main(arguments: list[str]) -> int:
    """Run the bench; see ``edge bench quant --help``."""
    options = _parse(arguments)
    kept, answered = KeptRun("quant"), ThinkRun()
    results: dict[str, Any] = {}
    checks: list[Check] = []
    for name, measure in PARTS.items():
        if getattr(options, name):
            results[name], found = measure(options, kept, answered)
            checks += found
    report = BenchReport("quant", arguments, SEED, results, checks)
    print_report(report, tables(results), as_json=options.json, store=options.store)
    kept.finish()
    answered.finish()
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = BenchParser("quant", __doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--cost", action="store_true", help="time and memory on true shapes (25 minutes, 25 GB of disk)"
    )
    parser.add_argument("--quality", action="store_true", help="divergence from the float model, ours and llama.cpp's")
    parser.add_argument(
        "--autoawq",
        action="store_true",
        help=f"scales and divergence beside AutoAWQ's, where {quant_autoawq.INTERPRETER} names a Python that has it",
    )
    parser.add_argument("--accuracy", action="store_true", help="accuracy of the shipped sparks against their floats")
    cases = ", ".join(quant_cost.CASES)
    parser.add_argument("--cases", metavar="NAMES", help=f"of --cost, only these, with commas: {cases}")
    parser.add_argument("--folder", type=Path, default=Path(), help="where --cost makes its checkpoints")
    parser.add_argument("--keep-checkpoints", action="store_true", help="leave them there for another run")
    parser.add_argument("--limit", type=whole_number, default=TEST_SIZE, help="of --accuracy, the first N problems")
    options = parser.parse_args(arguments)
    options.cases = options.cases.split(",") if options.cases else list(quant_cost.CASES)
    if unknown := sorted(set(options.cases) - quant_cost.CASES.keys()):
        raise UsageError(f"There is no case {unknown[0]!r} of --cost; use some of {cases}.")
    if not any(getattr(options, name) for name in PARTS):
        options.cost = options.quality = options.autoawq = options.accuracy = True
    return options


# --- parts ----------------------------------------------------------------------------------------------------------


def cost_part(options: argparse.Namespace, kept: KeptRun, _answered: ThinkRun) -> Measured:
    """On checkpoints of true shapes, first, while this process is small."""
    options.folder.mkdir(parents=True, exist_ok=True)
    figures = quant_cost.measure(options.folder, kept, keep_checkpoints=options.keep_checkpoints, names=options.cases)
    return figures, quant_cost.cost_checks(figures)


def quality_part(_options: argparse.Namespace, kept: KeptRun, _answered: ThinkRun) -> Measured:
    """On every spark that is here."""
    sparks = quant_accuracy.shipped_sparks()
    figures = {name: quant_quality.measure(folder / "checkpoint", kept) for name, folder in sparks.items()}
    return figures, quant_quality.quality_checks(figures)


def autoawq_part(_options: argparse.Namespace, kept: KeptRun, _answered: ThinkRun) -> Measured:
    """On spark, whose family AutoAWQ knows. Nothing is promised of it."""
    return quant_autoawq.measure(quant_accuracy.shipped_sparks()["spark"] / "checkpoint", kept), []


def accuracy_part(options: argparse.Namespace, _kept: KeptRun, answered: ThinkRun) -> Measured:
    """The same, as shipped."""
    sparks = quant_accuracy.shipped_sparks()
    figures = {name: quant_accuracy.measure(folder, options.limit, answered) for name, folder in sparks.items()}
    return figures, quant_accuracy.accuracy_checks(figures)


PARTS: dict[str, Callable[[argparse.Namespace, KeptRun, ThinkRun], Measured]] = {
    "cost": cost_part,
    "quality": quality_part,
    "autoawq": autoawq_part,
    "accuracy": accuracy_part,
}
