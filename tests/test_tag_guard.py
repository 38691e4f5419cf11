"""Banned tags never get through, and nothing else is lost or kept back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.tag_guard import TagGuard

TAGS = ("<think>", "<think_on>", "\nUser:")
texts = st.lists(st.sampled_from(["<", "th", "ink", ">", "_on", "\n", "User", ":", "a", "<th", "nk>", "", "x<think>y"]))


def let_through(tokens: list[str]) -> tuple[str, int]:
    """The text that comes out of a guard, and how many tokens had to be unsaid."""
    guard, shown, num_unsaid = TagGuard(TAGS), "", 0
    for token in tokens:
        text, count = guard.feed(token)
        shown += text
        num_unsaid += count
    return shown + guard.flush(), num_unsaid


@given(texts)
def test_no_tag_gets_through_alone(tokens: list[str]) -> None:
    """Text let through before and after an unsaid tag may meet, but each stretch is free of tags."""
    guard, stretch = TagGuard(TAGS), ""
    for token in tokens:
        text, num_unsaid = guard.feed(token)
        stretch += text
        assert not any(tag in stretch for tag in TAGS)
        if num_unsaid:
            stretch = ""
    assert not any(tag in stretch + guard.flush() for tag in TAGS)


@given(texts)
def test_text_without_tags_comes_out_whole(tokens: list[str]) -> None:
    shown, num_unsaid = let_through(tokens)
    joined = "".join(tokens)
    if any(tag in joined for tag in TAGS):
        assert num_unsaid > 0
    else:
        assert (shown, num_unsaid) == (joined, 0)


def test_only_the_tokens_of_the_tag_are_unsaid() -> None:
    """Unsaying a token whose text was shown already would leave the screen and the cache apart."""
    guard = TagGuard(TAGS)
    assert [guard.feed(token) for token in ("so ", "<", "think", ">")] == [("so ", 0), ("", 0), ("", 0), ("", 3)]


def test_a_token_that_only_ends_like_a_tag_goes_with_it() -> None:
    guard = TagGuard(TAGS)
    assert [guard.feed(token) for token in ("a", "b<th", "ink>")] == [("a", 0), ("", 0), ("", 2)]


def test_a_false_start_is_let_go_at_once() -> None:
    """Held text that cannot become a tag any more must not wait for the end of the answer."""
    guard = TagGuard(TAGS)
    assert [guard.feed(token) for token in ("<", "thin", " ice")] == [("", 0), ("", 0), ("<thin ice", 0)]


def test_without_tags_nothing_is_held() -> None:
    assert TagGuard(()).feed("<think>") == ("<think>", 0)
