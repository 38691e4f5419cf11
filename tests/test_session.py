"""A conversation keeps answers, not thoughts; its prefix stays in the cache, it never outgrows it, and can be kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from scripted_models import FakeClock, scripted_model

import edge
from edge.chat_types import AnswerOptions, Message
from edge.engine import Engine
from edge.model_source import EMBEDDED_FOLDERS
from edge.session import Session
from models.dialect import DIALECTS, MarkLayout
from models.errors import PromptError, UsageError

THOUGHT = "3*4 is 12\n</think>\n\n<answer>\n12\n</answer>"
ON = AnswerOptions(think="on", temperature=0.0)
OFF = AnswerOptions(think="off", temperature=0.0)


def thinking_engine(reply: str = THOUGHT) -> Engine:
    """An engine that thinks before each answer."""
    return Engine(scripted_model(reply), clock=FakeClock(0.001))


def test_history_keeps_answers_only() -> None:
    """Old thoughts in the history cost context and confuse models that never saw any there."""
    session = thinking_engine().session("Be short.")
    session.answer("3*4?", ON)
    assert session.messages == (
        Message("system", "Be short."),
        Message("user", "3*4?"),
        Message("assistant", "12"),
    )


def evaluated_text(engine: Engine, num_cached: int, messages: list[Message]) -> str:
    """What a prefill evaluates of the prompt of ``messages`` where the first ``num_cached`` tokens are there."""
    tokenizer = engine.model.tokenizer
    tokens, _ = tokenizer.encode_prompt(engine.model.dialect.render(messages, "on"))
    return b"".join(map(tokenizer.token_bytes, tokens[num_cached:])).decode()


@pytest.mark.parametrize("dialect", ["hipo", "qwen3", "hunyuan"])
def test_second_turn_prefills_the_last_answer_and_the_question_only(dialect: str) -> None:
    """Dropping the thoughts must not cost the whole cache: what is evaluated is the last answer, the new message and
    the marks around them, to the token."""
    spoken = DIALECTS[dialect]
    engine = Engine(
        scripted_model(f"3*4 is 12{spoken.closings['thinking']}12", dialect=dialect, context_size=2000),
        clock=FakeClock(0.001),
    )
    session = engine.session("Be short.")
    assert session.answer("3*4?", ON).answer == "12"
    second = session.answer("and 5*6?", ON)
    assert second.answer == "12"
    messages = [*session.messages[:3], Message("user", "and 5*6?")]
    evaluated = evaluated_text(engine, second.usage.cached_tokens, messages)
    layout = spoken.layout
    assert isinstance(layout, MarkLayout)
    question = f"{layout.user[0]}and 5*6?{layout.user[1]}"
    assert evaluated == f"12{layout.assistant[1]}{question}{layout.opening}"


@pytest.mark.parametrize("name", EMBEDDED_FOLDERS)
def test_second_turn_of_an_embedded_model_prefills_no_more(name: str) -> None:
    with edge.load(name, num_threads=1) as engine:
        session = engine.session()
        session.answer("3*4=?", replace(ON, max_tokens=200))
        second = session.answer("5*6=?", replace(ON, max_tokens=200))
        messages = [*session.messages[:2], Message("user", "5*6=?")]
        evaluated = evaluated_text(engine, second.usage.cached_tokens, messages)
    assert evaluated.startswith(messages[1].content)
    assert "3*4" not in evaluated and "5*6=?" in evaluated


def test_clear_keeps_the_system_prompt() -> None:
    session = thinking_engine().session("Be short.")
    session.answer("3*4?", ON)
    session.clear()
    assert session.messages == (Message("system", "Be short."),)


def test_a_stopped_answer_keeps_what_was_said() -> None:
    session = thinking_engine("1 2 3 4 5").session()
    running = session.stream("count", AnswerOptions(think="off", temperature=0.0))
    for event in running:
        if event.kind == "answer":
            running.stop()
    assert session.messages == (Message("user", "count"), Message("assistant", "1"))


def test_a_turn_stopped_before_its_answer_leaves_no_trace() -> None:
    """An empty assistant turn in the history teaches the model to say nothing."""
    session = thinking_engine().session()
    running = session.stream("3*4?", ON)
    for event in running:
        if event.kind == "thinking":
            running.stop()
    assert running.result.answer == ""
    assert session.messages == ()


def test_a_turn_closed_early_leaves_no_trace() -> None:
    session = thinking_engine().session()
    running = session.stream("3*4?", ON)
    next(running)
    running.close()
    assert session.messages == ()


# --- a full context -------------------------------------------------------------------------------------------------


def long_talk(engine: Engine, session: Session, num_turns: int) -> list[int]:
    """So many turns; how many turns were dropped after each. Every prompt has left its answer a quarter."""
    dropped = []
    for number in range(num_turns):
        answer = session.answer(f"question {number}", OFF)
        assert answer.finish_reason == "stop"
        dropped.append(session.num_dropped_turns)
        assert answer.usage.prompt_tokens <= 0.75 * engine.model.backend.context_size
    return dropped


def test_a_full_context_drops_the_oldest_turns_and_keeps_the_system_prompt() -> None:
    """A chat that ran into the end of its context could only be given up."""
    engine = thinking_engine("1 2 3 4 5 6 7 8 9")
    session = engine.session("Be short.")
    dropped = long_talk(engine, session, 30)
    assert dropped == sorted(dropped) and dropped[-1] > 10
    assert len(set(dropped)) < 12  # seldom, and then several
    first, second, *_, last = session.messages
    assert first == Message("system", "Be short.")
    assert second == Message("user", f"question {dropped[-1]}")
    assert last.role == "assistant"


def test_a_full_context_is_refused_where_that_is_asked_for() -> None:
    session = thinking_engine("1 2 3 4 5 6 7 8 9").session(when_full="refuse")
    with pytest.raises(PromptError, match=r"The conversation is full: with this message it has \d+ tokens"):
        for number in range(30):
            session.answer(f"question {number}", OFF)
    before = session.messages
    assert session.num_dropped_turns == 0 and len(before) > 4
    session.clear()
    assert session.answer("question", OFF).answer


def test_a_message_that_fits_into_no_context_leaves_the_conversation_as_it_was() -> None:
    session = thinking_engine("1 2 3 4 5 6 7 8 9").session()
    session.answer("count", OFF)
    before = session.messages
    with pytest.raises(PromptError, match="the context holds 512"):
        session.answer("word " * 600, OFF)
    assert (session.messages, session.num_dropped_turns) == (before, 0)
    assert session.answer("count", OFF).answer


def test_another_word_for_a_full_context_is_refused() -> None:
    with pytest.raises(UsageError, match="when_full is 'explode'"):
        thinking_engine().session(when_full="explode")  # type: ignore[arg-type]


# --- kept in a file -------------------------------------------------------------------------------------------------


def saved_talk(path: Path, dialect: str = "hipo") -> Session:
    """A conversation of one turn in ``path``."""
    session = Engine(scripted_model(THOUGHT, dialect=dialect), clock=FakeClock(0.001)).session("Be short.")
    session.answer("3*4?", ON)
    session.save(path)
    return session


def test_a_conversation_comes_back_with_its_cache(tmp_path: Path) -> None:
    """The next answer after loading reads the new message only: not even the last answer again."""
    path = tmp_path / "talk"
    session = saved_talk(path)
    engine = thinking_engine()
    loaded = engine.load_session(path, when_full="refuse")
    assert (loaded.messages, loaded.when_full, loaded.notes) == (session.messages, "refuse", ())
    second = loaded.answer("and 5*6?", ON)
    messages = [*session.messages, Message("user", "and 5*6?")]
    evaluated = evaluated_text(engine, second.usage.cached_tokens, messages)
    assert evaluated.startswith("and 5*6?")
    assert loaded.answer("3*4?", ON).answer == "12"


def test_dropped_turns_stay_in_the_file(tmp_path: Path) -> None:
    engine = thinking_engine("1 2 3 4 5 6 7 8 9")
    session = engine.session()
    long_talk(engine, session, 14)
    session.save(tmp_path / "talk")
    loaded = engine.load_session(tmp_path / "talk")
    assert loaded.num_dropped_turns == session.num_dropped_turns > 0
    assert loaded.messages == session.messages
    assert b"question 0" in (tmp_path / "talk").read_bytes()


def test_a_conversation_of_another_model_brings_its_messages(tmp_path: Path) -> None:
    session = saved_talk(tmp_path / "talk", dialect="qwen3")
    loaded = thinking_engine().load_session(tmp_path / "talk")
    assert loaded.messages == session.messages
    assert "only its messages" in loaded.notes[0]
    assert loaded.answer("3*4?", ON).answer == "12"


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-5], lambda data: data[:-5] + b"abcde", lambda data: data + b"x"]
)
def test_a_damaged_cache_costs_nothing_but_time(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "talk"
    session = saved_talk(path)
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    loaded = thinking_engine().load_session(path)
    assert loaded.messages == session.messages
    assert "reads them anew" in loaded.notes[0]
    assert loaded.answer("3*4?", ON).answer == "12"


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("format", "other", "is not a saved conversation"),
        ("version", 2, "layout 2"),
        ("messages", [{"role": "assistant", "content": "hm"}, {"role": "user", "content": "?"}], "damaged"),
        ("messages", [{"role": "user", "content": "?"}], "damaged"),
        ("messages", [{"role": "user", "content": 7}, {"role": "assistant", "content": "7"}], "damaged"),
        ("messages", 7, "damaged"),
        ("system", 7, "damaged"),
        ("num_dropped", 1, "damaged"),
        ("num_dropped", 40, "damaged"),
        ("model", None, "damaged"),
    ],
)
def test_a_file_that_is_no_conversation_is_a_clear_error(tmp_path: Path, key: str, value: object, named: str) -> None:
    path = tmp_path / "talk"
    saved_talk(path)
    line, _, cache = path.read_bytes().partition(b"\n")
    path.write_bytes(json.dumps(json.loads(line) | {key: value}).encode() + b"\n" + cache)
    with pytest.raises(UsageError, match=named):
        thinking_engine().load_session(path)


@pytest.mark.parametrize("data", [b"", b"\x00\xff" * 40, b"[]\n", b"7\n", b"{}\n", b"[" * 100_000])
def test_a_foreign_file_is_told(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "talk").write_bytes(data)
    with pytest.raises(UsageError, match="is not a saved conversation"):
        thinking_engine().load_session(tmp_path / "talk")


def test_a_file_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        thinking_engine().load_session(tmp_path / "none")
    with pytest.raises(UsageError, match="cannot be written"):
        thinking_engine().session().save(tmp_path / "no folder" / "talk")


def test_a_conversation_is_not_saved_in_mid_answer(tmp_path: Path) -> None:
    """The device belongs to the answer until its end."""
    session = thinking_engine().session()
    session.answer("3*4?", ON)
    running = session.stream("3*4?", ON)
    next(running)
    with pytest.raises(UsageError, match="still under way"):
        session.save(tmp_path / "talk")
    assert running.result.answer == "12"
    session.save(tmp_path / "talk")


def test_a_backend_keeps_a_conversation_across_processes(tmp_path: Path) -> None:
    """With the embedded model: the state that llama.cpp gives is taken back by another context."""
    brief = replace(OFF, max_tokens=20)
    with edge.load(num_threads=1) as engine:
        session = engine.session()
        session.answer("3*4=?", brief)
        session.save(tmp_path / "talk")
        expected = session.answer("5*6=?", brief)
    with edge.load(num_threads=1) as engine:
        loaded = engine.load_session(tmp_path / "talk")
        answer = loaded.answer("5*6=?", brief)
        messages = [*loaded.messages[:2], Message("user", "5*6=?")]
        evaluated = evaluated_text(engine, answer.usage.cached_tokens, messages)
    assert loaded.notes == ()
    assert evaluated.startswith("5*6=?")
    assert answer.answer == expected.answer
