"""The same bundle on every device: how right, how like the reference, how fast, and what kind of evidence there is.

Knows: the parts of this bench and the promised figures. Does not know: how any of them measures.

Executed means: this machine ran it, in this run. What was simulated or emulated, tried on a stand-in, or not run is
listed beside it in those words. The large model has random weights: it measures time, not sense. An interrupted run
goes on where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench_edge import deadline_real, devices_emulated, devices_parity, devices_simulated, devices_speed
from bench_edge.arguments import BenchParser, add_parts, whole_number
from bench_edge.devices_tables import tables
from bench_edge.kept import KeptRun
from bench_edge.report import BenchReport, Check, print_report
from bench_edge.think_run import ThinkRun
from edge.backends.base import BACKENDS

SEED = 0
SHAPE = "hunyuan-1.8b"
PROBLEMS, REQUESTS, ROUNDS, PROCESSES = 200, 200, 9, 8  # what the promised figures are counted over
SIMULATED = 50  # answers
SLOWER = 5
MODELS = ("spark", "spark-hunyuan")

Measured = tuple[Any, Sequence[Check]]
"""The figures of one part for the JSON line, and the promised ones among them."""


def main(arguments: list[str]) -> int:
    """Run the bench; see ``edge bench devices --help``."""
    options = _parse(arguments)
    kept, answers = KeptRun("devices"), ThinkRun("devices")
    results: dict[str, Any] = {}
    checks: list[Check] = []
    for name in options.parts:
        if name == "speed" and options.shape == "none":
            continue
        if name == "simulated" and not devices_simulated.can_simulate():
            continue
        if name == "emulated" and options.arm is None:
            continue
        results[name], found = PARTS[name](options, kept, answers)
        checks += found
    report = BenchReport("devices", arguments, SEED, results, checks)
    print_report(report, tables(results), as_json=options.json, store=options.store)
    kept.finish()
    answers.finish()
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = BenchParser("devices", __doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    for name, number, text in (
        ("problems", PROBLEMS, "problems for every model, backend and mode"),
        ("requests", REQUESTS, "requests with a deadline that count, for every backend"),
        ("processes", PROCESSES, "processes of the large shape in turn with onnxruntime-genai's, of each"),
        ("rounds", ROUNDS, "rounds of the large shape, in turn with reading memory"),
        ("simulated", SIMULATED, "answers on an NPU's simulator, where there is one"),
    ):
        parser.add_argument(f"--{name}", type=whole_number, default=number, metavar="N", help=f"{text} ({number})")
    parser.add_argument("--threads", type=whole_number, default=2, help="threads of the large shape (2)")
    parser.add_argument("--shape", default=SHAPE, help=f"the large model ({SHAPE}); none: only the sparks")
    parser.add_argument("--folder", type=Path, default=Path(), help="where the random model's files are kept")
    parser.add_argument("--arm", type=Path, metavar="FILE", help="what `make test-arm` found: build/arm/found.jsonl")
    add_parts(parser, PARTS)
    options = parser.parse_args(arguments)
    if options.shape != "none" and "speed" in options.parts:
        devices_speed.check_can_measure(options.shape)  # not after half an hour
    if options.arm is not None:
        devices_emulated.read_emulated(options.arm)
    return options


# --- parts ----------------------------------------------------------------------------------------------------------


def speed_part(options: argparse.Namespace, _kept: KeptRun, _answers: ThinkRun) -> Measured:
    """The large shape against other runtimes on the same weights."""
    figures = devices_speed.measure(options.shape, options.folder, options.threads, options.processes, options.rounds)
    return figures, devices_speed.speed_checks(figures)


def deadline_part(options: argparse.Namespace, kept: KeptRun, _answers: ThinkRun) -> Measured:
    """Deadlines under load on every backend that this machine executes."""
    bundles = devices_parity.with_npu_graphs(MODELS, options.folder)
    figures = {
        name: deadline_real.summarize(course, deadline_real.measure(course, bundles["spark"], kept, name))
        for name in devices_parity.native_backends(bundles)["spark"]
        for course in [spark_course(name, options.requests)]
    }
    return figures, [deadline_check(figures)]


def parity_part(options: argparse.Namespace, _kept: KeptRun, answers: ThinkRun) -> Measured:
    """Answers and logits beside the reference's. Nothing is promised of it."""
    bundles = devices_parity.with_npu_graphs(MODELS, options.folder)
    backends = devices_parity.native_backends(bundles)
    return devices_parity.measure(bundles, backends, options.problems, answers), []


def simulated_part(options: argparse.Namespace, kept: KeptRun, _answers: ThinkRun) -> Measured:
    """An NPU's simulator."""
    figures = devices_simulated.measure("spark", options.folder, options.simulated, kept)
    return figures, devices_simulated.simulated_checks(figures)


def emulated_part(options: argparse.Namespace, _kept: KeptRun, _answers: ThinkRun) -> Measured:
    """What an emulated processor found."""
    figures = devices_emulated.read_emulated(options.arm)
    return figures, devices_emulated.emulated_checks(figures)


PARTS: dict[str, Callable[[argparse.Namespace, KeptRun, ThinkRun], Measured]] = {
    "speed": speed_part,
    "deadline": deadline_part,
    "parity": parity_part,
    "simulated": simulated_part,
    "emulated": emulated_part,
}


def spark_course(backend: str, num_requests: int) -> deadline_real.Course:
    """The sweep of deadlines; longer ones for graphs that read a cache of fixed size whole in every step."""
    course = deadline_real.spark_course(num_requests)
    if not BACKENDS[backend].weights_role.startswith("npu"):
        return course
    times = {name: SLOWER * getattr(course, name) for name in ("shortest_s", "longest_s", "counts_from_s")}
    return replace(course, **times)


def deadline_check(figures: dict[str, dict[str, Any]]) -> Check:
    """The promised figure: of the worst backend."""
    worst = min(row["on_time"]["value"] for row in figures.values())
    return Check("E.deadline", f"on time under load, the worst of {', '.join(figures)}", worst, 0.99, "at_least")
