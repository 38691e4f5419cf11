"""The router after ``edge calibrate``, on the embedded models: accuracy and tokens against the label policy, the worth
of the probe, and how honest its chances are.

Knows: the calibration prompts, the held-out test set, and what a policy comes to when every answer in a forced mode is
known. Does not know: how outcomes are measured (``edge.calibrate``, ``think_run``) or learned from.

Decoding is greedy and a decided mode is forced, so auto's answer is the answer of the mode it decides for: each problem
is answered once in each mode, and policies differ in their decisions alone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench_edge.intervals import paired_difference
from bench_edge.kept import KeptRun, Progress, model_identity
from bench_edge.ranking import NUM_DRAWS, Floats, bootstrap, calibration_error
from bench_edge.report import Check
from bench_edge.think_run import Outcome as Answered
from bench_edge.think_run import ThinkRun
from edge.calibrate import CalibrationPrompt, Measurement, Outcome, read_prompts
from edge.calibrate_fit import Goal, area, curve, fit_refit
from edge.cli_calibrate import default_prompts
from edge.engine import Engine, load
from edge.model_source import find_model
from edge.think.refit import Refit
from models.spark.tasks import Problem, test_set

NUM_ANSWERS, MAX_TOKENS = 2, 400


@dataclass(frozen=True, slots=True)
class Decided:
    """What the calibrated router made of each test problem: chances ``(n,)`` by the text, and with the probe."""

    text: Floats
    staged: Floats
    thinks: Floats  # 1 where auto thinks
    probed: Floats  # 1 where the probe was asked
    ahead: Floats  # tokens of a direct answer that were computed; dropped where it thinks after all

    @property
    def taken_back(self) -> Floats:
        """The tokens that were dropped."""
        return self.ahead * self.thinks


class ModelsRun:
    """Calibrates models on ``num_prompts`` and decides ``num_problems`` of the test set; goes on where it was."""

    def __init__(self, kept: KeptRun, num_problems: int, num_prompts: int, seed: int) -> None:
        self._kept, self._answers = kept, ThinkRun("router")
        self._problems = test_set()[:num_problems]
        self._prompts = read_prompts(default_prompts())[:num_prompts]
        self._seed = seed

    def measure_all(self, models: Sequence[str]) -> dict[str, Any]:
        """The figures of every model, by its name."""
        return {find_model(model).name: self._measure(model) for model in models}

    def _measure(self, model: str) -> dict[str, Any]:
        """Calibrate, decide on every test problem, and count what each policy comes to."""
        with load(model, num_threads=1, context_size=1024) as engine:
            refit = self._calibrated(engine, model)
            decided = decide_all(engine, refit, self._problems)
        answered = self._answers.measure(model, self._problems, ("off", "on"))
        figures = summarize(self._problems, answered["off"], answered["on"], decided, self._seed)
        return {"calibration": dict(refit.report), **figures}

    def _calibrated(self, engine: Engine, model: str) -> Refit:
        """What ``edge calibrate`` finds, without keeping it for the user."""
        progress, last = Progress(f"calibrating {engine.model.name}", len(self._prompts), "prompts"), [0]

        def told(num_done: int, _: int) -> None:
            for _ in range(num_done - last[0]):
                progress.step()
            last[0] = num_done

        rows_path = self._kept.file(b"calibration", model_identity(model))
        outcomes = Measurement(engine, rows_path, NUM_ANSWERS, MAX_TOKENS).run(self._prompts, told)
        return fit_refit([prompt.messages[-1].content for prompt in self._prompts], outcomes, Goal())

    def finish(self) -> None:
        """Forget what was kept; to be called when the bench has said all it has to say."""
        self._answers.finish()
        self._kept.finish()


def decide_all(engine: Engine, refit: Refit, problems: Sequence[Problem]) -> Decided:
    """Auto's decision for each problem, and the chances behind it."""
    router, rows = refit.router(), []
    for place, problem in enumerate(problems):
        if place % 500 == 0:
            print(f"deciding: {place} of {len(problems)} problems", file=sys.stderr, flush=True)
        found = router.route(problem.prompt)
        staged, thinks, num_ahead = float(found.thinks), found.thinks, 0
        if not found.is_sure and (signals := engine.look_ahead(CalibrationPrompt.of(problem.prompt).messages)):
            staged, num_looks = refit.probe.settle(found.score, signals)
            thinks, num_ahead = staged >= refit.probe.cut, num_looks - 1
        rows.append((found.score, staged, float(thinks), float(not found.is_sure), float(num_ahead)))
    return Decided(*np.array(rows).T)


def summarize(
    problems: Sequence[Problem], off: Sequence[Answered], on: Sequence[Answered], decided: Decided, seed: int
) -> dict[str, Any]:
    """Accuracy, tokens and thinking rate by policy; auto against the label policy; the probe's worth; calibration.

    Tokens of an answer that auto has begun and taken back count as its own.
    """
    right = np.array([[one.is_right for one in mode] for mode in (off, on)], float)
    tokens = np.array([[one.tokens for one in mode] for mode in (off, on)], float)
    every = np.arange(len(problems))
    label = np.array([problem.num_steps >= 2 for problem in problems], float)
    alone = decided.text >= 0.5
    policies = {
        "off": 0 * label,
        "on": 0 * label + 1,
        "label": label,
        "auto": decided.thinks,
        "router alone": alone.astype(float),
    }
    found: dict[str, Any] = {"policies": {}, "asked_the_probe": round(float(decided.probed.mean()), 4)}
    for name, thinks in policies.items():
        mode = thinks.astype(int)
        found["policies"][name] = {
            "right": round(float(right[mode, every].mean()), 5),
            "tokens": round(float((tokens[mode, every] + (decided.taken_back if name == "auto" else 0)).mean()), 3),
            "thinking_rate": round(float(thinks.mean()), 5),
        }
    auto, by_label = decided.thinks.astype(int), label.astype(int)
    difference, interval = paired_difference(right[auto, every].tolist(), right[by_label, every].tolist())
    found["auto_minus_label_points"] = {"value": 100 * difference, "interval_95": [100 * end for end in interval]}
    auto_tokens = float((tokens[auto, every] + decided.taken_back).sum())
    found["auto_over_label_tokens"] = round(auto_tokens / float(tokens[by_label, every].sum()), 5)
    found["taken_back"] = {
        "answers": round(float((decided.taken_back > 0).mean()), 5),
        "tokens": round(float(decided.taken_back.mean()), 5),
    }
    outcomes = [_outcome(one_off, one_on) for one_off, one_on in zip(off, on, strict=True)]
    found["probe"] = probe_worth(decided, outcomes, seed)
    pays = (right[1] > right[0]).astype(float)
    found["calibration_error"] = {
        "router": bootstrap(calibration_error, decided.text, pays).to_json(),
        "router and probe": bootstrap(calibration_error, decided.staged, pays).to_json(),
    }
    return found


def _outcome(off: Answered, on: Answered) -> Outcome:
    """A test problem's answers as an outcome of calibration."""
    rates = float(off.is_right), float(on.is_right)
    return Outcome("", *rates, float(off.tokens), float(on.tokens), 0.0, 0.0, ())


def probe_worth(decided: Decided, outcomes: Sequence[Outcome], seed: int) -> dict[str, Any]:
    """The area under accuracy over tokens, with the probe and without, and their difference over resampled problems."""
    rng, size = np.random.default_rng(seed), len(outcomes)

    def areas(rows: Sequence[int]) -> tuple[float, float]:
        chosen = [outcomes[row] for row in rows]
        staged = curve(decided.staged[rows], chosen, decided.ahead[rows])
        return area(staged), area(curve(decided.text[rows], chosen))

    with_probe, alone = areas(range(size))
    draws = [areas(rng.integers(0, size, size).tolist()) for _ in range(NUM_DRAWS // 4)]
    low, high = np.quantile([one - other for one, other in draws], [0.025, 0.975])
    return {
        "with_probe": round(with_probe, 5),
        "router_alone": round(alone, 5),
        "difference": {
            "value": round(with_probe - alone, 5),
            "interval_95": [round(float(low), 5), round(float(high), 5)],
        },
    }


def spark_checks(results: dict[str, Any]) -> list[Check]:
    """The promised figures of each model, in their order."""
    checks = []
    for place, (name, row) in enumerate(results.items()):
        points, ratio = row["auto_minus_label_points"]["value"], row["auto_over_label_tokens"]
        checks.append(
            Check(f"D.spark_{2 * place + 1}", f"{name}, auto against label policy, points", points, -0.5, "at_least")
        )
        checks.append(
            Check(f"D.spark_{2 * place + 2}", f"{name}, auto's tokens over the label policy's", ratio, 1.05, "at_most")
        )
    for place, (name, row) in enumerate(results.items(), start=1):
        low = row["probe"]["difference"]["interval_95"][0]
        checks.append(
            Check(
                f"D.probe_{place}", f"{name}, area gained by the probe, low end of the interval", low, 0.0, "at_least"
            )
        )
    for place, (name, row) in enumerate(results.items(), start=2):
        error = row["calibration_error"]["router"]["value"]
        checks.append(Check(f"D.ece_{place}", f"{name}, calibration error after calibrating", error, 0.05, "at_most"))
    return checks
