"""The paths of the Ollama API.

Knows: which path reads what and replies in which form. Does not know: fields, forms or devices.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from edge import __version__
from edge.server import ollama_ask
from edge.server.asking import read_object, reply_to
from edge.server.fields import read_fields
from edge.server.ollama_reply import OllamaReply, loaded_body
from edge.server.ollama_types import OllamaShow
from edge.server.replies import json_reply
from models.gguf_file import read_gguf_header

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from edge.server.ask import Ask
    from edge.server.ask_limits import AskLimits
    from edge.server.service import Service

Read = Callable[[Any, "AskLimits"], "Ask | None"]


class OllamaApi:
    """The handlers, and the routes to them."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """Where each handler is found."""
        return [
            Route("/api/chat", self.chat, methods=["POST"]),
            Route("/api/generate", self.generate, methods=["POST"]),
            Route("/api/show", self.show, methods=["POST"]),
            Route("/api/tags", self.tags),
            Route("/api/ps", self.tags),
            Route("/api/version", self.version),
        ]

    async def chat(self, request: Request) -> Response:
        """Answer a conversation."""
        return await self._answer(request, ollama_ask.read_chat, is_chat=True)

    async def generate(self, request: Request) -> Response:
        """Answer a prompt."""
        return await self._answer(request, ollama_ask.read_generate, is_chat=False)

    async def _answer(self, request: Request, read: Read, *, is_chat: bool) -> Response:
        service = self._service
        ask = read(await read_object(service, request), service.limits)
        if ask is None:
            return json_reply(loaded_body(service.model, is_chat=is_chat))
        return await reply_to(service, request, ask, partial(OllamaReply, model=service.model, is_chat=is_chat))

    async def tags(self, request: Request) -> Response:
        """The one model that is loaded."""
        name = f"{self._service.model}:latest"
        path = self._service.device.engine.model.path
        size = path.stat().st_size if path.is_file() else 0
        entry = {"name": name, "model": name, "modified_at": self._modified_at(), "size": size, "digest": ""}
        return json_reply({"models": [{**entry, "details": self._details()}]})

    async def show(self, request: Request) -> Response:
        """What there is to know about the model."""
        fields, _ = read_fields(OllamaShow, await read_object(self._service, request))
        self._service.limits.check_model(fields.model or fields.name)
        model, details = self._service.device.engine.model, self._details()
        facts = {
            "general.architecture": details["family"],
            f"{details['family']}.context_length": model.backend.context_size,
            "edge.dialect": model.dialect.name,
        }
        can = ["completion", "thinking", *(["tools"] if model.dialect.layout.tool_format is not None else [])]
        return json_reply(
            {"modified_at": self._modified_at(), "details": details, "model_info": facts, "capabilities": can}
        )

    async def version(self, request: Request) -> Response:
        """This program's own version."""
        return json_reply({"version": __version__})

    def _modified_at(self) -> str:
        return datetime.fromtimestamp(self._service.loaded_at_s, UTC).isoformat()

    def _details(self) -> dict[str, Any]:
        path = self._service.device.engine.model.path
        is_gguf = path.suffix == ".gguf" and path.is_file()
        family = read_gguf_header(path).architecture if is_gguf else self._service.model
        form = path.suffix.lstrip(".")
        return {"format": form, "family": family, "families": [family], "parameter_size": "", "quantization_level": ""}
