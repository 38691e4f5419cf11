"""The paths for whoever runs the server: is it well, and how does it do.

Knows: what health means here. Does not know: the APIs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

from edge.server.refusal import UNAVAILABLE
from edge.server.replies import json_reply

if TYPE_CHECKING:
    from starlette.requests import Request

    from edge.server.service import Service

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Operations:
    """``/health`` and ``/metrics``."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """Where each handler is found."""
        return [Route("/health", self.health), Route("/metrics", self.metrics)]

    async def health(self, request: Request) -> Response:
        """live: this replies. ready: the device takes requests. self_test: how the model was found to compute."""
        device = self._service.device
        is_ready = device.is_alive
        facts = {
            "status": "ok" if is_ready else "unavailable",
            "live": True,
            "ready": is_ready,
            "self_test": device.self_test,
            "queue": device.num_waiting,
            "busy": device.is_busy,
        }
        return json_reply(facts, 200 if is_ready else UNAVAILABLE)

    async def metrics(self, request: Request) -> Response:
        """Prometheus' text format."""
        return Response(self._service.metrics.text(), media_type=METRICS_TYPE)
