"""Around every request: the door, browsers' headers, errors as JSON, the access log.

Knows: ASGI, and that whatever fails inside becomes one JSON object without a traceback. Does not know: any path but
those that tell the APIs apart.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from edge.server import ollama_reply, openai_reply
from edge.server.refusal import FAILED, TIMED_OUT, TOO_LARGE, Refusal, bad_request
from edge.server.replies import json_reply
from models.errors import EdgeError, UsageError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from edge.server.service import Service

OPEN_PATHS = frozenset(["/health"])  # no key is needed to see whether a server is alive
PAGE_PATHS = "/page/"  # and /: what a browser loads before it can send a key; there is nothing secret in it
UNREAD = (TIMED_OUT, TOO_LARGE)  # what the client still sends is not read, so the connection ends
SAFE_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"}


class Gate:
    """``app`` behind the door of ``service``."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        scope["app"] = self  # has the router raise what it would otherwise reply in plain text
        visit = _Visit(self._service, scope, send)
        try:
            try:
                reply = self._enter(scope)
                await (reply or self._app)(scope, receive, visit.send)
            except ClientDisconnect:
                return
            except Exception as exc:  # the last wall before a client
                if visit.status is None:
                    await refuse(self._refusal(exc), scope["path"])(scope, receive, visit.send)
                else:
                    raise
        finally:
            visit.end()

    def _enter(self, scope: Scope) -> Response | None:
        """What is replied at the door; None: come in. Raises Refusal."""
        headers, door = Headers(scope=scope), self._service.door
        if scope["path"] in OPEN_PATHS:
            return None
        if scope["method"] == "OPTIONS" and door.allows_origin(headers.get("origin", "")):
            return Response(
                status_code=204,
                headers={
                    "Access-Control-Allow-Methods": "GET, POST",
                    "Access-Control-Allow-Headers": "Authorization, Content-Type",
                },
            )
        is_page = scope["path"] == "/" or scope["path"].startswith(PAGE_PATHS)
        door.check(headers, needs_key=not is_page)
        return None

    def _refusal(self, error: Exception) -> Refusal:
        if isinstance(error, Refusal):
            self._service.metrics.refused(error)
            return error
        if isinstance(error, HTTPException):
            sentence = f"{error.detail}; docs/server.md lists what there is."
            methods = (error.headers or {}).get("Allow")
            code = "no_such_path" if methods is None else "no_such_method"
            return Refusal(error.status_code, code, sentence, methods=methods)
        if isinstance(error, UsageError):
            return bad_request(str(error))
        if isinstance(error, EdgeError):
            return Refusal(FAILED, "device_failed", str(error))
        self._service.log.failure("mistake", error)
        return Refusal(FAILED, "internal_error", "The server made a mistake; its log says more.")


def refuse(refusal: Refusal, path: str) -> Response:
    """An error in the form of the API that ``path`` belongs to."""
    form = ollama_reply if path.startswith("/api/") else openai_reply
    headers = {**refusal.headers, **({"Connection": "close"} if refusal.status in UNREAD else {})}
    return json_reply(form.error_body(refusal), refusal.status, headers)


class _Visit:
    """One request and its reply, as the access log sees them."""

    def __init__(self, service: Service, scope: Scope, send: Send) -> None:
        self.status: int | None = None
        self._service = service
        self._scope = scope
        self._send = send
        self._start_s = time.perf_counter()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers.update(SAFE_HEADERS)
            origin = Headers(scope=self._scope).get("origin", "")
            if self._service.door.allows_origin(origin):
                headers.update({"Access-Control-Allow-Origin": origin, "Vary": "Origin"})
        await self._send(message)

    def end(self) -> None:
        scope, status = self._scope, self.status
        path = scope["path"] if "endpoint" in scope else "other"  # so that nobody fills the books with names
        self._service.metrics.request(path, status or 0)
        seconds = round(time.perf_counter() - self._start_s, 4)
        self._service.log.write("request", method=scope["method"], path=path, status=status, seconds=seconds)
