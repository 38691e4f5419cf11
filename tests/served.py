"""A server in a thread, on a free port of this machine, for tests that talk to it over HTTP.

Knows: how a server is put together and taken down. Does not know: any request.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

from edge.engine import Engine, load
from edge.server.serve import listen, make_server
from edge.server.service import Service
from edge.server.settings import Settings


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Served:
    """A running server."""

    service: Service
    port: int
    server: Any = None

    @property
    def num_open(self) -> int:
        """Requests that are not over."""
        return len(self.server.server_state.tasks)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None, method: str = "") -> Reply:
        """One request; ``body`` is sent as JSON unless it is bytes."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method or ("GET" if body is None else "POST"), path, content, dict(headers or {}))
            reply = connection.getresponse()
            return Reply(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
        finally:
            connection.close()


@contextmanager
def served(engine: Engine | None = None, **options: Any) -> Iterator[Served]:
    """A server around ``engine`` (None: the embedded model) with ``options`` of its settings."""
    options = {"port": 0, "log_file": "/dev/null", "stop_timeout_s": 5.0} | options
    settings = Settings(**options)
    listener = listen(settings.host, settings.port)
    with listener:
        service = Service.of(settings, engine or load(num_threads=1), 1_700_000_000)
        service.device.start()
        server = make_server(service)
        thread = threading.Thread(target=lambda: server.run(sockets=[listener]))
        thread.start()
        try:
            yield Served(service, listener.getsockname()[1], server)
        finally:
            server.should_exit = True
            thread.join(60)
            service.log.close()
            assert not thread.is_alive()
