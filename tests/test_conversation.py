"""The chat at a terminal: its commands, and what it says when turns are dropped."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from scripted_models import FakeClock, scripted_model

from edge.chat_types import AnswerOptions, Message
from edge.conversation import Conversation
from edge.engine import Engine
from edge.session import WhenFull
from edge.terminal import Screen

OFF = AnswerOptions(think="off", temperature=0.0)


def chat(
    monkeypatch: pytest.MonkeyPatch, lines: Iterable[str], *, context_size: int = 512, when_full: WhenFull = "drop"
) -> Conversation:
    """The conversation after somebody has typed ``lines``."""
    typed = iter(lines)

    def read_line(_prompt: str) -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", read_line)
    monkeypatch.setattr("edge.conversation.set_up_line_editing", lambda prompts: None)
    engine = Engine(scripted_model("1 2 3 4 5", context_size=context_size), clock=FakeClock(0.001))
    session = engine.session("Be short.", when_full=when_full)
    conversation = Conversation(session, OFF, Screen(), keeps_history=False)
    conversation.run()
    return conversation


def test_a_conversation_is_saved_and_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "talk of today"
    lines = ["count", f"/save {path}", "/clear", "count on", f"/load {path}", "/exit"]
    conversation = chat(monkeypatch, lines)
    assert conversation.session.messages == (
        Message("system", "Be short."),
        Message("user", "count"),
        Message("assistant", "1 2 3 4 5"),
    )
    assert "3 messages" in capsys.readouterr().err


def test_commands_that_cannot_be_honoured_say_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Words behind a command that takes none were ignored in silence."""
    lines = ["/save", "/load", f"/load {tmp_path / 'none'}", "/clear all", "/help me", "/think maybe"]
    chat(monkeypatch, lines)
    said = capsys.readouterr().err
    for sentence in (
        "/save needs a file",
        "/load needs a file",
        "cannot be read",
        "/clear takes nothing",
        "/help takes nothing",
        "'maybe'",
    ):
        assert sentence in said


def test_dropped_turns_are_said_when_they_go(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    conversation = chat(monkeypatch, ["count"] * 12, context_size=200)
    dropped = conversation.session.num_dropped_turns
    said = [line for line in capsys.readouterr().err.splitlines() if "no longer shown to the model" in line]
    assert 0 < len(said) <= dropped


def test_a_full_chat_that_refuses_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    conversation = chat(monkeypatch, [*["count"] * 12, "/clear", "count"], context_size=200, when_full="refuse")
    said = capsys.readouterr().err
    assert "The conversation is full" in said and "/clear starts a new conversation" in said
    assert len(conversation.session.messages) == 3
