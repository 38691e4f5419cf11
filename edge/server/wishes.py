"""What a request wishes of the thinking, by any of the names that users know, as options of an answer.

Knows: the names, and that two of them must not contradict each other. Does not know: requests, or HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge.server.refusal import bad_request

# Shares of the thinking that the deadline or the context allows; what "on" means without one of these words is all.
SHARES: Mapping[str, float] = {"minimal": 1 / 8, "low": 1 / 4, "medium": 1 / 2, "high": 1.0, "xhigh": 1.0, "max": 1.0}


class Wishes:
    """Collects wishes by the field that they came in; ``options`` are those of an answer. Raises Refusal."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self._fields: dict[str, str] = {}

    def add(self, field: str, option: str, value: Any) -> None:
        """``field`` of the request asks for ``value`` of ``option``; None asks for nothing."""
        if value is None:
            return
        if option in self.options and self.options[option] != value:
            raise bad_request(
                f"{self._fields[option]} and {field} contradict each other; leave one of them out.", field
            )
        self.options[option], self._fields[option] = value, field

    def switch(self, field: str, is_on: bool | None) -> None:
        """A switch for thinking."""
        self.add(field, "think", None if is_on is None else "on" if is_on else "off")

    def effort(self, field: str, word: str | None) -> None:
        """How much of the thinking: none, or a word of ``SHARES``."""
        if word is None:
            return
        self.switch(field, word != "none")
        if word != "none" and SHARES[word] < 1:
            self.add(field, "think_share", SHARES[word])

    def budget(self, field: str, tokens: int | None) -> None:
        """At most so many tokens; -1 is no limit."""
        self.add(field, "think_tokens", None if tokens == -1 else tokens)
