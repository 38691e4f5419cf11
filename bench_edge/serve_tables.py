"""The tables of ``edge bench serve``, for a terminal and for the page of measured figures.

Knows: the figures' names. Does not know: how anything was measured.
"""

from __future__ import annotations

from typing import Any

from bench_edge.report import format_table


def tables(results: dict[str, Any]) -> list[str]:
    """The loads, the speeds, and how long a start takes, of the parts that were measured."""
    loads = load_tables(results["load"]) if "load" in results else []
    return [*loads, *([speed_table(results["speed"])] if "speed" in results else [])]


def load_tables(load: dict[str, Any]) -> list[str]:
    """Each load, and how long a start takes."""
    header = (
        "clients",
        "asked",
        "admitted",
        "in time",
        "cut short",
        "refused",
        "refusal p99, ms",
        "answers/s",
        "thought",
        "engine busy",
    )
    rows = [_load_row(number, figures) for number, figures in load["clients"].items()]
    rows.append(_load_row("64, thinking off", load["plain"]))
    return [format_table(header, rows), f"Started and ready after {load['start_s']:.2f} s, with spark."]


def speed_table(speed: dict[str, Any]) -> str:
    """A token through the server beside one of the engine and of another server."""
    rows = [
        (
            name,
            f"{1e3 * figures['direct_token_s']:.3f}",
            f"{1e3 * figures['streamed_token_s']:.3f}",
            f"{figures['ratio']:.3f}",
            f"{figures.get('rival_ratio') or 0:.3f}",
        )
        for name, figures in speed.items()
    ]
    header = ("model", "engine, ms/token", "streamed, ms/token", "ratio", "over llama_cpp.server")
    return format_table(header, rows)


def _load_row(name: str, figures: dict[str, Any]) -> tuple[object, ...]:
    return (
        name,
        figures["asked"],
        figures["admitted"],
        f"{100 * figures['kept_share']:.2f} %",
        figures["cut"],
        figures["refused"],
        f"{1e3 * figures['refusal_p99_s']:.1f}",
        f"{figures['answers_per_s']:.1f}",
        f"{100 * figures['thinking_rate']:.0f} %",
        f"{100 * figures['busy_share']:.0f} %",
    )
