"""The command ``edge calibrate``: teach the router when thinking pays with one's own model and prompts.

Knows: its flags, the progress line, and what it prints. Does not know: how outcomes are measured or learned from.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.cli_chat import Backend, ContextSize, DialectName, Threads
from models.errors import UsageError

if TYPE_CHECKING:
    from edge.calibrated import Owner
    from edge.engine import Engine
    from edge.think.refit import Refit

CLEAR_LINE = "\r\x1b[K"
PROGRESS_EVERY_S = 10.0  # where no terminal shows it in place


def calibrate(
    bundle: Annotated[
        str | None,
        typer.Argument(metavar="BUNDLE", help="A bundle's folder, a GGUF file, or a pulled model. [default: embedded]"),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--prompts",
            metavar="FILE",
            help='JSON lines such as {"prompt": "…", "reference": "…"}; the reference may be missing. '
            "[default: the embedded model's own tasks]",
        ),
    ] = None,
    goal: Annotated[
        str,
        typer.Option(
            "--goal",
            metavar="GOAL",
            help="chance=33%: think where it pays with that chance; accuracy-loss=0.5%: lose at most so many answers; "
            "tokens=50%: spend at most so many of the tokens of thinking always.",
        ),
    ] = "chance=33%",
    num_answers: Annotated[
        int | None,
        typer.Option(
            "--answers",
            metavar="N",
            min=1,
            help="Answers to each prompt in each mode. [default: 3 without a reference, with one 2, or 1 where the "
            "model answers greedily]",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N prompts.")] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", "-n", min=1, help="Limit of each answer.")] = None,
    into: Annotated[
        Path | None, typer.Option("--into", metavar="COPY", help="Write a copy of the bundle that brings it along.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a COPY that is there already.")] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Forget what was learned about this model.")] = False,
    backend: Backend = "auto",
    dialect: DialectName = None,
    threads: Threads = None,
    context_size: ContextSize = None,
) -> int:
    """Measure this model with and without thinking, and learn from it when thinking pays. A stopped run goes on."""
    from edge.calibrate import read_prompts
    from edge.calibrate_fit import read_goal
    from edge.engine import load

    wanted = read_goal(goal)  # not after an hour of measuring
    chosen = read_prompts(prompts or default_prompts())[:limit]
    check_copy(bundle, into, replace)
    with load(bundle, backend=backend, dialect=dialect, num_threads=threads, context_size=context_size) as engine:
        if forget:
            return forget_model(engine)
        from edge.calibrate_run import calibrate_model

        refit, path = calibrate_model(
            engine, chosen, wanted, num_answers=num_answers, max_tokens=max_tokens, told=Told()
        )
        owner = engine.model.owner
    for line in told_of(dict(refit.report)):
        typer.echo(line)
    if into is not None:
        assert owner is not None  # calibrate_model refuses others
        path = copy_into(into, bundle, refit, owner, replace)
    typer.echo(f"Kept in {path}; from now on --think auto goes by it with this model.")
    return 0


def default_prompts() -> Path:
    """The tasks of the embedded model that ship with it."""
    from edge.model_source import embedded_bundle_path

    return embedded_bundle_path().parent / "prompts.jsonl.gz"


def check_copy(bundle: str | None, into: Path | None, replace: bool) -> None:
    """Raises UsageError where no copy can be written: asked early, before the measuring."""
    if into is None:
        if replace:
            raise UsageError("--replace belongs to --into COPY; leave it out, or name the copy.")
        return
    from edge.model_source import find_model
    from models.bundle import check_target

    if find_model(bundle).bundle is None:
        raise UsageError(f"{bundle} is a bare GGUF file, which holds nothing else; leave --into out.")
    check_target(into, replace)


def copy_into(into: Path, bundle: str | None, refit: Refit, owner: Owner, replace: bool) -> Path:
    """Write a copy of ``bundle`` that brings ``refit`` along."""
    from edge.calibrated import write_copy
    from edge.model_source import find_model

    source = find_model(bundle).bundle
    assert source is not None  # check_copy refuses others
    return write_copy(source, into, refit, owner, replace=replace).path


def forget_model(engine: Engine) -> int:
    """Remove what the user's state folder holds about this model."""
    from edge.calibrated import forget_refit

    model = engine.model
    was_there = model.owner is not None and forget_refit(model.owner)
    typer.echo(
        f"What was learned about {model.name} is forgotten."
        if was_there
        else f"Nothing was learned about {model.name}."
    )
    return 0


class Told:
    """The progress line: in place on a terminal, now and then elsewhere."""

    def __init__(self) -> None:
        self._start_s = self._last_s = time.monotonic()
        self._on_terminal = sys.stderr.isatty()

    def __call__(self, num_done: int, num_all: int) -> None:
        """``num_done`` of ``num_all`` prompts are measured."""
        now_s = time.monotonic()
        if not self._on_terminal and now_s - self._last_s < PROGRESS_EVERY_S:
            return
        self._last_s = now_s
        left = "" if not num_done else f", {(now_s - self._start_s) / num_done * (num_all - num_done):.0f} s left"
        text = f"measured {num_done} of {num_all} prompts{left}"
        if self._on_terminal:
            typer.echo(CLEAR_LINE + (text if num_done < num_all else ""), err=True, nl=False)
        else:
            typer.echo(text, err=True)


def told_of(report: dict[str, Any]) -> list[str]:
    """What was found, for a person."""
    lines = [
        f"{report['prompts']} prompts; thinking pays on {report['thinking_pays']} of them. Goal: {report['goal']}."
    ]
    for name in ("router", "router and probe"):
        row = report[name]
        never, always = row["curve"][-1], row["curve"][0]
        lines.append(
            f"{name}: {100 * row['accuracy']:.1f} % right with {row['tokens']:.1f} tokens, thinking on "
            f"{100 * row['thinking_rate']:.0f} % (always: {100 * always[1]:.1f} % with {always[2]:.1f}; "
            f"never: {100 * never[1]:.1f} % with {never[2]:.1f})"
        )
    lines[-1] += f"; the probe is asked on {100 * report['asked_the_probe']:.0f} %"
    return lines
