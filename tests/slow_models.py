"""An engine that takes its time with every token, so that a test can act while an answer is under way.

Knows: the scripted models. Does not know: the code under test.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from scripted_models import scripted_model

from edge.backends.scripted import ScriptedBackend
from edge.engine import Engine

ENDLESS = " ".join(map(str, range(400)))
THOUGHTS = "12+30=42. " + " ".join(f"{n}+1={n + 1}." for n in range(200))
THINKER = f"{THOUGHTS}\n</think>\n\n<answer>\n42\n</answer>"


def slow_engine(*replies: str, step_s: float = 0.02, context_size: int = 4096) -> Engine:
    """An engine that wants to say the first of ``replies`` and needs ``step_s`` for each token."""
    engine = Engine(scripted_model(*(replies or (ENDLESS,)), context_size=context_size))
    backend = engine.model.backend
    assert isinstance(backend, ScriptedBackend)
    append = backend.append

    def slow_append(sequence: int, tokens: Sequence[int]) -> None:
        time.sleep(step_s)
        append(sequence, tokens)

    backend.append = slow_append  # type: ignore[method-assign]
    return engine


def num_steps(engine: Engine) -> int:
    """Tokens that were evaluated one by one so far."""
    assert isinstance(engine.model.backend, ScriptedBackend)
    return sum(call.method == "append" for call in engine.model.backend.calls)


def until(is_so: object, seconds: float = 20.0) -> bool:
    """Wait until ``is_so()``; False where it does not come."""
    assert callable(is_so)
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        if is_so():
            return True
        time.sleep(0.002)
    return False
