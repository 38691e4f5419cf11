"""How large a context can be: what was asked, what the model was trained for, what memory allows.

Knows: bytes and tokens. Does not know: how a backend allocates them.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import BackendError, UsageError

LARGEST_DEFAULT_TOKENS = 8192
SMALLEST_DEFAULT_TOKENS = 256
WEIGHTS_FACTOR = 1.1  # weights may be copied into a layout for this CPU, a little larger than the file
WORK_BYTES = 192 * 2**20  # activations, logits, the tokenizer, Python


@dataclass(frozen=True, slots=True)
class ContextPlan:
    """``size`` in tokens, and why it is what it is; ``is_cut_short`` when memory gives less than the model could."""

    size: int
    reason: str
    is_cut_short: bool = False


def plan_context(
    asked: int | None, *, trained: int, kv_bytes_per_token: int, weight_bytes: int, available_bytes: int | None
) -> ContextPlan:
    """The context to open, in tokens.

    Raises UsageError when more is asked for than the model was trained for, BackendError when memory does not suffice.
    """
    if asked is not None and not 0 < asked <= trained:
        raise UsageError(f"The context is {asked} tokens; this model takes 1 to {trained}.")
    wanted = asked or min(trained, LARGEST_DEFAULT_TOKENS)
    room = _room_tokens(kv_bytes_per_token, weight_bytes, available_bytes)
    if room is None or wanted <= room:
        return ContextPlan(wanted, _reason(asked, trained))
    free_mb = (available_bytes or 0) // 2**20
    if asked is not None or room < SMALLEST_DEFAULT_TOKENS:
        needed_mb = (_fixed_bytes(weight_bytes) + wanted * kv_bytes_per_token) // 2**20
        raise BackendError(
            f"The model with a context of {wanted} tokens needs about {needed_mb} MB and {free_mb} MB are free; "
            "close other programs, or use a smaller context or model."
        )
    reason = f"memory: {free_mb} MB are free, and a context of {wanted} tokens would need more"
    return ContextPlan(room // SMALLEST_DEFAULT_TOKENS * SMALLEST_DEFAULT_TOKENS, reason, is_cut_short=True)


def _room_tokens(kv_bytes_per_token: int, weight_bytes: int, available_bytes: int | None) -> int | None:
    """How many tokens fit beside the weights; None where that is not known or costs nothing."""
    if available_bytes is None or kv_bytes_per_token == 0:
        return None
    return max(0, available_bytes - _fixed_bytes(weight_bytes)) // kv_bytes_per_token


def _fixed_bytes(weight_bytes: int) -> int:
    return int(weight_bytes * WEIGHTS_FACTOR) + WORK_BYTES


def _reason(asked: int | None, trained: int) -> str:
    if asked is not None:
        return "asked for"
    return "the model was trained for it" if trained <= LARGEST_DEFAULT_TOKENS else "the largest default"
