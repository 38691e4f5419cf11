"""The server under load: deadlines by the clients' clocks, refusals, what it adds to a token, memory, bad requests.

Knows: the parts of this bench, their options and bounds: ten minutes in all. Does not know: how any of them measures.

Deadlines are multiples of what the device takes for one answer, so that the same load weighs the same on any device.
Goodput is counted with thinking off, where the work of an answer is the same alone and under load; with thinking left
to the model, load costs thoughts first, and the share that is kept is reported beside it. It is held against one caller
who asks the engine itself, without a server: the same prompts with the same kind of deadlines, one after another, once
before the load and once after it. The clients run on the same cores as the server.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench_edge.arguments import BenchParser, add_parts, whole_number
from bench_edge.kept import KeptRun
from bench_edge.report import BenchReport, Check, print_report
from bench_edge.serve_tables import tables
from bench_edge.speed import shape_file
from edge.server.serve import check_installed

SEED = 0
CLIENTS = (1, 8, 64, 256)
LOADED = 64  # clients that the promised figures are counted over
SECONDS, MALFORMED = 25, 10_000
SERIAL = 200  # answers by one client alone
REFUSAL_S, KEPT_SHARE, GOODPUT = 0.05, 0.99, 0.9
SPEED_RATIO, ADDED_S, RIVAL_RATIO, GROWTH = 0.95, 150e-6, 1.0, 1.05


def main(arguments: list[str]) -> int:
    """Run the bench; see ``edge bench serve --help``."""
    options = _parse(arguments)
    check_installed()
    kept = KeptRun("serve")
    results = {name: _kept_part(kept, name, options, PARTS[name]) for name in options.parts}
    report = BenchReport("serve", arguments, SEED, results, checks_of(results))
    print_report(report, tables(results), as_json=options.json, store=options.store)
    kept.finish()
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = BenchParser("serve", __doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seconds", type=whole_number, default=SECONDS, help="of each load (%(default)s)")
    parser.add_argument(
        "--requests", type=whole_number, default=MALFORMED, help="malformed, and for memory (%(default)s)"
    )
    parser.add_argument("--shape", default="hunyuan-1.8b", help="the large model, of random weights; none: only spark")
    parser.add_argument("--folder", type=Path, default=Path(), help="where the random model's file is kept")
    add_parts(parser, PARTS)
    return parser.parse_args(arguments)


def _kept_part(kept: KeptRun, name: str, options: argparse.Namespace, measure: Callable[..., Any]) -> Any:
    """A part's figures, from an interrupted run where there are any."""
    rows = kept.rows(name.encode(), repr((options.seconds, options.requests, options.shape)).encode())
    found = rows.read()
    if not found:
        found = [measure(options)]
        rows.add(found[0])
    return found[0]


# --- parts ----------------------------------------------------------------------------------------------------------


def load_part(options: argparse.Namespace) -> dict[str, Any]:
    """Loads with thinking left to the model, and the one that goodput is counted over."""
    from bench_edge.serve_load import Load, run_load, serial_answers, serial_engine
    from bench_edge.serve_process import our_server
    from edge.engine import load

    with our_server() as server, load() as engine:
        serial_answers(server, "off", SERIAL)  # warms up, and lets the server learn the lengths
        serial_answers(server, None, SERIAL)
        plain_s, free_s = (serial_answers(server, think, SERIAL) for think in ("off", None))
        serial_engine(engine, plain_s)
        run = partial(run_load, server)
        loads = {str(number): run(Load(number, options.seconds, None, SEED), answer_s=free_s) for number in CLIENTS}
        before_s = serial_engine(engine, plain_s)
        plain = run(Load(LOADED, options.seconds, "off", SEED), answer_s=plain_s)
        device_s = (before_s + serial_engine(engine, plain_s)) / 2
        start_s = server.start_s
    serial = {"answer_s": free_s, "plain_answer_s": plain_s, "plain_device_s": device_s}
    return {
        "start_s": start_s,
        "serial": serial,
        "clients": loads,
        "plain": plain,
        "goodput": plain["answers_per_s"] * device_s,
    }


def speed_part(options: argparse.Namespace) -> dict[str, Any]:
    """What the server adds to a token."""
    from bench_edge.serve_speed import shape_speed, spark_speed

    figures: dict[str, Any] = {"spark": spark_speed()}
    if options.shape != "none":
        figures[options.shape] = shape_speed(shape_file(options.shape, options.folder))
    return figures


def memory_part(options: argparse.Namespace) -> dict[str, Any]:
    """What memory does over many requests."""
    from bench_edge.serve_load import memory_growth
    from bench_edge.serve_process import our_server

    with our_server() as server:
        return memory_growth(server, many=options.requests)


def fuzz_part(options: argparse.Namespace) -> dict[str, Any]:
    """What malformed requests do."""
    from bench_edge.serve_fuzz import fuzz
    from bench_edge.serve_process import our_server

    with our_server("--deadline", "5s") as server:
        return fuzz(server, options.requests, SEED)


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "load": load_part,
    "speed": speed_part,
    "memory": memory_part,
    "fuzz": fuzz_part,
}


# --- what is promised -----------------------------------------------------------------------------------------------


def checks_of(results: dict[str, Any]) -> list[Check]:
    """The promised figures of the parts that were measured."""
    checks = [check for name, figures in results.items() for check in CHECKS[name](figures)]
    return sorted(checks, key=lambda check: check.id)


def load_checks(load: dict[str, Any]) -> list[Check]:
    """Deadlines, goodput and refusals."""
    loaded, refusals = load["clients"][str(LOADED)], [load["plain"], *load["clients"].values()]
    slowest_s = max(figures["refusal_p99_s"] for figures in refusals)
    return [
        Check(
            "F.deadline_1", f"admitted and in time by the client's clock, {LOADED} clients", loaded["kept_share"],
            KEPT_SHARE, "at_least",
        ),
        Check("F.deadline_2", "goodput against the device alone, thinking off", load["goodput"], GOODPUT, "at_least"),
        Check("F.refuse", "a refusal, p99 of the worst load, seconds", slowest_s, REFUSAL_S, "at_most"),
    ]  # fmt: skip


def speed_checks(speed: dict[str, Any]) -> list[Check]:
    """What the server adds to a token."""
    checks = [Check("F.speed_2", "added to a token of spark, seconds", speed["spark"]["added_s"], ADDED_S, "at_most")]
    for name, figures in speed.items():
        if name == "spark":
            continue
        ratio, rival = figures["ratio"], figures["rival_ratio"]
        checks.append(Check("F.speed_1", f"streamed over direct, {name}", ratio, SPEED_RATIO, "at_least"))
        if rival is not None:
            checks.append(Check("F.speed_3", f"over llama_cpp.server, {name}", rival, RIVAL_RATIO, "at_least"))
    return checks


def memory_checks(memory: dict[str, Any]) -> list[Check]:
    """Its growth."""
    return [Check("F.memory", "memory after all requests over 500", memory["ratio"], GROWTH, "at_most")]


def fuzz_checks(fuzz: dict[str, Any]) -> list[Check]:
    """What must never come."""
    return [
        Check(f"F.fuzz_{number}", f"malformed requests: {name}", fuzz[name], 0, "at_most")
        for number, name in enumerate(("crashes", "tracebacks", "not_json"), 1)
    ]


CHECKS: dict[str, Callable[[dict[str, Any]], list[Check]]] = {
    "load": load_checks,
    "speed": speed_checks,
    "memory": memory_checks,
    "fuzz": fuzz_checks,
}
