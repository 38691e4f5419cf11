"""An answer in the words of the Ollama API.

Knows: Ollama's objects. Does not know: HTTP, devices, or requests.
"""

from __future__ import annotations

from typing import Any

from edge.server.edge_part import error_part
from edge.server.refusal import Refusal


def error_body(refusal: Refusal) -> dict[str, Any]:
    """An error in Ollama's form."""
    return {"error": str(refusal), "code": refusal.code, **error_part(refusal)}
