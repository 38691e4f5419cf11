"""Tool calls, stop texts and ends of answers, in the words of either API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_models import scripted_model
from served import Served, served

from edge.engine import Engine
from edge.server.stops import StopFinder

CALL = '{"name": "lookup", "arguments": {"town": "Ulm"}}'
TOOLS = [{"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}]
ASK = {"model": "scripted", "messages": [{"role": "user", "content": "weather?"}], "tools": TOOLS}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_STATE", str(tmp_path_factory.mktemp("state")))
        model = scripted_model(f"I look.\n<tool_call>\n{CALL}\n</tool_call>", context_size=2048)
        with served(Engine(model)) as running:
            yield running


def lines_of(body: bytes) -> list[Any]:
    """The JSON of a stream."""
    data = [line.removeprefix(b"data: ") for line in body.splitlines() if line and b"[DONE]" not in line]
    return [json.loads(line) for line in data]


def test_a_tool_call_in_openais_words(server: Served) -> None:
    body = ASK | {"edge": {"think": "off"}}
    choice = server.ask("/v1/chat/completions", body).json["choices"][0]
    call = choice["message"]["tool_calls"][0]
    assert (choice["finish_reason"], call["type"], call["function"]["name"]) == ("tool_calls", "function", "lookup")
    assert json.loads(call["function"]["arguments"]) == {"town": "Ulm"}


def test_a_streamed_tool_call_in_openais_words(server: Served) -> None:
    chunks = lines_of(server.ask("/v1/chat/completions", ASK | {"stream": True, "edge": {"think": "off"}}).body)
    calls = [
        chunk["choices"][0]["delta"]["tool_calls"][0]
        for chunk in chunks
        if "tool_calls" in chunk["choices"][0]["delta"]
    ]
    assert [(call["index"], call["function"]["name"]) for call in calls] == [(0, "lookup")]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/api/chat", "/api/generate"])
def test_a_stream_says_what_was_decided_before_anything_else(server: Served, path: str) -> None:
    """Whoever waits for thoughts wants to know at once that there will be none."""
    body = {"model": "scripted", "stream": True, "edge": {"think": "off"}}
    body |= {"prompt": "weather?"} if path in ("/v1/completions", "/api/generate") else {"messages": ASK["messages"]}
    lines = lines_of(server.ask(path, body).body)
    decided, *_, last = [line["edge"] for line in lines if "edge" in line]
    assert (decided["decision"], decided["source"]) == (last["decision"], last["source"]) == ("off", "asked")
    first = next(place for place, line in enumerate(lines) if "edge" in line)
    assert not any("I" in json.dumps(line) for line in lines[:first])


@pytest.mark.parametrize("is_streamed", [True, False])
def test_a_tool_call_in_ollamas_words(server: Served, is_streamed: bool) -> None:
    lines = lines_of(server.ask("/api/chat", ASK | {"stream": is_streamed, "think": False}).body)
    calls = [call for line in lines for call in line["message"].get("tool_calls", ())]
    assert calls == [{"function": {"name": "lookup", "arguments": {"town": "Ulm"}}}]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat"])
def test_a_result_of_a_tool_is_taken_back(server: Served, path: str) -> None:
    arguments: Any = {"town": "Ulm"} if path == "/api/chat" else '{"town": "Ulm"}'
    call = {"function": {"name": "lookup", "arguments": arguments}}
    history = [*ASK["messages"], {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "content": "rain"}]  # type: ignore[misc]
    assert server.ask(path, ASK | {"messages": history, "stream": False, "edge": {"think": "off"}}).status == 200


def test_tools_that_are_switched_off_are_not_shown_to_the_model(server: Served) -> None:
    body = ASK | {"tool_choice": "none", "edge": {"think": "off"}}
    choice = server.ask("/v1/chat/completions", body).json["choices"][0]
    assert "tool_calls" not in choice["message"]


def test_arguments_that_are_no_object_are_named(server: Served) -> None:
    call = {"function": {"name": "lookup", "arguments": "[1]"}}
    history = [*ASK["messages"], {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "content": "rain"}]  # type: ignore[misc]
    reply = server.ask("/v1/chat/completions", ASK | {"messages": history})
    assert (reply.status, reply.json["error"]["param"]) == (400, "messages[1].tool_calls")


def found(stops: list[str], *pieces: str) -> tuple[str, bool]:
    finder = StopFinder(stops)
    text = "".join([*map(finder.feed, pieces), finder.flush()])
    return text, finder.is_found


@pytest.mark.parametrize(
    ("pieces", "text", "is_found"),
    [
        (("a", "b", "END", "c"), "ab", True),
        (("a", "E", "N", "D", "c"), "a", True),
        (("E", "N", "X"), "ENX", False),
        (("EEN", "D"), "E", True),
        (("a STOP b END",), "a ", True),
        (("EN",), "EN", False),
        ((), "", False),
    ],
)
def test_a_stop_text_is_found_wherever_it_is_cut(pieces: tuple[str, ...], text: str, is_found: bool) -> None:
    assert found(["END", "STOP"], *pieces) == (text, is_found)


@given(
    st.lists(st.text("ab", max_size=4), max_size=8),
    st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=3),
)
def test_stop_texts_as_a_plain_search_finds_them(pieces: list[str], stops: list[str]) -> None:
    """What was shown already cannot be taken back, so nothing that may begin a stop text is shown too early."""
    whole = "".join(pieces)
    ends = [whole.find(stop) + len(stop) for stop in stops if stop in whole]
    text, is_found = found(stops, *pieces)
    assert is_found is bool(ends)
    assert whole.startswith(text)
    assert not any(stop in text for stop in stops)
    if not ends:
        assert text == whole
