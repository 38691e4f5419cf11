"""How long `edge quantize` takes and how much memory, on checkpoints of true shapes with random weights.

Knows: the commands as a user types them, and what is promised of each. Does not know: how they do it.

The checkpoint was written shortly before, so its reading is as fast as the kernel's cache makes it where that holds it.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench_edge.child_cost import measure_child
from bench_edge.kept import KeptRun, say
from bench_edge.random_checkpoint import Kind, write_random_checkpoint
from bench_edge.report import Check
from bench_edge.shapes import SHAPES

NUM_CORES = 2


@dataclass(frozen=True, slots=True)
class Case:
    """One command, and the most it may take: minutes of wall time (None: not promised) and GiB."""

    title: str
    shape: str
    kind: Kind
    options: tuple[str, ...]
    memory_id: str
    most_gib: float
    time_id: str | None = None
    most_s: float | None = None


CASES: dict[str, Case] = {
    "awq": Case(
        "float to GGUF: AWQ, 16 x 512 tokens, 20 grid points, error feedback",
        "hunyuan-1.8b",
        "float",
        ("--windows", "16", "--window-tokens", "512"),
        "B.awq_mem",
        3.0,
        "B.awq_time",
        900.0,
    ),
    "import_gguf": Case("AutoAWQ to GGUF", "hunyuan-1.8b", "awq", (), "B.import_mem_1", 2.0, "B.import_time_1", 90.0),
    "import_onnx": Case(
        "AutoAWQ to ONNX",
        "hunyuan-1.8b",
        "awq",
        ("--format", "onnx"),
        "B.import_mem_2",
        2.0,
        "B.import_time_2",
        90.0,
    ),
    "rtn8b": Case("float to GGUF: plain rounding", "qwen3-8b", "float", ("--method", "rtn"), "B.rtn8b_mem", 3.0),
}


def measure(folder: Path, kept: KeptRun, *, keep_checkpoints: bool, names: Sequence[str]) -> dict[str, Any]:
    """Run the cases ``names`` of CASES one after the other, in ``folder``, where their checkpoints are made."""

    def run(todo: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        for (shape, kind), some in _by_checkpoint(todo).items():
            with random_checkpoint(shape, kind, folder, keep=keep_checkpoints) as checkpoint:
                for name in some:
                    yield name, run_case(CASES[name], checkpoint, folder / f"random-{name}")

    return kept.rows(b"cost").go_on(
        names,
        read=lambda row: (row["case"], row["figures"]),
        write=lambda name, figures: {"case": name, "figures": figures},
        do=run,
        progress="cost of edge quantize",
        unit="cases",
    )


def _by_checkpoint(names: Sequence[str]) -> dict[tuple[str, Kind], list[str]]:
    groups: dict[tuple[str, Kind], list[str]] = {}
    for name in names:
        groups.setdefault((CASES[name].shape, CASES[name].kind), []).append(name)
    return groups


@contextmanager
def random_checkpoint(shape: str, kind: Kind, folder: Path, *, keep: bool) -> Iterator[Path]:
    """The random checkpoint in ``folder``, made if it is not there, and removed afterwards unless it is to ``keep``."""
    path = folder / f"random-{shape}-{kind}"
    if not path.exists():
        say(f"Writing {path} ...")
        write_random_checkpoint(SHAPES[shape], kind, path)
    yield path
    if not keep:
        shutil.rmtree(path)


def run_case(case: Case, checkpoint: Path, out: Path) -> dict[str, Any]:
    """One command, measured; what it made is removed."""
    shutil.rmtree(out, ignore_errors=True)
    say(f"{case.shape}: {case.title}")
    program = [sys.executable, "-c", "from edge.cli import main; main()"]
    cost = measure_child([*program, "quantize", str(checkpoint), str(out), *case.options], NUM_CORES)
    made_bytes = sum(path.stat().st_size for path in out.iterdir())
    shutil.rmtree(out)
    return {"shape": case.shape, "title": case.title, **asdict(cost), "made_bytes": made_bytes}


def cost_checks(figures: dict[str, Any]) -> list[Check]:
    """The promised figures of the cases that were run."""
    checks = []
    for name, row in figures.items():
        case = CASES[name]
        what = f"{case.shape} shape, {case.title}"
        if case.time_id and case.most_s:
            title = f"{what}, seconds on {row['cores']} cores"
            checks.append(Check(case.time_id, title, row["seconds"], case.most_s, "at_most"))
        checks.append(Check(case.memory_id, f"{what}, peak GiB", row["peak_mib"] / 1024, case.most_gib, "at_most"))
    return checks
