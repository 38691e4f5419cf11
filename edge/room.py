"""Whether a conversation still fits into the context, and which of its turns go where it does not.

Knows: token counts. Pure. Does not know: messages, tokenizers, or sessions.

The rule: a quarter of the context is kept free for the next answer (less where a smaller limit was asked for). Where
the prompt leaves less, the oldest questions go, each with its answer, until half of the context is free (or twice the
smaller limit): so that it happens rarely, since each time the cache is good for nothing behind the system prompt.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.chat_types import Message

RESERVE_SHARE = 0.25
TOKENS_A_BYTE, MARKS = 2, 128  # MARKS: what a dialect writes around one message


def reserved_tokens(context_size: int, max_tokens: int | None) -> int:
    """What is kept free for an answer."""
    reserve = int(RESERVE_SHARE * context_size)
    return reserve if max_tokens is None else min(reserve, max_tokens)


def most_tokens(messages: Iterable[Message]) -> int:
    """More tokens than ``messages`` can come to: no token is less than a byte, and a normalizer may add some.

    So that a conversation with ample room need not be encoded to be counted.
    """
    return sum(TOKENS_A_BYTE * len(message.content.encode(errors="replace")) + MARKS for message in messages)


def turns_to_drop(prompt_tokens: Callable[[int], int], num_turns: int, context_size: int, reserve: int) -> int:
    """How many of ``num_turns`` turns go, the oldest first; all of them where even that is not enough.

    ``prompt_tokens`` gives the tokens of the prompt without so many turns; fewer turns, fewer tokens.
    """
    if num_turns == 0 or prompt_tokens(0) + reserve <= context_size:
        return 0
    room = context_size - 2 * reserve
    return bisect_left(range(num_turns), True, lo=1, key=lambda dropped: prompt_tokens(dropped) <= room)
