"""The command ``edge serve``; its flags are the fields of ``edge.server.settings.Settings``.

Knows: how a field becomes a flag, whatever its default. Does not know: what an option does.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import Field, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from edge.server.settings import Settings, flag_of, make_settings

# What a flag takes, by its field's type; an option that was not given is None, or no list, until the file was read.
TYPES: dict[str, Any] = {
    "str": str | None,
    "int": int | None,
    "float": str | None,
    "bool": bool | None,
    "tuple[str, ...]": list[str] | None,
}


def serve(defaults: Settings, config: Path | None, **given: Any) -> int:
    """Serve until a signal says stop."""
    from edge.cli_models import ready_model  # it alone may pull a model
    from edge.server import serve as server

    settings = make_settings(
        {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}, config, defaults
    )
    server.serve(settings, ready_model=ready_model, announce=lambda text: typer.echo(text, err=True))
    return 0


def _parameter(option: Field[Any], default: Any) -> inspect.Parameter:
    """The flag of a field, as typer reads it from a signature."""
    kind = str(option.type).removesuffix(" | None")
    flag, help_text = flag_of(option), str(option.metadata["help"])
    if kind != "bool" and default not in (None, ()):
        unit = "s" if kind == "float" else ""
        help_text = f"{help_text} [default: {default:g}{unit}]" if unit else f"{help_text} [default: {default}]"
    metavar = {"float": "TIME", "int": "N", "bool": None}.get(kind, "TEXT")
    names = [f"--{flag}/--no-{flag}"] if kind == "bool" else [f"--{flag}"]
    shown = typer.Option(*names, help=help_text, metavar=metavar, show_default=False)
    annotation = Annotated.__class_getitem__((TYPES[kind], shown))  # type: ignore[attr-defined]  # made, not written
    return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def serve_command() -> Callable[..., int]:
    """``edge serve``."""
    return command_of(
        Settings(), "Serve the model over HTTP, with the OpenAI and the Ollama API, to this machine (docs/server.md)."
    )


def command_of(defaults: Settings, about: str) -> Callable[..., int]:
    """``serve`` with a signature that names every option."""
    file_option = typer.Option("--config", metavar="FILE", help="A TOML file of options, by the names of the flags.")
    file = inspect.Parameter(
        "config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[Path | None, file_option]
    )
    parameters = [file, *(_parameter(option, getattr(defaults, option.name)) for option in fields(Settings))]

    def command(**given: Any) -> int:
        return serve(defaults, **given)

    command.__doc__ = about
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command
