"""Answers on this machine from a small language model that thinks only when it pays.

    >>> import edge
    >>> with edge.load() as engine:
    ...     for event in engine.stream("What is 38*47-5+12?", edge.AnswerOptions(think="on", temperature=0)):
    ...         if event.kind == "answer":
    ...             print(event.text, end="")
    ...     print()
    ...     answer = engine.answer("2+3=?")
    ...     print(answer.answer, answer.decision.think, answer.finish_reason)
    1793
    5 False stop

``load`` takes a bundle's folder, a GGUF file or the name of an embedded model; without one it is ``spark``.
``engine.answer`` is the stream joined, ``engine.session()`` a conversation. ``stop()`` of a stream may be called from
any thread. Every failure is an ``EdgeError`` whose text is one sentence for a person.

Knows: the public names and where they live. Does not know: anything else; each is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.chat_types import Answer, AnswerOptions, Decision, Message, StreamEvent, Timings, Usage
    from edge.engine import Engine, load
    from edge.running_answer import RunningAnswer
    from edge.session import Session
    from models.errors import EdgeError

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "AnswerOptions",
    "Decision",
    "EdgeError",
    "Engine",
    "Message",
    "RunningAnswer",
    "Session",
    "StreamEvent",
    "Timings",
    "Usage",
    "load",
]

_HOMES = {
    "edge.chat_types": ("Answer", "AnswerOptions", "Decision", "Message", "StreamEvent", "Timings", "Usage"),
    "edge.engine": ("Engine", "load"),
    "edge.running_answer": ("RunningAnswer",),
    "edge.session": ("Session",),
    "models.errors": ("EdgeError",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'edge' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
