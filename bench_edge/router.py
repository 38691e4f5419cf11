"""Does the router know when thinking pays: its speed, and how it orders prompts of unseen sources, templates, subjects.

Knows: the public data's folder, the trainings that leave a source out, and the promised figures. Does not know: how
figures are made (``router_sources``, ``router_attack``, ``router_speed``) or shown (``router_tables``).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench_edge.arguments import BenchParser, add_parts, whole_number
from bench_edge.kept import KeptRun, say
from bench_edge.report import BenchReport, Check, print_report
from bench_edge.router_attack import attacks, flip_share
from bench_edge.router_sources import LEFT_OUT, by_band, calibration, coarse, inside, long_prompts, scorer
from bench_edge.router_spark import ModelsRun, spark_checks
from bench_edge.router_speed import measure_host, measure_size, measure_speed
from bench_edge.router_tables import tables
from edge.model_source import EMBEDDED_FOLDERS
from edge.think.router import Router, default_router
from models.router.data import Row, read_rows
from models.router.train import SEED, train
from models.spark.tasks import TEST_SIZE

PARTS = ("text", "coarse", "models")  # of them the first alone needs a machine that does nothing else
NUM_PROMPTS = 3000
EMBEDDERS = ("sentence_transformers", "fastembed", "model2vec")
INSIDE_BARS = {"mmlu": 0.62, "gsm8k": 0.45, "cmath": 0.55}
ABOVE_LENGTH = 0.05
FAST_BARS = {"200": 80.0, "8000": 600.0}


def main(arguments: list[str]) -> int:
    """Run the bench; see ``edge bench router --help``."""
    options = _parse(arguments)
    results: dict[str, Any] = {}
    checks: list[Check] = []
    if "text" in options.parts:  # as small as a process that answers: with all rows in memory it takes a tenth longer
        results |= {"speed": measure_speed(default_router(), options.seed), "host": measure_host()}
        results |= {"size": measure_size()}
    train_rows, dev = read_rows(options.data / "train.jsonl.gz"), read_rows(options.data / "dev.jsonl.gz")
    kept = KeptRun("router")
    run = ModelsRun(kept, options.problems, options.prompts, options.seed)
    if "text" in options.parts:
        results |= measure(default_router(), dev, options.seed)
        checks += text_checks(results)
    if "coarse" in options.parts:
        results["coarse"] = leave_out(train_rows, dev, options.made, kept)
        checks.append(coarse_check(results["coarse"]))
    if "models" in options.parts:
        results["models"] = run.measure_all(options.model or list(EMBEDDED_FOLDERS))
        checks += spark_checks(results["models"])
    report = BenchReport("router", arguments, options.seed, results, checks)
    print_report(report, tables(results), as_json=options.json, store=options.store)
    run.finish()
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = BenchParser("router", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder with train.jsonl.gz and dev.jsonl.gz")
    parser.add_argument(
        "--made", type=float, default=1.0, help="share of the made prompts in trainings with a source out"
    )
    parser.add_argument(
        "--model", action="append", help="calibrate this model; may be repeated (the embedded ones if not given)"
    )
    parser.add_argument("--problems", type=whole_number, default=TEST_SIZE, help="test problems for each model")
    parser.add_argument("--prompts", type=whole_number, default=NUM_PROMPTS, help="calibration prompts for each model")
    parser.add_argument("--seed", type=int, default=SEED)
    add_parts(parser, PARTS)
    return parser.parse_args(arguments)


def measure(router: Router, dev: Sequence[Row], seed: int) -> dict[str, Any]:
    """All else that needs no training."""
    score = scorer(router)
    return {
        "inside": inside(dev, score),
        "calibration": {"direct answers, unseen subjects": calibration(dev, score).to_json()},
        "long": long_prompts(dev, score, seed),
        "attack": attacks(dev, router, seed),
        "bands": by_band(dev, router),
        "sentence_embeddings": embeddings_note(),
    }


def leave_out(train_rows: Sequence[Row], dev: Sequence[Row], made: float, kept: KeptRun) -> dict[str, Any]:
    """For every source a router that was trained without it, and how it places that source; goes on where it was."""

    def placed(sources: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        for source in sources:
            say(f"training without {source} ...")
            router = Router(train([row for row in train_rows if row.source != source], SEED, made, say))
            yield source, coarse(dev, source, train_rows, scorer(router))

    rows = kept.rows(b"coarse", str(made).encode(), *(row.text.encode() for row in (*train_rows, *dev)))
    found = rows.go_on(
        LEFT_OUT,
        read=lambda row: (row["source"], row["figures"]),
        write=lambda source, figures: {"source": source, "figures": figures},
        do=placed,
        progress="router without a source",
        unit="trainings",
    )
    return {name: figures for some in found.values() for name, figures in some.items()}


def embeddings_note() -> str:
    """Whether a logistic regression on sentence embeddings could be put beside; half a sentence."""
    found = [name for name in EMBEDDERS if find_spec(name) is not None]
    if not found:
        return f"not compared: none of {', '.join(EMBEDDERS)} is installed here"
    return f"not compared: {found[0]} is installed, but this bench brings no model of it"


def coarse_check(figures: dict[str, Any]) -> Check:
    """Of the source that fares worst when it is left out of the training."""
    worst = min(row["router"]["value"] for row in figures.values())
    name = "easy against mathematics, the worst source left out, AUC"
    return Check("D.coarse", name, worst, 0.99, "at_least")


def text_checks(results: dict[str, Any]) -> list[Check]:
    """What is promised of the shipped weights alone; where there are two languages, the worse one counts."""
    speed = results["speed"]
    checks = [Check("D.small_1", "weights, MB", results["size"]["bytes"] / 1e6, 1.0, "at_most")]
    checks.append(Check("D.small_2", "load time, ms", results["size"]["load_ms"], 30.0, "at_most"))
    for place, (length, bar) in enumerate(FAST_BARS.items(), start=1):
        rows = [row for name, row in speed.items() if name.endswith(f" {length}")]
        middle = max(row["p50_us"] for row in rows)
        checks.append(Check(f"D.fast_{place}", f"{length} characters, p50, µs", middle, bar, "at_most"))
    spread = max(row["p99_us"] / row["p50_us"] for row in speed.values())
    checks.append(Check("D.fast_3", "p99 over p50, the worst", spread, 3.0, "at_most"))
    worst = min(row["router"]["value"] for row in results["long"].values())
    checks.append(Check("D.long", "long but easy against hard, the worse language, AUC", worst, 0.95, "at_least"))
    for place, (source, bar) in enumerate(INSIDE_BARS.items(), start=1):
        row = results["inside"][source]
        least = max(bar, row["length"]["value"] + ABOVE_LENGTH)
        checks.append(Check(f"D.inside_{place}", f"inside {source}", row["router"]["value"], least, "at_least"))
    error = results["calibration"]["direct answers, unseen subjects"]["value"]
    checks.append(Check("D.ece_1", "calibration error, direct answers", error, 0.05, "at_most"))
    rules = min(flip_share(results["attack"], rule) for rule in ("length", "keywords"))
    checks.append(Check("D.attack", "flips under attack", flip_share(results["attack"], "router"), rules, "at_most"))
    return checks
