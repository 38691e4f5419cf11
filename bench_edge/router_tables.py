"""The figures of ``edge bench router`` as tables, from its JSON line.

Knows: where each figure stands in ``results``. Does not know: how anything is measured.
"""

from __future__ import annotations

from typing import Any

from bench_edge.report import format_table
from bench_edge.think_tables import points, share


def tables(results: dict[str, Any]) -> list[str]:
    """What a person reads, of the parts that were measured."""
    made = _text_tables(results) if "speed" in results else []
    if "coarse" in results:
        made.append(_against("source left out, AUC (95 %)", results["coarse"]))
    return [*made, *(_model_tables(name, row) for name, row in results.get("models", {}).items())]


def _text_tables(results: dict[str, Any]) -> list[str]:
    """Of the shipped weights alone."""
    return [
        format_table(
            ("a prompt", "p50, µs", "p99, µs"),
            [
                *((name, row["p50_us"], row["p99_us"]) for name, row in results["speed"].items()),
                *_host_row(results),
            ],
        ),
        _against("long but easy against hard, AUC (95 %)", results["long"]),
        _against("inside a source (95 %)", results["inside"]),
        format_table(
            ("calibration error (95 %)", "prompts", "value"),
            [(name, row["count"], figure(row)) for name, row in results["calibration"].items()],
        ),
        format_table(
            ("decisions that flip (95 %)", "router", "length", "keywords"),
            [(name, *(share(row[rule]) for rule in row)) for name, row in results["attack"].items()],
        ),
        format_table(
            ("source, language, characters", "prompts", "thinks (95 %)", "sure", "mean score"),
            [
                (
                    name,
                    row["thinks"]["total"],
                    share(row["thinks"]),
                    f"{100 * row['sure']['value']:.0f} %",
                    row["mean_score"],
                )
                for name, row in results["bands"].items()
            ],
        ),
        f"Sentence embeddings: {results['sentence_embeddings']}.",
    ]


def _host_row(results: dict[str, Any]) -> list[tuple[str, float, float]]:
    """What the machine makes of a loop that waits for nothing, where that was measured."""
    if "host" not in results:
        return []
    host = results["host"]
    return [(f"no prompt: a loop ({host['breaks_per_s']:.0f} breaks a second)", host["p50_us"], host["p99_us"])]


def _model_tables(name: str, row: dict[str, Any]) -> str:
    """One model after calibration."""
    policies = format_table(
        (f"{name}, policy", "right", "tokens", "thinking rate"),
        [
            (policy, f"{100 * each['right']:.2f} %", f"{each['tokens']:.2f}", f"{100 * each['thinking_rate']:.1f} %")
            for policy, each in row["policies"].items()
        ],
    )
    worth, errors, back = row["probe"]["difference"], row["calibration_error"], row["taken_back"]
    return policies + (
        f"\n\n{name}: auto minus label {points(row['auto_minus_label_points'])} points; the probe was asked on "
        f"{100 * row['asked_the_probe']:.0f} % and adds {worth['value']:+.4f} ({worth['interval_95'][0]:+.4f} to "
        f"{worth['interval_95'][1]:+.4f}) to the area; {100 * back['answers']:.1f} % of the answers were begun and "
        f"taken back for a thought, which is {back['tokens']:.3f} tokens in the mean of all; calibration error "
        f"{figure(errors['router'])}, with the probe {figure(errors['router and probe'])}."
    )


def _against(first: str, rows: dict[str, Any]) -> str:
    """The router beside length alone."""
    cells = [(name, row["router"]["count"], figure(row["router"]), figure(row["length"])) for name, row in rows.items()]
    return format_table((first, "prompts", "router", "length"), cells)


def figure(row: dict[str, Any]) -> str:
    """A stored figure in words: value and interval."""
    low, high = row["interval_95"]
    return f"{row['value']:.3f} ({low:.3f}-{high:.3f})"
