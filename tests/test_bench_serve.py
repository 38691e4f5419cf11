"""The bench of the server: its client, its counting and its spoilt requests, on a scripted server."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from served import Served, served
from slow_models import slow_engine

from bench_edge import serve
from bench_edge.serve_client import Client, Reply
from bench_edge.serve_fuzz import fuzz, is_json, judge_reply, spoilt_request
from bench_edge.serve_load import (
    Asked,
    Load,
    memory_growth,
    percentile,
    run_load,
    serial_answers,
    serial_engine,
    summarize,
)
from edge.server.openapi import REQUESTS


@dataclass(frozen=True, slots=True)
class Here:
    """A server in this process, as the bench sees one."""

    port: int
    is_alive: bool = True
    memory_mib: float = 10.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_STATE", str(tmp_path_factory.mktemp("state")))
        with served(slow_engine("1 2 3", step_s=0.0), alias=("spark",), deadline_s=5.0) as running:
            yield running


@pytest.fixture
def here(server: Served) -> Any:
    return Here(server.port)


def ask(port: int, body: Any) -> Reply:
    async def run() -> Reply:
        async with Client(port) as client:
            return await client.ask("/v1/chat/completions", body)

    return asyncio.run(run())


CHAT = {"messages": [{"role": "user", "content": "count"}], "edge": {"think": "off"}}


def test_the_client_reads_whole_replies_and_streams(server: Served) -> None:
    whole, stream = ask(server.port, CHAT), ask(server.port, CHAT | {"stream": True})
    assert whole.json["choices"][0]["message"]["content"] == "1 2 3"
    assert stream.body.endswith(b"data: [DONE]\n\n")
    assert len(stream.pieces_s) >= 2
    assert is_json(whole) and is_json(stream)


def test_a_server_that_is_not_there_is_no_reply() -> None:
    assert ask(1, CHAT).status == 0


def test_loads_are_counted(here: Any, server: Served) -> None:
    assert serial_answers(here, "off", 5) > 0
    assert serial_engine(server.service.device.engine, 10.0, 3) > 0
    figures = run_load(here, Load(4, 0.5, "off", 0), answer_s=1.0)
    assert figures["in_time"] == figures["admitted"] > 0
    assert (figures["failed"], figures["kept_share"]) == (0, 1.0)


def test_late_and_failed_answers_are_not_in_time() -> None:
    """A client that got its answer late has missed its deadline, whatever the server thinks."""
    in_time, late = Asked(1.0, 200, 0.5), Asked(1.0, 200, 1.5)
    passed, refused = Asked(1.0, 503, 1.1), Asked(1.0, 503, 0.2, is_admitted=False)
    figures = summarize([in_time, late, passed, refused, Asked(None, 200, 9.0)], seconds=2.0)
    assert (figures["admitted"], figures["in_time"], figures["failed"], figures["refused"]) == (4, 2, 1, 1)
    assert (figures["kept_share"], figures["answers_per_s"], figures["refusal_p99_s"]) == (0.5, 1.0, 0.2)


def test_percentiles() -> None:
    assert [percentile([1, 2, 3, 4], share) for share in (0.0, 0.5, 0.99)] == [1, 3, 4]
    assert percentile([], 0.5) == 0.0


def test_memory_is_looked_at_twice(here: Any) -> None:
    assert memory_growth(here, many=12)["ratio"] == 1.0


def test_spoilt_requests_are_the_same_for_the_same_seed_and_mostly_refused(here: Any) -> None:
    path = sorted(REQUESTS)[0]
    assert spoilt_request(path, random.Random("1")) == spoilt_request(path, random.Random("1"))
    figures = fuzz(here, 150, seed=1)
    assert (figures["crashes"], figures["tracebacks"], figures["not_json"]) == (0, 0, 0)
    assert figures["statuses"]["400"] > 75


@pytest.mark.parametrize(
    ("reply", "wrong"),
    [
        (Reply(0, b"", 0.1), {"crashes"}),
        (Reply(500, b"{}", 0.1), {"crashes"}),
        (Reply(400, b'{"error": "Traceback (most recent call last)"}', 0.1), {"tracebacks"}),
        (Reply(400, b"Bad Request", 0.1), {"not_json"}),
        (Reply(200, b"data: {\n\n", 0.1, {"content-type": "text/event-stream"}), {"not_json"}),
        (Reply(200, b'{"a": 1}\n{"a": 2}\n', 0.1, {"content-type": "application/x-ndjson"}), set()),
    ],
)
def test_what_is_wrong_with_a_reply_is_counted(reply: Reply, wrong: set[str]) -> None:
    """A judge that lets everything pass proves nothing."""
    counts: Counter[str] = Counter()
    judge_reply(reply, counts)
    assert {name for name in ("crashes", "tracebacks", "not_json") if counts[name]} == wrong


def results() -> dict[str, Any]:
    load = summarize([Asked(1.0, 200, 0.5)], 1.0)
    speed = {"direct_token_s": 1e-3, "streamed_token_s": 1.1e-3, "added_s": 1e-4, "ratio": 0.9}
    return {
        "load": {
            "clients": {str(number): load for number in serve.CLIENTS},
            "plain": load,
            "goodput": 1.0,
            "start_s": 0.5,
        },
        "speed": {"spark": speed, "big": speed | {"rival_ratio": 1.2}},
        "memory": {"ratio": 1.0},
        "fuzz": {"crashes": 0, "tracebacks": 0, "not_json": 0},
    }


def test_every_promised_figure_is_checked() -> None:
    ids = {"F.deadline_1", "F.deadline_2", "F.refuse", "F.speed_1", "F.speed_2", "F.speed_3", "F.memory"}
    checks = serve.checks_of(results())
    assert {check.id for check in checks} == ids | {f"F.fuzz_{number}" for number in (1, 2, 3)}
    assert [check.id for check in checks if not check.holds] == ["F.speed_1"]
    assert "thinking off" in serve.tables(results())[0]
    json.dumps([check.to_json() for check in checks])


def test_without_the_rival_its_figure_is_left_out() -> None:
    without = results()
    without["speed"]["big"]["rival_ratio"] = None
    assert "F.speed_3" not in {check.id for check in serve.checks_of(without)}
