"""The requests of the Ollama API, field by field, each with what becomes of it.

Knows: names, types, treatments. Does not know: what is done with a request (``ollama_ask``), or HTTP.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from edge.server.fields import Fields, Honoured, Ignored, Refused
from edge.server.openai_types import EdgeFields, NonNegative

Level = Literal["low", "medium", "high", "max"]


class OllamaFunction(Fields):
    """The function of a tool call in the history."""

    name: Annotated[str, Honoured("the function's name")]
    arguments: Annotated[dict[str, Any], Honoured("its arguments")] = {}  # noqa: RUF012  # pydantic copies it
    index: Annotated[int | None, Ignored("calls come in order")] = None
    description: Annotated[str | None, Ignored("a label")] = None


class OllamaCall(Fields):
    """A tool call in the history."""

    function: Annotated[OllamaFunction, Honoured("what was called")]
    id: Annotated[str | None, Ignored("results come in the order of the calls")] = None
    type: Annotated[str | None, Ignored("only functions are called")] = None


class OllamaMessage(Fields):
    """A message of the conversation."""

    role: Annotated[Literal["system", "user", "assistant", "tool"], Honoured("who speaks")]
    content: Annotated[str | None, Honoured("the text")] = None
    tool_calls: Annotated[list[OllamaCall] | None, Honoured("calls of an earlier answer")] = None
    tool_name: Annotated[str | None, Ignored("results come in the order of the calls")] = None
    name: Annotated[str | None, Ignored("the prompt has no place for names")] = None
    tool_call_id: Annotated[str | None, Ignored("results come in the order of the calls")] = None
    thinking: Annotated[str | None, Ignored("earlier thoughts are not shown to the model again")] = None
    images: Annotated[list[Any] | None, Refused("text only", ([],))] = None


class OllamaOptions(Fields):
    """``options``."""

    temperature: Annotated[Annotated[float, Field(ge=0, le=10)] | None, Honoured("0 is greedy")] = None
    top_k: Annotated[NonNegative | None, Honoured("0 is no limit")] = None
    top_p: Annotated[Annotated[float, Field(gt=0, le=1)] | None, Honoured("nucleus sampling")] = None
    seed: Annotated[int | None, Honoured("makes an answer repeatable; a negative one is a fresh one")] = None
    num_predict: Annotated[
        Annotated[int, Field(ge=-2)] | None, Honoured("generated tokens in all, thinking included; below 0 no limit")
    ] = None
    stop: Annotated[str | list[str] | None, Honoured("up to 16 texts that end the answer")] = None
    num_ctx: Annotated[int | None, Ignored("the context is as large as the server was started with")] = None
    num_keep: Annotated[int | None, Ignored("a prompt is never cut in silence")] = None
    num_batch: Annotated[int | None, Ignored("chosen by the server")] = None
    num_gpu: Annotated[int | None, Ignored("chosen by the server")] = None
    main_gpu: Annotated[int | None, Ignored("chosen by the server")] = None
    num_thread: Annotated[int | None, Ignored("chosen by the server")] = None
    numa: Annotated[bool | None, Ignored("chosen by the server")] = None
    low_vram: Annotated[bool | None, Ignored("chosen by the server")] = None
    f16_kv: Annotated[bool | None, Ignored("chosen by the server")] = None
    use_mmap: Annotated[bool | None, Ignored("chosen by the server")] = None
    use_mlock: Annotated[bool | None, Ignored("chosen by the server")] = None
    vocab_only: Annotated[bool | None, Refused("a model is loaded whole", (False,))] = None
    logits_all: Annotated[bool | None, Refused("probabilities are not kept", (False,))] = None
    embedding_only: Annotated[bool | None, Refused("there are no embeddings", (False,))] = None
    min_p: Annotated[float | None, Refused("there is no such sampler", (0,))] = None
    typical_p: Annotated[float | None, Refused("there is no such sampler", (1,))] = None
    tfs_z: Annotated[float | None, Refused("there is no such sampler", (1,))] = None
    repeat_penalty: Annotated[float | None, Refused("there is no such sampler", (1,))] = None
    presence_penalty: Annotated[float | None, Refused("there is no such sampler", (0,))] = None
    frequency_penalty: Annotated[float | None, Refused("there is no such sampler", (0,))] = None
    mirostat: Annotated[int | None, Refused("there is no such sampler", (0,))] = None
    repeat_last_n: Annotated[int | None, Ignored("it belongs to repeat_penalty")] = None
    mirostat_tau: Annotated[float | None, Ignored("it belongs to mirostat")] = None
    mirostat_eta: Annotated[float | None, Ignored("it belongs to mirostat")] = None
    penalize_newline: Annotated[bool | None, Ignored("it belongs to repeat_penalty")] = None


class OllamaRequest(Fields):
    """What both of Ollama's requests share."""

    model: Annotated[str, Honoured("the model that is loaded, by its name; any other is refused with 404")]
    stream: Annotated[bool, Honoured("lines of JSON; true unless it is set")] = True
    think: Annotated[
        bool | Level | None,
        Honoured(
            "true is on, false is off; low, medium and high use 1/4, 1/2 and all of the thinking that the deadline or "
            "the context allows"
        ),
    ] = None
    format: Annotated[str | dict[str, Any] | None, Honoured("json, or the JSON Schema that the answer follows")] = None
    options: Annotated[OllamaOptions | None, Honoured("see below")] = None
    edge: Annotated[EdgeFields | None, Honoured("think, deadline_s, think_tokens and more; see below")] = None
    keep_alive: Annotated[Any, Ignored("the model stays loaded")] = None
    logprobs: Annotated[Any, Refused("probabilities are not kept", (False,))] = None
    top_logprobs: Annotated[Any, Refused("probabilities are not kept", (0,))] = None
    truncate: Annotated[bool | None, Refused("a prompt is never cut in silence", (False,))] = None
    shift: Annotated[bool | None, Refused("a prompt is never cut in silence", (False,))] = None


class OllamaChat(OllamaRequest):
    """``POST /api/chat``; without messages it only says that the model is loaded."""

    messages: Annotated[list[OllamaMessage], Honoured("the conversation; the last one is the user's or a tool's")] = []  # noqa: RUF012
    tools: Annotated[list[dict[str, Any]] | None, Honoured("functions that the model may call")] = None


class OllamaGenerate(OllamaRequest):
    """``POST /api/generate``: the prompt is taken as a user's message; without one it says that the model is loaded."""

    prompt: Annotated[str, Honoured("answered as a user's message")] = ""
    system: Annotated[str | None, Honoured("the system prompt")] = None
    images: Annotated[list[Any] | None, Refused("text only", ([],))] = None
    suffix: Annotated[str | None, Refused("these models do not fill in", ("",))] = None
    template: Annotated[str | None, Refused("the model's own layout is used", ("",))] = None
    context: Annotated[list[int] | None, Refused("send the conversation to /api/chat", ([],))] = None
    raw: Annotated[bool | None, Refused("the model's own layout is used", (False,))] = None


class OllamaShow(Fields):
    """``POST /api/show``."""

    model: Annotated[str | None, Honoured("the model's name")] = None
    name: Annotated[str | None, Honoured("the same, as older clients call it")] = None
    verbose: Annotated[bool | None, Ignored("all there is to say is said")] = None
    system: Annotated[str | None, Ignored("nothing is changed by asking")] = None
