"""What the handlers share: the device, the limits, what the operator adds, the log, the numbers.

Knows: how these come from settings and an engine. Does not know: HTTP, or either API.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.server.ask_limits import AskLimits
from edge.server.briefing import Briefing
from edge.server.device import Device
from edge.server.doors import Door, is_this_machine
from edge.server.log import Log
from edge.server.metrics import Metrics
from edge.server.notes import Notes
from edge.server.refusal import Refusal

if TYPE_CHECKING:
    from edge.chat_types import Answer
    from edge.engine import Engine
    from edge.server.device_thread import DeviceThread
    from edge.server.settings import Settings
    from edge.server.ticket import Ticket


@dataclass(frozen=True, slots=True)
class Service:
    """One server's parts; ``model`` is the loaded model's name, ``loaded_at_s`` when that was, in Unix time."""

    settings: Settings
    device: Device
    limits: AskLimits
    briefing: Briefing
    door: Door
    log: Log
    metrics: Metrics
    model: str
    loaded_at_s: int

    @staticmethod
    def of(settings: Settings, engine: Engine, loaded_at_s: int, thread: DeviceThread | None = None) -> Service:
        """The parts for ``settings``; the device begins with ``device.start``, in ``thread``, where it was loaded."""
        log, metrics = Log(None if settings.log_file is None else Path(settings.log_file)), Metrics()
        reports = _Reports(log, metrics, logs_prompts=settings.log_prompts)
        device = Device(
            engine,
            queue_limit=settings.queue,
            deadline_s=settings.deadline_s,
            longest_s=settings.longest_s,
            cache_bytes=settings.cache_mib * 2**20,
            cache_file=None if settings.cache_file is None else Path(settings.cache_file),
            report=reports.ended,
            thread=thread,
        )
        metrics.watch(device)
        notes = None if settings.notes is None else Notes(Path(settings.notes))
        briefing = Briefing(settings.system, notes, engine.count_tokens, engine.model.backend.context_size)
        limits = AskLimits(
            names=(engine.model.name, *settings.alias),
            messages=settings.max_messages,
            tokens=settings.max_tokens,
            schema_values=settings.max_schema_values,
            schema_depth=settings.max_schema_depth,
        )
        door = Door(settings.api_key, settings.cors_origin, is_local=is_this_machine(settings.host))
        return Service(settings, device, limits, briefing, door, log, metrics, engine.model.name, loaded_at_s)


class _Reports:
    """What is written down of each answer."""

    def __init__(self, log: Log, metrics: Metrics, *, logs_prompts: bool) -> None:
        self._log = log
        self._metrics = metrics
        self._logs_prompts = logs_prompts

    def ended(self, ticket: Ticket, outcome: Answer | Refusal) -> None:
        self._metrics.ended(ticket, outcome)
        if isinstance(outcome, Refusal):
            self._log.write("failed", id=ticket.id, code=outcome.code)
            if outcome.__cause__ is not None:
                self._log.failure("mistake", outcome.__cause__, id=ticket.id)
            return
        facts: dict[str, Any] = {
            "id": ticket.id,
            "finish": outcome.finish_reason,
            "think": outcome.decision.think,
            "source": outcome.decision.source,
            "deadline_s": round(ticket.due_s - ticket.asked_at_s, 4),
            "tokens": asdict(outcome.usage),
            "timings": {name: round(seconds, 4) for name, seconds in asdict(outcome.timings).items()},
            "is_gone": ticket.is_gone,
        }
        if self._logs_prompts:
            facts |= {"prompt": ticket.ask.messages[-1].content, "raw": outcome.raw}
        self._log.write("answered", **facts)
