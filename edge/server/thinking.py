"""How an answer's options change where others need the device.

Knows: options. Does not know: queues, clocks, or who asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edge.chat_types import AnswerOptions

WITHOUT_THINKING: Mapping[str, Any] = {"think": "off", "min_think_tokens": None, "think_share": 1.0}


def with_budget(options: AnswerOptions, tokens: int) -> AnswerOptions:
    """``options`` with a smaller budget where they have one that is more than ``tokens``.

    Thinking without one is not planned ahead: it is closed as soon as those who wait need the device.
    """
    if options.think_tokens is None or tokens >= options.think_tokens:
        return options
    least = options.min_think_tokens
    return replace(options, think_tokens=tokens, min_think_tokens=least and min(least, tokens))
