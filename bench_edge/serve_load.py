"""Clients that ask without a pause, under mixed deadlines: what is kept, what is refused how fast, what memory does.

Knows: clients, their clocks, what a reply means for its deadline. Does not know: servers' processes, or the queue.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from bench_edge.kept import say
from bench_edge.serve_client import Client, Reply
from edge.chat_types import AnswerOptions
from models.spark.tasks import test_set

if TYPE_CHECKING:
    from bench_edge.serve_process import Process
    from edge.engine import Engine

CHAT = "/v1/chat/completions"
DEADLINES = (8, 16, 32, 64, 128)  # times what the device takes for one answer
LEAST_DEADLINE_S = 0.05
NUM_PROMPTS = 500
START_S = 1.0
FEW, MANY = 500, 10_000  # requests between which memory must not grow


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: its deadline, its reply's status, when it was over by the client's clock, whether it thought.

    ``is_admitted``: also one that was refused later on, because its deadline had passed in the queue. ``is_cut``: it
    was answered in time by ending the answer early. ``device_s``: how long it had the engine, by the server's clock.
    """

    deadline_s: float | None
    status: int
    seconds: float
    is_thought: bool = False
    is_admitted: bool = True
    is_cut: bool = False
    device_s: float = 0.0

    @property
    def is_kept(self) -> bool:
        """Whether it was answered, and in time."""
        return self.status == 200 and (self.deadline_s is None or self.seconds <= self.deadline_s)


@dataclass(frozen=True, slots=True)
class Load:
    """``num_clients`` for ``seconds``; ``think`` None leaves it to the model."""

    num_clients: int
    seconds: float
    think: str | None
    seed: int


@lru_cache(maxsize=1)
def prompts() -> tuple[str, ...]:
    """What is asked; made once, for that takes longer than many answers."""
    return tuple(problem.prompt for problem in test_set(NUM_PROMPTS))


def run_load(server: Process, load: Load, answer_s: float) -> dict[str, Any]:
    """The figures of ``load``, where one answer takes ``answer_s``."""
    prompts()
    asked, seconds = asyncio.run(_all_clients(server.port, load, answer_s))
    figures = summarize(asked, seconds)
    what = "thinking as it pays" if load.think is None else f"thinking {load.think}"
    say(f"{load.num_clients} clients, {what}: {figures['in_time']} of {figures['admitted']} in time")
    return figures


def summarize(asked: Sequence[Asked], seconds: float) -> dict[str, Any]:
    """Admitted, in time, refused; answers in time a second; seconds of a refusal at the 99th percentile; the share of
    the time that the engine had an answer under way.
    """
    admitted = [one for one in asked if one.is_admitted]
    refused = sorted(one.seconds for one in asked if not one.is_admitted)
    in_time = sum(one.is_kept for one in admitted)
    thought = sum(one.is_thought for one in admitted)
    return {
        "asked": len(asked),
        "admitted": len(admitted),
        "in_time": in_time,
        "failed": sum(one.status != 200 for one in admitted),
        "cut": sum(one.is_cut for one in admitted),
        "kept_share": in_time / max(len(admitted), 1),
        "answers_per_s": in_time / seconds,
        "thinking_rate": thought / max(len(admitted), 1),
        "refused": len(refused),
        "refusal_p99_s": percentile(refused, 0.99),
        "busy_share": sum(one.device_s for one in admitted) / seconds,
        "answer_p50_s": percentile(sorted(one.seconds for one in admitted), 0.5),
    }


def percentile(ascending: Sequence[float], share: float) -> float:
    """The value below which ``share`` of ``ascending`` lies; 0 of nothing."""
    return ascending[min(int(share * len(ascending)), len(ascending) - 1)] if ascending else 0.0


async def _all_clients(port: int, load: Load, answer_s: float) -> tuple[list[Asked], float]:
    asked: list[Asked] = []
    start_s = time.perf_counter()
    end_s = start_s + load.seconds
    await asyncio.gather(*(_client(port, load, number, answer_s, end_s, asked) for number in range(load.num_clients)))
    return asked, time.perf_counter() - start_s


async def _client(port: int, load: Load, number: int, answer_s: float, end_s: float, asked: list[Asked]) -> None:
    draw = random.Random(f"{load.seed} {load.num_clients} {number}")
    await asyncio.sleep(draw.uniform(0.0, START_S))  # people do not ask at the same instant
    async with Client(port) as client:
        while time.perf_counter() < end_s:
            deadline_s = deadline_of(answer_s, draw)
            reply = await client.ask(CHAT, request_of(draw.choice(prompts()), deadline_s, load.think))
            asked.append(_asked(reply, deadline_s))
            if reply.status != 200:
                await asyncio.sleep(_pause_s(reply) * draw.uniform(1.0, 1.5))


def deadline_of(answer_s: float, draw: random.Random) -> float:
    """One of the mixed deadlines, where one answer takes ``answer_s``."""
    return max(LEAST_DEADLINE_S, answer_s * draw.choice(DEADLINES))


def request_of(prompt: str, deadline_s: float | None, think: str | None) -> dict[str, Any]:
    """The body of a request, greedy."""
    edge = {"deadline_s": deadline_s, "think": think}
    return {"messages": [{"role": "user", "content": prompt}], "temperature": 0, "edge": edge}


def _asked(reply: Reply, deadline_s: float | None) -> Asked:
    if reply.status != 200:
        is_admitted = reply.status != 503 or reply.json["error"]["code"] == "deadline_passed"
        return Asked(deadline_s, reply.status, reply.seconds, is_admitted=is_admitted)
    edge = reply.json["edge"]
    is_thought, is_cut = edge["tokens"]["thinking_tokens"] > 0, edge["finish"] == "deadline"
    return Asked(deadline_s, reply.status, reply.seconds, is_thought, is_cut=is_cut, device_s=device_s(reply))


def device_s(reply: Reply) -> float:
    """How long an answer had the engine to itself."""
    timings = reply.json["edge"]["timings"]
    return float(timings["total_s"] - timings["queue_s"])


def _pause_s(reply: Reply) -> float:
    """When the server says to ask again."""
    if reply.status != 503:
        return 0.1
    return float(reply.json.get("edge", {}).get("retry_after_s", 0.1))


def serial_answers(server: Process, think: str | None, number: int) -> float:
    """Seconds an answer, by one client alone and its own clock."""

    async def run() -> float:
        total_s = 0.0
        prompts()
        async with Client(server.port) as client:
            for prompt in prompts()[:number]:
                total_s += (await client.ask(CHAT, request_of(prompt, None, think))).seconds
        return total_s / number

    return asyncio.run(run())


def serial_engine(engine: Engine, answer_s: float, number: int = NUM_PROMPTS) -> float:
    """Seconds an answer without thinking, of one caller who asks the engine itself, without a server, for one after the
    other: the same prompts, with the deadlines of a load where one answer takes ``answer_s``.
    """
    draw = random.Random(f"serial {number}")
    asks = [
        (prompt, AnswerOptions(think="off", temperature=0.0, deadline_s=deadline_of(answer_s, draw)))
        for prompt in prompts()[:number]
    ]
    engine.answer(asks[0][0])  # the first one of all also waited for the model
    start_s = time.perf_counter()
    for prompt, options in asks:
        engine.answer(prompt, options)
    return (time.perf_counter() - start_s) / number


def memory_growth(server: Process, *, num_clients: int = 8, many: int = MANY) -> dict[str, Any]:
    """Resident memory after a few and after ``many`` short requests, half of them streamed."""
    few_mib = asyncio.run(_short_requests(server, num_clients, min(FEW, many)))
    many_mib = asyncio.run(_short_requests(server, num_clients, many - min(FEW, many)))
    say(f"memory: {few_mib:.1f} MiB after {min(FEW, many)} requests, {many_mib:.1f} after {many:,}")
    return {"requests": many, "few_mib": few_mib, "many_mib": many_mib, "ratio": many_mib / few_mib}


async def _short_requests(server: Process, num_clients: int, number: int) -> float:
    async def one(first: int) -> None:
        async with Client(server.port) as client:
            for index in range(first, number, num_clients):
                body = request_of(prompts()[index % NUM_PROMPTS], None, "off")
                await client.ask(CHAT, body | {"max_tokens": 2, "stream": index % 2 == 0})

    await asyncio.gather(*map(one, range(num_clients)))
    return server.memory_mib
