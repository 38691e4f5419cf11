"""From outcomes to a router and a probe of this model's own: the learning half of ``edge calibrate``.

Knows: labels, cross-fitting, what a cut-point costs and gains, goals. Pure: no model, no files.
Does not know: how outcomes are measured (``calibrate``) or where the result is kept (``calibrated``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from edge.calibrate import Outcome
from edge.think.logistic import Doubles, best_penalty, fit_standardized, logit
from edge.think.probe import SIGNAL_NAMES, Look, Probe, sure_from
from edge.think.refit import Refit
from edge.think.router import CutPoints, LastLayer, default_router
from models.errors import UsageError

WINS_BY = 0.2  # how much higher the pass rate with thinking must be; ties go to off
LEAST_PROMPTS, LEAST_OF_EACH = 60, 10
PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
PROBE_PENALTIES = (0.1, 1.0, 10.0)
SURE_LOSS = 0.001  # right answers, as a share of all, that the router may lose where it is sure of no thinking
SURE_WASTE = 0.01  # tokens, as a share of all, that it may waste where it is sure of thinking
NUM_CURVE = 101
SEED = 0


@dataclass(frozen=True, slots=True)
class Goal:
    """``chance``: think wherever it pays with a chance of at least ``share``, so that no noisy counts are compared;
    ``accuracy-loss``: the fewest tokens that lose at most ``share`` of the answers against the best cut-point;
    ``tokens``: the most right answers for at most ``share`` of the tokens of thinking always."""

    kind: Literal["chance", "accuracy-loss", "tokens"] = "chance"
    share: float = 0.33

    def __str__(self) -> str:
        return f"{self.kind}={100 * self.share:g}%"


def read_goal(text: str) -> Goal:
    """A goal such as ``chance=33%``, ``accuracy-loss=0.5%`` or ``tokens=50%``. Raises UsageError for anything else."""
    kind, _, number = text.partition("=")
    try:
        share = float(number.strip().removesuffix("%")) / 100.0
    except ValueError:
        share = math.nan
    if kind == "accuracy-loss" and 0.0 <= share <= 1.0:
        return Goal("accuracy-loss", share)
    if kind == "tokens" and 0.0 < share <= 1.0:
        return Goal("tokens", share)
    if kind == "chance" and 0.0 < share <= 1.0:
        return Goal("chance", share)
    raise UsageError(
        f"The goal is {text!r}; write chance=33%, accuracy-loss=0.5% or tokens=50%, with a number up to 100."
    )


@dataclass(frozen=True, slots=True)
class Point:
    """What a cut-point comes to on the measured prompts: shares, and means of an answer."""

    cut: float
    accuracy: float
    tokens: float
    seconds: float
    thinking_rate: float


def fit_refit(texts: Sequence[str], outcomes: Sequence[Outcome], goal: Goal) -> Refit:
    """What the outcomes teach. Raises UsageError where there are too few of them to say anything."""
    pays = np.array([float(one.on_rate - one.off_rate >= WINS_BY) for one in outcomes])
    check_enough(pays)
    router = default_router()
    inputs = np.array([router.text_inputs(text) for text in texts], np.float64)
    penalty, chances = best_penalty(inputs, pays, PENALTIES, SEED)
    weights, bias = fit_standardized(inputs, pays, penalty)
    looks, probed = fit_looks(chances, pays, outcomes)
    low, high = sure_below(chances, outcomes), sure_above(chances, pays, outcomes)
    low = min(low, high)
    is_unsure = (chances >= low) & (chances < high)
    could_go_on = np.array([max(len(one.signals) - 1, 0) for one in outcomes])
    cut, better = 0.0, choose_cut(chances, outcomes, goal).cut
    for _ in range(2):  # a cut above what counts as sure changes what the probe looks at
        found, num_ahead = settled(probed, cut)
        staged = np.where(chances < low, 0.0, np.where(chances >= high, 1.0, found))
        ahead = np.where(is_unsure, np.minimum(num_ahead, could_go_on), 0.0)
        cut = choose_cut(staged, outcomes, goal, ahead).cut
    cuts = CutPoints(unsure=low, short=high, think=high, better=min(max(better, low), high))
    report = _report(
        outcomes,
        pays,
        goal,
        {"router": (chances, None), "router and probe": (staged, ahead)},
        {"router": better, "router and probe": cut},
    )
    report["asked_the_probe"] = round(float(is_unsure.mean()), 5)
    return Refit(LastLayer(weights.astype(np.float32), bias), cuts, Probe(looks, cut), report)


def fit_looks(chances: Doubles, pays: Doubles, outcomes: Sequence[Outcome]) -> tuple[tuple[Look, ...], list[Doubles]]:
    """What each number of answer tokens tells beside the text's ``chances``, and with what chance, cross-fitted.

    The chances ``(n,)`` of a look are those of the look before where there was no such token.
    """
    looks: list[Look] = []
    found = [chances]
    most = max((len(one.signals) for one in outcomes), default=0)
    for place in range(most):
        rows = np.array([row for row, one in enumerate(outcomes) if len(one.signals) > place], int)
        if not is_enough(pays[rows]):  # most answers are shorter
            break
        signals = np.array([outcomes[row].signals[place] for row in rows])
        seen = np.concatenate([logit(chances[rows])[:, None], signals], 1)
        penalty, crossed = best_penalty(seen, pays[rows], PROBE_PENALTIES, SEED + 1)
        weights, bias = fit_standardized(seen, pays[rows], penalty)
        looks.append(Look(tuple(float(weight) for weight in weights), bias))
        found.append(found[-1].copy())
        found[-1][rows] = crossed
    if not looks:  # no prompt left room for an answer: the text has the word
        return (Look((1.0, *[0.0] * len(SIGNAL_NAMES)), 0.0),), found
    return tuple(looks), found[1:]


def settled(looked: Sequence[Doubles], cut: float) -> tuple[Doubles, Doubles]:
    """The chances by which a probe decides that thinks from ``cut`` on, from those after each look; and how many tokens
    it has computed by then that only a direct answer needs."""
    found, num_tokens = looked[0].copy(), np.zeros(len(looked[0]))
    for place, chances in enumerate(looked[1:], start=1):
        goes_on = (found < sure_from(cut)) & (num_tokens == place - 1)
        found[goes_on], num_tokens[goes_on] = chances[goes_on], place
    return found, num_tokens


def is_enough(pays: Doubles) -> bool:
    """Whether so many prompts, and of each kind, say something."""
    num_pays = int(pays.sum())
    return len(pays) >= LEAST_PROMPTS and min(num_pays, len(pays) - num_pays) >= LEAST_OF_EACH


def check_enough(pays: Doubles) -> None:
    """Raises UsageError where so few prompts say too little."""
    num_pays = int(pays.sum())
    num_not = len(pays) - num_pays
    if len(pays) < LEAST_PROMPTS:
        raise UsageError(
            f"There are {len(pays)} prompts, and with fewer than {LEAST_PROMPTS} nothing can be said; add more."
        )
    for count, what in ((num_pays, "thinking pays"), (num_not, "thinking does not pay")):
        if count < LEAST_OF_EACH:
            raise UsageError(
                f"Of {len(pays)} prompts {what} on {count} only, and {LEAST_OF_EACH} are needed to tell which; "
                "add prompts of that kind, or ask for the mode itself (--think on or off)."
            )


def sure_below(chances: Doubles, outcomes: Sequence[Outcome]) -> float:
    """The highest chance below which not thinking loses next to nothing."""
    order = np.argsort(chances, kind="stable")
    lost = np.cumsum([max(outcomes[row].on_rate - outcomes[row].off_rate, 0.0) for row in order]) / len(order)
    kept = int((lost <= SURE_LOSS).sum())
    return float(chances[order[kept]]) if kept < len(order) else 1.0


def sure_above(chances: Doubles, pays: Doubles, outcomes: Sequence[Outcome]) -> float:
    """The lowest chance from which on thinking wastes next to nothing."""
    order = np.argsort(-chances, kind="stable")
    all_tokens = sum(one.on_tokens if pay else one.off_tokens for one, pay in zip(outcomes, pays, strict=True))
    extra = [0.0 if pays[row] else outcomes[row].on_tokens - outcomes[row].off_tokens for row in order]
    kept = int((np.cumsum(extra) <= SURE_WASTE * all_tokens).sum())
    return float(chances[order[kept - 1]]) if kept else 1.0


def curve(chances: Doubles, outcomes: Sequence[Outcome], ahead: Doubles | None = None) -> list[Point]:
    """What each cut-point would have come to, from thinking always to never; ``ahead`` as for ``points_at``."""
    cuts = np.unique([0.0, *np.quantile(chances, np.linspace(0, 1, NUM_CURVE)), 1.0 + 1e-9])
    return points_at(cuts.tolist(), chances, outcomes, ahead)


def points_at(
    cuts: Sequence[float], chances: Doubles, outcomes: Sequence[Outcome], ahead: Doubles | None = None
) -> list[Point]:
    """What each of ``cuts`` would have come to.

    ``ahead`` ``(n,)``: tokens of a direct answer that were computed to decide, and are taken back for a thought.
    Thinking always asks for none.
    """
    table = np.array(
        [(one.off_rate, one.on_rate, one.off_tokens, one.on_tokens, one.off_s, one.on_s) for one in outcomes]
    )
    points = []
    for cut in cuts:
        thinks = chances >= cut
        accuracy, tokens, seconds = (np.where(thinks, table[:, at + 1], table[:, at]).mean() for at in (0, 2, 4))
        if ahead is not None and cut > 0.0:
            tokens += (ahead * thinks).mean()
        points.append(Point(cut, float(accuracy), float(tokens), float(seconds), float(thinks.mean())))
    return points


def choose_cut(chances: Doubles, outcomes: Sequence[Outcome], goal: Goal, ahead: Doubles | None = None) -> Point:
    """The point of the curve that the goal asks for; the nearest one where none reaches it."""
    if goal.kind == "chance":
        return points_at([goal.share], chances, outcomes, ahead)[0]
    points = curve(chances, outcomes, ahead)
    if goal.kind == "tokens":
        most = goal.share * points[0].tokens  # the first thinks always
        fitting = [point for point in points if point.tokens <= most] or [min(points, key=lambda point: point.tokens)]
        return max(fitting, key=lambda point: (point.accuracy, -point.tokens))
    best = max(point.accuracy for point in points)
    return min((point for point in points if point.accuracy >= best - goal.share), key=lambda point: point.tokens)


def area(points: Sequence[Point]) -> float:
    """The area under the curve of accuracy over tokens, both ends included, as a share of the whole width."""
    ordered = sorted((point.tokens, point.accuracy) for point in points)
    tokens, accuracy = np.array(ordered).T
    width = tokens[-1] - tokens[0]
    if width <= 0.0:
        return float(accuracy.mean())
    steps = np.diff(tokens) * (accuracy[1:] + accuracy[:-1]) / 2
    return float(steps.sum() / width)


def _report(
    outcomes: Sequence[Outcome],
    pays: Doubles,
    goal: Goal,
    routers: dict[str, tuple[Doubles, Doubles | None]],
    cuts: dict[str, float],
) -> dict[str, Any]:
    """What was measured, for people and for the bench; all of it on chances that did not see the prompt."""
    found: dict[str, Any] = {"prompts": len(outcomes), "thinking_pays": int(pays.sum()), "goal": str(goal)}
    for name, (values, ahead) in routers.items():
        points = curve(values, outcomes, ahead)
        chosen = choose_cut(values, outcomes, goal, ahead)
        found[name] = {
            "cut": cuts[name],
            "accuracy": round(chosen.accuracy, 5),
            "tokens": round(chosen.tokens, 3),
            "thinking_rate": round(chosen.thinking_rate, 5),
            "area": round(area(points), 5),
            "curve": [
                [round(point.cut, 5), round(point.accuracy, 5), round(point.tokens, 3), round(point.seconds, 4)]
                for point in points
            ],
        }
    return found
