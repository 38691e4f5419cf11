"""What Prometheus is told: queue, first tokens, speed, the share of thinking, deadlines kept and missed by cause.

Knows: prometheus_client, and what counts as a deadline kept. Does not know: requests' texts, or HTTP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from edge.server.refusal import Refusal

if TYPE_CHECKING:
    from edge.chat_types import Answer
    from edge.server.device import Device
    from edge.server.ticket import Ticket

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
SPEEDS = (1, 2, 5, 10, 15, 20, 30, 50, 100, 200, 500, 1000, 2000, 5000, 10000)


class Metrics:
    """A registry of its own, so that several servers may live in one process. Safe from any thread."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter("edge_requests", "Requests by HTTP status.", ["path", "status"], registry=registry)
        self._queue_s = Histogram("edge_queue_seconds", "From request to device.", buckets=SECONDS, registry=registry)
        self._first_s = Histogram(
            "edge_first_token_seconds", "From request to the first visible text.", buckets=SECONDS, registry=registry
        )
        self._total_s = Histogram("edge_answer_seconds", "From request to end.", buckets=SECONDS, registry=registry)
        self._speed = Histogram("edge_tokens_per_second", "While decoding.", buckets=SPEEDS, registry=registry)
        self._tokens = Counter("edge_tokens", "Generated tokens by stage.", ["stage"], registry=registry)
        self._answers = Counter("edge_answers", "Answers by whether they thought.", ["thought"], registry=registry)
        self._deadlines = Counter(
            "edge_deadlines", "Deadlines kept and missed, by cause.", ["kept", "cause"], registry=registry
        )
        self._waiting = Gauge("edge_queue_length", "Requests that wait.", registry=registry)
        self._busy = Gauge("edge_device_busy", "Whether an answer is under way.", registry=registry)

    def watch(self, device: Device) -> None:
        """Look at ``device`` whenever the metrics are asked for."""
        self._waiting.set_function(lambda: device.num_waiting)
        self._busy.set_function(lambda: float(device.is_busy))

    def request(self, path: str, status: int) -> None:
        """A request was replied to; ``path`` is one of the server's own."""
        self._requests.labels(path, status).inc()

    def refused(self, refusal: Refusal) -> None:
        """The device had no time for a request."""
        if refusal.possible_s is not None:
            self._deadlines.labels("no", "refused").inc()

    def ended(self, ticket: Ticket, outcome: Answer | Refusal) -> None:
        """An admitted request has ended."""
        if isinstance(outcome, Refusal):
            if outcome.code == "deadline_passed":
                self._deadlines.labels("no", "queue").inc()
            return
        timings, usage = outcome.timings, outcome.usage
        self._queue_s.observe(timings.queue_s)
        self._total_s.observe(timings.total_s)
        if timings.ttft_s:
            self._first_s.observe(timings.ttft_s)
        if timings.decode_tokens_per_s:
            self._speed.observe(timings.decode_tokens_per_s)
        for stage in ("judge", "thinking", "answer"):
            self._tokens.labels(stage).inc(getattr(usage, f"{stage}_tokens"))
        self._answers.labels("yes" if usage.thinking_tokens else "no").inc()
        if not ticket.is_gone:
            self._deadlines.labels(*deadline_result(outcome, ticket.due_s - ticket.asked_at_s)).inc()

    def text(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self._registry)


def deadline_result(answer: Answer, deadline_s: float) -> tuple[str, str]:
    """Whether the deadline was kept, and a cause where it was not, or only by cutting the answer short."""
    if answer.finish_reason == "deadline" and not answer.has_answer:
        return "no", "prompt"
    if answer.timings.total_s > deadline_s:
        return "no", "late"
    return "yes", "cut" if answer.finish_reason == "deadline" else "whole"
