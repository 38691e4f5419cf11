"""The options of ``edge quantize``, and how its progress is shown.

Knows: flags, their help, a line of progress. Does not know: how a checkpoint is quantized; ``cli`` reaches that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from models.errors import UsageError

Bits = Annotated[
    float | None,
    typer.Option(
        "--bits",
        help="4; a budget like 4.6 for an average weight of the layers, spent where 4 bits harm most; "
        "or 32 to keep every weight as it is. [default: 4]",
    ),
]
Method = Annotated[
    str | None,
    typer.Option(
        "--method", metavar="awq|rtn", help="Calibrate on a text, or just round to nearest. [default: awq, for floats]"
    ),
]
Refine = Annotated[
    str | None, typer.Option("--refine", metavar="gptq|none", help="Feed rounding errors back. [default: gptq]")
]
GroupSize = Annotated[int | None, typer.Option("--group-size", help="Weights that share a scale. [default: 32]")]
Asymmetric = Annotated[bool | None, typer.Option("--asymmetric", help="Zero points too: larger, slower on Arm.")]
Wide = Annotated[
    str | None,
    typer.Option("--wide", metavar="ROLES", help="Kept at 8 bits, as in embedding,down, or none. [embedding,head]"),
]
Calibration = Annotated[
    Path | None,
    typer.Option("--calibration", metavar="FILE", help="Text, or JSONL with text or messages. [default: built-in]"),
]
Windows = Annotated[int | None, typer.Option("--windows", help="Windows of calibration text. [default: 16]")]
WindowTokens = Annotated[int | None, typer.Option("--window-tokens", help="Tokens of a window. [default: 512]")]
HeldOut = Annotated[int | None, typer.Option("--held-out", help="Windows to measure the result on. [default: 2]")]
FileFormats = Annotated[
    list[str] | None,
    typer.Option("--format", metavar="gguf|onnx", help="What to write; may be given several times. [default: gguf]"),
]

_CALIBRATED_ONLY = ("refine", "windows", "window_tokens", "held_out")


def recipe_options(
    given: dict[str, Any], *, wide: str | None, calibration: Path | None, is_float: bool
) -> dict[str, Any]:
    """The fields of quantize.recipe.QuantRecipe for what was ``given``; what calibrates is refused where nothing does.

    ``is_float``: whether there are float layers to be rounded.
    """
    options = {name: value for name, value in given.items() if value is not None}
    options.setdefault("method", "awq" if is_float and options.get("bits") != 32 else "rtn")
    if "file_formats" in options:
        options["file_formats"] = tuple(options["file_formats"])
    if wide is not None:
        options["wide"] = () if wide == "none" else tuple(wide.split(","))
    if options["method"] == "rtn":
        asked = [name for name in _CALIBRATED_ONLY if name in options] + ["calibration"] * (calibration is not None)
        if asked:
            raise UsageError(f"--{asked[0].replace('_', '-')} has no effect without --method awq; leave it out.")
    return options


def progress_text(done: int, total: int, step: str, seconds_left: float | None) -> str:
    """One line, as in ``3/32 block 2, about 5 minutes left``."""
    text = f"{done + 1}/{total} {step}"
    if seconds_left is None:
        return text
    minutes = seconds_left / 60
    return f"{text}, about {f'{minutes:.0f} minutes' if minutes >= 1.5 else f'{seconds_left:.0f} s'} left"
