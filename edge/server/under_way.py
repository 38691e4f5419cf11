"""The answer that has the device: how far it is, and how long it may still take.

Knows: an answer's events, a forecast. Does not know: threads, queues, or who asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.chat_types import StreamEvent
from edge.server.forecast import Forecast

if TYPE_CHECKING:
    from edge.server.ticket import Ticket


class UnderWay:
    """What is known of the answer under way; written by the device's thread, read by those who ask to be admitted."""

    def __init__(self, ticket: Ticket, start_s: float, forecast: Forecast) -> None:
        self.ticket = ticket
        self.start_s = start_s
        self.num_pieces = 0  # of the present stage; each is a token or a little more
        self.is_thinking = False
        self._forecast = forecast

    def hear(self, event: StreamEvent) -> None:
        """Follow the answer."""
        is_thinking = event.kind in ("judge", "thinking") or (event.decision is not None and bool(event.decision.think))
        if is_thinking != self.is_thinking:
            self.is_thinking, self.num_pieces = is_thinking, 0
        self.num_pieces += 1

    def left_s(self, now_s: float) -> float:
        """How long the answer may still take once its thinking is closed."""
        forecast, context = self._forecast, len(self.ticket.prompt)
        if self.is_thinking:
            return forecast.closing_s(context + self.num_pieces)
        begun_s = max(self.start_s + self.ticket.need.slow_s - now_s, 0.0)
        left_s = max(forecast.answering_s(self.num_pieces, context), begun_s if not self.num_pieces else 0.0)
        return min(left_s, max(self.ticket.last_s - now_s, forecast.step_s))
