"""The requests of the OpenAI API, field by field, each with what becomes of it.

Knows: names, types, treatments. Does not know: what is done with a request (``openai_ask``), or HTTP.
Names of llama.cpp's server are taken, too, where users know them for the control of thinking.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from edge.server.fields import Fields, Honoured, Ignored, Refused

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
ThinkWish = Literal["auto", "on", "off"]
NonNegative = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class EdgeFields(Fields):
    """The extension of both APIs: what no other server has."""

    think: Annotated[ThinkWish | None, Honoured("auto leaves it to the model's judge, on and off force a mode")] = None
    deadline_s: Annotated[
        Seconds | None, Honoured("seconds from the arrival of the request to the last token, the queue included")
    ] = None
    think_tokens: Annotated[NonNegative | None, Honoured("at most so many thinking tokens; 0 is off")] = None
    min_think_tokens: Annotated[
        Annotated[int, Field(ge=1)] | None, Honoured("where it thinks, at least so many tokens")
    ] = None
    best_effort: Annotated[
        bool, Honoured("where the deadline cannot be kept: answer without thinking instead of 503")
    ] = False
    notes: Annotated[
        bool, Honoured("quote what the operator's notes say about the question; the reply lists it as edge.sources")
    ] = False
    grammar: Annotated[str | None, Honoured("a grammar in Lark's syntax that the answer follows")] = None


class TextPart(Fields):
    """A part of a message's content."""

    type: Annotated[Literal["text"], Honoured("only text; other parts (images, audio, files) are refused")]
    text: Annotated[str, Honoured("the text")]


class FunctionCall(Fields):
    """The function of a tool call in the history."""

    name: Annotated[str, Honoured("the function's name")]
    arguments: Annotated[str, Honoured("its arguments, a JSON object as text")] = "{}"


class CalledTool(Fields):
    """A tool call in the history."""

    function: Annotated[FunctionCall, Honoured("what was called")]
    id: Annotated[str | None, Honoured("results come in the order of the calls; the id is not shown to the model")] = (
        None
    )
    type: Annotated[Literal["function"], Honoured("only functions")] = "function"
    index: Annotated[int | None, Ignored("calls come in order")] = None


class ChatMessage(Fields):
    """A message of the conversation."""

    role: Annotated[Literal["system", "developer", "user", "assistant", "tool"], Honoured("developer counts as system")]
    content: Annotated[str | list[TextPart] | None, Honoured("text, or text parts, which are joined")] = None
    tool_calls: Annotated[list[CalledTool] | None, Honoured("calls of an earlier answer")] = None
    tool_call_id: Annotated[str | None, Ignored("results come in the order of the calls")] = None
    name: Annotated[str | None, Ignored("the prompt has no place for names")] = None
    reasoning_content: Annotated[str | None, Ignored("earlier thoughts are not shown to the model again")] = None
    refusal: Annotated[Any, Ignored("no model here refuses in a field of its own")] = None
    annotations: Annotated[Any, Ignored("a note of earlier answers")] = None
    audio: Annotated[Any, Refused("text only")] = None
    function_call: Annotated[Any, Refused("use tool_calls")] = None


class StreamOptions(Fields):
    """How a stream is sent."""

    include_usage: Annotated[bool, Honoured("a last chunk with the usage")] = False
    include_obfuscation: Annotated[bool | None, Ignored("no padding is sent")] = None


class TemplateArguments(Fields):
    """What llama.cpp's users write to switch thinking."""

    enable_thinking: Annotated[bool | None, Honoured("true is on, false is off")] = None
    thinking: Annotated[bool | None, Honoured("the same")] = None


class SchemaFormat(Fields):
    """The schema of ``response_format``."""

    schema_: Annotated[dict[str, Any], Field(alias="schema"), Honoured("the JSON Schema that the answer follows")]
    name: Annotated[str | None, Ignored("a label")] = None
    description: Annotated[str | None, Ignored("a label")] = None
    strict: Annotated[bool | None, Ignored("it is always strict")] = None


class ResponseFormat(Fields):
    """The form of the answer."""

    type: Annotated[Literal["text", "json_object", "json_schema"], Honoured("thinking stays free in any form")]
    json_schema: Annotated[SchemaFormat | None, Honoured("with json_schema")] = None


class CommonRequest(Fields):
    """What both of OpenAI's requests share."""

    model: Annotated[str | None, Honoured("the model that is loaded, by its name; any other is refused with 404")] = (
        None
    )
    stream: Annotated[bool, Honoured("server-sent events")] = False
    stream_options: Annotated[StreamOptions | None, Honoured("include_usage")] = None
    max_tokens: Annotated[
        Annotated[int, Field(ge=1)] | None, Honoured("generated tokens in all, thinking included")
    ] = None
    temperature: Annotated[Annotated[float, Field(ge=0, le=10)] | None, Honoured("0 is greedy")] = None
    top_p: Annotated[Annotated[float, Field(gt=0, le=1)] | None, Honoured("nucleus sampling")] = None
    top_k: Annotated[NonNegative | None, Honoured("0 is no limit")] = None
    seed: Annotated[int | None, Honoured("makes an answer repeatable; a negative one is a fresh one")] = None
    stop: Annotated[
        str | list[str] | None, Honoured("up to 16 texts that end the answer; thoughts are not looked at")
    ] = None
    edge: Annotated[EdgeFields | None, Honoured("think, deadline_s, think_tokens and more; see below")] = None
    n: Annotated[int | None, Refused("one answer at a time", (1,))] = None
    logprobs: Annotated[Any, Refused("probabilities are not kept", (False, 0))] = None
    logit_bias: Annotated[dict[str, Any] | None, Refused("logits are not changed", ({},))] = None
    frequency_penalty: Annotated[float | None, Refused("there is no such sampler", (0,))] = None
    presence_penalty: Annotated[float | None, Refused("there is no such sampler", (0,))] = None
    repeat_penalty: Annotated[float | None, Refused("there is no such sampler", (1,))] = None
    min_p: Annotated[float | None, Refused("there is no such sampler", (0,))] = None
    user: Annotated[Any, Ignored("nobody is told apart")] = None
    keep_alive: Annotated[Any, Ignored("the model stays loaded")] = None
    cache_prompt: Annotated[Any, Ignored("what is cached is reused always")] = None
    reasoning_effort: Annotated[
        Effort | None,
        Honoured(
            "none is off; minimal, low, medium and high use 1/8, 1/4, 1/2 and all of the thinking that the deadline or "
            "the context allows"
        ),
    ] = None
    chat_template_kwargs: Annotated[TemplateArguments | None, Honoured("enable_thinking")] = None
    thinking_budget_tokens: Annotated[
        Annotated[int, Field(ge=-1)] | None, Honoured("at most so many thinking tokens; 0 is off, -1 is no limit")
    ] = None


class ChatRequest(CommonRequest):
    """``POST /v1/chat/completions``."""

    messages: Annotated[list[ChatMessage], Honoured("the conversation; the last one is the user's or a tool's")]
    max_completion_tokens: Annotated[
        Annotated[int, Field(ge=1)] | None, Honoured("generated tokens in all, thinking included")
    ] = None
    response_format: Annotated[ResponseFormat | None, Honoured("text, json_object, json_schema")] = None
    tools: Annotated[
        list[dict[str, Any]] | None, Honoured("functions that the model may call, where its dialect has tools")
    ] = None
    tool_choice: Annotated[Any, Refused("the model chooses; use auto, or none to hide the tools", ("auto", "none"))] = (
        None
    )
    parallel_tool_calls: Annotated[bool | None, Refused("the model decides how many calls it makes", (True,))] = None
    reasoning_format: Annotated[str | None, Refused("thoughts come in reasoning_content", ("auto", "deepseek"))] = None
    top_logprobs: Annotated[Any, Refused("probabilities are not kept", (0,))] = None
    modalities: Annotated[list[str] | None, Refused("text only", (["text"],))] = None
    audio: Annotated[Any, Refused("text only")] = None
    functions: Annotated[Any, Refused("use tools", ([],))] = None
    function_call: Annotated[Any, Refused("use tools", ("auto", "none"))] = None
    web_search_options: Annotated[Any, Refused("nothing leaves this machine")] = None
    verbosity: Annotated[str | None, Refused("say in the prompt how long the answer should be", ("medium",))] = None
    prediction: Annotated[Any, Ignored("it would only save time")] = None
    metadata: Annotated[Any, Ignored("nothing is stored")] = None
    store: Annotated[Any, Ignored("nothing is stored")] = None
    service_tier: Annotated[Any, Ignored("there is one device")] = None
    safety_identifier: Annotated[Any, Ignored("nobody is told apart")] = None
    prompt_cache_key: Annotated[Any, Ignored("caches are found by the prompt")] = None
    prompt_cache_retention: Annotated[Any, Ignored("caches stay while there is room")] = None


class CompletionRequest(CommonRequest):
    """``POST /v1/completions``: the prompt is taken as a user's message, since these models answer in chats."""

    prompt: Annotated[str | list[str], Honoured("one prompt, answered as a user's message")]
    echo: Annotated[bool | None, Refused("the prompt is not repeated", (False,))] = None
    suffix: Annotated[str | None, Refused("these models do not fill in", ("",))] = None
    best_of: Annotated[int | None, Refused("one answer at a time", (1,))] = None


class ControlRequest(Fields):
    """``POST /v1/chat/completions/control``."""

    id: Annotated[str, Honoured("the id of a request that is under way, as its chunks carry it")]
    action: Annotated[Literal["reasoning_end"], Honoured("end the thinking and answer")]
