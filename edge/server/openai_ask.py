"""A request of the OpenAI API becomes an ``Ask``.

Knows: how OpenAI's names map to messages and options. Does not know: HTTP, devices, or replies.
"""

from __future__ import annotations

import json
from typing import Any

from edge.chat_types import AnswerOptions, Message, Role, ToolCall
from edge.server.ask import Ask
from edge.server.ask_limits import AskLimits
from edge.server.fields import read_fields
from edge.server.openai_types import CalledTool, ChatMessage, ChatRequest, CommonRequest, CompletionRequest, EdgeFields
from edge.server.refusal import bad_request
from edge.server.wishes import Wishes

ROLES: dict[str, Role] = {"developer": "system"}


def read_chat(body: Any, limits: AskLimits) -> Ask:
    """The ask of ``POST /v1/chat/completions``. Raises UsageError for anything that cannot be honoured."""
    request, ignored = read_fields(ChatRequest, body)
    wishes = _wishes(request)
    wishes.add("max_completion_tokens", "max_tokens", request.max_completion_tokens)
    options = _options(request, wishes, schema=_schema(request), tools=_tools(request))
    messages = tuple(read_message(message, f"messages[{index}]") for index, message in enumerate(request.messages))
    return limits.checked(request.model, _ask(request, messages, options, ignored))


def read_completion(body: Any, limits: AskLimits) -> Ask:
    """The ask of ``POST /v1/completions``. Raises UsageError for anything that cannot be honoured."""
    request, ignored = read_fields(CompletionRequest, body)
    prompts = [request.prompt] if isinstance(request.prompt, str) else request.prompt
    if len(prompts) != 1:
        raise bad_request(f"There are {len(prompts)} prompts; send one at a time.", "prompt")
    options = _options(request, _wishes(request), schema=None, tools=())
    return limits.checked(request.model, _ask(request, (Message("user", prompts[0]),), options, ignored))


def read_message(message: ChatMessage, where: str) -> Message:
    """One message of the conversation."""
    content = message.content or ""
    text = content if isinstance(content, str) else "".join(part.text for part in content)
    calls = tuple(_call(call, f"{where}.tool_calls") for call in message.tool_calls or ())
    return Message(ROLES.get(message.role, message.role), text, calls)  # type: ignore[arg-type]  # a Role by its type


def edge_wishes(fields: EdgeFields | None, wishes: Wishes) -> None:
    """What the extension asks for."""
    if fields is None:
        return
    wishes.add("edge.think", "think", fields.think)
    for name in ("deadline_s", "think_tokens", "min_think_tokens", "grammar"):
        wishes.add(f"edge.{name}", name, getattr(fields, name))


def _call(call: CalledTool, where: str) -> ToolCall:
    try:
        arguments = json.loads(call.function.arguments or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise bad_request(f"The arguments of {call.function.name!r} are no JSON object; correct them.", where)
    return ToolCall(call.function.name, arguments)


def _wishes(request: CommonRequest) -> Wishes:
    wishes, template = Wishes(), request.chat_template_kwargs
    edge_wishes(request.edge, wishes)
    wishes.effort("reasoning_effort", request.reasoning_effort)
    wishes.budget("thinking_budget_tokens", request.thinking_budget_tokens)
    if template is not None:
        wishes.switch("chat_template_kwargs.enable_thinking", template.enable_thinking)
        wishes.switch("chat_template_kwargs.thinking", template.thinking)
    wishes.add("max_tokens", "max_tokens", request.max_tokens)
    return wishes


def _options(request: CommonRequest, wishes: Wishes, *, schema: Any, tools: Any) -> AnswerOptions:
    seed = None if request.seed is None or request.seed < 0 else request.seed
    return AnswerOptions(
        temperature=request.temperature,
        top_k=request.top_k,
        top_p=request.top_p,
        seed=seed,
        schema=schema,
        tools=tools,
        **wishes.options,
    )


def _ask(
    request: CommonRequest, messages: tuple[Message, ...], options: AnswerOptions, ignored: tuple[str, ...]
) -> Ask:
    return Ask(
        messages=messages,
        options=options,
        stops=(request.stop,) if isinstance(request.stop, str) else tuple(request.stop or ()),
        is_best_effort=request.edge is not None and request.edge.best_effort,
        is_streamed=request.stream,
        wants_usage=request.stream_options is not None and request.stream_options.include_usage,
        ignored=ignored,
        wants_notes=request.edge is not None and request.edge.notes,
    )


def _schema(request: ChatRequest) -> dict[str, Any] | None:
    asked = request.response_format
    if asked is None or asked.type == "text":
        return None
    if asked.type == "json_object":
        return {"type": "object"}
    if asked.json_schema is None:
        raise bad_request("response_format is json_schema and has no json_schema; add it.", "response_format")
    return asked.json_schema.schema_


def _tools(request: ChatRequest) -> tuple[dict[str, Any], ...]:
    return () if request.tool_choice == "none" else tuple(request.tools or ())
