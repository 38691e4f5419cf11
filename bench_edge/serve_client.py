"""Many HTTP clients in one process, each with the least a client can be: it asks, reads, and looks at its own clock.

Knows: HTTP/1.1 as far as the servers under test speak it. Does not know: what is asked, or why.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

HOST = "127.0.0.1"
TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; ``seconds`` from the request to its last byte, ``pieces`` of a stream and ``pieces_s`` when each
    came.

    ``status`` 0: the connection ended without a reply.
    """

    status: int
    body: bytes
    seconds: float
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces_s: tuple[float, ...] = ()
    pieces: tuple[bytes, ...] = ()

    @property
    def json(self) -> Any:
        """The body as JSON. Raises ValueError."""
        return json.loads(self.body)


class Client:
    """One connection that is kept open; an asynchronous context manager."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def ask(self, path: str, body: Any = None) -> Reply:
        """POST ``body`` as JSON (bytes as they are), or GET where there is none."""
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        method = "GET" if body is None else "POST"
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        start_s = time.perf_counter()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                reader, writer = await self._connected()
                writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
                return await self._read(reader, start_s)
        except (OSError, EOFError, TimeoutError, ValueError):
            self.close()
            return Reply(0, b"", time.perf_counter() - start_s)

    def close(self) -> None:
        """End the connection; the next request opens another."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is None or self._writer is None or self._reader.at_eof():
            self._reader, self._writer = await asyncio.open_connection(HOST, self._port)
        return self._reader, self._writer

    async def _read(self, reader: asyncio.StreamReader, start_s: float) -> Reply:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        pieces: list[bytes] = []
        times_s: list[float] = []
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readline(), 16):
                pieces.append((await reader.readexactly(size + 2))[:-2])
                times_s.append(time.perf_counter())
            await reader.readline()
        else:
            pieces.append(await reader.readexactly(int(headers.get("content-length", 0))))
        if headers.get("connection", "").lower() == "close":
            self.close()
        seconds = time.perf_counter() - start_s
        return Reply(int(lines[0].split()[1]), b"".join(pieces), seconds, headers, tuple(times_s), tuple(pieces))
