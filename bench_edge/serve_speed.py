"""What the server adds to a token: streamed through it, straight from the engine, and through llama_cpp.server.

Knows: how one answer is timed from outside, in turn. Does not know: load, or what a server does inside.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_edge.kept import say
from bench_edge.serve_client import Client
from bench_edge.serve_load import CHAT
from bench_edge.serve_process import has_rival, llama_cpp_server, our_server
from bench_edge.speed import PROMPT
from models.errors import BackendError

if TYPE_CHECKING:
    from bench_edge.serve_process import Process
    from edge.engine import Engine

SPARK_REPEATS, SHAPE_REPEATS = 60, 9
SHAPE_TOKENS = 28  # a random model goes in circles after some thirty
RIVAL_PATH = "/v1/completions"
SAID = (b'"delta": {"content": ', b'"delta": {"reasoning_content": ')  # one a token, or a little more


def spark_speed(repeats: int = SPARK_REPEATS) -> dict[str, Any]:
    """Seconds a token of spark, streamed by the server and straight from the engine, in turn."""
    from edge.engine import load

    with load() as engine, our_server() as server:
        pairs = [(_streamed_s(server, None), _direct_s(engine, None)) for _ in range(repeats + 3)][3:]
    figures = _compared(pairs)
    say(f"spark: {1e6 * figures['added_s']:.0f} µs a token added to {1e6 * figures['direct_token_s']:.0f}")
    return figures


def shape_speed(model: Path, repeats: int = SHAPE_REPEATS) -> dict[str, Any]:
    """The same for a large model with random weights; and the same file with llama_cpp.server, where that is there."""
    from edge.engine import load

    with load(model, context_size=2048) as engine:
        threads = engine.model.backend.num_threads
        with our_server(model=model, threads=threads) as server:
            tokens = SHAPE_TOKENS
            pairs = [(_streamed_s(server, tokens), _direct_s(engine, tokens)) for _ in range(repeats + 1)][1:]
    figures = _compared(pairs) | {"threads": threads, "rival_ratio": None}
    if has_rival():
        figures |= _against_rival(model, threads, repeats)
    say(f"{model.stem}: {figures['ratio']:.3f} of the engine's own speed")
    return figures


def _compared(pairs: list[tuple[float, float]]) -> dict[str, Any]:
    streamed_s, direct_s = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {
        "streamed_token_s": streamed_s,
        "direct_token_s": direct_s,
        "added_s": statistics.median(streamed - direct for streamed, direct in pairs),
        "ratio": statistics.median(direct / streamed for streamed, direct in pairs),
    }


def _streamed_s(server: Process, max_tokens: int | None) -> float:
    """Seconds a token of one streamed answer, from its first text to its last."""

    async def run() -> float:
        async with Client(server.port) as client:
            reply = await client.ask(CHAT, _body(max_tokens) | {"stream": True})
        if reply.status != 200 or b'"edge"' not in reply.body:
            raise BackendError(f"The server under test replies {reply.status}: {reply.body[-200:]!r}")
        counts = [sum(piece.count(said) for said in SAID) for piece in reply.pieces]
        first = next(place for place, count in enumerate(counts) if count)  # what was decided comes before
        return (reply.pieces_s[-1] - reply.pieces_s[first]) / max(sum(counts) - 1, 1)

    return asyncio.run(run())


def _direct_s(engine: Engine, max_tokens: int | None) -> float:
    """The same straight from the engine."""
    from edge.chat_types import AnswerOptions

    options = AnswerOptions(think="on", temperature=0.0, max_tokens=max_tokens)
    times_s = [
        time.perf_counter() for event in engine.stream(PROMPT, options) if event.kind in ("thinking", "answer", "done")
    ]
    return (times_s[-1] - times_s[0]) / max(len(times_s) - 2, 1)


def _body(max_tokens: int | None) -> dict[str, Any]:
    limit = {} if max_tokens is None else {"max_tokens": max_tokens}
    return {"messages": [{"role": "user", "content": PROMPT}], "temperature": 0, "edge": {"think": "on"}, **limit}


def _against_rival(model: Path, threads: int, repeats: int) -> dict[str, Any]:
    """Tokens a second of both servers, not streamed: the time of many tokens less that of one."""
    rival = {"prompt": PROMPT, "temperature": 0, "stop": []}
    with our_server(model=model, threads=threads) as ours, llama_cpp_server(model, threads) as theirs:
        pairs = [(_whole_s(ours, CHAT, _body(None)), _whole_s(theirs, RIVAL_PATH, rival)) for _ in range(repeats + 1)][
            1:
        ]
    ours_s, theirs_s = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {
        "whole_token_s": ours_s,
        "rival_token_s": theirs_s,
        "rival_ratio": statistics.median(rival_s / our_s for our_s, rival_s in pairs),
    }


def _whole_s(server: Process, path: str, body: dict[str, Any]) -> float:
    async def run() -> float:
        async with Client(server.port) as client:
            times: list[tuple[float, int]] = []
            for max_tokens in (1, SHAPE_TOKENS + 1):
                reply = await client.ask(path, body | {"max_tokens": max_tokens})
                if reply.status != 200:
                    raise BackendError(f"The server under test replies {reply.status}: {reply.body[-200:]!r}")
                times.append((reply.seconds, reply.json["usage"]["completion_tokens"]))
        (first_s, first), (all_s, number) = times
        if number <= first:
            raise BackendError("A server under test ended its answer at the first token, so it has no speed.")
        return (all_s - first_s) / (number - first)

    return asyncio.run(run())
