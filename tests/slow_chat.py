"""``edge-chat`` with a model that counts for ever, slowly: what a person at a terminal can interrupt at leisure.

Knows: a scripted model, and the command that is run with it. Does not know: terminals, or who types.
Run as a script; takes the arguments of ``edge-chat``. Where the thinking is closed, the counting begins anew.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from scripted_models import scripted_model

import edge.chat_command
from edge.cli import chat_main
from edge.engine import Engine

STEP_S = 0.01
ANSWER = "<answer>\n"


def count_for_ever() -> Engine:
    """An engine whose model counts, in its thinking and in its answer, and never goes in circles."""
    model = scripted_model("", context_size=2**20)
    tokenizer = model.tokenizer
    line = tokenizer.encode_control(" ".join(map(str, range(1, 20_000))))
    starts: list[int] = []  # of the thinking, and of the answer

    def script(held: Sequence[int]) -> int:
        time.sleep(STEP_S)
        is_answer = b"".join(map(tokenizer.token_bytes, held[-32:])).decode(errors="ignore").endswith(ANSWER)
        if is_answer or not starts:
            starts.append(len(held))
        return line[len(held) - starts[-1]]

    model.backend._script = script  # type: ignore[attr-defined]
    return Engine(model)


def load(*_arguments: Any, **_options: Any) -> Engine:
    """In place of ``edge.load``."""
    return count_for_ever()


if __name__ == "__main__":
    edge.chat_command.load = load  # type: ignore[attr-defined]
    sys.argv[0] = "edge-chat"
    chat_main()
