"""Thousands of malformed requests: does anything crash, show a traceback, or reply with what is no JSON.

Knows: how a good request is spoilt, and what a good reply to a bad request is. Does not know: why one is refused.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

from bench_edge.kept import say
from bench_edge.serve_client import Client, Reply
from edge.server.openapi import REQUESTS

if TYPE_CHECKING:
    from bench_edge.serve_process import Process

TRACES = (b"Traceback", b'File "', b".py")
MESSAGE = {"role": "user", "content": "2+3=?"}
GOOD: dict[str, Any] = {"model": "spark", "max_tokens": 2}
NUM_CLIENTS = 8
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 10**30, 1e308, -0.5, "", "x", "\x00", "\ud800", "<|im_end|>", "x" * 3000),
    *([], [[]], [None], {}, {"a": 1}, {"type": "object"}, [MESSAGE], [{"role": "tool", "content": "x"}]),
    *({"type": "json_schema", "json_schema": {"schema": {"$ref": "#"}}}, {"think": "on", "deadline_s": 1e-9}),
    *({"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}}, {"pattern": "(((((a+)+)+)+)+)+$"}),
)


def fuzz(server: Process, number: int, seed: int) -> dict[str, Any]:
    """Counts over ``number`` malformed requests."""
    counts: Counter[str] = Counter()
    asyncio.run(_all_clients(server, number, seed, counts))
    counts["crashes"] += not server.is_alive
    say(f"{number:,} malformed requests: {dict(counts)}")
    statuses = {name: count for name, count in counts.items() if name.isdecimal()}
    return {
        "requests": number,
        "crashes": counts["crashes"],
        "tracebacks": counts["tracebacks"],
        "not_json": counts["not_json"],
        "statuses": statuses,
    }


async def _all_clients(server: Process, number: int, seed: int, counts: Counter[str]) -> None:
    async def one(first: int) -> None:
        async with Client(server.port) as client:
            for index in range(first, number, NUM_CLIENTS):
                draw = random.Random(f"{seed} {index}")
                path = draw.choice(list(REQUESTS))
                judge_reply(await client.ask(path, spoilt_request(path, draw)), counts)

    await asyncio.gather(*map(one, range(NUM_CLIENTS)))


def judge_reply(reply: Reply, counts: Counter[str]) -> None:
    """Count what is wrong with ``reply``, and its status."""
    counts[str(reply.status)] += 1
    counts["crashes"] += reply.status in (0, 500)
    counts["tracebacks"] += any(trace in reply.body for trace in TRACES)
    counts["not_json"] += reply.status != 0 and not is_json(reply)


def is_json(reply: Reply) -> bool:
    """Whether every part of the reply is: the whole of it, its lines, or the data of its events."""
    kind = reply.headers.get("content-type", "")
    parts = [reply.body]
    if kind == "text/event-stream":
        parts = [line[6:] for line in reply.body.splitlines() if line.startswith(b"data: ") and b"[DONE]" not in line]
    elif kind == "application/x-ndjson":
        parts = reply.body.splitlines()
    try:
        for part in parts:
            json.loads(part)
    except ValueError:
        return False
    return True


def spoilt_request(path: str, draw: random.Random) -> bytes:
    """A request to ``path`` with one to three things wrong; now and then with bytes that are no JSON."""
    body: dict[str, Any] = GOOD | {"messages": [MESSAGE], "prompt": "2+3=?", "id": "x", "action": "reasoning_end"}
    known = [field.alias or name for name, field in REQUESTS[path].model_fields.items()]
    body = {name: value for name, value in body.items() if name in known}
    for _ in range(draw.randint(1, 3)):
        _spoil(body, known, draw)
    content = json.dumps(body).encode()
    if draw.random() < 0.15:
        content = _spoilt_bytes(content, draw)
    return content


def _spoil(body: dict[str, Any], known: list[str], draw: random.Random) -> None:
    kind = draw.random()
    if kind < 0.6:
        body[draw.choice(known)] = draw.choice(VALUES)
    elif kind < 0.75 and body:
        body.pop(draw.choice(list(body)))
    elif kind < 0.85:
        body[draw.choice(("no_such_field", "", "\u0000", "edge.think"))] = draw.choice(VALUES)
    elif isinstance(messages := body.get("messages"), list) and messages:
        messages[0] = {**MESSAGE, draw.choice(("role", "content", "tool_calls", "name", "x")): draw.choice(VALUES)}
    else:
        body[draw.choice(known)] = [[[[draw.choice(VALUES)]]]]


def _spoilt_bytes(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content))
    return draw.choice((content[:place], content[:place] + b"\xff" + content[place:], b"[" * 2000, content + b"}", b""))
