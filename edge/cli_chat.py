"""The flags of ``edge chat`` (and ``edge-chat``), and those it shares with the other commands.

Knows: flags and their help. Does not know: how a command does its work; that is imported inside it, so that ``--help``
is quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

THINK_NAMES = {"true": "on", "false": "off"}  # ollama's words

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="A bundle's folder, a GGUF file, org/name on a hub, spark or spark-hunyuan. [default: spark]",
    ),
]
Backend = Annotated[str, typer.Option("--backend", metavar="NAME", help="auto, llama_cpp, onnx or rkllm.")]
DialectName = Annotated[
    str | None,
    typer.Option("--dialect", metavar="NAME", help="hipo, qwen3, hunyuan or plain. [default: told from the model]"),
]
Threads = Annotated[int | None, typer.Option("--threads", "-t", min=1, help="[default: the fast cores]")]
ContextSize = Annotated[
    int | None,
    typer.Option(
        "--ctx", "--ctx-size", "-c", min=1, help="Context, in tokens. [default: what memory allows, at most 8192]"
    ),
]
GpuLayers = Annotated[
    int | None,
    typer.Option("--gpu-layers", min=0, help="Layers on a GPU, with a llama.cpp built for one. [default: all]"),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say what was chosen; show where a failure is.")]


def show_version(is_asked: bool) -> None:
    """Print the version and leave."""
    if is_asked:
        from edge import __version__

        typer.echo(f"edge-think {__version__}")
        raise typer.Exit


def seconds_of(duration: str) -> float:
    """Seconds from ``3s``, ``800ms`` or ``2.5``. Raises UsageError for anything else."""
    from models.errors import UsageError

    number, factor = (duration[:-2], 1e-3) if duration.endswith("ms") else (duration.removesuffix("s"), 1.0)
    try:
        seconds = float(number) * factor
    except ValueError as exc:
        raise UsageError(f"The deadline is {duration!r}; write a time such as 3s, 800ms or 2.5.") from exc
    if not 0 < seconds < float("inf"):
        raise UsageError(f"The deadline is {duration!r}; use a time above 0, such as 3s, 800ms or 2.5.")
    return seconds


def text_of(path: Path, name: str) -> str:
    """The text of the file with the schema, the grammar or the tools. Raises UsageError where it cannot be read."""
    from models.errors import UsageError

    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as exc:
        raise UsageError(
            f"The file {path} with the {name} is not UTF-8 (at byte {exc.start}); convert it first."
        ) from exc
    except OSError as exc:
        raise UsageError(f"The file {path} with the {name} cannot be read ({exc.strerror}); check its name.") from exc


Version = Annotated[
    bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and leave.")
]


def chat(
    prompt: Annotated[
        list[str] | None, typer.Argument(metavar="PROMPT", help="The question.", show_default=False)
    ] = None,
    think: Annotated[str, typer.Option("--think", "--reasoning", metavar="auto|on|off", help="Think first?")] = "auto",
    deadline: Annotated[
        str | None,
        typer.Option(
            "--deadline", metavar="TIME", help="Answer within 3s, 800ms or 2.5 (seconds), loading the model included."
        ),
    ] = None,
    think_tokens: Annotated[
        int | None, typer.Option("--think-tokens", "--reasoning-budget", metavar="N", help="Think at most so long.")
    ] = None,
    min_think_tokens: Annotated[
        int | None, typer.Option("--min-think", metavar="N", help="Where it thinks, at least so long.")
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option(
            "--schema", metavar="FILE", help="Answer in JSON that follows the JSON Schema in FILE; thinking stays free."
        ),
    ] = None,
    grammar: Annotated[
        Path | None,
        typer.Option(
            "--grammar",
            metavar="FILE",
            help="Answer in the words of a grammar (Lark's syntax, as llguidance reads it).",
        ),
    ] = None,
    tools: Annotated[
        Path | None,
        typer.Option(
            "--tools",
            metavar="FILE",
            help="Functions that the model may call, a JSON list as OpenAI's API takes it; a call is printed, not run.",
        ),
    ] = None,
    shows_thinking: Annotated[
        bool | None,
        typer.Option(
            "--show-thinking/--hide-thinking",
            " /--hidethinking",
            help="Print the thinking, too. [default: on a terminal only]",
        ),
    ] = None,
    system: Annotated[str | None, typer.Option("--system", metavar="TEXT", help="System prompt.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", "-n", help="Limit on thinking and answer. [default: the context]")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", "--temp", help="0 is greedy. [default: the model's own]")
    ] = None,
    top_k: Annotated[int | None, typer.Option("--top-k", help="0 is no limit. [default: the model's own]")] = None,
    top_p: Annotated[float | None, typer.Option("--top-p", help="[default: the model's own]")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Makes an answer repeatable. [default: a new one]")] = None,
    model: Model = None,
    backend: Backend = "auto",
    dialect: DialectName = None,
    threads: Threads = None,
    context_size: ContextSize = None,
    gpu_layers: GpuLayers = None,
    is_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
    jsonl: Annotated[
        Path | None,
        typer.Option("--jsonl", metavar="FILE", help="Answer each line of a JSON-lines file, one JSON object a line."),
    ] = None,
    session_file: Annotated[
        Path | None,
        typer.Option(
            "--session", metavar="FILE", help="Go on with the conversation in FILE, if it is there, and keep it there."
        ),
    ] = None,
    when_full: Annotated[
        str | None,
        typer.Option(
            "--when-full",
            metavar="drop|refuse",
            help="A conversation that fills the context: drop its oldest turns, or refuse. [default: drop]",
        ),
    ] = None,
    keeps_history: Annotated[
        bool, typer.Option("--history", help="Keep this chat in the state folder (history.jsonl).")
    ] = False,
    verbose: Verbose = False,
    version: Version = False,
) -> int:
    """Answer PROMPT and what is piped in, or chat when there is neither.

    The answer goes to standard output, one line about it to standard error. In a pipe only the answer is printed
    unless --show-thinking asks for more. Words are joined; put -- before a prompt that begins with a dash.
    """
    from edge.chat_command import ChatRequest, run_chat
    from edge.chat_types import AnswerOptions
    from edge.cli_models import ready_model
    from models.tool_calls import parse_tools

    options = AnswerOptions(
        think=THINK_NAMES.get(think, think),  # type: ignore[arg-type]  # checked there
        max_tokens=max_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        deadline_s=None if deadline is None else seconds_of(deadline),
        think_tokens=think_tokens,
        min_think_tokens=min_think_tokens,
        schema=None if schema is None else text_of(schema, "schema"),
        grammar=None if grammar is None else text_of(grammar, "grammar"),
        tools=() if tools is None else parse_tools(text_of(tools, "tools")),
    )
    return run_chat(
        ChatRequest(
            words=tuple(prompt or ()),
            options=options,
            system=system,
            model=model,
            backend=backend,
            dialect=dialect,
            context_size=context_size,
            num_threads=threads,
            gpu_layers=gpu_layers,
            shows_thinking=shows_thinking,
            is_json=is_json,
            jsonl=jsonl,
            session_file=session_file,
            when_full=when_full,
            keeps_history=keeps_history,
            is_verbose=verbose,
            ready_model=ready_model,
        )
    )
