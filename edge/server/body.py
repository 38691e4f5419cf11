"""The body of a request: read whole within its limits of size and time, or refused.

Knows: Starlette's requests. Does not know: what is in a body.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from edge.server.refusal import TIMED_OUT, TOO_LARGE, Refusal
from edge.server.wire import read_json

if TYPE_CHECKING:
    from starlette.requests import Request


async def read_body(request: Request, *, max_bytes: int, timeout_s: float) -> Any:
    """The JSON value of the body. Raises Refusal, and ClientDisconnect where the client has gone."""
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise _too_large(max_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for piece in request.stream():
                body += piece
                if len(body) > max_bytes:
                    raise _too_large(max_bytes)
    except TimeoutError:
        raise Refusal(
            TIMED_OUT, "body_timeout", f"The request was not there whole after {timeout_s:g} s; send it faster."
        ) from None
    return read_json(bytes(body))


def _too_large(max_bytes: int) -> Refusal:
    return Refusal(TOO_LARGE, "body_too_large", f"The request has more than {max_bytes:,} bytes; send less.")
