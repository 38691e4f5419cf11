"""What reaches a screen: nothing there may steer the terminal, and nothing elsewhere is changed."""

from __future__ import annotations

import io
import sys

import pytest

from edge.chat_types import StreamEvent
from edge.terminal import Screen, printable

STEERING = "red \x1b[31m text"


class Stream(io.StringIO):
    """A text stream that is a terminal or not."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


@pytest.mark.parametrize("output_is_terminal", [False, True])
@pytest.mark.parametrize("notes_are_on_terminal", [False, True])
def test_each_stream_is_cleaned_for_its_own_terminal(
    output_is_terminal: bool, notes_are_on_terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the answer in a pipe, a judge's words in the closing line still reached the terminal uncleaned."""
    output, notes = Stream(is_terminal=output_is_terminal), Stream(is_terminal=notes_are_on_terminal)
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr(sys, "stderr", notes)
    screen = Screen()
    screen.note(STEERING)
    with pytest.raises(AssertionError):  # a stream without a result, which only a test makes
        screen.show([StreamEvent("answer", STEERING)])
    assert (STEERING in output.getvalue()) is not output_is_terminal
    assert (STEERING in notes.getvalue()) is not notes_are_on_terminal
    assert (printable(STEERING) in notes.getvalue()) is notes_are_on_terminal
