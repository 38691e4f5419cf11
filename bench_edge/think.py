"""Does thinking on demand pay: accuracy, tokens and thinking rate of spark's held-out problems, by mode.

Knows: the fixed test set, the three modes, the label policy (think exactly where the generator counted two or more
steps), and how a run resumes. Does not know: how a problem is made or answered; the runtime's public API does that.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_edge.intervals import Proportion, paired_difference
from bench_edge.report import BenchReport, Check, format_table, print_report
from models.dialect import Think
from models.spark.tasks import TEST_SEED, TEST_SIZE, Problem, test_set

if TYPE_CHECKING:
    from edge.engine import Engine

MODES: tuple[Think, ...] = ("off", "on", "auto")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one problem in one mode; tokens as in ``Usage``."""

    mode: Think
    index: int
    is_right: bool
    is_thought: bool
    judge_tokens: int
    thinking_tokens: int
    answer_tokens: int

    @property
    def tokens(self) -> int:
        """Thinking and answer tokens; the judge's are counted apart."""
        return self.thinking_tokens + self.answer_tokens


def main(arguments: list[str]) -> int:
    """Run the bench; see ``edge bench think --help``."""
    options = _parse(arguments)
    problems = load_problems(options.limit)
    outcomes = measure(options.model, problems)
    float_outcomes = measure(options.float_model, problems) if options.float_model else None
    report = build_report(arguments, problems, outcomes, float_outcomes)
    print_report(report, tables(report.results), as_json=options.json)
    if options.card:
        from bench_edge.model_card import write_model_card

        write_model_card(Path(options.card), report.to_json())
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="edge bench think", description=__doc__, allow_abbrev=False)
    parser.add_argument("--model", help="bundle or GGUF file (the embedded spark if not given)")
    parser.add_argument("--float-model", help="the same model unquantised, as a GGUF file or bundle, for A.int4")
    parser.add_argument("--limit", type=int, default=TEST_SIZE, help="only the first N problems of the set")
    parser.add_argument("--card", help="write the model card to this file")
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    return parser.parse_args(arguments)


def load_problems(limit: int = TEST_SIZE) -> list[Problem]:
    """The first ``limit`` problems of the fixed held-out set."""
    return test_set()[:limit]


# --- measuring ------------------------------------------------------------------------------------------------------


def measure(model: str | None, problems: Sequence[Problem]) -> dict[Think, list[Outcome]]:
    """Answer every problem greedily in every mode, one process a core; resumes what an interrupted run left behind."""
    from edge.state import state_folder

    jobs = [(mode, index) for mode in MODES for index in range(len(problems))]
    path = state_folder() / "bench" / f"think-{_fingerprint(model, problems)}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    done = {(outcome.mode, outcome.index): outcome for outcome in _read_outcomes(path)}
    todo = [job for job in jobs if job not in done]
    with path.open("a", encoding="utf-8") as file:
        for number, outcome in enumerate(_answer_all(model, problems, todo), 1):
            done[outcome.mode, outcome.index] = outcome
            file.write(json.dumps(asdict(outcome)) + "\n")
            if number % 250 == 0 or number == len(todo):
                file.flush()
                print(f"{model or 'spark'}: {number} of {len(todo)} answers", file=sys.stderr, flush=True)
    path.unlink()
    return {mode: [done[mode, index] for index in range(len(problems))] for mode in MODES}


def _fingerprint(model: str | None, problems: Sequence[Problem]) -> str:
    """Names a run: the model file's identity and the questions, so that only the same run is resumed."""
    from edge.model_source import find_model

    stat = find_model(model).gguf_path.stat()
    text = "\n".join(problem.prompt for problem in problems)
    return hashlib.sha256(f"{model} {stat.st_size} {stat.st_mtime_ns} {text}".encode()).hexdigest()[:16]


def _read_outcomes(path: Path) -> Iterator[Outcome]:
    """Outcomes of an interrupted run; a last line that was cut off is skipped."""
    if path.exists():
        for line in path.read_text("utf-8").splitlines():
            try:
                yield Outcome(**json.loads(line))
            except (ValueError, TypeError):
                continue


_worker_state: tuple[Engine, Sequence[Problem]] | None = None  # of one worker process


def _start_worker(model: str | None, problems: Sequence[Problem]) -> None:
    global _worker_state
    from edge.engine import load

    _worker_state = load(model, num_threads=1, context_size=1024), problems


def _answer_one(job: tuple[Think, int]) -> Outcome:
    from edge.chat_types import AnswerOptions

    assert _worker_state is not None
    engine, problems = _worker_state
    mode, index = job
    answer = engine.answer(problems[index].prompt, AnswerOptions(think=mode, temperature=0.0, max_tokens=400))
    usage = answer.usage
    return Outcome(
        mode,
        index,
        problems[index].check(answer.answer),
        bool(answer.decision.think),
        usage.judge_tokens,
        usage.thinking_tokens,
        usage.answer_tokens,
    )


def _answer_all(model: str | None, problems: Sequence[Problem], jobs: list[tuple[Think, int]]) -> Iterator[Outcome]:
    num_workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ProcessPoolExecutor(num_workers, initializer=_start_worker, initargs=(model, problems)) as pool:
        yield from pool.map(_answer_one, jobs, chunksize=32)


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
) -> BenchReport:
    """All figures of the run and the promised ones among them."""
    policies = with_label_policy(problems, outcomes)
    results: dict[str, Any] = {"num_problems": len(problems), "policies": {}}
    for name, rows in policies.items():
        groups = {group: group_by(problems, rows, group_of) for group, group_of in GROUPS.items()}
        results["policies"][name] = {"all": summarize(rows), **groups}
    difference, interval = paired_difference(
        [outcome.is_right for outcome in policies["auto"]], [outcome.is_right for outcome in policies["label"]]
    )
    results["auto_minus_label_points"] = {"value": 100 * difference, "interval_95": [100 * end for end in interval]}
    checks = think_checks(problems, policies, 100 * difference)
    if float_outcomes:
        results["int4_minus_float_points"] = compare_modes(outcomes, float_outcomes)
        worst = min(row["value"] for row in results["int4_minus_float_points"].values())
        checks.append(Check("A.int4", "int4 against bf16, worst mode, points", worst, -1.5, "at_least"))
    return BenchReport("think", arguments, TEST_SEED, results, checks)


def compare_modes(
    outcomes: dict[Think, list[Outcome]], float_outcomes: dict[Think, list[Outcome]]
) -> dict[str, dict[str, Any]]:
    """Accuracy against the unquantised model on the same problems, in points, by mode."""
    comparison: dict[str, dict[str, Any]] = {}
    for mode in MODES:
        difference, interval = paired_difference(
            [outcome.is_right for outcome in outcomes[mode]], [outcome.is_right for outcome in float_outcomes[mode]]
        )
        right = Proportion(sum(outcome.is_right for outcome in float_outcomes[mode]), len(float_outcomes[mode]))
        ends = [100 * end for end in interval]
        comparison[mode] = {"value": 100 * difference, "interval_95": ends, "float_right": right.to_json()}
    return comparison


def think_checks(
    problems: Sequence[Problem], policies: dict[str, list[Outcome]], auto_minus_label_points: float
) -> list[Check]:
    """The promised figures of thinking on demand."""

    def right(policy: str, steps: Sequence[int]) -> float:
        rows = [outcome.is_right for outcome in policies[policy] if problems[outcome.index].num_steps in steps]
        return sum(rows) / max(len(rows), 1)

    tokens = {policy: sum(outcome.tokens for outcome in rows) for policy, rows in policies.items()}
    judge = max(outcome.judge_tokens for outcome in policies["auto"])
    rate = sum(outcome.is_thought for outcome in policies["auto"]) / len(problems)
    return [
        Check("A.on", "thinking on, right", right("on", range(1, 6)), 0.98, "at_least"),
        Check("A.off1", "thinking off, one step, right", right("off", (1,)), 0.95, "at_least"),
        Check("A.off3", "thinking off, three steps and more, right", right("off", (3, 4, 5)), 0.35, "at_most"),
        Check("A.auto_acc", "auto against label policy, points", auto_minus_label_points, -0.5, "at_least"),
        Check("A.auto_tok", "auto's tokens over the label policy's", tokens["auto"] / tokens["label"], 1.10, "at_most"),
        Check("A.judge", "most judge and marker tokens of a prompt", judge, 6, "at_most"),
        Check("A.auto_rate", "auto, thinking rate", rate, 0.48, "at_most"),
    ]


def tables(results: dict[str, Any]) -> list[str]:
    """What a person reads: all policies, then each by number of steps."""
    policies: dict[str, Any] = results["policies"]
    overall = format_table(
        ("policy", "right (95 %)", "thinking rate", "tokens", "judge tokens"),
        [(name, *summary_cells(policy["all"])) for name, policy in policies.items()],
    )
    steps = sorted(policies["off"]["by_steps"])
    by_steps = format_table(
        ("right, by steps", *steps),
        [(name, *(share(policy["by_steps"][step]["right"]) for step in steps)) for name, policy in policies.items()],
    )
    return [overall, by_steps]


def share(proportion: dict[str, Any]) -> str:
    """A stored proportion in words: per cent and interval."""
    return str(Proportion(proportion["count"], proportion["total"]))


def summary_cells(summary: dict[str, Any]) -> tuple[str, ...]:
    """Table cells of one summary."""
    rate = f"{100 * summary['thinking_rate']['value']:.1f} %"
    return share(summary["right"]), rate, f"{summary['tokens']:.1f}", f"{summary['judge_tokens']:.1f}"
