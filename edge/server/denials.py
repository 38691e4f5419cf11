"""What a client is told of a request that the device cannot serve in time, or not as it was asked to.

Knows: verdicts of the queue, errors of the device. Does not know: HTTP, or either API.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edge.server.refusal import FAILED, UNAVAILABLE, Refusal, bad_request
from models.errors import BackendError, EdgeError, UsageError

if TYPE_CHECKING:
    from edge.chat_types import Decision, StreamEvent
    from edge.server.queue import Verdict

RESTART_S = 5.0  # when to ask again while the server is being stopped


def too_late(verdict: Verdict, deadline_s: float, delivery_s: float, *, is_full: bool) -> Refusal:
    """For a request that was not admitted; ``delivery_s`` are for the way back."""
    possible_s = verdict.possible_s + delivery_s
    code = "queue_full" if is_full else "deadline_impossible"
    sentence = (
        f"The deadline of {deadline_s:.3g} s cannot be kept: {possible_s:.3g} s would be possible now; allow "
        "more, or ask for best_effort."
    )
    if is_full:
        sentence = f"The queue is full; ask again in {verdict.retry_after_s:.3g} s."
    return Refusal(UNAVAILABLE, code, sentence, retry_after_s=verdict.retry_after_s, possible_s=possible_s)


def passed(seconds: float) -> Refusal:
    """For a request that the device was too slow for, against all that was known when it was admitted."""
    sentence = f"The deadline passed after {seconds:.3g} s, before there was an answer; ask again, and allow more."
    return Refusal(UNAVAILABLE, "deadline_passed", sentence, retry_after_s=seconds)


def called_off() -> Refusal:
    """For a request whose client has gone, so that nobody reads this."""
    return Refusal(UNAVAILABLE, "called_off", "The client has gone.")


def stopping() -> Refusal:
    """For a request that comes, or waits, while the server is being stopped."""
    return Refusal(UNAVAILABLE, "stopping", "The server is being stopped; ask again.", retry_after_s=RESTART_S)


def with_note(event: StreamEvent, note: str | None) -> StreamEvent:
    """``event`` with what the queue has done to the answer as a part of its decision's reason."""
    if note is None:
        return event
    if event.result is not None:
        return replace(event, result=replace(event.result, decision=_noted(event.result.decision, note)))
    return event if event.decision is None else replace(event, decision=_noted(event.decision, note))


def _noted(decision: Decision, note: str) -> Decision:
    reason = note if decision.think is False else f"{decision.reason}; {note}"
    return replace(decision, reason=reason, source="deadline")


def refusal_of(error: EdgeError) -> Refusal:
    """For a request that failed on the device."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, UsageError):
        return bad_request(str(error))
    code = "device_failed" if isinstance(error, BackendError) else "model_failed"
    return Refusal(FAILED, code, str(error))
