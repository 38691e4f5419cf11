"""``edge route``: one prompt, a file of prompts, and wrong use in one sentence."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge.chat_types import AnswerOptions
from edge.cli import app, run
from edge.engine import load


def edge(*arguments: str) -> int:
    return run(app, "edge", list(arguments))


def test_a_prompt_is_routed_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    """The decision, the chance, the reasons and the time, each on sight."""
    assert edge("route", "Prove", "that", "the square root of 2 is irrational.") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("think") and "would be wrong with a chance of" in shown
    assert "- the prompt " in shown and "microseconds" in shown


def test_a_prompt_is_routed_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """A key that is missing would break who reads it."""
    assert edge("route", "--json", "你好") == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"choice", "think", "sure", "probability", "reasons", "microseconds"}
    assert (found["choice"], found["think"]) == ("direct", False)


def test_a_file_is_routed_line_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One wrong line must not cost the others, and must not pass for success either."""
    path = tmp_path / "prompts.jsonl"
    conversation = {"messages": [{"role": "user", "content": "Prove Fermat's little theorem by induction."},
        {"role": "assistant", "content": "..."}, {"role": "user", "content": "why?"}]}  # fmt: skip
    path.write_text("\n".join(['"hello"', "nonsense", json.dumps(conversation)]), encoding="utf-8")
    assert edge("route", "--jsonl", str(path)) == 1
    first, second, third = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["line"], first["choice"]) == (1, "direct")
    assert second["line"] == 2 and "Line 2" in second["error"]
    assert third["think"] and "follows up" in third["reasons"][0]


def test_odd_lines_of_a_file_have_a_decision(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Half a character, cut off upstream, must not cost a prompt its decision."""
    path = tmp_path / "prompts.jsonl"
    lines = [b'"caf\xc3 prove it"', b'""', b'"\\ud83d"', b'"\\u0000\\u0007"', '"你好 world 😀"'.encode()]
    path.write_bytes(b"\n".join([*lines, b'"' + b"a " * 500_000 + b'"']))
    assert edge("route", "--jsonl", str(path)) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(found) == 6 and all(each["reasons"] and each["choice"] for each in found)


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_a_prompt_may_be_piped_in(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As into edge-chat; the line end that ``echo`` adds is no part of it, and would change the chance."""
    prompt = "Tom has 12 apples and buys 12 more. How many apples does he have?"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{prompt}\n".encode())))
    assert edge("route", "--json", *arguments) == 0
    assert edge("route", "--json", prompt) == 0
    piped, said = map(json.loads, capsys.readouterr().out.splitlines())
    assert piped["probability"] == said["probability"]


def test_a_minus_is_no_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard input is not read, which pytest would not let happen."""
    assert edge("route", "--json", *["what", "is", "5", "-", "3"]) == 0
    assert edge("route", "--json", "what is 5 - 3") == 0
    words, whole = map(json.loads, capsys.readouterr().out.splitlines())
    assert words["probability"] == whole["probability"]


@pytest.mark.parametrize("arguments", [(), ("--jsonl", "a.jsonl", "hello"), ("--jsonl", "no/such/file")])
def test_wrong_use_is_one_sentence(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A traceback for a missing prompt would scare people off."""
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    assert edge("route", *arguments) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--goal", "best"), "accuracy-loss"),
        (("--replace",), "--into"),
        (("--prompts", "no/such/file"), "cannot be read"),
        (("--limit", "10"), "fewer than 60"),
    ],
)
def test_calibrate_refuses_early(arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot work must be said before the measuring, not after it."""
    assert edge("calibrate", *arguments) == 2
    error = capsys.readouterr().err
    assert words in error and len(error.strip().splitlines()) == 1


def test_calibrate_forgets(capsys: pytest.CaptureFixture[str]) -> None:
    """There must be a way back to the model's own judge."""
    assert edge("calibrate", "--forget") == 0
    assert "Nothing was learned" in capsys.readouterr().out


def test_a_model_is_calibrated_and_then_decides_by_it(capsys: pytest.CaptureFixture[str]) -> None:
    """From the shipped prompts to an answer whose decision is the calibrated router's or its probe's."""

    def who_decides() -> str:
        with load(num_threads=1, context_size=512) as engine:
            return engine.answer("12+7=?", AnswerOptions(temperature=0.0)).decision.source

    assert edge("calibrate", "--limit", "150") == 0
    shown = capsys.readouterr().out
    assert "150 prompts; thinking pays on " in shown and "the probe is asked on " in shown
    assert who_decides() in ("router", "probe")
    assert edge("calibrate", "--forget") == 0
    assert who_decides() == "judge"
