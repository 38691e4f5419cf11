"""The commands ``edge`` and ``edge-chat``: flags in, an exit code out.

Knows: flags, their help, and how an error becomes one sentence. Does not know: how a command does its work; what it
needs is imported inside it, so that ``--help`` is quick.
Exit codes: 0 answered, 2 a wrong use (an option, an empty or too long prompt), 1 anything else.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer

from edge.cli_calibrate import calibrate
from edge.cli_chat import Backend, ContextSize, DialectName, GpuLayers, Model, Threads, Version, chat
from edge.cli_kiosk import kiosk_command
from edge.cli_models import attach, inspect, list_models, pull, remove, verify
from edge.cli_quantize import quantize
from edge.cli_route import route
from edge.cli_serve import serve_command
from models.errors import EdgeError, UsageError

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2

# The class above every complaint about the command line; typer has it under different names in its versions.
COMMAND_LINE_ERROR: type[Any] = typer.BadParameter.__mro__[2]

TYPER_INTERRUPTED = 130  # what typer makes of a Ctrl-C that nobody caught

HELP_OPTIONS = ["-h", "--help"]
CONTEXT = {"help_option_names": HELP_OPTIONS, "max_content_width": 100}
PASS_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


def plain_app(help_text: str | None = None) -> typer.Typer:
    """A Typer app without colours and frames, which cost more time to import than an answer takes."""
    return typer.Typer(
        help=help_text,
        context_settings=CONTEXT,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
    )


app = plain_app("A small language model on this machine that thinks only when it pays.")
chat_app = plain_app()
models_app = plain_app("Models: those on a hub, and those that are ready here.")
app.add_typer(models_app, name="models")
app.command()(chat)
chat_app.command()(chat)


@app.callback()
def edge(version: Version = False) -> None:
    """Flags of ``edge`` itself."""


@app.command()
def doctor(
    model: Model = None,
    backend: Backend = "auto",
    dialect: DialectName = None,
    threads: Threads = None,
    context_size: ContextSize = None,
    gpu_layers: GpuLayers = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write the findings to a file that can be sent.")
    ] = None,
    is_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> int:
    """Look at this machine, the backend and the model, and say what would be chosen and why."""
    from edge.backends.base import BackendOptions
    from edge.doctor import examine, write_report

    options = BackendOptions(context_size=context_size, num_threads=threads, gpu_layers=gpu_layers)
    findings = examine(model, backend=backend, dialect=dialect, options=options)
    typer.echo(findings.to_json_text() if is_json else findings.to_text())
    if report is not None:
        write_report(findings, report)
        typer.echo(f"Written to {report}; it holds no prompts or answers.", err=True)
    return EXIT_OK if findings.is_healthy else EXIT_FAILED


@app.command(context_settings=PASS_ON)
def bench(context: typer.Context, name: Annotated[str, typer.Argument(metavar="NAME")] = "") -> int:
    """Measure; each bench takes --json and flags of its own (edge bench NAME --help)."""
    from bench_edge import BENCHES, run

    if name in HELP_OPTIONS:
        lines = (f"  {bench}  {measured}" for bench, measured in BENCHES.items())
        typer.echo("\n".join(["Usage: edge bench NAME [--json] [OPTIONS]  (edge bench NAME --help)", "", *lines]))
        return EXIT_OK
    if not name:
        raise UsageError(f"A bench has to be named: {', '.join(BENCHES)}; edge bench --help says what they measure.")
    return run(name, context.args)


app.command()(calibrate)
app.command()(quantize)
app.command()(route)
app.command("serve")(serve_command())
app.command("kiosk")(kiosk_command())
models_app.command()(pull)
models_app.command("list")(list_models)
models_app.command()(inspect)
models_app.command()(verify)
models_app.command()(attach)
models_app.command()(remove)


def main() -> None:
    """The console script ``edge``."""
    sys.exit(run(app, "edge", sys.argv[1:]))


def chat_main() -> None:
    """The console script ``edge-chat``."""
    sys.exit(run(chat_app, "edge-chat", sys.argv[1:]))


def run(command: typer.Typer, name: str, arguments: list[str]) -> int:
    """Run ``command`` and turn whatever happens into an exit code and at most one sentence on standard error."""
    # None where whoever started us has closed it; what replaces it lives as long as the process
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # not where a test or a closed descriptor took its place
            stream.reconfigure(errors="replace")
    try:
        code = command(arguments, prog_name=name, standalone_mode=False)
        sys.stdout.flush()
        return complain("Interrupted.", EXIT_FAILED) if code == TYPER_INTERRUPTED else int(code or EXIT_OK)
    except COMMAND_LINE_ERROR as exc:
        dash = "put -- before a prompt that begins with a dash, or see " if hasattr(exc, "option_name") else "see "
        return complain(f"{exc.format_message().rstrip('.')}; {dash}{name} --help.", EXIT_USAGE)
    except EdgeError as exc:
        return complain(str(exc), EXIT_USAGE if isinstance(exc, UsageError) else EXIT_FAILED)
    except BrokenPipeError:  # the reader has enough, as in ``| head -1``: nothing is wrong
        drop_output()
        return EXIT_FAILED
    except typer.Abort:
        return complain("Interrupted.", EXIT_FAILED)
    except Exception as exc:  # the last wall before a person
        if isinstance(exc, OSError) and exc.errno == errno.ENOSPC:
            drop_output()
            what = exc.filename or "The output"
            return complain(f"{what} cannot be written ({exc.strerror}); make room and try again.", EXIT_FAILED)
        if {"--verbose", "-v"} & set(arguments):
            traceback.print_exc()
        kind = f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
        return complain(
            f"Something unexpected happened ({kind}); --verbose shows where, please report it.", EXIT_FAILED
        )


def drop_output() -> None:
    """Let what is left for standard output vanish, or the interpreter complains about it at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(sentence: str, code: int) -> int:
    """Say ``sentence`` on standard error and give ``code`` back."""
    typer.echo(" ".join(sentence.split()), err=True)
    return code
