"""Which turns of a full conversation go: few and seldom, and never more than are needed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.room import reserved_tokens, turns_to_drop


def test_a_quarter_of_the_context_is_kept_free_unless_less_was_asked_for() -> None:
    assert reserved_tokens(1000, None) == 250
    assert reserved_tokens(1000, 40) == 40
    assert reserved_tokens(1000, 4000) == 250


@given(
    turns=st.lists(st.integers(1, 400), max_size=30),
    others=st.integers(1, 1200),
    context_size=st.integers(16, 2000),
    max_tokens=st.none() | st.integers(1, 300),
)
def test_turns_go_only_where_they_must_and_then_twice_the_reserve_is_free(
    turns: list[int], others: int, context_size: int, max_tokens: int | None
) -> None:
    """Dropping one turn at every message would cost the whole cache every time."""
    reserve = reserved_tokens(context_size, max_tokens)

    def prompt_tokens(dropped: int) -> int:
        return others + sum(turns[dropped:])

    dropped = turns_to_drop(prompt_tokens, len(turns), context_size, reserve)
    if not turns or prompt_tokens(0) + reserve <= context_size:
        assert dropped == 0
        return
    assert 1 <= dropped <= len(turns)
    assert dropped == len(turns) or prompt_tokens(dropped) + 2 * reserve <= context_size
    assert dropped == 1 or prompt_tokens(dropped - 1) + 2 * reserve > context_size
