"""Does thinking on demand pay: accuracy, tokens and thinking rate of the held-out problems, by mode.

Knows: the fixed test set, the prompts outside the model's world, the label policy (think exactly where the generator
counted two or more steps) and the promised figures. Does not know: how answers are made and kept (``think_run``), or
how figures are shown (``think_tables``).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from bench_edge.arguments import BenchParser, whole_number
from bench_edge.card_words import card_words
from bench_edge.intervals import Proportion, paired_difference
from bench_edge.report import BenchReport, Check, print_report
from bench_edge.think_run import MODES, Outcome, ThinkRun
from bench_edge.think_tables import tables
from models.dialect import Think
from models.errors import UsageError
from models.spark.tasks import TEST_SEED, TEST_SIZE, Problem, draw_outside, test_set

OUTSIDE_SIZE = 200
PAIRS = (("auto", "label"), ("auto", "on"), ("auto", "off"), ("on", "off"))  # first minus second


def main(arguments: list[str]) -> int:
    """Run the bench; see ``edge bench think --help``."""
    options = _parse(arguments)
    subject = find_subject(options.model)
    if options.card:
        card_words(subject.name)  # not after an hour of measuring
    problems, outside = test_set()[: options.limit], outside_set()[: options.limit]
    run = ThinkRun()
    outcomes = run.measure(options.model, problems)
    outside_outcomes = run.measure(options.model, outside, ("auto",))["auto"]
    float_outcomes = measure_float(run, options.float_checkpoint, problems) if options.float_checkpoint else None
    outside_summary = summarize_outside(outside, outside_outcomes)
    report = build_report(arguments, problems, outcomes, float_outcomes, outside_summary, subject)
    print_report(report, tables(report.results), as_json=options.json, store=options.store)
    if options.card:
        from bench_edge.model_card import write_model_card

        write_model_card(options.card, report.to_json())
    run.finish()
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = BenchParser("think", __doc__)
    parser.add_argument("--model", help="bundle, GGUF file, or spark-hunyuan (spark if not given)")
    parser.add_argument("--float-checkpoint", type=Path, help="the folder it was quantized from, for A.int4")
    parser.add_argument("--limit", type=whole_number, default=TEST_SIZE, help="only the first N problems of each set")
    parser.add_argument("--card", type=Path, help="write the model card to this file")
    options = parser.parse_args(arguments)
    if options.float_checkpoint and not options.float_checkpoint.is_dir():  # not after an hour of measuring
        raise UsageError(f"There is no checkpoint folder at {options.float_checkpoint}; check the path.")
    return options


@dataclass(frozen=True, slots=True)
class Subject:
    """The model that is measured. Without a judge, auto is only its habit, and nothing is promised of it."""

    name: str
    has_judge: bool


def find_subject(model: str | None) -> Subject:
    """What ``model`` is called and whether it has a judge. Raises BundleError where there is no such model."""
    from edge.loaded_model import find_dialect
    from edge.model_source import find_model

    source = find_model(model)
    return Subject(source.name, find_dialect(source, None)[0].has_judge)


def outside_set() -> list[Problem]:
    """Prompts that are neither sums nor word problems, always the same, no prompt twice, languages in turn.

    They are drawn from the patterns that the training draws from, so they show the habit, not its limits.
    """
    rng = Random(TEST_SEED)
    problems: dict[str, Problem] = {}
    while len(problems) < OUTSIDE_SIZE:
        problem = draw_outside(rng, ("en", "zh")[len(problems) % 2])
        problems.setdefault(problem.prompt, problem)
    return list(problems.values())


def measure_float(run: ThinkRun, checkpoint: Path, problems: Sequence[Problem]) -> dict[Think, list[Outcome]]:
    """The same problems through the same runtime, with every weight as ``checkpoint`` has it."""
    from quantize.pipeline import quantize_checkpoint
    from quantize.recipe import QuantRecipe

    with TemporaryDirectory() as folder:
        bundle = quantize_checkpoint(checkpoint, Path(folder) / "float", QuantRecipe(bits=32), name="float reference")
        return run.measure(str(bundle.path), problems)


# --- figures --------------------------------------------------------------------------------------------------------


def with_label_policy(problems: Sequence[Problem], outcomes: dict[Think, list[Outcome]]) -> dict[str, list[Outcome]]:
    """The three modes and the label policy, which picks on or off by the generator's number of steps."""
    label = [outcomes["on" if problem.num_steps >= 2 else "off"][index] for index, problem in enumerate(problems)]
    return {"off": outcomes["off"], "on": outcomes["on"], "auto": outcomes["auto"], "label": label}


def summarize(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Accuracy and thinking rate with intervals, mean tokens."""
    total = len(outcomes)
    return {
        "right": Proportion(sum(outcome.is_right for outcome in outcomes), total).to_json(),
        "thinking_rate": Proportion(sum(outcome.is_thought for outcome in outcomes), total).to_json(),
        "tokens": round(sum(outcome.tokens for outcome in outcomes) / max(total, 1), 3),
        "judge_tokens": round(sum(outcome.judge_tokens for outcome in outcomes) / max(total, 1), 3),
    }


GROUPS: dict[str, Callable[[Problem], str]] = {
    "by_steps": lambda problem: str(problem.num_steps),
    "by_task": lambda problem: _task(problem),
    "by_kind_and_steps": lambda problem: f"{problem.kind} of {problem.num_steps}",
    "by_task_and_steps": lambda problem: f"{_task(problem)} of {problem.num_steps}",
    "by_language": lambda problem: problem.language,
}


def _task(problem: Problem) -> str:
    """The task's name, with which the canonical problem begins: ``shopping+n+n:…`` is shopping."""
    return problem.canonical[: next(i for i, letter in enumerate(problem.canonical) if not letter.isalpha())]


def group_by(
    problems: Sequence[Problem], outcomes: Sequence[Outcome], group_of: Callable[[Problem], str]
) -> dict[str, dict[str, Any]]:
    """``summarize`` for each group of problems."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(group_of(problems[outcome.index]), []).append(outcome)
    return {name: summarize(groups[name]) for name in sorted(groups)}


def build_report(
    arguments: list[str],
    problems: Sequence[Problem],
    outcomes: dict[Think, list[Outcome]],
    float_outcomes: dict[Think, list[Outcome]] | None,
    outside: dict[str, Any],
    subject: Subject,
) -> BenchReport:
    """All figures of the run and the promised ones among them; ``outside`` is what ``summarize_outside`` returned."""
    policies = with_label_policy(problems, outcomes)
    results: dict[str, Any] = {"model": subject.name, "num_problems": len(problems), "policies": {}}
    for name, rows in policies.items():
        groups = {group: group_by(problems, rows, group_of) for group, group_of in GROUPS.items()}
        results["policies"][name] = {"all": summarize(rows), **groups}
    results["differences_points"] = {
        f"{first}_minus_{second}": points_between(policies[first], policies[second]) for first, second in PAIRS
    }
    checks = forced_checks(problems, policies)
    if subject.has_judge:
        checks += judge_checks(problems, policies, results["differences_points"]["auto_minus_label"]["value"])
    if float_outcomes:
        results["int4_minus_float_points"] = compare_modes(outcomes, float_outcomes)
        worst = min(row["value"] for row in results["int4_minus_float_points"].values())
        checks.append(Check("A.int4", "int4 against bf16, worst mode, points", worst, -1.5, "at_least"))
    results["outside"] = outside
    return BenchReport("think", arguments, TEST_SEED, results, checks)


def points_between(first: Sequence[Outcome], second: Sequence[Outcome]) -> dict[str, Any]:
    """Accuracy of ``first`` minus ``second`` over the same problems, in points, with its 95 % interval."""
    difference, interval = paired_difference(
        [outcome.is_right for outcome in first], [outcome.is_right for outcome in second]
    )
    return {"value": 100 * difference, "interval_95": [100 * end for end in interval]}


def summarize_outside(problems: Sequence[Problem], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """How many prompts outside the model's world got the honest answer that says so; no part of the 5,000."""
    return {
        "num_prompts": len(problems),
        "all": summarize(outcomes),
        "by_language": group_by(problems, outcomes, GROUPS["by_language"]),
    }


def compare_modes(
    outcomes: dict[Think, list[Outcome]], float_outcomes: dict[Think, list[Outcome]]
) -> dict[str, dict[str, Any]]:
    """Accuracy against the unquantised model on the same problems, in points, by mode."""
    comparison: dict[str, dict[str, Any]] = {}
    for mode in MODES:
        right = Proportion(sum(outcome.is_right for outcome in float_outcomes[mode]), len(float_outcomes[mode]))
        difference = points_between(outcomes[mode], float_outcomes[mode])
        comparison[mode] = {**difference, "float_right": right.to_json()}
    return comparison


def forced_checks(problems: Sequence[Problem], policies: dict[str, list[Outcome]]) -> list[Check]:
    """The promised figures of the modes that are asked for."""

    def right(policy: str, steps: Sequence[int]) -> float:
        rows = [outcome.is_right for outcome in policies[policy] if problems[outcome.index].num_steps in steps]
        return sum(rows) / max(len(rows), 1)

    return [
        Check("A.on", "thinking on, right", right("on", range(1, 6)), 0.98, "at_least"),
        Check("A.off1", "thinking off, one step, right", right("off", (1,)), 0.95, "at_least"),
        Check("A.off3", "thinking off, three steps and more, right", right("off", (3, 4, 5)), 0.35, "at_most"),
    ]


def judge_checks(
    problems: Sequence[Problem], policies: dict[str, list[Outcome]], auto_minus_label_points: float
) -> list[Check]:
    """The promised figures of a model that judges for itself.

    A.auto_tok is all thinking and answer tokens of auto over those of the label policy. The fixed opening behind the
    marker (``<think>`` or ``<answer>`` with its line breaks) is put into the model's mouth in auto as it is in the
    forced modes and counted in neither, so identical texts cost the same; what auto pays for its choice is A.judge.
    """
    tokens = {policy: sum(outcome.tokens for outcome in rows) for policy, rows in policies.items()}
    judge = max(outcome.judge_tokens for outcome in policies["auto"])
    rate = sum(outcome.is_thought for outcome in policies["auto"]) / len(problems)
    return [
        Check("A.auto_acc", "auto against label policy, points", auto_minus_label_points, -0.5, "at_least"),
        Check("A.auto_tok", "auto's tokens over the label policy's", tokens["auto"] / tokens["label"], 1.10, "at_most"),
        Check("A.judge", "most judge and marker tokens of a prompt", judge, 6, "at_most"),
        Check("A.auto_rate", "auto, thinking rate", rate, 0.48, "at_most"),
    ]
