"""The figures of ``edge bench quant`` as tables, from its JSON line.

Knows: where each figure stands in ``results``. Does not know: how anything is measured.
"""

from __future__ import annotations

from typing import Any

from bench_edge.report import format_table
from bench_edge.think_tables import points, share


def tables(results: dict[str, Any]) -> list[str]:
    """What a person reads: one table for each part that was measured."""
    shown = {
        "cost": cost_table,
        "quality": quality_table,
        "autoawq": autoawq_table,
        "accuracy": accuracy_table,
    }
    return [make(results[name]) for name, make in shown.items() if name in results]


def cost_table(figures: dict[str, Any]) -> str:
    """Time and memory of `edge quantize`."""
    rows = [
        (
            row["shape"],
            row["title"],
            row["cores"],
            f"{row['seconds']:.0f}",
            f"{row['peak_mib'] / 1024:.2f}",
            f"{row['anonymous_mib'] / 1024:.2f}",
            f"{row['made_bytes'] / 1e9:.2f}",
        )
        for row in figures.values()
    ]
    header = ("shape", "from and to", "cores", "seconds", "peak GiB", "anonymous GiB", "GB made")
    return format_table(header, rows)


def quality_table(figures: dict[str, Any]) -> str:
    """Divergence of every way of rounding, of every model."""
    rows = [
        (
            model,
            name,
            f"{row['layer_bits']:.2f}",
            f"{row['file_bits']:.2f}",
            f"{row['divergence']:.5f}",
            f"{row['reply_divergence']:.5f}" if row["reply_divergence"] is not None else "",
            f"{row['divergence_in_llama_cpp']:.5f}",
            f"{100 * row['same_top']:.2f} %",
        )
        for model, figure in figures.items()
        for name, row in figure["rows"].items()
    ]
    header = (
        "model",
        "rounded by",
        "bits, layers",
        "bits, file",
        "divergence, nats",
        "of replies",
        "in llama.cpp",
        "same best token",
    )
    return format_table(header, rows)


def autoawq_table(figures: dict[str, Any]) -> str:
    """Our AWQ beside AutoAWQ's own, in its format."""
    if not figures["compared"]:
        return f"AutoAWQ's own AWQ was not compared: {figures['why']}."
    rows = [
        (name, f"{row['divergence']:.5f}", f"{row['divergence_in_llama_cpp']:.5f}", f"{100 * row['same_top']:.2f} %")
        for name, row in figures["rows"].items()
    ]
    scales = figures["scales"]
    said = (
        f"Of {scales['groups']} scale groups {scales['same_ratio']} get the same exponent as from AutoAWQ; the mean "
        f"difference is {scales['mean_ratio_difference']:.3f}, and by our measure AutoAWQ's scales have "
        f"{scales['mean_error_quotient']:.4f} times the output error of ours."
    )
    header = ("4 bits, groups of 128, zero points", "divergence, nats", "in llama.cpp", "same best token")
    return f"{format_table(header, rows)}\n\n{said}"


def accuracy_table(figures: dict[str, Any]) -> str:
    """Accuracy of the shipped bundles against their floats."""
    rows = [
        (model, mode, share(row["float_right"]), points(row))
        for model, modes in figures.items()
        for mode, row in modes.items()
    ]
    return format_table(("model", "mode", "bf16 right (95 %)", "int4 less bf16, points (95 %)"), rows)
