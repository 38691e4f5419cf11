"""An answer in the words of the OpenAI API: chunks of a stream, whole objects, errors.

Knows: OpenAI's objects and finish reasons. Does not know: HTTP, devices, or requests.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from edge.chat_types import Answer, FinishReason, StreamEvent, ToolCall
from edge.server.edge_part import decision_part, edge_part, error_part
from edge.server.refusal import FAILED, NOT_FOUND, UNAUTHORIZED, UNAVAILABLE, Refusal
from edge.server.ticket import Ticket
from edge.server.wire import json_text

FINISH: dict[FinishReason, str] = {
    "stop": "stop",
    "length": "length",
    "deadline": "length",
    "loop": "length",
    "stopped": "stop",
    "context": "length",
}
ERROR_TYPES = {
    UNAUTHORIZED: "authentication_error",
    NOT_FOUND: "not_found_error",
    FAILED: "server_error",
    UNAVAILABLE: "overloaded_error",
}
DONE = b"data: [DONE]\n\n"


class OpenAiReply:
    """One answer as chunks of a stream or as one object; ``is_chat`` tells the two requests apart."""

    media_type = "text/event-stream"

    def __init__(self, ticket: Ticket, model: str, *, is_chat: bool) -> None:
        self._ticket = ticket
        self._model = model
        self._is_chat = is_chat
        self._created = int(time.time())
        self._num_calls = 0
        kind = "chat.completion.chunk" if is_chat else "text_completion"
        self._head = f'data: {{{_members(self._identity(kind))}, "choices": [{{"index": 0, '

    def chunks(self, events: Sequence[StreamEvent]) -> bytes:
        """What is sent for ``events``: one chunk for each that shows something."""
        return b"".join(self._chunk(event) for event in events)

    def first(self) -> bytes:
        """What is sent before any event."""
        return self._delta('"role": "assistant", "content": ""') if self._is_chat else b""

    def whole(self, answer: Answer) -> dict[str, Any]:
        """The object of an answer that is not streamed."""
        reply = self._identity("chat.completion" if self._is_chat else "text_completion")
        choice: dict[str, Any] = {"index": 0, "finish_reason": finish_reason(answer), "logprobs": None}
        choice |= {"message": _message(answer)} if self._is_chat else {"text": answer.answer}
        return reply | {"choices": [choice], "usage": usage_part(answer), "edge": edge_part(answer, self._ticket)}

    def failed(self, refusal: Refusal) -> bytes:
        """A failure in the midst of a stream."""
        return f"data: {json_text(error_body(refusal))}\n\n".encode()

    def _identity(self, kind: str) -> dict[str, Any]:
        prefix = "chatcmpl" if self._is_chat else "cmpl"
        return {"id": f"{prefix}-{self._ticket.id}", "object": kind, "created": self._created, "model": self._model}

    def _chunk(self, event: StreamEvent) -> bytes:
        if event.kind in ("answer", "thinking"):
            text = json_text(event.text)
            if self._is_chat:
                return self._delta(f'"{"content" if event.kind == "answer" else "reasoning_content"}": {text}')
            return self._choice(f'"text": {text}') if event.kind == "answer" else b""
        if event.tool_call is not None and self._is_chat:
            call = {"index": self._num_calls, **call_part(event.tool_call, self._num_calls)}
            self._num_calls += 1
            return self._delta(f'"tool_calls": [{json_text(call)}]')
        if event.decision is not None:
            content = '"delta": {}' if self._is_chat else '"text": ""'
            return self._choice(content, f', "edge": {json_text(decision_part(event.decision))}')
        return b"" if event.result is None else self._last(event.result)

    def _delta(self, members: str) -> bytes:
        return self._choice(f'"delta": {{{members}}}')

    def _choice(self, members: str, beside: str = "") -> bytes:
        return f'{self._head}{members}, "finish_reason": null}}]{beside}}}\n\n'.encode("utf-8", "replace")

    def _last(self, answer: Answer) -> bytes:
        kind = "chat.completion.chunk" if self._is_chat else "text_completion"
        content: dict[str, Any] = {"delta": {}} if self._is_chat else {"text": ""}
        choice = {"index": 0, **content, "finish_reason": finish_reason(answer)}
        chunk = {**self._identity(kind), "choices": [choice], "edge": edge_part(answer, self._ticket)}
        chunks = [f"data: {json_text(chunk)}\n\n".encode("utf-8", "replace")]
        if self._ticket.ask.wants_usage:
            usage = {**self._identity(kind), "choices": [], "usage": usage_part(answer)}
            chunks.append(f"data: {json_text(usage)}\n\n".encode())
        return b"".join([*chunks, DONE])


def finish_reason(answer: Answer) -> str:
    """Why the answer ended, in OpenAI's words; ours stands under ``edge``."""
    return "tool_calls" if answer.tool_calls and answer.finish_reason == "stop" else FINISH[answer.finish_reason]


def usage_part(answer: Answer) -> dict[str, Any]:
    """Tokens; the judge's count as reasoning."""
    usage = answer.usage
    reasoning = usage.judge_tokens + usage.thinking_tokens
    completion = reasoning + usage.answer_tokens
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": usage.prompt_tokens + completion,
        "prompt_tokens_details": {"cached_tokens": min(usage.cached_tokens, usage.prompt_tokens)},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def call_part(call: ToolCall, number: int) -> dict[str, Any]:
    """A tool call."""
    function = {"name": call.name, "arguments": json_text(call.arguments)}
    return {"id": f"call_{number}", "type": "function", "function": function}


def error_body(refusal: Refusal) -> dict[str, Any]:
    """An error in OpenAI's form."""
    kind = ERROR_TYPES.get(refusal.status, "invalid_request_error")
    error = {"message": str(refusal), "type": kind, "param": refusal.field, "code": refusal.code}
    return {"error": error, **error_part(refusal)}


def _message(answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.answer}
    if answer.thinking:
        message["reasoning_content"] = answer.thinking
    if answer.tool_calls:
        message["tool_calls"] = list(_calls(answer))
    return message


def _calls(answer: Answer) -> Iterator[dict[str, Any]]:
    for number, call in enumerate(answer.tool_calls):
        yield call_part(call, number)


def _members(value: dict[str, Any]) -> str:
    return json_text(value)[1:-1]
