"""The flags that every bench takes, and a parser whose refusals are one sentence.

Knows: how a command line becomes options. Does not know: any bench.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from models.errors import UsageError


class BenchParser(argparse.ArgumentParser):
    """Raises UsageError instead of leaving the program; ``--json`` and ``--store`` are there already."""

    def __init__(self, bench: str, description: str | None) -> None:
        super().__init__(prog=f"edge bench {bench}", description=description, allow_abbrev=False)
        self.add_argument("--json", action="store_true", help="end with one JSON line")
        self.add_argument("--store", type=Path, metavar="FILE", help="write that JSON line to this file as well")

    def error(self, message: str) -> NoReturn:
        """What argparse calls for every refusal."""
        raise UsageError(f"{message[0].upper()}{message[1:]}; see {self.prog} --help.")


def add_parts(parser: argparse.ArgumentParser, names: Iterable[str]) -> None:
    """``--parts``: only some of the bench's parts, as the list ``parts`` in the order of ``names``."""
    every = list(names)

    def chosen(text: str) -> list[str]:
        wanted = text.split(",")
        if unknown := sorted(set(wanted) - set(every)):
            raise argparse.ArgumentTypeError(f"there is no part {unknown[0]!r}; use some of {', '.join(every)}")
        return [name for name in every if name in wanted]

    parser.add_argument(
        "--parts", type=chosen, default=every, metavar="NAMES", help=f"only these, with commas: {', '.join(every)}"
    )


def whole_number(text: str) -> int:
    """A number from 1 up, as the type of an argument. Raises argparse.ArgumentTypeError for anything else."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return number
