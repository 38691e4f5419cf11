"""From outcomes to curves: accuracy at every deadline, by policy, with paired differences and the promised figures.

Knows: which policy is whose, and that all of them met the same problems. Does not know: how they were measured, or how
they are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench_edge.deadline_accuracy import BUDGETS, DEADLINES_S, TOKENS_PER_S, Outcome
from bench_edge.intervals import Proportion, paired_difference
from bench_edge.report import Check

OURS = "auto, with the deadline"
OURS_ALWAYS = "always on, with the deadline"
OFF, CUT, BUDGET = "off", "on, cut at the deadline", "best fixed budget"
OTHERS = (OFF, CUT, BUDGET)

Row = list[bool]  # right or wrong, in the order of the problems


def curves(num_problems: int, outcomes: Sequence[Outcome]) -> tuple[dict[str, list[Row]], list[int]]:
    """Each policy's answers, a row for each of DEADLINES_S, and the budget that was the best at each of them."""
    rows: dict[str, list[Row]] = {}
    for one in outcomes:
        policy = rows.setdefault(one.policy, [[False] * num_problems for _ in DEADLINES_S])
        first = 0 if one.deadline_s is None else DEADLINES_S.index(one.deadline_s)
        for place, is_right in enumerate(one.right, first):
            policy[place][one.index] = is_right
    best = [max(BUDGETS, key=lambda size: sum(rows[f"budget {size}"][place])) for place in range(len(DEADLINES_S))]
    return {
        OFF: rows["off"],
        CUT: rows["on"],
        BUDGET: [rows[f"budget {size}"][place] for place, size in enumerate(best)],
        OURS: rows["auto"],
        OURS_ALWAYS: rows["always"],
    }, best


def summarize(num_problems: int, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The figures of the picture and of the checks. The best budget is picked with hindsight, at each deadline anew."""
    rows, best = curves(num_problems, outcomes)
    late_s = [one.took_s - one.deadline_s for one in outcomes if one.deadline_s is not None]
    return {
        "tokens_per_s": TOKENS_PER_S,
        "num_problems": num_problems,
        "deadlines_s": list(DEADLINES_S),
        "right": {
            name: [Proportion(sum(row), num_problems).to_json() for row in curve] for name, curve in rows.items()
        },
        "best_budget": best,
        "ours_minus_points": {
            name: [points(*pair) for pair in zip(rows[OURS], rows[name], strict=True)] for name in rows if name != OURS
        },
        "late_requests": sum(seconds > 0 for seconds in late_s),
        "requests_with_deadline": len(late_s),
        "worst_overrun_s": max(0.0, *late_s),
    }


def points(ours: Row, other: Row) -> dict[str, Any]:
    """Ours minus the other on the same problems, in points, with the 95 % interval of the pairs."""
    difference, interval = paired_difference(ours, other)
    return {"value": 100 * difference, "interval_95": [100 * end for end in interval]}


def num_lower(figures: Mapping[str, Any]) -> int:
    """At how many deadlines ours is lower than the best of the others, beyond the interval of that pair."""
    count = 0
    for place in range(len(figures["deadlines_s"])):
        best = max(OTHERS, key=lambda name: figures["right"][name][place]["count"])
        count += figures["ours_minus_points"][best][place]["interval_95"][1] < 0
    return count


def num_beaten(figures: Mapping[str, Any]) -> int:
    """How many of the others ours is above at some deadline, beyond the interval."""
    rows = figures["ours_minus_points"]
    return sum(any(point["interval_95"][0] > 0 for point in rows[name]) for name in OTHERS)


def accuracy_checks(figures: Mapping[str, Any]) -> list[Check]:
    """The promised figures, as counts."""
    lower = "deadlines at which ours is less often right than the best other, beyond the interval"
    above = "of off, on cut at the deadline and best budget: ours is above at some deadline"
    return [
        Check("C.acc_1", lower, num_lower(figures), 0, "at_most"),
        Check("C.acc_2", above, num_beaten(figures), len(OTHERS), "at_least"),
    ]
