"""The figures of ``edge bench think`` as tables, from its JSON line.

Knows: where each figure stands in ``results``. Does not know: how anything is measured or counted.
"""

from __future__ import annotations

from typing import Any

from bench_edge.intervals import Proportion
from bench_edge.report import format_table


def tables(results: dict[str, Any]) -> list[str]:
    """What a person reads: all policies, each by number of steps, differences, and prompts outside the world."""
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
    return [overall, by_steps, differences_table(results), outside_table(results)]


def differences_table(results: dict[str, Any]) -> str:
    """Accuracy between policies on the same problems."""
    rows = [(name.replace("_", " "), points(row)) for name, row in results["differences_points"].items()]
    return format_table(("difference", "right, points (95 %)"), rows)


def outside_table(results: dict[str, Any]) -> str:
    """Prompts outside the model's world, in auto."""
    outside = results["outside"]
    rows = {"all": outside["all"], **outside["by_language"]}
    return format_table(
        ("outside its world", "prompts", "honest answer (95 %)", "thinking rate", "tokens", "judge tokens"),
        [(name, row["right"]["total"], *summary_cells(row)) for name, row in rows.items()],
    )


def share(proportion: dict[str, Any]) -> str:
    """A stored proportion in words: per cent and interval."""
    return str(Proportion(proportion["count"], proportion["total"]))


def points(difference: dict[str, Any]) -> str:
    """A stored difference in words: points and interval."""
    low, high = difference["interval_95"]
    return f"{difference['value']:+.2f} ({low:+.2f} to {high:+.2f})"


def summary_cells(summary: dict[str, Any]) -> tuple[str, ...]:
    """Table cells of one summary: accuracy, thinking rate, tokens, judge tokens."""
    rate = f"{100 * summary['thinking_rate']['value']:.1f} %"
    return share(summary["right"]), rate, f"{summary['tokens']:.1f}", f"{summary['judge_tokens']:.1f}"
