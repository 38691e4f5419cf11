"""Connections that cost nothing they should not: limits in number and time, and complaints that are JSON.

Knows: uvicorn's HTTP/1.1 protocol, of which it overrides what a slow or broken client meets. Does not know: requests.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from edge.server.openai_reply import error_body
from edge.server.refusal import bad_request
from edge.server.wire import json_bytes

HEAD_END = b"\r\n\r\n"
MOST_HEADER_BYTES = 64 * 2**10  # httptools itself has no limit
OFFERS_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
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


def without_upgrade(head: bytes) -> bytes:
    """``head`` with another name for the offer of another protocol: it is never taken up here, and httptools would drop
    the body of the request that makes it, as Java's client does with every one (h2c).
    """
    return OFFERS_UPGRADE.sub(b"\r\nx-upgrade:", head)


class LimitedProtocol(HttpToolsProtocol):
    """Uvicorn's protocol with the limits of ``limited_protocol``."""

    max_connections: int
    header_timeout_s: float
    write_timeout_s: float
    _header_bytes = 0
    _headers_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            transport.abort()
            return
        self._watch_headers()

    def data_received(self, data: bytes) -> None:
        if not self._is_answering():
            head, *body = data.split(HEAD_END, 1)
            self._header_bytes += len(head)
            if self._header_bytes > MOST_HEADER_BYTES:
                self.send_400_response("")
                return
            data = HEAD_END.join((without_upgrade(head), *body))
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._is_answering():
            self._header_bytes = 0
        self._watch_headers()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # The rest of a body that nobody waits for would be taken for the next request. Where that is here already, the
        # cycle is its own.
        if self.cycle.response_complete and self.cycle.more_body:
            self.transport.close()

    def _is_answering(self) -> bool:
        """Whether a request is whole enough to be worked on."""
        return self.cycle is not None and not self.cycle.response_complete

    def _watch_headers(self) -> None:
        """Headers that were begun have to end; between two requests uvicorn's own timer runs."""
        if self._is_answering():
            self._stop_watching()
        elif self._headers_timer is None:
            self._headers_timer = self.loop.call_later(self.header_timeout_s, self.transport.abort)

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
        self._write_timer = self.loop.call_later(self.write_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()

    def send_400_response(self, msg: str) -> None:
        if not (self._is_answering() and self.cycle.response_started):  # a second reply in the first would be noise
            self.transport.write(NOT_HTTP)
        self.transport.close()


def limited_protocol(
    *, max_connections: int, header_timeout_s: float, write_timeout_s: float
) -> type[HttpToolsProtocol]:
    """A protocol for uvicorn: one connection too many is closed at once, one that sends no whole headers or does not
    read what it is sent is closed after its time, and one whose headers are too large is refused.
    """
    limits = {
        "max_connections": max_connections,
        "header_timeout_s": header_timeout_s,
        "write_timeout_s": write_timeout_s,
    }
    return type("LimitedProtocol", (LimitedProtocol,), limits)
