"""The whole server as one ASGI application.

Knows: which parts have paths. Does not know: what happens on them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from starlette.routing import Route, Router

from edge.server.gate import Gate
from edge.server.kiosk import Kiosk
from edge.server.ollama_api import OllamaApi
from edge.server.openai_api import OpenAiApi
from edge.server.openapi import OpenApi
from edge.server.operations import Operations

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from edge.server.service import Service


class Part(Protocol):
    """Something with paths."""

    def routes(self) -> list[Route]:
        """Where each of its handlers is found."""
        ...


def make_app(service: Service) -> ASGIApp:
    """The application around ``service``."""
    parts: list[Part] = [OpenAiApi(service), OllamaApi(service), Operations(service), OpenApi()]
    if service.settings.page:
        parts.append(Kiosk(service))
    routes = [route for part in parts for route in part.routes()]
    return Gate(Router(routes, redirect_slashes=False), service)
