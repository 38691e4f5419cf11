"""Every option of the server, once: its name, its type, its default, its help.

Knows: how flags and a TOML file become settings; the flags are made from this table. Does not know: what an option
does. A flag is the field's name with dashes, without the unit ``_s``; the file uses the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from models.errors import UsageError

NONE = "none"
WORDS = {
    "str": "a text",
    "int": "a whole number",
    "bool": "true or false",
    "float": "a time such as 3s",
    "tuple[str, ...]": "a list of texts",
}


def _option(default: Any, help_text: str, *, least: float | None = None) -> Any:
    return field(default=default, metadata={"help": help_text, "least": least})


@dataclass(frozen=True, slots=True)
class Settings:
    """Seconds are written as in ``3s``, ``800ms`` or ``2.5``, and none where a limit may be left out."""

    host: str = _option("127.0.0.1", "The address to listen on; any but this machine's own needs an API key.")
    port: int = _option(8080, "The port; 0 takes a free one.", least=0)
    api_key: tuple[str, ...] = _option((), "A key that clients must send, or sha256: and its hash; may be repeated.")
    insecure: bool = _option(False, "Listen on any address without a key.")
    cors_origin: tuple[str, ...] = _option((), "A web page's origin that may ask from a browser; may be repeated.")
    model: str | None = _option(None, "A bundle's folder, a GGUF file, or org/name. [default: the embedded model]")
    alias: tuple[str, ...] = _option((), "One more name for the model; may be repeated.")
    backend: str = _option("auto", "auto, or one that edge doctor names.")
    dialect: str | None = _option(None, "hipo, qwen3, hunyuan or plain. [default: told from the model]")
    threads: int | None = _option(None, "Threads. [default: the fast cores]", least=1)
    ctx_size: int | None = _option(None, "Context, in tokens. [default: what memory allows, at most 8192]", least=1)
    deadline_s: float = _option(60.0, "The deadline of requests that name none.", least=0.001)
    longest_s: float = _option(600.0, "The most time that any request gets.", least=0.001)
    queue: int = _option(256, "Requests that may wait for the device.", least=1)
    cache_mib: int = _option(256, "Memory for the caches of other conversations than the last, in MiB.", least=0)
    cache_file: str | None = _option(
        None, "A file that brings those caches through a restart; it holds what people wrote. [default: none]"
    )
    max_connections: int = _option(512, "Open connections.", least=1)
    max_body_bytes: int = _option(4 * 2**20, "Bytes of a request.", least=1)
    max_messages: int = _option(1000, "Messages of a request.", least=1)
    max_tokens: int | None = _option(None, "Tokens of an answer. [default: what the context holds]", least=1)
    max_schema_values: int = _option(2000, "Parts of a JSON Schema, or of all tools.", least=1)
    max_schema_depth: int = _option(32, "How deep they may be nested.", least=1)
    header_timeout_s: float = _option(10.0, "For a request's headers.", least=0.001)
    body_timeout_s: float = _option(10.0, "For a request's body.", least=0.001)
    write_timeout_s: float = _option(30.0, "For a client that does not read.", least=0.001)
    stop_timeout_s: float = _option(20.0, "For the answer under way when the server is stopped.", least=0.001)
    log_file: str | None = _option(None, "A file for the log. [default: standard error]")
    log_prompts: bool = _option(False, "Write prompts and answers to the log, too.")
    system: str | None = _option(None, "The system prompt of conversations that bring none.")
    notes: str | None = _option(
        None, "A folder of .txt and .md files that an answer may quote (edge.notes asks for it)."
    )
    page: bool = _option(False, "Show a page for a touch screen at /.")
    welcome: tuple[str, ...] = _option(
        (), "The page's greeting; en: or zh: before it is for that language alone; may be repeated."
    )
    suggestion: tuple[str, ...] = _option((), "A question that the page offers, likewise; may be repeated.")
    language: str = _option("auto", "The page's language: en, zh, or auto, the browser's.")
    idle_s: float | None = _option(60.0, "When the page forgets what nobody goes on with; none: never.", least=5)


def flag_of(option: Field[Any]) -> str:
    """The option's name on the command line (without the dashes before it) and in the file."""
    return option.name.removesuffix("_s").replace("_", "-")


def make_settings(given: Mapping[str, Any], file: Path | None, defaults: Settings | None = None) -> Settings:
    """``defaults``, overridden by the settings of ``file``, and those by the flags that were ``given``.

    Flags are named by their field; None and () are not given. Raises UsageError for a file that cannot be read, an
    unknown name, or a value outside its range.
    """
    values = {} if file is None else read_settings_file(file)
    values |= {name: value for name, value in given.items() if value is not None and value != ()}
    options = [option for option in fields(Settings) if option.name in values]
    return replace(defaults or Settings(), **{option.name: _checked(option, values[option.name]) for option in options})


def read_settings_file(path: Path) -> dict[str, Any]:
    """The options in a TOML file, by field name. Raises UsageError."""
    import tomllib  # not needed where a help is shown

    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise UsageError(f"The configuration {path} cannot be read ({exc.strerror}); check its name.") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise UsageError(f"The configuration {path} is not TOML ({exc}); correct it.") from exc
    names = {flag_of(option): option.name for option in fields(Settings)}
    for name in table:
        if name not in names:
            raise UsageError(f"{path} sets {name!r}, which is no option; edge serve --help lists them.")
    return {names[name]: value for name, value in table.items()}


def _checked(option: Field[Any], value: Any) -> Any:
    """``value`` in the type of its option. Raises UsageError."""
    kind, is_optional = str(option.type).removesuffix(" | None"), str(option.type).endswith(" | None")
    if value == NONE and is_optional:
        return None
    if kind == "float":
        value = _seconds(value)
    elif kind == "tuple[str, ...]":
        value = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not _fits(kind, value):
        raise UsageError(f"{flag_of(option)} is {value!r}; use {WORDS[kind]}.")
    least = option.metadata["least"]
    if least is not None and value < least:
        raise UsageError(f"{flag_of(option)} is {value!r}; use {least:g} or more.")
    return value


def _fits(kind: str, value: Any) -> bool:
    if kind == "tuple[str, ...]":
        return all(isinstance(entry, str) for entry in value)
    types: dict[str, type] = {"str": str, "int": int, "bool": bool, "float": float}
    return isinstance(value, types[kind]) and not (kind == "int" and isinstance(value, bool))


def _seconds(value: Any) -> Any:
    from edge.cli_chat import seconds_of

    if isinstance(value, str):
        return seconds_of(value)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
