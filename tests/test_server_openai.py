"""The OpenAI API by OpenAI's own client, unmodified, against the embedded model."""

from __future__ import annotations

import json
from collections.abc import Iterator

import openai
import pytest
from served import Served, served

SUM = [{"role": "user", "content": "2+3=?"}]
HARD = [{"role": "user", "content": "What is 38*47-5+12?"}]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_STATE", str(tmp_path_factory.mktemp("state")))
        with served() as running:
            yield running


@pytest.fixture
def client(server: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_a_chat_is_answered(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="spark", messages=SUM, temperature=0)
    choice, usage = reply.choices[0], reply.usage
    assert (choice.message.content, choice.finish_reason, reply.object) == ("5", "stop", "chat.completion")
    assert usage is not None and usage.completion_tokens_details is not None
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.completion_tokens > (usage.completion_tokens_details.reasoning_tokens or 0)


def test_the_reply_says_what_was_decided_and_why(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="spark", messages=SUM, extra_body={"edge": {"think": "off"}})
    part = reply.to_dict()["edge"]
    assert (part["decision"], part["source"], part["finish"]) == ("off", "asked", "stop")
    assert part["reason"] and part["timings"]["total_s"] > 0


def test_a_stream_joined_is_the_whole_answer(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="spark", messages=HARD, temperature=0, reasoning_effort="high")
    stream = client.chat.completions.create(
        model="spark", messages=HARD, temperature=0, reasoning_effort="high", stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip
    chunks = [chunk.to_dict() for chunk in stream]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    message = whole.choices[0].message.to_dict()
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta.get("content", "") for delta in deltas) == message["content"]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == message["reasoning_content"] != ""
    assert [chunk["usage"]["completion_tokens"] for chunk in chunks if "usage" in chunk] == [
        whole.usage.completion_tokens  # type: ignore[union-attr]
    ]
    assert [chunk["edge"].get("finish") for chunk in chunks if "edge" in chunk] == [None, "stop"]


@pytest.mark.parametrize(
    "wish",
    [
        {"reasoning_effort": "none"},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"thinking_budget_tokens": 0},
        {"edge": {"think": "off"}},
    ],
)
def test_off_is_off_by_every_name(client: openai.OpenAI, wish: dict[str, object]) -> None:
    """A switch that is accepted and does nothing is worse than none."""
    reply = client.chat.completions.create(model="spark", messages=HARD, extra_body=wish)
    assert reply.usage is not None and reply.usage.completion_tokens_details is not None
    assert reply.usage.completion_tokens_details.reasoning_tokens == 0
    assert reply.to_dict()["edge"]["decision"] == "off"


def test_a_budget_ends_the_thinking(client: openai.OpenAI) -> None:
    wish = {"thinking_budget_tokens": 16, "edge": {"think": "on"}}
    reply = client.chat.completions.create(model="spark", messages=HARD, extra_body=wish)
    tokens = reply.to_dict()["edge"]["tokens"]
    assert 0 < tokens["thinking_tokens"] <= 16


def test_stop_texts_end_the_answer(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="spark", messages=HARD, temperature=0, stop=["9", "77"], reasoning_effort="high"
    )
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == ("17", "stop")


def test_max_completion_tokens(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="spark", messages=HARD, max_completion_tokens=3)
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage is not None and reply.usage.completion_tokens == 3


def test_a_schema_shapes_the_answer(client: openai.OpenAI) -> None:
    pytest.importorskip("llguidance")
    schema = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
    shape = {"type": "json_schema", "json_schema": {"name": "sum", "schema": schema, "strict": True}}
    reply = client.chat.completions.create(model="spark", messages=SUM, response_format=shape)  # type: ignore[call-overload]
    assert isinstance(json.loads(reply.choices[0].message.content)["sum"], int)
    assert set(reply.to_dict()["edge"]["ignored"]) >= {"response_format.json_schema.strict"}


def test_what_is_ignored_is_listed(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="spark", messages=SUM, user="me", store=False)
    assert reply.to_dict()["edge"]["ignored"] == ["store", "user"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("n", 2), ("logprobs", True), ("frequency_penalty", 0.5), ("tool_choice", "required"), ("no_such_field", 1)],
)
def test_what_would_change_the_answer_is_refused_by_name(client: openai.OpenAI, field: str, value: object) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="spark", messages=SUM, extra_body={field: value})
    assert caught.value.param == field
    assert field in caught.value.message


def test_values_that_change_nothing_pass(client: openai.OpenAI) -> None:
    """Clients that spell out the defaults must work."""
    neutral = {"n": 1, "logprobs": False, "frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {}}
    assert client.chat.completions.create(model="spark", messages=SUM, extra_body=neutral).choices


def test_two_wishes_that_contradict_each_other_are_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="contradict"):
        client.chat.completions.create(
            model="spark", messages=SUM, reasoning_effort="none", extra_body={"edge": {"think": "on"}}
        )


def test_another_model_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="spark"):
        client.chat.completions.create(model="gpt-9", messages=SUM)


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["spark"]
    assert client.models.retrieve("spark").owned_by == "edge-think"


def test_completions_are_answered(client: openai.OpenAI) -> None:
    reply = client.completions.create(model="spark", prompt="2+3=?", temperature=0)
    assert (reply.choices[0].text, reply.object) == ("5", "text_completion")
    texts = [chunk.choices[0].text for chunk in client.completions.create(model="spark", prompt="2+3=?", stream=True)]
    assert "".join(texts) == "5"


def test_a_deadline_that_cannot_be_kept_is_refused_at_once(client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="spark", messages=SUM, extra_body={"edge": {"deadline_s": 1e-5}})
    assert caught.value.status_code == 503
    assert int(caught.value.response.headers["retry-after"]) >= 1
    assert caught.value.response.json()["edge"]["possible_deadline_s"] > 0


def test_best_effort_is_answered_without_thinking(client: openai.OpenAI) -> None:
    wish = {"deadline_s": 1e-5, "best_effort": True, "think": "on"}
    reply = client.chat.completions.create(model="spark", messages=SUM, extra_body={"edge": wish}).to_dict()
    assert reply["choices"][0]["message"]["content"]
    assert (reply["edge"]["decision"], reply["edge"]["source"]) == ("off", "deadline")
    assert "best effort" in reply["edge"]["reason"]
