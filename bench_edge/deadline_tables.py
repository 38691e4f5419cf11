"""The figures of ``edge bench deadline`` as tables, from its JSON line.

Knows: where each figure stands in ``results``; a part that was not measured has no table. Does not know: how anything
is measured or counted.
"""

from __future__ import annotations

from typing import Any

from bench_edge.report import format_table
from bench_edge.think_tables import points, share


def tables(results: dict[str, Any]) -> list[str]:
    """What a person reads, part by part."""
    made = {
        "simulated": simulated_tables,
        "real": real_tables,
        "accuracy": accuracy_tables,
        "turn": turn_tables,
    }
    return [table for part, make in made.items() if part in results for table in make(results[part])]


def simulated_tables(figures: dict[str, Any]) -> list[str]:
    """One row for each kind of speed."""
    header = ("simulated speed", "requests", "kept", "on time", "cut short", "thought", "time used", "worst overrun")
    rows = [
        (
            speed,
            row["kept"]["total"],
            *(share(row[name]) for name in ("kept", "on_time", "cut_short", "thought")),
            f"{100 * row['used']:.1f} %",
            milliseconds(row["worst_overrun_s"]),
        )
        for speed, row in figures["by_speed"].items()
    ]
    return [format_table(header, rows)]


def real_tables(figures: dict[str, Any]) -> list[str]:
    """Two rows a model where shorter deadlines were asked for as well: those that count, and the shorter ones."""
    header = (
        *("under load", "deadlines", "feasible", "on time", "thought", "ended by themselves"),
        *("overrun, p99", "worst overrun", "infeasible, left out"),
    )
    rows = []
    for name, row in figures.items():
        shortest_s, longest_s = row["deadlines_s"]
        counts_from_s = max(row["counts_from_s"], shortest_s)
        rows.append((name, *request_cells(row, counts_from_s, longest_s), row["num_infeasible"]))
        if row["shorter"]["on_time"]["total"]:
            rows.append((f"{name}, shorter", *request_cells(row["shorter"], shortest_s, counts_from_s), ""))
    return [format_table(header, rows)]


def request_cells(row: dict[str, Any], shortest_s: float, longest_s: float) -> tuple[object, ...]:
    """The cells of some requests to a real device."""
    total = row["on_time"]["total"]
    return (
        f"{shortest_s:g} to {longest_s:g} s",
        total,
        share(row["on_time"]),
        share(row["thought"]),
        f"{100 * row['ended_by'].get('stop', 0) / max(total, 1):.1f} %",
        milliseconds(row["p99_overrun_s"]),
        milliseconds(row["worst_overrun_s"]),
    )


def accuracy_tables(figures: dict[str, Any]) -> list[str]:
    """Accuracy at every deadline, and what ours gains or loses there."""
    moments = [f"{deadline_s:g} s" for deadline_s in figures["deadlines_s"]]
    right = [(name, *(share(row) for row in curve)) for name, curve in figures["right"].items()]
    budgets = ("budget of the latter, tokens", *figures["best_budget"])
    right.insert(3, budgets)
    minus = [(f"minus {name}", *(points(row) for row in curve)) for name, curve in figures["ours_minus_points"].items()]
    ours = next(name for name in figures["right"] if name not in figures["ours_minus_points"])
    return [
        format_table(("right, by deadline", *moments), right),
        format_table((f"{ours}, points", *moments), minus),
    ]


def turn_tables(figures: dict[str, Any]) -> list[str]:
    """One row a model."""
    header = (
        *("second turn", "prefilled tokens", "last answer", "new message", "marks"),
        *("first token, ms", "bare prefill, ms", "ratio", "repetitions"),
    )
    rows = [
        (
            name,
            *(f"{row[column]:g}" for column in ("prefilled", "answer", "message", "marks")),
            *(f"{1000 * row[column]:.1f}" for column in ("first_token_s", "bare_prefill_s")),
            f"{row['ratio']:.3f}",
            row["repetitions"],
        )
        for name, row in figures.items()
    ]
    return [format_table(header, rows)]


def milliseconds(seconds: float) -> str:
    """Seconds as a table shows them."""
    return f"{1000 * seconds:.0f} ms"
