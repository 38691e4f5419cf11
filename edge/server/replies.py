"""Replies over HTTP: one JSON object, or a stream that ends the answer where its reader goes away.

Knows: ASGI messages, and when a status can still be chosen. Does not know: the APIs' forms, which it is handed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from starlette.responses import Response

from edge.server.refusal import Refusal
from edge.server.ticket import Ticket
from edge.server.wire import json_bytes

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from edge.chat_types import Answer, StreamEvent

JSON = "application/json"


class ReplyForm(Protocol):
    """An API's way to write an answer down."""

    media_type: str

    def first(self) -> bytes:
        """What is sent before any event."""
        ...

    def chunks(self, events: Sequence[StreamEvent]) -> bytes:
        """What is sent for ``events``."""
        ...

    def whole(self, answer: Answer) -> dict[str, Any]:
        """The object of an answer that is not streamed."""
        ...

    def failed(self, refusal: Refusal) -> bytes:
        """A failure in the midst of a stream."""
        ...


def json_reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """``value`` as the whole reply."""
    return Response(json_bytes(value), status, headers, media_type=JSON)


class AnswerReply(Response):
    """The answer of ``ticket`` in ``form``, streamed or whole. ``refuse`` writes an error down where nothing was sent.

    The status is chosen when the device has begun, so that what fails before is an error to any client. ``drop`` is
    called when the client has gone: it frees the device.
    """

    def __init__(
        self,
        ticket: Ticket,
        form: ReplyForm,
        *,
        refuse: Callable[[Refusal], Response],
        drop: Callable[[Ticket], None],
    ) -> None:
        self._ticket = ticket
        self._form = form
        self._refuse = refuse
        self._drop = drop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watcher = asyncio.create_task(self._watch(receive))
        try:
            if self._ticket.ask.is_streamed:
                await self._stream(scope, receive, send)
            else:
                await self._send_whole(scope, receive, send)
        finally:
            watcher.cancel()
            with suppress(asyncio.CancelledError):
                await watcher
            self._drop(self._ticket)

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._drop(self._ticket)

    async def _send_whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            reply = json_reply(self._form.whole(await self._ticket.result()))
        except Refusal as exc:
            reply = self._refuse(exc)
        await reply(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun, form = False, self._form
        try:
            async for batch in self._ticket.batches():
                if not has_begun:
                    has_begun = True
                    await send(_start(form.media_type))
                    await send(_body(form.first(), more=True))
                is_last = batch[-1].result is not None
                if body := form.chunks(batch):
                    await send(_body(body, more=not is_last))
        except Refusal as exc:
            if has_begun:
                await send(_body(form.failed(exc), more=False))
            else:
                await self._refuse(exc)(scope, receive, send)


def _start(media_type: str) -> dict[str, Any]:
    headers = [
        (b"content-type", media_type.encode()),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),
    ]
    return {"type": "http.response.start", "status": 200, "headers": headers}


def _body(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}
