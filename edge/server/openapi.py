"""The server's own description in OpenAPI 3.1, made from the typed requests, for tools that read such a thing.

Knows: which path takes which request. Does not know: how it is answered.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from edge import __version__
from edge.server.ollama_types import OllamaChat, OllamaGenerate, OllamaShow
from edge.server.openai_types import ChatRequest, CompletionRequest, ControlRequest
from edge.server.replies import json_reply

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from edge.server.fields import Fields

REQUESTS: dict[str, type[Fields]] = {
    "/v1/chat/completions": ChatRequest,
    "/v1/chat/completions/control": ControlRequest,
    "/v1/completions": CompletionRequest,
    "/api/chat": OllamaChat,
    "/api/generate": OllamaGenerate,
    "/api/show": OllamaShow,
}
LOOKS = ("/v1/models", "/v1/models/{name}", "/api/tags", "/api/ps", "/api/version", "/health", "/metrics")
STATUSES = {
    "400": "A field that cannot be honoured, by its name",
    "401": "The API key is missing or wrong",
    "403": "Another host or origin",
    "404": "Another model, or nothing there",
    "408": "The body came too slowly",
    "413": "Too large",
    "500": "The device failed",
    "503": "No time for it: Retry-After, and what would be possible",
}


class OpenApi:
    """``/openapi.json``."""

    def routes(self) -> list[Route]:
        """Where it is found."""
        return [Route("/openapi.json", self.show)]

    async def show(self, request: Request) -> Response:
        """The description."""
        return json_reply(description())


@lru_cache(maxsize=1)
def description() -> dict[str, Any]:
    """The whole description as one JSON object."""
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for path, model in REQUESTS.items():
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {}) | {model.__name__: schema}
        body = {"$ref": f"#/components/schemas/{model.__name__}"}
        paths[path] = {"post": _operation(path) | {"requestBody": {"required": True, "content": _json(body)}}}
    for path in LOOKS:
        names = [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}]
        paths[path] = {"get": _operation(path) | ({"parameters": names} if "{" in path else {})}
    info = {"title": "edge-think", "version": __version__}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


def _operation(path: str) -> dict[str, Any]:
    errors = {status: {"description": text, "content": _json({"type": "object"})} for status, text in STATUSES.items()}
    return {"operationId": path.strip("/").replace("/", "_"), "responses": {"200": {"description": "Done"}, **errors}}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
