"""What both APIs' replies carry under ``edge``: the decision, its reason, how the answer ended, and its timings.

Knows: answers and refusals. Does not know: either API.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from edge.chat_types import Answer, Decision
from edge.server.refusal import Refusal
from edge.server.ticket import Ticket

WORDS = {True: "on", False: "off", None: "open"}


def edge_part(answer: Answer, ticket: Ticket) -> dict[str, Any]:
    """What is known at the end; ``finish`` is the runtime's own word."""
    part: dict[str, Any] = {
        **decision_part(answer.decision),
        "finish": answer.finish_reason,
        "timings": {name: round(seconds, 6) for name, seconds in asdict(answer.timings).items()},
        "tokens": asdict(answer.usage),
        "ignored": list(ticket.ask.ignored),
    }
    if answer.document is not None:
        part["document"] = answer.document
    if ticket.ask.wants_notes:
        part["sources"] = [asdict(quote) for quote in ticket.ask.quotes]
    return part


def decision_part(decision: Decision) -> dict[str, Any]:
    """What is known as soon as it is decided: on, off, or open where nothing was, and why."""
    return {"decision": WORDS[decision.think], "reason": decision.reason, "source": decision.source}


def error_part(refusal: Refusal) -> dict[str, Any]:
    """When to ask again and what would be possible, for a request that the device has no time for."""
    if refusal.retry_after_s is None:
        return {}
    part = {"retry_after_s": round(refusal.retry_after_s, 3)}
    if refusal.possible_s is not None:
        part["possible_deadline_s"] = round(refusal.possible_s, 3)
    return {"edge": part}
