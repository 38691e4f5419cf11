"""Is the answer there before its deadline, how good is it by then, and what does the next turn of a chat cost.

Knows: the parts of this bench, their options and the order they run in. Does not know: how any of them measures.

Four parts, all of them unless some are named: requests on simulated devices; requests to a real device whose cores are
taken by other processes on and off; accuracy against the deadline on a slowed device; the second turn of a chat.

Prior work, and what is different here. TimeBill (arXiv 2512.21859) predicts the answer's length and the run time before
the answer and sizes the cache by it; here the time is reckoned anew every few tokens, so that a device that slows down
in mid-answer is followed. Timely-Eval (arXiv 2601.16486) tests whether models pace themselves when they are told the
time; here the model is told nothing, and the runtime closes its thinking. s1 (arXiv 2501.19393) forces a budget of
tokens; here seconds are promised, and the best such budget, picked with hindsight, is one of the rivals. llama.cpp's
t_max_predict_ms stops the generation when its time is over, answer or not; that is the rival "cut at the deadline".
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench_edge import deadline_real, deadline_turn
from bench_edge.arguments import BenchParser, whole_number
from bench_edge.deadline_tables import tables
from bench_edge.kept import KeptRun
from bench_edge.report import BenchReport, Check, print_report
from bench_edge.simulated_device import SPEEDS
from bench_edge.speed import shape_file
from models.errors import UsageError

SEED = 0
SHAPE = "hunyuan-1.8b"
SIMULATED, REAL, PROBLEMS, TURNS = 10_000, 1_000, 500, 40  # what the promised figures are counted over
SHAPE_SHARE_OF_REQUESTS, SHAPE_SHARE_OF_TURNS = 0.06, 0.2  # the large model is a hundred times slower

Measured = tuple[dict[str, Any], list[Check]]
"""The figures of one part for the JSON line, and the promised ones among them."""


def main(arguments: list[str]) -> int:
    """Run the bench; see ``edge bench deadline --help``."""
    options = _parse(arguments)
    kept = KeptRun("deadline")
    results: dict[str, Any] = {}
    checks: list[Check] = []
    for name, measure in PARTS.items():
        if getattr(options, name) is not None:
            results[name], found = measure(options, kept)
            checks += found
    report = BenchReport("deadline", arguments, SEED, results, checks)
    print_report(report, tables(results), as_json=options.json, store=options.store)
    if options.picture:
        from bench_edge.deadline_picture import draw

        draw(results["accuracy"], options.picture)
    kept.finish()
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = BenchParser("deadline", __doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    for name, number, text in (
        ("simulated", SIMULATED, "requests on simulated devices"),
        ("real", REAL, "requests to spark under load that count, and one to the large shape for every 17"),
        ("accuracy", PROBLEMS, "problems, each under every policy and deadline"),
        ("turn", TURNS, "second turns of spark, and a fifth as many of the large shape"),
    ):
        flag = "--simulate" if name == "simulated" else f"--{name}"
        parser.add_argument(
            flag, dest=name, type=whole_number, nargs="?", const=number, metavar="N", help=f"{text} ({number:,})"
        )
    parser.add_argument(
        "--shape", default=SHAPE, help=f"the large model, of random weights ({SHAPE}); none: only spark"
    )
    parser.add_argument("--folder", type=Path, default=Path(), help="where the random model's file is kept")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw accuracy against the deadline to this PNG")
    options = parser.parse_args(arguments)
    if all(getattr(options, name) is None for name in PARTS):
        options.simulated, options.real, options.accuracy, options.turn = SIMULATED, REAL, PROBLEMS, TURNS
    _check(options)
    return options


def _check(options: argparse.Namespace) -> None:
    """Not after an hour of measuring."""
    if options.simulated is not None and options.simulated < len(SPEEDS):
        raise UsageError(f"--simulate is {options.simulated}; use {len(SPEEDS)} or more, one for each kind of speed.")
    if options.picture:
        from bench_edge.deadline_picture import check_can_draw

        if options.accuracy is None:
            raise UsageError("--picture draws what --accuracy measures; name that part as well.")
        check_can_draw()


# --- parts ----------------------------------------------------------------------------------------------------------


def simulated_part(options: argparse.Namespace, kept: KeptRun) -> Measured:
    """On simulated devices."""
    from bench_edge.deadline_simulated import cost_of_a_token, simulate, simulation_checks, summarize_simulation

    figures = summarize_simulation(simulate(options.simulated, kept), cost_of_a_token())
    return figures, simulation_checks(figures)


def real_part(options: argparse.Namespace, kept: KeptRun) -> Measured:
    """On this device, under load."""
    courses: list[tuple[deadline_real.Course, Path | None]] = [(deadline_real.spark_course(options.real), None)]
    if (path := _shape(options)) is not None:
        number = max(1, round(SHAPE_SHARE_OF_REQUESTS * options.real))
        courses.append((deadline_real.shape_course(options.shape, number), path))
    figures = {
        course.name: deadline_real.summarize(course, deadline_real.measure(course, path, kept))
        for course, path in courses
    }
    return figures, deadline_real.real_checks(figures)


def accuracy_part(options: argparse.Namespace, kept: KeptRun) -> Measured:
    """On this device, slowed down."""
    from bench_edge.deadline_accuracy import measure
    from bench_edge.deadline_curves import accuracy_checks, summarize

    figures = summarize(options.accuracy, measure(options.accuracy, kept))
    return figures, accuracy_checks(figures)


def turn_part(options: argparse.Namespace, kept: KeptRun) -> Measured:
    """The second turn of a chat, which takes too little time to be kept."""
    figures = {"spark": deadline_turn.measure(None, options.turn)}
    if (path := _shape(options)) is not None:
        figures[options.shape] = deadline_turn.measure(path, max(1, round(SHAPE_SHARE_OF_TURNS * options.turn)))
    return figures, deadline_turn.turn_checks(figures)


def _shape(options: argparse.Namespace) -> Path | None:
    return None if options.shape == "none" else shape_file(options.shape, options.folder)


PARTS: dict[str, Callable[[argparse.Namespace, KeptRun], Measured]] = {
    "simulated": simulated_part,
    "real": real_part,
    "accuracy": accuracy_part,
    "turn": turn_part,
}
