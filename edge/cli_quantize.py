"""The command ``edge quantize``: its options, and how its progress is shown.

Knows: flags, their help, a line of progress. Does not know: how a checkpoint is quantized; that is imported where it is
done, so that ``--help`` is quick.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.cli_chat import DialectName
from models.errors import UsageError

if TYPE_CHECKING:
    from models.bundle import Bundle
    from models.hub import FetchedModel, HubName

CLEAR_LINE = "\r\x1b[K"

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
    typer.Option(
        "--format", metavar="gguf|onnx|awq|npu", help="What to write; may be given several times. [default: gguf]"
    ),
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="qnn-v73|qnn-v75|rk3588",
        help="Compile for a Qualcomm NPU as well; may be given several times. Or, instead of int4 files, write what "
        "Rockchip's converter needs to make an 8-bit model for this chip's NPU.",
    ),
]

RK_TARGET = "rk3588"
_CALIBRATED_ONLY = ("refine", "windows", "window_tokens", "held_out")


def quantize(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="A folder of safetensors, or org/name on a hub.")
    ],
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder to write.")],
    name: Annotated[str | None, typer.Option("--name", help="The model's name. [default: the folder's]")] = None,
    dialect: DialectName = None,
    bits: Bits = None,
    method: Method = None,
    refine: Refine = None,
    group_size: GroupSize = None,
    asymmetric: Asymmetric = None,
    wide: Wide = None,
    calibration: Calibration = None,
    windows: Windows = None,
    window_tokens: WindowTokens = None,
    held_out: HeldOut = None,
    file_formats: FileFormats = None,
    targets: Targets = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a bundle that is there already.")] = False,
) -> int:
    """Turn a checkpoint into an int4 bundle; one that is int4 already keeps its codes. A killed run can be repeated."""
    from models.hub import parse_hub_name

    source, origin = Path(checkpoint).expanduser(), None
    hub = parse_hub_name(checkpoint)
    if hub is not None and not source.exists():
        fetched = fetch_model(hub)
        if fetched.is_gguf:
            raise UsageError(f"{checkpoint} is GGUF already; use it as it is: `edge-chat --model {checkpoint}`")
        source, origin, name = fetched.path, f"{hub} at {fetched.revision}", name or hub.repository.split("/")[1]
    given: dict[str, Any] = {"bits": bits, "method": method, "refine": refine, "group_size": group_size}
    given |= {"asymmetric": asymmetric, "windows": windows, "window_tokens": window_tokens, "held_out": held_out}
    given |= {"file_formats": file_formats, "targets": targets}
    if targets is not None and RK_TARGET in targets:
        return prepare_for_chip(
            source, bundle, given | {"wide": wide}, name=name, dialect_name=dialect, origin=origin,
            calibration=calibration, replace=replace,
        )  # fmt: skip
    made = make_bundle(
        source, bundle, given, wide=wide, calibration=calibration, name=name,
        dialect=dialect, origin=origin, replace=replace,
    )  # fmt: skip
    typer.echo(f"{made.path}: {sum(record.bytes for record in made.manifest.files.values()):,} bytes.")
    if quality := made.manifest.report.get("quality"):
        typer.echo(
            f"On held-out text: perplexity {quality['perplexity']:.4g}, {quality['perplexity_float']:.4g} before; "
            f"divergence {quality['divergence']:.2g} nats a token."
        )
    return 0


def prepare_for_chip(source: Path, out: Path, given: dict[str, Any], **options: Any) -> int:
    """quantize.rk_target.write_rk3588_folder; none of a recipe's options may be ``given``: the chip has its own."""
    from quantize.rk_target import write_rk3588_folder

    if given["targets"] == [RK_TARGET]:
        del given["targets"]
    if asked := [name for name, value in given.items() if value is not None]:
        flag = {"file_formats": "format", "targets": "target"}.get(asked[0], asked[0].replace("_", "-"))
        raise UsageError(
            f"--{flag} has no effect with --target {RK_TARGET}, whose converter rounds to 8 bits; leave it out."
        )
    made = write_rk3588_folder(source, out, **options)
    typer.echo(f"{made.path}: what Rockchip's converter needs; {made.path / 'README.md'} says how to go on.")
    return 0


def make_bundle(
    source: Path,
    out: Path,
    given: dict[str, Any],
    *,
    name: str | None,
    origin: str | None,
    replace: bool,
    dialect: str | None = None,
    wide: str | None = None,
    calibration: Path | None = None,
) -> Bundle:
    """quantize.pipeline.quantize_checkpoint with the options ``given``, its progress shown on standard error."""
    from models.checkpoint import open_checkpoint
    from quantize.pipeline import quantize_checkpoint
    from quantize.progress import Progress
    from quantize.recipe import QuantRecipe

    on_terminal = sys.stderr.isatty()

    def show(progress: Progress) -> None:
        text = progress_text(progress.done, progress.total, progress.step, progress.seconds_left)
        typer.echo(f"{CLEAR_LINE}{text}" if on_terminal else text, err=True, nl=not on_terminal)

    is_float = open_checkpoint(source).packing is None
    recipe = QuantRecipe(**recipe_options(given, wide=wide, calibration=calibration, is_float=is_float))
    try:
        return quantize_checkpoint(
            source,
            out,
            recipe,
            name=name,
            dialect_name=dialect,
            origin=origin,
            replace=replace,
            calibration=calibration,
            progress=show,
        )
    finally:
        if on_terminal:
            typer.echo(CLEAR_LINE, err=True, nl=False)


def fetch_model(name: HubName) -> FetchedModel:
    """The files of a hub model, with progress bars where a person looks on."""
    from models.hub import fetch_model as fetch

    return fetch(name, shows_progress=sys.stderr.isatty())


def recipe_options(
    given: dict[str, Any], *, wide: str | None, calibration: Path | None, is_float: bool
) -> dict[str, Any]:
    """The fields of quantize.recipe.QuantRecipe for what was ``given``; what calibrates is refused where nothing does.

    ``is_float``: whether there are float layers to be rounded.
    """
    options = {name: value for name, value in given.items() if value is not None}
    options.setdefault("method", "awq" if is_float and options.get("bits") != 32 else "rtn")
    if "targets" in options:
        options.setdefault("file_formats", ("gguf", "npu"))
    for name in ("file_formats", "targets"):
        if name in options:
            options[name] = tuple(options[name])
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
