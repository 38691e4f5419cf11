"""Ends an answer where one of the caller's stop texts would begin.

Knows: events, and text that may be the start of a stop text. Does not know: tokens, or why a caller wants to stop.
Thoughts are not looked at: a stop text is about the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from edge.chat_types import StreamEvent
from edge.running_answer import RunningAnswer


class StopFinder:
    """``feed`` gives the text that is safe to show, ``flush`` what was held back; ``is_found`` ends it all."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""
        self.is_found = False

    def feed(self, text: str) -> str:
        """``text`` up to a stop text, less an end that may be the start of one."""
        if self.is_found:
            return ""
        self._held += text
        found = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if found:
            self.is_found = True
            return self._let_go(min(found))
        return self._let_go(len(self._held) - max(self._num_begun(stop) for stop in self._stops))

    def flush(self) -> str:
        """What was held back and is no stop text after all."""
        return "" if self.is_found else self._let_go(len(self._held))

    def _let_go(self, size: int) -> str:
        text, self._held = self._held[:size], self._held[size:]
        return text

    def _num_begun(self, stop: str) -> int:
        """How many characters at the end of what is held are the start of ``stop``."""
        longest = min(len(stop) - 1, len(self._held))
        return next((size for size in range(longest, 0, -1) if self._held.endswith(stop[:size])), 0)


def until_stop(running: RunningAnswer, stops: Sequence[str]) -> Iterator[StreamEvent]:
    """The events of ``running``, whose answer ends before the first of ``stops``; none: all of it."""
    if not stops:
        yield from running
        return
    finder, shown = StopFinder(stops), ""
    for event in running:
        text = finder.feed(event.text) if event.kind == "answer" else ""
        if event.kind in ("tool_call", "done"):
            text = finder.flush()
        if text:
            shown += text
            yield StreamEvent("answer", text)
        if finder.is_found:
            running.stop()
        if event.result is not None:
            reason = "stop" if finder.is_found else event.result.finish_reason
            yield replace(event, result=replace(event.result, answer=shown, finish_reason=reason))
        elif event.kind != "answer" and not finder.is_found:
            yield event
