"""The generated parts of the README, so that they cannot lie: ``python -m bench_edge.readme --write`` or ``--check``.

Knows: the marks between which a part stands, and where each part comes from (stored bench lines, the modules' own first
lines, the command line's own help). Does not know: the rest of the text.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench_edge.report import format_checks
from bench_edge.speed import speed_table
from bench_edge.think import tables
from models.files import write_bytes_atomically

ROOT = Path(__file__).resolve().parent.parent
MEASURED_FOLDER = ROOT / "docs" / "measured"  # the JSON lines of the benches, as they were printed
PACKAGES = ("edge", "models", "quantize", "bench_edge")


def main() -> int:
    """Write the generated parts, or say which one is out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="replace the parts instead of checking them")
    path = ROOT / "README.md"
    text = path.read_text("utf-8")
    fresh = regenerate(text)
    if parser.parse_args().write:
        write_bytes_atomically(path, fresh.encode())
    elif fresh != text:
        print("README.md is out of date; run python -m bench_edge.readme --write", file=sys.stderr)
        return 1
    return 0


def regenerate(text: str) -> str:
    """``text`` with every part between ``<!-- begin NAME -->`` and ``<!-- end NAME -->`` made anew."""
    for name, make in PARTS.items():
        begin, end = f"<!-- begin {name} -->\n", f"\n<!-- end {name} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"README.md must have exactly one part called {name}")
        before, rest = text.split(begin)
        text = before + begin + make() + end + rest.split(end)[1]
    return text


def stored_line(bench: str) -> dict[str, Any]:
    """The last stored JSON line of ``bench``."""
    line: dict[str, Any] = json.loads((MEASURED_FOLDER / f"{bench}.json").read_text("utf-8"))
    return line


def measured_part() -> str:
    """The promised figures and the benches' own tables, each with the command that made it."""
    think, speed = stored_line("think"), stored_line("speed")
    made_by = [f"`{line['command']}` on {line['device']}, commit {line['commit']}" for line in (think, speed)]
    parts = [
        format_checks([*think["checks"], *speed["checks"]]),
        f"Thinking on demand, {think['results']['num_problems']} held-out problems ({made_by[0]}):",
        *tables(think["results"]),
        f"Speed ({made_by[1]}):",
        speed_table(speed["results"]),
    ]
    return "\n\n".join(parts)


def tree_part() -> str:
    """Every module with the first line of its docstring."""
    lines = ["```"]
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            caption = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").split("\n")[0]
            if caption:
                lines.append(f"{path.relative_to(ROOT).as_posix():<36} {caption}")
    return "\n".join([*lines, "```"])


def help_part() -> str:
    """What ``edge-chat --help`` prints."""
    command = [sys.executable, "-c", "from edge.cli import chat_main; chat_main()", "--help"]
    environment = {**os.environ, "COLUMNS": "110", "TERM": "dumb", "NO_COLOR": "1"}
    output = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    return "```\n" + "\n".join(line.rstrip() for line in output.strip().splitlines()) + "\n```"


PARTS: dict[str, Callable[[], str]] = {"measured": measured_part, "help": help_part, "tree": tree_part}

if __name__ == "__main__":
    raise SystemExit(main())
