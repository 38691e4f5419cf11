"""An answer in the words of the Ollama API: lines of JSON, or one object.

Knows: Ollama's objects, its reasons for an end, its nanoseconds. Does not know: HTTP, devices, or requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from edge.chat_types import Answer, StreamEvent, ToolCall
from edge.server.edge_part import decision_part, edge_part, error_part
from edge.server.openai_reply import FINISH
from edge.server.refusal import Refusal
from edge.server.ticket import Ticket
from edge.server.wire import json_bytes, json_text

NANOSECONDS = 1_000_000_000


class OllamaReply:
    """One answer as lines of a stream or as one object; ``is_chat`` tells the two requests apart."""

    media_type = "application/x-ndjson"

    def __init__(self, ticket: Ticket, model: str, *, is_chat: bool) -> None:
        self._ticket = ticket
        self._model = model
        self._is_chat = is_chat
        self._head = json_text({"model": model, "created_at": now_text()})[:-1]

    def chunks(self, events: Sequence[StreamEvent]) -> bytes:
        """What is sent for ``events``: one line for each that shows something."""
        return b"".join(self._chunk(event) for event in events)

    def first(self) -> bytes:
        """What is sent before any event."""
        return b""

    def whole(self, answer: Answer) -> dict[str, Any]:
        """The object of an answer that is not streamed."""
        return self._last(answer, answer.answer, answer.thinking, answer.tool_calls)

    def failed(self, refusal: Refusal) -> bytes:
        """A failure in the midst of a stream."""
        return json_bytes(error_body(refusal)) + b"\n"

    def _chunk(self, event: StreamEvent) -> bytes:
        if event.kind in ("answer", "thinking"):
            text = json_text(event.text)
            content, thinking = (text, "") if event.kind == "answer" else ('""', f', "thinking": {text}')
            return self._line(f"{content}{thinking}")
        if event.tool_call is not None and self._is_chat:
            return self._line(f'"", "tool_calls": [{json_text(_call(event.tool_call))}]')
        if event.decision is not None:
            return self._line('""', f', "edge": {json_text(decision_part(event.decision))}')
        return b"" if event.result is None else json_bytes(self._last(event.result, "", "", ())) + b"\n"

    def _line(self, content: str, beside: str = "") -> bytes:
        said = (
            f'"message": {{"role": "assistant", "content": {content}}}' if self._is_chat else f'"response": {content}'
        )
        return f'{self._head}, {said}, "done": false{beside}}}\n'.encode("utf-8", "replace")

    def _last(self, answer: Answer, text: str, thinking: str, calls: Sequence[ToolCall]) -> dict[str, Any]:
        thoughts = {"thinking": thinking} if thinking else {}
        called = {"tool_calls": [_call(call) for call in calls]} if calls else {}
        said: dict[str, Any] = {"response": text, **thoughts}
        if self._is_chat:
            said = {"message": {"role": "assistant", "content": text, **thoughts, **called}}
        end = {"done": True, "done_reason": FINISH[answer.finish_reason]}
        head = {"model": self._model, "created_at": now_text()}
        return {**head, **said, **end, **_durations(answer), "edge": edge_part(answer, self._ticket)}


def loaded_body(model: str, *, is_chat: bool) -> dict[str, Any]:
    """The reply to a request that asks nothing: the model is there."""
    said: dict[str, Any] = {"message": {"role": "assistant", "content": ""}} if is_chat else {"response": ""}
    return {"model": model, "created_at": now_text(), **said, "done": True, "done_reason": "load"}


def error_body(refusal: Refusal) -> dict[str, Any]:
    """An error in Ollama's form."""
    return {"error": str(refusal), "code": refusal.code, **error_part(refusal)}


def now_text() -> str:
    """The time as Ollama writes it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _call(call: ToolCall) -> dict[str, Any]:
    return {"function": {"name": call.name, "arguments": call.arguments}}


def _durations(answer: Answer) -> dict[str, int]:
    usage, timings = answer.usage, answer.timings
    num_tokens = usage.judge_tokens + usage.thinking_tokens + usage.answer_tokens
    return {
        "total_duration": int(timings.total_s * NANOSECONDS),
        "load_duration": int(timings.load_s * NANOSECONDS),
        "prompt_eval_count": usage.prompt_tokens,
        "prompt_eval_duration": int(timings.prefill_s * NANOSECONDS),
        "eval_count": num_tokens,
        "eval_duration": int(timings.decode_s * NANOSECONDS),
    }
