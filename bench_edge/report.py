"""One shape for every bench result: a table for people, then one JSON line with the figures and the promised bars.

Knows: checks, tables, and what describes a run (command, device, commit, seed). Does not know: any measurement.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edge.machine import describe_machine
from models.errors import UsageError
from models.files import write_bytes_atomically


@dataclass(frozen=True, slots=True)
class Check:
    """A promised figure: ``value`` must be at least (or at most) ``bar``, both plain numbers."""

    id: str
    name: str
    value: float
    bar: float
    direction: Literal["at_least", "at_most"]

    @property
    def holds(self) -> bool:
        return self.value >= self.bar if self.direction == "at_least" else self.value <= self.bar

    def to_json(self) -> dict[str, Any]:
        """The object of the ``checks`` list."""
        value, bar = float(self.value), float(self.bar)
        return {"id": self.id, "name": self.name, "value": value, "bar": bar, "holds": self.holds}


@dataclass(frozen=True, slots=True)
class BenchReport:
    """Everything one bench run has to say."""

    bench: str
    arguments: Sequence[str]
    seed: int
    results: dict[str, Any]
    checks: Sequence[Check]

    def to_json(self) -> dict[str, Any]:
        """The object that ends a run with ``--json``."""
        return {
            "bench": self.bench,
            "command": " ".join(["edge bench", self.bench, *self.arguments]),
            "device": describe_device(),
            "commit": current_commit(),
            "seed": self.seed,
            "results": self.results,
            "checks": [check.to_json() for check in self.checks],
        }


def describe_device() -> str:
    """The machine in one line: processor, cores, memory."""
    machine = describe_machine()
    memory = f", {machine.memory_total_bytes / 2**30:.0f} GiB" if machine.memory_total_bytes else ""
    return f"{machine.cpu_name} ({machine.architecture}), {len(machine.cores)} cores{memory}"


def current_commit() -> str:
    """The short commit of the source tree, with ``+`` where it was changed; ``unknown`` outside a checkout.

    Texts and stored lines do not count: the benches themselves write them.
    """
    root = Path(__file__).resolve().parent.parent
    try:
        commit = _git(root, "rev-parse", "--short", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!*.md", ":!docs")
        return commit + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()


def format_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table, columns aligned so that it also reads well in a terminal."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in cells]
    lines = [f"| {' | '.join(row)} |" for row in padded]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def format_checks(checks: Sequence[dict[str, Any]]) -> str:
    """The table of promised figures, from the ``checks`` of a JSON line."""
    rows = [
        (row["id"], row["name"], f"{row['value']:.4g}", f"{row['bar']:.4g}", "yes" if row["holds"] else "**no**")
        for row in checks
    ]
    return format_table(("id", "what", "measured", "bar", "holds"), rows)


def print_report(report: BenchReport, tables: Sequence[str], *, as_json: bool, store: Path | None = None) -> None:
    """Print the tables and the checks; with ``as_json`` one JSON line comes last. ``store`` gets that line as a file.

    Parts that ``store`` holds and that were not measured this time stay in it. Raises UsageError where it cannot be
    written.
    """
    body = report.to_json()
    for table in tables:
        print(table, end="\n\n")
    print(format_checks(body["checks"]))
    print(f"\n{body['command']} · {body['device']} · commit {body['commit']} · seed {body['seed']}")
    line = json.dumps(body, ensure_ascii=False)
    if as_json:
        print(line)
    if store is not None:
        store_line(store, json.dumps(with_earlier_parts(body, store), ensure_ascii=False))


def with_earlier_parts(body: dict[str, Any], path: Path) -> dict[str, Any]:
    """``body`` and what the line of the same bench in ``path`` holds beside it.

    ``earlier`` says by which command, on which device and at which commit each of those parts was measured.
    """
    try:
        stored = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return body
    if not isinstance(stored, dict) or stored.get("bench") != body["bench"] or not body.keys() <= stored.keys():
        return body
    source = {name: stored[name] for name in ("command", "device", "commit")}
    earlier = {
        part: stored.get("earlier", {}).get(part, source) for part in stored["results"] if part not in body["results"]
    }
    if not earlier:
        return body
    results = {part: body["results"].get(part, figures) for part, figures in stored["results"].items()}
    new = {check["id"]: check for check in body["checks"]}
    checks = [new.pop(check["id"], check) for check in stored["checks"]]
    merged = {"results": results | body["results"], "checks": [*checks, *new.values()], "earlier": earlier}
    return body | merged


def store_line(path: Path, line: str) -> None:
    """Write ``line`` as the file ``path``, whole or not at all. Raises UsageError where that is impossible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomically(path, f"{line}\n".encode())
    except OSError as exc:
        raise UsageError(f"{path} cannot be written ({exc.strerror}); name another file with --store.") from exc
