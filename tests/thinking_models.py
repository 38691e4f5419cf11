"""An engine that thinks, and that answers well however its thinking ends.

Knows: the scripted backend. Does not know: the code under test.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scripted_models import scripted_model

from edge.backends.scripted import ScriptedBackend
from edge.engine import Engine

CONTEXT = 4096
JUDGEMENT = "Hard.\n</judge>\n\n<think_on>\n<think>"
LONG_THOUGHTS = "12+30=42. " + " ".join(f"{n}+1={n + 1}." for n in range(400))  # longer than anybody waits


def thinking_engine(answer: str = "42", thoughts: str = LONG_THOUGHTS, *, step_s: float = 0.02) -> Engine:
    """An engine that needs ``step_s`` for each token."""
    model = scripted_model("", context_size=CONTEXT)
    encode, token_id = model.tokenizer.encode_control, model.tokenizer.token_id
    opening, stop = encode(model.dialect.layout.opening), min(model.stop_ids)  # type: ignore[attr-defined]
    # What is said after the last of these tokens; without any of them the judgement is under way.
    sayings = {
        token_id("<answer>"): [*encode(f"\n{answer}\n</answer>"), stop],
        token_id("<think>"): encode(f"\n{thoughts}\n</think>\n\n<answer>"),
    }

    def script(held: Sequence[int]) -> NDArray[np.float32]:
        logits = np.zeros(model.tokenizer.vocab_size, np.float32)
        logits[stop] = 1
        held = list(held)
        starts = [end for end in range(len(opening), len(held) + 1) if held[end - len(opening) : end] == opening]
        spoken = held[starts[-1] :] if starts else []
        cue = next((cue for cue in sayings if cue in spoken), None)
        line, said = (sayings[cue], spoken[spoken.index(cue) + 1 :]) if cue else (encode(JUDGEMENT), spoken)
        if len(said) < len(line):
            logits[line[len(said)]] = 100
        return logits

    backend = ScriptedBackend(script, vocab_size=model.tokenizer.vocab_size, context_size=CONTEXT)
    append = backend.append

    def slow_append(sequence: int, tokens: Sequence[int]) -> None:
        time.sleep(step_s)
        append(sequence, tokens)

    backend.append = slow_append  # type: ignore[method-assign]
    return Engine(replace(model, backend=backend))
