"""Connections that cost nothing they should not: limits in number and time, and complaints that are JSON.

Knows: uvicorn's HTTP/1.1 protocol, of which it overrides what a slow or broken client meets. Does not know: requests.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from edge.server.openai_reply import error_body
from edge.server.refusal import bad_request
from edge.server.wire import json_bytes

MOST_HEADER_BYTES = 64 * 2**10  # httptools itself has no limit
_BODY = json_bytes(error_body(bad_request("The request is not HTTP as this server reads it; correct it.")))
NOT_HTTP = b"\r\n".join(
    (
        b"HTTP/1.1 400 Bad Request",
        b"content-type: application/json",
        b"content-length: %d" % len(_BODY),
        b"connection: close",
        b"",
        _BODY,
    )
)


def limited_protocol(
    *, max_connections: int, header_timeout_s: float, write_timeout_s: float
) -> type[HttpToolsProtocol]:
    """A protocol for uvicorn: one connection too many is closed at once, one that sends no whole headers or does not
    read what it is sent is closed after its time, and one whose headers are too large is refused.
    """

    class LimitedProtocol(HttpToolsProtocol):
        _header_bytes = 0
        _headers_timer: asyncio.TimerHandle | None = None
        _write_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > max_connections:
                transport.abort()
                return
            self._watch_headers()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.transport.is_closing():
                return
            self._header_bytes = 0 if self._is_answering() else self._header_bytes + len(data)
            if self._header_bytes > MOST_HEADER_BYTES:
                self.send_400_response("")
            else:
                self._watch_headers()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.cycle.more_body:  # the rest of a body that nobody waits for would be taken for the next request
                self.transport.close()

        def _is_answering(self) -> bool:
            """Whether a request is whole enough to be worked on."""
            return self.cycle is not None and not self.cycle.response_complete

        def _watch_headers(self) -> None:
            """Headers that were begun have to end; between two requests uvicorn's own timer runs."""
            if self._is_answering():
                self._stop_watching()
            elif self._headers_timer is None:
                self._headers_timer = self.loop.call_later(header_timeout_s, self.transport.abort)

        def _stop_watching(self) -> None:
            if self._headers_timer is not None:
                self._headers_timer.cancel()
                self._headers_timer = None

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_watching()
            if self._write_timer is not None:
                self._write_timer.cancel()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._write_timer = self.loop.call_later(write_timeout_s, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._write_timer is not None:
                self._write_timer.cancel()

        def send_400_response(self, msg: str) -> None:
            if not (self._is_answering() and self.cycle.response_started):  # a second reply in the first would be noise
                self.transport.write(NOT_HTTP)
            self.transport.close()

    return LimitedProtocol
