"""Connections that cost nothing they should not: limits in number and time, and complaints that are JSON.

Knows: uvicorn's HTTP/1.1 protocol, of which it overrides what a slow or broken client meets. Does not know: requests.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from edge.server.openai_reply import error_body
from edge.server.refusal import bad_request
from edge.server.wire import json_bytes


def limited_protocol(*, max_connections: int, header_timeout_s: float, write_timeout_s: float) -> type[H11Protocol]:
    """A protocol for uvicorn: one connection too many is closed at once, one that sends no whole headers or does not
    read what it is sent is closed after its time.
    """

    class LimitedProtocol(H11Protocol):
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
            self._watch_headers()

        def _watch_headers(self) -> None:
            """Headers that were begun have to end; between two requests uvicorn's own timer runs."""
            if self.cycle is not None and not self.cycle.response_complete:
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
            body = json_bytes(error_body(bad_request("The request is not HTTP as this server reads it; correct it.")))
            headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
            try:
                for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
                    self.transport.write(self.conn.send(event) or b"")
            except h11.LocalProtocolError:  # a reply is under way already
                pass
            self.transport.close()

    return LimitedProtocol
