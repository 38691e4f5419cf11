"""The command ``edge route``: what the router makes of a prompt, or of a file of them.

Knows: its arguments and what it prints. Does not know: how a prompt is scored.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.prompt_file import PromptLine, read_prompt_file
from edge.terminal import asks_for_input, read_prompt
from models.errors import PromptError, UsageError

if TYPE_CHECKING:
    from edge.chat_types import Message
    from edge.think.router import Router


def route(
    prompt: Annotated[
        list[str] | None, typer.Argument(metavar="PROMPT", help="The prompt.", show_default=False)
    ] = None,
    jsonl: Annotated[
        Path | None,
        typer.Option("--jsonl", metavar="FILE", help="Route each line of a JSON-lines file, one JSON object a line."),
    ] = None,
    is_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> int:
    """Say whether thinking would pay for PROMPT, how sure that is, why, and how long it took; no model is loaded.

    The prompt may be piped in.
    """
    from edge.think.router import default_router

    if jsonl is not None and prompt:
        raise UsageError("edge route takes a prompt or --jsonl FILE, one of the two.")
    text = "" if jsonl is not None else prompt_of(prompt or [])
    router = default_router()
    router.route("")  # so that what is timed is routing, not the first touch of the weights
    if jsonl is not None:
        return route_file(router, jsonl)
    found = routed(router, text)
    typer.echo(json.dumps(found, ensure_ascii=False) if is_json else told(found))
    return 0


def prompt_of(words: list[str]) -> str:
    """What is said on the command line, or piped in where nothing is, or where a last ``-`` asks for it."""
    if words and not asks_for_input(words):
        return " ".join(words)
    text = read_prompt(words)
    if text is None:
        raise UsageError("edge route takes a prompt or --jsonl FILE; give one, or pipe a prompt in.")
    return text


def route_file(router: Router, path: Path) -> int:
    """Print one object a line of the file, in its order; 1 where a line was no prompt, which its object says.

    Bytes that are no UTF-8 are read as question marks: the rest of such a prompt still says how hard it is.
    """
    exit_code = 0
    for line in read_prompt_file(path):
        try:
            legible = line.data.decode("utf-8", "replace").encode()
            found = routed(router, PromptLine(line.number, legible).messages())
        except PromptError as exc:
            found, exit_code = {"error": str(exc)}, 1
        typer.echo(json.dumps({"line": line.number, **found}, ensure_ascii=False))
    return exit_code


def routed(router: Router, prompt: str | Sequence[Message]) -> dict[str, Any]:
    """The decision as plain values; ``microseconds`` are those of the decision, without the reasons."""
    start_s = time.perf_counter()
    difficulty = router.route(prompt)
    microseconds = 1e6 * (time.perf_counter() - start_s)
    return {
        "choice": difficulty.choice,
        "think": difficulty.thinks,
        "sure": difficulty.is_sure,
        "probability": round(difficulty.score, 4),
        "reasons": list(difficulty.reasons),
        "microseconds": round(microseconds, 1),
    }


def told(found: dict[str, Any]) -> str:
    """The decision for a person."""
    better = "think" if found["think"] else "answer directly"
    words = {"direct": "answer directly", "short": "think in a few steps", "think": "think"}
    lines = [
        f"{words.get(found['choice'], f'not sure; rather {better}')}  "
        f"(a direct answer would be wrong with a chance of {100 * found['probability']:.0f} %)",
        *(f"- the prompt {reason}" if not reason.startswith("there") else f"- {reason}" for reason in found["reasons"]),
        f"{found['microseconds']:.0f} microseconds",
    ]
    return "\n".join(lines)
