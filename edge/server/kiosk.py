"""The page for a touch screen: its files, and the operator's words that it shows.

Knows: the files in the folder ``page``, the headers that keep a browser to them, which words are for which language.
Does not know: how the page works, or how a question is answered; the page asks as every other client does.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.routing import Route

from edge.server.refusal import NOT_FOUND, Refusal
from edge.server.replies import json_reply
from models.errors import UsageError

if TYPE_CHECKING:
    from starlette.requests import Request

    from edge.server.service import Service

LANGUAGES = ("en", "zh")
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS = {
    # Nothing but the page's own files and this server; no inline script or style; no text becomes markup.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cache-Control": "no-cache",  # ask each time whether it is still the same
}


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    media_type: str
    tag: str  # an ETag


class Kiosk:
    """``/``, and what belongs to it under ``/page/``. Raises UsageError for a language that there is not."""

    def __init__(self, service: Service) -> None:
        settings = service.settings
        if settings.language not in ("auto", *LANGUAGES):
            raise UsageError(f"language is {settings.language!r}; use auto, {' or '.join(LANGUAGES)}.")
        self._service = service
        self._files = _page_files()
        self._facts: dict[str, Any] = {
            "instance": secrets.token_hex(8),  # another one means that the server was started again
            "model": service.model,
            "deadline_s": min(settings.deadline_s, settings.longest_s),
            "idle_s": settings.idle_s,
            "language": settings.language,
            "has_notes": service.briefing.notes is not None,
            "welcome": by_language(settings.welcome),
            "suggestions": by_language(settings.suggestion),
        }

    def routes(self) -> list[Route]:
        """Where each handler is found."""
        return [
            Route("/", self.index),
            Route("/page/settings", self.settings),
            Route("/page/{name}", self.file),
        ]

    async def index(self, request: Request) -> Response:
        """The page itself."""
        return self._reply(request, "index.html")

    async def file(self, request: Request) -> Response:
        """What the page is made of."""
        return self._reply(request, request.path_params["name"])

    async def settings(self, request: Request) -> Response:
        """What the operator has set, and which run of the server this is."""
        return json_reply(self._facts, headers={"Cache-Control": "no-store"})

    def _reply(self, request: Request, name: str) -> Response:
        file = self._files.get(name)
        if file is None:
            raise Refusal(NOT_FOUND, "no_such_path", "The page has no file of that name; open / instead.")
        headers = {**HEADERS, "ETag": file.tag}
        if request.headers.get("if-none-match") == file.tag:
            return Response(status_code=304, headers=headers)
        return Response(file.body, headers=headers, media_type=file.media_type)


def by_language(texts: Iterable[str]) -> dict[str, list[str]]:
    """``texts`` for each language: all but those that begin with the name of another, as ``zh: 你好``."""
    sorted_texts: dict[str, list[str]] = {language: [] for language in LANGUAGES}
    for text in texts:
        prefix, colon, rest = text.partition(":")
        if colon and prefix in sorted_texts:
            sorted_texts[prefix].append(rest.strip())
        else:
            for language in LANGUAGES:
                sorted_texts[language].append(text.strip())
    return sorted_texts


def _page_files() -> dict[str, _File]:
    """The page's files by name, read once."""
    found: dict[str, _File] = {}
    for path in files("edge.server").joinpath("page").iterdir():
        media_type = MEDIA_TYPES.get(f".{path.name.rpartition('.')[2]}")
        if media_type is not None:
            body = path.read_bytes()
            found[path.name] = _File(body, media_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
    return found
