"""What reaches a screen: nothing there may steer the terminal, and nothing elsewhere is changed."""

from __future__ import annotations

import io
import json
import sys

import pytest

from edge.chat_types import StreamEvent, ToolCall
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


@pytest.mark.parametrize(("shows_thinking", "lines_before"), [(False, []), (True, ["[thinking]", "Hm."])])
def test_a_tool_call_is_a_line_of_json_by_itself(
    shows_thinking: bool, lines_before: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script reads calls line by line, wherever in the answer they stand."""
    output = Stream(is_terminal=False)
    monkeypatch.setattr(sys, "stdout", output)
    call = ToolCall("weather", {"city": "北京"}, "as the model wrote it")
    called = StreamEvent("tool_call", call.raw, tool_call=call)
    events = [StreamEvent("thinking", "Hm."), called, called, StreamEvent("answer", "Well."), called]
    with pytest.raises(AssertionError):  # a stream without a result, which only a test makes
        Screen(shows_thinking=shows_thinking).show(events)
    lines = output.getvalue().splitlines()
    line = '{"name": "weather", "arguments": {"city": "北京"}}'
    answer_lines = ["[answer]", "Well."] if shows_thinking else ["Well."]
    assert lines == [*lines_before, line, line, *answer_lines, line]
    assert json.loads(lines[-1]) == {"name": "weather", "arguments": {"city": "北京"}}
