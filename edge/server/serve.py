"""The server from its settings to its end: load, listen, answer, stop in good order.

Knows: the order of these steps, sockets and signals. Does not know: requests.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from edge.server.doors import check_safe
from edge.server.log import forward
from models.errors import UsageError

if TYPE_CHECKING:
    import uvicorn

    from edge.server.service import Service
    from edge.server.settings import Settings

REQUIREMENTS = (
    "bm25s>=0.2,<1",
    "httptools>=0.6.3,<1",
    "prometheus-client>=0.21,<1",
    "pydantic>=2.10,<3",
    "starlette>=0.46,<2",
    "uvicorn>=0.34,<1",
)
BACKLOG = 1024  # connections that the system holds until they are taken
KEEP_ALIVE_S = 30
SWITCH_S = 0.0005  # Python's 5 ms would hold up the device's thread that long at a token while many clients are served
IGNORED_AT_THE_END = (signal.SIGINT, signal.SIGTERM)  # uvicorn raises them again once it has stopped


def serve(
    settings: Settings, *, ready_model: Callable[[str | None], str | None], announce: Callable[[str], None]
) -> None:
    """Serve until a signal says stop. ``ready_model`` fetches a model that is named as on a hub; ``announce`` gets
    sentences for whoever started the server.

    Raises UsageError for settings that are not safe or an address that cannot be had, and what loading a model raises.
    """
    check_safe(settings.host, settings.api_key, insecure=settings.insecure)
    check_installed()
    listener = listen(settings.host, settings.port)
    with listener:
        service = open_service(settings, ready_model(settings.model))
        host, port = listener.getsockname()[:2]
        for note in service.device.engine.notes:
            announce(note)
        announce(f"{service.model} answers at http://{f'[{host}]' if ':' in host else host}:{port}")
        forward("uvicorn.error", service.log)
        service.log.write("started", model=service.model, host=host, port=port)
        if threading.current_thread() is threading.main_thread():
            for number in IGNORED_AT_THE_END:
                signal.signal(number, lambda *_: None)
        sys.setswitchinterval(SWITCH_S)
        make_server(service).run(sockets=[listener])
        if service.device.note is not None:
            announce(service.device.note)
        service.log.write("stopped")
        service.log.close()


def check_installed() -> None:
    """Raises UsageError where a package of the extra ``serve`` is missing."""
    names = {requirement: requirement.partition(">")[0] for requirement in REQUIREMENTS}
    missing = [requirement for requirement, name in names.items() if find_spec(name.replace("-", "_")) is None]
    if missing:
        needed = " ".join(f"'{requirement}'" for requirement in missing)
        raise UsageError(f"The server needs packages that are not installed; run: pip install {needed}")


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections, before a model is loaded in vain. Raises UsageError."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # with its protocol named asyncio sends small replies at once, instead of 40 ms after the last
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host.strip("[]"), port))
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
    except (OSError, OverflowError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise UsageError(f"{host}:{port} cannot be listened on ({reason}); use another --host or --port.") from exc
    return listener


def open_service(settings: Settings, model: str | None) -> Service:
    """The model, loaded and tried out, with a device thread that waits for requests."""
    from edge.engine import load
    from edge.server.device_thread import DeviceThread
    from edge.server.service import Service

    thread = DeviceThread()
    engine = thread.call(
        lambda: load(
            model,
            backend=settings.backend,
            context_size=settings.ctx_size,
            num_threads=settings.threads,
            dialect=settings.dialect,
        )
    )
    try:
        service = Service.of(settings, engine, int(time.time()), thread)
        service.device.start()
    except BaseException:
        engine.close()
        raise
    return service


def make_server(service: Service) -> uvicorn.Server:
    """A uvicorn server that stops the device before it stops itself."""
    import uvicorn

    from edge.server.app import make_app
    from edge.server.connections import limited_protocol

    settings = service.settings

    class StoppingServer(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            stopping = asyncio.create_task(asyncio.to_thread(service.device.stop, settings.stop_timeout_s))
            await super().shutdown(sockets)
            await stopping

    config = uvicorn.Config(
        make_app(service),
        http=limited_protocol(
            max_connections=settings.max_connections,
            header_timeout_s=settings.header_timeout_s,
            write_timeout_s=settings.write_timeout_s,
        ),
        ws="none",
        proxy_headers=False,  # nothing here asks who the client is
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(2 * settings.stop_timeout_s) + 5,
    )
    return StoppingServer(config)
