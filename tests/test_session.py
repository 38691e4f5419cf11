"""A conversation keeps answers, not thoughts, and its prefix stays in the cache."""

from __future__ import annotations

from scripted_models import FakeClock, num_tokens, scripted_model

from edge.backends.scripted import ScriptedBackend
from edge.chat_types import AnswerOptions, Message
from edge.engine import Engine

THOUGHT = "3*4 is 12\n</think>\n\n<answer>\n12\n</answer>"
ON = AnswerOptions(think="on", temperature=0.0)


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


def test_second_turn_prefills_the_last_answer_and_the_question_only() -> None:
    """Dropping the thoughts must not cost the whole cache."""
    engine = thinking_engine()
    session = engine.session()
    first = session.answer("3*4?", ON)
    second = session.answer("3*4?", ON)
    assert isinstance(engine.model.backend, ScriptedBackend)
    assert first.usage.prompt_tokens - num_tokens(scripted_model("x"), "<judge>\n") <= second.usage.cached_tokens
    assert second.answer == "12"


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
