"""The Ollama API by Ollama's own Python client, unmodified, against the embedded model."""

from __future__ import annotations

from collections.abc import Iterator

import ollama
import pytest
from served import Served, served

SUM = [{"role": "user", "content": "2+3=?"}]
HARD = [{"role": "user", "content": "What is 38*47-5+12?"}]
GREEDY = {"temperature": 0}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_STATE", str(tmp_path_factory.mktemp("state")))
        with served() as running:
            yield running


@pytest.fixture
def client(server: Served) -> Iterator[ollama.Client]:
    client = ollama.Client(host=server.url)
    yield client
    client._client.close()


def test_a_chat_is_answered(client: ollama.Client) -> None:
    reply = client.chat("spark", SUM, options=GREEDY)
    assert (reply.message.content, reply.done, reply.done_reason) == ("5", True, "stop")
    assert reply.eval_count and reply.prompt_eval_count and reply.total_duration


def test_thinking_comes_in_its_own_field(client: ollama.Client) -> None:
    reply = client.chat("spark:latest", HARD, think=True, options=GREEDY)
    assert reply.message.thinking
    assert reply.message.content == "1793"


def test_a_stream_joined_is_the_whole_answer(client: ollama.Client) -> None:
    whole = client.chat("spark", HARD, think=True, options=GREEDY)
    parts = list(client.chat("spark", HARD, think=True, options=GREEDY, stream=True))
    assert "".join(part.message.content or "" for part in parts) == whole.message.content
    assert "".join(part.message.thinking or "" for part in parts) == whole.message.thinking
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]


@pytest.mark.parametrize("wish", [False, "low"])
def test_think_is_honoured(client: ollama.Client, wish: bool | str) -> None:
    reply = client.chat("spark", HARD, think=wish, options=GREEDY)  # type: ignore[arg-type]
    assert bool(reply.message.thinking) is bool(wish)


def test_generate_is_answered(client: ollama.Client) -> None:
    assert client.generate("spark", "2+3=?", options=GREEDY).response == "5"
    assert "".join(part.response for part in client.generate("spark", "2+3=?", options=GREEDY, stream=True)) == "5"


def test_a_request_without_a_prompt_says_that_the_model_is_loaded(client: ollama.Client) -> None:
    """This is how clients load a model beforehand."""
    assert client.generate("spark").done_reason == "load"


def test_a_schema_shapes_the_answer(client: ollama.Client) -> None:
    pytest.importorskip("llguidance")
    schema = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
    assert client.chat("spark", SUM, format=schema, options=GREEDY).message.content.startswith('{"sum":')  # type: ignore[union-attr]


def test_what_clients_send_along_is_taken(client: ollama.Client) -> None:
    """Home Assistant sends a context size and keep_alive with every request."""
    reply = client.chat("spark", SUM, think=False, keep_alive=-1, options={"num_ctx": 8192})
    assert reply.model_dump()["message"]["content"]


def test_the_model_is_listed_and_shown(client: ollama.Client) -> None:
    assert [model.model for model in client.list().models] == ["spark:latest"]
    shown = client.show("spark")
    assert set(shown.capabilities or ()) >= {"completion", "thinking"}
    assert [model.model for model in client.ps().models] == ["spark:latest"]


def test_the_version_is_told(server: Served) -> None:
    assert server.ask("/api/version").json["version"]


def test_errors_are_in_ollamas_form(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="llama9") as caught:
        client.chat("llama9", SUM)
    assert caught.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match=r"options\.mirostat"):
        client.chat("spark", SUM, options={"mirostat": 2})
