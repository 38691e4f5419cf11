"""The tables of docs/server.md, from the server's own types: ``python -m bench_edge.server_fields --write``.

Knows: how options and fields become rows. Does not know: what they do; they carry that themselves.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from bench_edge.readme import regenerate
from edge.server.settings import Settings, flag_of
from models.files import write_bytes_atomically

PATH = Path(__file__).resolve().parent.parent / "docs" / "server.md"


def main(arguments: list[str]) -> int:
    """Write the tables, or say that they are out of date (1)."""
    parser = argparse.ArgumentParser(prog="python -m bench_edge.server_fields", allow_abbrev=False)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="make the tables anew")
    action.add_argument("--check", action="store_true", help="only say whether they are fresh")
    text = PATH.read_text("utf-8")
    fresh = regenerate(text, PARTS)
    if parser.parse_args(arguments).write:
        write_bytes_atomically(PATH, fresh.encode())
    elif fresh != text:
        print("docs/server.md is out of date; run python -m bench_edge.server_fields --write.", file=sys.stderr)
        return 1
    return 0


def options_table() -> str:
    """One row an option."""
    rows = [
        (f"`--{flag_of(option)}`", _default(option.default), option.metadata["help"].partition(" [default")[0])
        for option in fields(Settings)
    ]
    return _table(("option", "default", "what"), rows)


def fields_tables() -> str:
    """One table for each object of a request, the nested ones after those that hold them."""
    from edge.server.openapi import REQUESTS

    tables: dict[str, str] = {}
    open_models: list[tuple[Any, str]] = [(model, f"`POST {path}`") for path, model in REQUESTS.items()]
    for model, title in open_models:  # grows while it is read
        if model.__name__ in tables:
            continue
        tables[model.__name__] = f"### {title}\n\n{_about(model)}{_fields_table(model)}"
        open_models += [(part, f"{part.__name__}") for part in _parts(model)]
    return "\n\n".join(tables.values())


def _fields_table(model: Any) -> str:
    from edge.server.fields import Honoured, Refused, treatment_of

    rows = []
    for name, field in model.model_fields.items():
        treatment = treatment_of(model, name)
        if isinstance(treatment, Honoured):
            word, note = "honoured", treatment.how
        elif isinstance(treatment, Refused):
            passing = ", ".join(f"`{json.dumps(value)}`" for value in treatment.neutral)
            word, note = "**refused**", f"{treatment.why}{f'; {passing} may pass' if passing else ''}"
        else:
            word, note = "ignored", treatment.why
        parts = " ".join(f"({part.__name__})" for part in _parts_of(field.annotation))
        rows.append((f"`{field.alias or name}` {parts}".strip(), word, note))
    return _table(("field", "", "what"), rows)


def _about(model: Any) -> str:
    """What the type says of itself, less the path that stands above it."""
    text = " ".join(model.__doc__.split())
    text = text.partition("``")[2].partition("``")[2].lstrip(":;. ") if text.startswith("``") else text
    return f"{text[0].upper()}{text[1:]}\n\n" if text else ""


def _parts(model: Any) -> Iterator[Any]:
    for field in model.model_fields.values():
        yield from _parts_of(field.annotation)


def _parts_of(annotation: Any) -> Iterator[Any]:
    """The object types inside an annotation."""
    from edge.server.fields import Fields

    if isinstance(annotation, type) and issubclass(annotation, Fields):
        yield annotation
    for inner in get_args(annotation):
        yield from _parts_of(inner)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; these are too wide to be padded."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _default(value: Any) -> str:
    return "" if value is None or value == () else f"{value:g} s" if isinstance(value, float) else str(value)


PARTS: dict[str, Callable[[], str]] = {"options": options_table, "fields": fields_tables}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
