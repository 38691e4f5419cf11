"""A request of the Ollama API becomes an ``Ask``.

Knows: how Ollama's names map to messages and options. Does not know: HTTP, devices, or replies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge.chat_types import AnswerOptions, Message, ToolCall
from edge.server.ask import Ask
from edge.server.ask_limits import AskLimits
from edge.server.fields import read_fields
from edge.server.ollama_types import OllamaChat, OllamaGenerate, OllamaMessage, OllamaOptions, OllamaRequest
from edge.server.openai_ask import edge_wishes
from edge.server.refusal import bad_request
from edge.server.wishes import Wishes


def read_chat(body: Any, limits: AskLimits) -> Ask | None:
    """The ask of ``POST /api/chat``; None where nothing is asked. Raises UsageError."""
    request, ignored = read_fields(OllamaChat, body)
    messages = tuple(map(_message, request.messages))
    return _ask(request, messages, limits, ignored, tools=tuple(request.tools or ()))


def read_generate(body: Any, limits: AskLimits) -> Ask | None:
    """The ask of ``POST /api/generate``; None where nothing is asked. Raises UsageError."""
    request, ignored = read_fields(OllamaGenerate, body)
    system = (Message("system", request.system),) if request.system else ()
    messages = (*system, Message("user", request.prompt)) if request.prompt else ()
    return _ask(request, messages, limits, ignored, tools=())


def _message(message: OllamaMessage) -> Message:
    calls = tuple(ToolCall(call.function.name, call.function.arguments) for call in message.tool_calls or ())
    return Message(message.role, message.content or "", calls)


def _ask(
    request: OllamaRequest,
    messages: Sequence[Message],
    limits: AskLimits,
    ignored: tuple[str, ...],
    *,
    tools: tuple[dict[str, Any], ...],
) -> Ask | None:
    limits.check_model(request.model)
    if not messages:
        return None
    options = request.options or OllamaOptions()
    ask = Ask(
        messages=tuple(messages),
        options=_options(request, options, tools),
        stops=(options.stop,) if isinstance(options.stop, str) else tuple(options.stop or ()),
        is_best_effort=request.edge is not None and request.edge.best_effort,
        is_streamed=request.stream,
        ignored=ignored,
        wants_notes=request.edge is not None and request.edge.notes,
    )
    return limits.checked(request.model, ask)


def _options(request: OllamaRequest, options: OllamaOptions, tools: tuple[dict[str, Any], ...]) -> AnswerOptions:
    wishes, think, most = Wishes(), request.think, options.num_predict
    edge_wishes(request.edge, wishes)
    if isinstance(think, str):
        wishes.effort("think", think)
    else:
        wishes.switch("think", think)
    return AnswerOptions(
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        seed=None if options.seed is None or options.seed < 0 else options.seed,
        max_tokens=None if most is None or most < 1 else most,
        schema=_schema(request.format),
        tools=tools,
        **wishes.options,
    )


def _schema(form: str | dict[str, Any] | None) -> dict[str, Any] | None:
    if isinstance(form, dict):
        return form
    if form not in (None, "", "json"):
        raise bad_request(f"format is {form!r}; use json or a JSON Schema.", "format")
    return {"type": "object"} if form else None
