"""The tables of ``edge bench devices``, for a terminal and for the README.

Knows: the figures' names, and the kinds of evidence that this bench cannot make itself. Does not know: how anything was
measured.
"""

from __future__ import annotations

from typing import Any

from bench_edge.report import format_table

ELSEWHERE = (
    ("RKLLM on an RK3588 NPU", "only bound", "tried against a stand-in library with the same functions and layouts"),
    ("OpenVINO on an Intel GPU or NPU", "not run", "`EDGE_OPENVINO_DEVICE=GPU` or `NPU`"),
    ("llama.cpp with CUDA", "not run", "`make rebuild-llama CMAKE_ARGS=-DGGML_CUDA=on`"),
    ("ONNX Runtime with CUDA", "not run", "the package onnxruntime-gpu, `--backend onnx_cuda`"),
)

EMULATED = {  # by the name of what was compared
    "router": "decisions of the router as on x86-64",
    "onnx": "answers with onnx",
    "llama_cpp": "answers with llama.cpp",
    "tests": "tests passed",
}


def tables(results: dict[str, Any]) -> list[str]:
    """Parity of the backends that ran here, speed of the large shape, deadlines, and what there is elsewhere."""
    shown = {"parity": parity_table, "speed": speed_table, "deadline": deadline_table}
    return [*(table(results[part]) for part, table in shown.items() if part in results), elsewhere_table(results)]


def elsewhere_table(results: dict[str, Any]) -> str:
    """What was simulated or emulated, with its counts, and what was not run."""
    rows: list[tuple[str, str, str]] = []
    if simulated := results.get("simulated"):
        nodes, same = sum(simulated["placement"].values()), simulated["same_as_cpu"]
        found = (
            f"{simulated['nodes_elsewhere']} of {nodes} nodes elsewhere; "
            f"{same['count']} of {same['total']} answers as on the CPU ([what ran](../npu.md))"
        )
        rows.append((f"{simulated['model']} on Qualcomm's HTP", "simulated", found))
    found_on: dict[str, list[str]] = {}
    for row in results.get("emulated", ()):
        found_on.setdefault(row["cpu"], []).append(f"{row['same']} of {row['total']} {EMULATED[row['backend']]}")
    for processor, found_there in found_on.items():
        rows.append((f"Arm, {processor}", "emulated", f"{'; '.join(found_there)} ([what ran](../arm.md))"))
    if "emulated" not in results:
        rows.append(("Arm", "emulated", "apart from this run, [what ran](../arm.md)"))
    return format_table(("elsewhere", "evidence", "what that means"), [*rows, *ELSEWHERE])


def parity_table(figures: dict[str, dict[str, Any]]) -> str:
    """One row for each model and backend."""
    header = ("model", "backend", "off", "on", "auto", "same as reference", "largest logit error", "tok/s", "evidence")
    rows = [
        (
            model,
            backend,
            *(_percent(row["right"][mode]) for mode in ("off", "on", "auto")),
            _percent(row["identical"]),
            f"{row['largest_logit_error']:.2f}",
            f"{row['decode_tokens_per_s']:.0f}",
            row["evidence"],
        )
        for model, backends in figures.items()
        for backend, row in backends.items()
    ]
    return format_table(header, rows)


def speed_table(figures: dict[str, Any]) -> str:
    """One row a runtime, and what they are compared with."""
    decode, prefill = figures["decode_tokens_per_s"], figures["prefill_tokens_per_s"]
    rows = [(name, f"{prefill[name]:.0f}" if name in prefill else "", f"{speed:.1f}") for name, speed in decode.items()]
    header = (f"{figures['shape']}, {figures['threads']} threads", "prefill tok/s", "decode tok/s")
    words = {"decode_over_genai": "decode, onnx over genai", "prefill_over_llama": "prefill, onnx over llama.cpp"}
    ratios = [(text, f"{figures[name]['value']:.3f}", _interval(figures[name])) for name, text in words.items()]
    gigabytes = (figures["llama_bytes_per_s"] / 1e9, figures["read_bytes_per_s"] / 1e9)
    memory = ("llama.cpp reads weights, GB/s", f"{gigabytes[0]:.1f}", f"of {gigabytes[1]:.1f} that memory gives")
    compared = format_table(("compared in turn", "value", "95 %"), [*ratios, memory])
    return f"{format_table(header, rows)}\n\n{compared}"


def deadline_table(figures: dict[str, dict[str, Any]]) -> str:
    """One row a backend: spark under load."""
    header = ("spark under load, on", "deadlines from", "requests", "on time", "99 % overrun, ms", "worst, ms")
    rows = [
        (
            backend,
            f"{row['counts_from_s']:g} to {row['deadlines_s'][1]:g} s",
            row["on_time"]["total"],
            _percent(row["on_time"]),
            f"{1000 * row['p99_overrun_s']:.0f}",
            f"{1000 * row['worst_overrun_s']:.0f}",
        )
        for backend, row in figures.items()
    ]
    return format_table(header, rows)


def _percent(row: dict[str, Any]) -> str:
    low, high = row["interval_95"]
    return f"{100 * row['value']:.1f} % ({100 * low:.1f}-{100 * high:.1f})"


def _interval(row: dict[str, Any]) -> str:
    return "{:.3f} to {:.3f}".format(*row["interval_95"]) if row["interval_95"] else ""
