"""Keeps banned tags out of generated text, whatever tokens they are made of.

Knows: the banned texts and the text of the tokens that may be the beginning of one. Does not know: token ids, why a
tag is banned, or how tokens are taken back.

A ban on token ids is enough only where a tag is one token. Most vocabularies spell the same tag in several ways
(``<th|ink|>``, ``<|think|>``), so the last word is had on text: what may become a tag is held back, and when it has
become one, its tokens have to be unsaid.
"""

from __future__ import annotations

from collections.abc import Iterable


class TagGuard:
    """Reads the text of one token after the other; lets through what cannot be part of a banned tag any more."""

    __slots__ = ("_held", "_starts", "_tags")

    def __init__(self, tags: Iterable[str]) -> None:
        self._tags = tuple(tags)
        self._starts = frozenset(tag[0] for tag in self._tags)
        self._held: list[str] = []  # one text a token

    def feed(self, text: str) -> tuple[str, int]:
        """Take the ``text`` of one token; give the text that is safe now and the number of tokens to unsay.

        The number counts back from the token just fed, which is included; it is 0 unless a banned tag is complete.
        Text is let through in whole tokens, so that unsaying a token never touches text already given out.
        """
        if not self._held and self._starts.isdisjoint(text):
            return text, 0
        self._held.append(text)
        joined = "".join(self._held)
        complete = [start for tag in self._tags if (start := joined.find(tag)) >= 0]
        safe = self._release(min(complete) if complete else self._possible_start(joined))
        if not complete:
            return safe, 0
        num_unsaid = len(self._held)
        self._held.clear()
        return safe, num_unsaid

    @property
    def is_holding(self) -> bool:
        """Whether text is held back."""
        return bool(self._held)

    def flush(self) -> str:
        """The text still held back: nothing follows, so it is no tag."""
        text = "".join(self._held)
        self._held.clear()
        return text

    def _possible_start(self, text: str) -> int:
        """Where the longest end of ``text`` begins that a banned tag could start with; its length if there is none."""
        for start, character in enumerate(text):
            if character in self._starts:
                rest = text[start:]
                if any(tag.startswith(rest) for tag in self._tags):
                    return start
        return len(text)

    def _release(self, start: int) -> str:
        """Let go of the oldest tokens that end at or before ``start``."""
        end = count = 0
        for text in self._held:
            if end + len(text) > start:
                break
            end += len(text)
            count += 1
        released = "".join(self._held[:count])
        del self._held[:count]
        return released
