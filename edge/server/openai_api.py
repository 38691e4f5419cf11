"""The paths of the OpenAI API.

Knows: which path reads what and replies in which form. Does not know: fields, forms or devices.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from starlette.routing import Route

from edge.server.asking import read_object, reply_to
from edge.server.fields import read_fields
from edge.server.openai_ask import read_chat, read_completion
from edge.server.openai_reply import OpenAiReply
from edge.server.openai_types import ControlRequest
from edge.server.refusal import NOT_FOUND, Refusal
from edge.server.replies import json_reply

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from edge.server.service import Service


class OpenAiApi:
    """The handlers, and the routes to them."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """Where each handler is found."""
        return [
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/chat/completions/control", self.control, methods=["POST"]),
            Route("/v1/completions", self.completion, methods=["POST"]),
            Route("/v1/models", self.models),
            Route("/v1/models/{name:path}", self.model),
        ]

    async def chat(self, request: Request) -> Response:
        """Answer a conversation."""
        ask = read_chat(await read_object(self._service, request), self._service.limits)
        return await reply_to(
            self._service, request, ask, partial(OpenAiReply, model=self._service.model, is_chat=True)
        )

    async def completion(self, request: Request) -> Response:
        """Answer a prompt."""
        ask = read_completion(await read_object(self._service, request), self._service.limits)
        return await reply_to(
            self._service, request, ask, partial(OpenAiReply, model=self._service.model, is_chat=False)
        )

    async def control(self, request: Request) -> Response:
        """End the thinking of an answer that is under way."""
        fields, _ = read_fields(ControlRequest, await read_object(self._service, request))
        ticket = self._service.device.find(fields.id.rpartition("-")[2])
        if ticket is None:
            raise Refusal(NOT_FOUND, "no_such_answer", "No answer of that id is under way.", field="id")
        ticket.stop_thinking()
        return json_reply({"id": fields.id, "action": fields.action, "success": True})

    async def models(self, request: Request) -> Response:
        """The one model that is loaded."""
        return json_reply({"object": "list", "data": [self._model()]})

    async def model(self, request: Request) -> Response:
        """The same by its name."""
        self._service.limits.check_model(request.path_params["name"])
        return json_reply(self._model())

    def _model(self) -> dict[str, object]:
        service = self._service
        return {"id": service.model, "object": "model", "created": service.loaded_at_s, "owned_by": "edge-think"}
