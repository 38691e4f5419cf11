"""The generated parts of README.md and of the page of measured figures: ``python -m bench_edge.readme --write``.

Knows: the marks between which a part stands, and where each part comes from (stored bench lines, the modules' own first
lines, the command line's own help), so that they cannot lie; ``--check`` says whether they are fresh. Does not know:
the rest of the texts.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench_edge.deadline_tables import tables as deadline_tables
from bench_edge.devices_tables import tables as devices_tables
from bench_edge.quant_tables import tables as quant_tables
from bench_edge.report import format_checks
from bench_edge.router_tables import tables as router_tables
from bench_edge.serve_tables import tables as serve_tables
from bench_edge.speed import speed_table
from bench_edge.think_tables import tables
from models.errors import EdgeError, UsageError
from models.files import write_bytes_atomically

ROOT = Path(__file__).resolve().parent.parent
MEASURED_FOLDER = ROOT / "docs" / "measured"  # the JSON lines of the benches, as they were printed
PACKAGES = ("edge", "models", "quantize", "bench_edge")
PROMISED = (
    *("A.on", "A.off1", "A.off3", "A.auto_acc", "A.auto_tok", "A.judge", "A.auto_rate", "A.int4"),
    *("A.loop_1", "A.loop_2", "A.start"),
)
PROMISED_DEVICES = (
    *("E.onnx_decode", "E.onnx_prefill", "E.llama_limit"),
    *("E.arm_1", "E.arm_2", "E.htp_1", "E.htp_2", "E.deadline"),
)
PROMISED_DEADLINE = (
    *("C.sim", "C.use", "C.cost", "C.real_1", "C.real_2", "C.acc_1", "C.acc_2"),
    *("C.turn_1", "C.turn_2", "C.turn_3"),
)
PROMISED_QUANT = (
    *("B.awq_time", "B.awq_mem", "B.import_time_1", "B.import_mem_1", "B.import_time_2", "B.import_mem_2"),
    *("B.rtn8b_mem", "B.kl_awq", "B.kl_gptq", "B.kl_peer_1", "B.kl_peer_2", "B.kl_peer_3", "B.acc"),
)
PROMISED_ROUTER = (
    *("D.fast_1", "D.fast_2", "D.fast_3", "D.small_1", "D.small_2", "D.coarse", "D.long"),
    *("D.inside_1", "D.inside_2", "D.inside_3", "D.attack"),
    *(f"D.{name}_{place}" for name, last in (("ece", 3), ("spark", 4), ("probe", 2)) for place in range(1, last + 1)),
)
PROMISED_SERVE = (
    *("F.deadline_1", "F.deadline_2", "F.refuse", "F.speed_1", "F.speed_2", "F.speed_3", "F.memory"),
    *("F.fuzz_1", "F.fuzz_2", "F.fuzz_3"),
)

# Benches that a checkout need not have a line of.
PROMISED_LATER = {
    "deadline": PROMISED_DEADLINE,
    "router": PROMISED_ROUTER,
    "quant": PROMISED_QUANT,
    "devices": PROMISED_DEVICES,
    "serve": PROMISED_SERVE,
}


def main(arguments: list[str]) -> int:
    """Write the generated parts, or say that they are out of date (1)."""
    parser = argparse.ArgumentParser(prog="python -m bench_edge.readme", description=__doc__, allow_abbrev=False)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="make the parts anew")
    action.add_argument("--check", action="store_true", help="only say whether they are fresh")
    options = parser.parse_args(arguments)
    stale = []
    try:
        for page, parts in PAGES.items():
            text = (ROOT / page).read_text("utf-8")
            fresh = regenerate(text, parts)
            if fresh != text:
                stale.append(page)
            if options.write:
                write_bytes_atomically(ROOT / page, fresh.encode())
    except EdgeError as exc:
        print(exc, file=sys.stderr)
        return 1
    if stale and not options.write:
        print(f"Out of date: {', '.join(stale)}; run python -m bench_edge.readme --write.", file=sys.stderr)
        return 1
    return 0


def regenerate(text: str, parts: Mapping[str, Callable[[], str]]) -> str:
    """``text`` with every part made anew.

    Raises UsageError for a part without its marks, and what the parts raise.
    """
    for name, make in parts.items():
        before, _, after = split_at_part(text, name)
        text = before + make() + after
    return text


def split_at_part(text: str, name: str) -> tuple[str, str, str]:
    """What stands before, in and after the part ``name``; the marks belong to the outer two.

    The marks are ``<!-- begin NAME -->`` and ``<!-- end NAME -->``. Raises UsageError unless each is there once.
    """
    begin, end = f"<!-- begin {name} -->\n", f"\n<!-- end {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(end) < text.index(begin) + len(begin):
        raise UsageError(f"The page must have exactly one part called {name}; put its two marks back.")
    before, rest = text.split(begin)
    part, after = rest.split(end)
    return before + begin, part, end + after


def stored_line(bench: str) -> dict[str, Any]:
    """The stored JSON line of ``bench``. Raises UsageError where there is none."""
    path = MEASURED_FOLDER / f"{bench}.json"
    try:
        line: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as exc:
        raise UsageError(f"{path} does not hold the line of a bench ({exc}); run make bench.") from exc
    return line


def is_stored(bench: str) -> bool:
    """Whether ``bench`` was ever run and its line kept."""
    return (MEASURED_FOLDER / f"{bench}.json").exists()


def promised_part() -> str:
    """The promised figures, one row each.

    Raises UsageError where a promised figure was not measured.
    """
    lines = {bench: stored_line(bench) for bench in PROMISED_LATER if is_stored(bench)}
    checks = [
        check for line in (stored_line("think"), stored_line("speed"), *lines.values()) for check in line["checks"]
    ]
    promised = [*PROMISED, *(name for bench in lines for name in PROMISED_LATER[bench])]
    if missing := [name for name in promised if name not in {check["id"] for check in checks}]:
        raise UsageError(f"The stored lines lack {', '.join(missing)}; run make bench, which measures all of them.")
    return format_checks(checks)


def measured_part() -> str:
    """The benches' own tables, each with the command that made it."""
    think, speed = stored_line("think"), stored_line("speed")
    lines = {bench: stored_line(bench) for bench in PROMISED_LATER if is_stored(bench)}
    deadline, router, quant, devices, serve = (lines.get(bench) for bench in PROMISED_LATER)
    parts = [
        f"Thinking on demand, {think['results']['num_problems']} held-out problems ({made_by(think)}):",
        *tables(think["results"]),
        *(deadline_parts(deadline) if deadline else ()),
        *((f"The router ({made_by(router)}):", *router_tables(router["results"])) if router else ()),
        *((f"4 bits ({made_by(quant)}):", *quant_tables(quant["results"])) if quant else ()),
        f"Speed ({made_by(speed)}):",
        speed_table(speed["results"]),
        *((f"Devices ({made_by(devices)}):", *devices_tables(devices["results"])) if devices else ()),
        *((f"The server under load ({made_by(serve)}):", *serve_tables(serve["results"])) if serve else ()),
    ]
    return "\n\n".join(parts)


def deadline_parts(line: dict[str, Any]) -> list[str]:
    """The tables of the deadlines, and the picture where it was drawn."""
    picture = MEASURED_FOLDER / "deadline.png"
    shown = ["![Accuracy against the deadline: ours, off, on, and the best fixed budget](deadline.png)"]
    made = [f"Answers before the deadline ({made_by(line)}):", *deadline_tables(line["results"])]
    return made + (shown if picture.exists() else [])


def made_by(line: dict[str, Any]) -> str:
    """The command of a stored line and where it ran, and the same of parts that were measured before."""
    sources: dict[str, list[str]] = {}
    for part, source in line.get("earlier", {}).items():
        sources.setdefault(_source(source), []).append(part)
    earlier = [f"; {', '.join(parts)} by {source}" for source, parts in sources.items()]
    return _source(line) + "".join(earlier)


def _source(line: Mapping[str, str]) -> str:
    return f"`{line['command']}` on {line['device']}, commit {line['commit']}"


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


PAGES: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"promised": promised_part, "help": help_part, "tree": tree_part},
    "docs/measured/README.md": {"measured": measured_part},
}

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
