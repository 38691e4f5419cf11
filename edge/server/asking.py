"""From a request to its reply, the way every asking path goes.

Knows: read, complete, admit, reply. Does not know: either API.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edge.server.body import read_body
from edge.server.gate import refuse
from edge.server.replies import AnswerReply, ReplyForm

if TYPE_CHECKING:
    from starlette.requests import Request

    from edge.server.ask import Ask
    from edge.server.service import Service
    from edge.server.ticket import Ticket


async def read_object(service: Service, request: Request) -> Any:
    """The JSON value of the body, within the server's limits. Raises Refusal."""
    settings = service.settings
    return await read_body(request, max_bytes=settings.max_body_bytes, timeout_s=settings.body_timeout_s)


async def reply_to(service: Service, request: Request, ask: Ask, form: Callable[[Ticket], ReplyForm]) -> AnswerReply:
    """Complete ``ask`` with what the operator adds, admit it, reply in ``form`` as it is answered. Raises Refusal."""
    ask = await service.briefing.complete(ask)
    ticket, path = await service.device.submit(ask), request.scope["path"]
    return AnswerReply(ticket, form(ticket), refuse=lambda refusal: refuse(refusal, path), drop=service.device.drop)
