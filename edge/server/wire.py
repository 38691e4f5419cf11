"""JSON as it is read from and written to a client.

Knows: strict JSON. Does not know: HTTP, or what the values mean.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from edge.server.refusal import bad_request

_encode = json.JSONEncoder(ensure_ascii=False).encode


def json_text(value: Any) -> str:
    """``value`` as one line of JSON."""
    return _encode(value)


def json_bytes(value: Any) -> bytes:
    """The same in UTF-8; half of a surrogate pair, which a client may have sent, becomes a question mark."""
    return _encode(value).encode("utf-8", "replace")


def read_json(body: bytes) -> Any:
    """The value of ``body``. Raises Refusal for what is no strict JSON: NaN and Infinity are none."""
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise bad_request("The request is not UTF-8; encode it so.") from None
    except RecursionError:
        raise bad_request("The request is nested too deeply; make it flatter.") from None
    except ValueError as exc:
        raise bad_request(f"The request is not JSON ({exc}); correct it.") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
