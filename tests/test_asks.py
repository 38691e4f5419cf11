"""What users of other runtimes ask for, one test each, named after the ask."""

from __future__ import annotations

import math
import random

import pytest
from scripted_models import FakeClock, num_tokens, scripted_model

from bench_edge.simulated_device import SPEEDS, SimulatedClock, SimulatedDevice, simulated_model
from edge.backends.scripted import ScriptedBackend
from edge.chat_types import Answer, AnswerOptions, Message
from edge.engine import Engine
from edge.loaded_model import LoadedModel
from edge.terminal import closing_line
from models.dialect import DIALECTS
from models.errors import PromptError, UsageError

THOUGHT = "3*4 is 12\n</think>\n\n<answer>\n12\n</answer>"
SOFT_CLOSE = "\nNo more time.\n</think>\n\n<answer>\n"


def answered(model: LoadedModel, question: str = "3*4?", **options: object) -> Answer:
    wished = AnswerOptions(temperature=0.0, **options)  # type: ignore[arg-type]
    return Engine(model, clock=FakeClock(0.001)).answer(question, wished)


def simulated(thinking_tokens: float, answer_tokens: int) -> tuple[Engine, SimulatedClock]:
    clock = SimulatedClock()
    device = SimulatedDevice(clock, SPEEDS["steady"](random.Random(0)))
    device.thinking_tokens, device.answer_tokens = thinking_tokens, answer_tokens
    return Engine(simulated_model(device), clock=clock), clock


def test_ask_1_off_means_off() -> None:
    """With off no reasoning token is generated, and the answer is not empty."""
    for dialect in DIALECTS:
        answer = answered(scripted_model("<think>\nhm\n</think>\n12", "12", dialect=dialect), think="off")
        assert (answer.usage.thinking_tokens, answer.thinking, answer.answer) == (0, "", "12")


def test_ask_2_a_thinking_budget_per_request() -> None:
    model = scripted_model("1 2 3 4 5 6", "1 2 3\n</think>\n\n<answer>\nso 3\n</answer>")
    answer = answered(model, think="on", think_tokens=3)
    assert (answer.usage.thinking_tokens, answer.thinking, answer.answer) == (3, "1 2 3", "so 3")


def test_ask_3_a_budget_in_seconds() -> None:
    engine, clock = simulated(math.inf, 10)
    asked_s = clock()
    answer = engine.answer("?", AnswerOptions(think="on", temperature=0.0, deadline_s=10.0))
    assert answer.finish_reason == "stop"
    assert answer.answer
    assert clock() - asked_s <= 10.0


def test_ask_4_thinking_that_loops_is_closed_and_answered() -> None:
    """Without any limit asked for: today's runtimes think on until the context is full."""
    circle = "so it is 12, or is it? "
    model = scripted_model(circle * 200, context_size=2000)
    turns = num_tokens(model, circle)
    script = model.backend._script  # type: ignore[attr-defined]
    answer_line = model.tokenizer.encode_control("12\n</answer>")

    def after_the_closing(held: list[int]) -> object:
        text = b"".join(map(model.tokenizer.token_bytes, held)).decode()
        if SOFT_CLOSE not in text:
            return script(held)
        done = num_tokens(model, text.partition(SOFT_CLOSE)[2]) if text.partition(SOFT_CLOSE)[2] else 0
        return answer_line[done]

    model.backend._script = after_the_closing  # type: ignore[attr-defined]
    answer = answered(model, think="on")
    assert answer.answer == "12"
    assert answer.usage.thinking_tokens < 4 * turns + 64
    assert "because it went in circles" in answer.decision.reason


def test_ask_6_every_answer_carries_its_decision_and_reason() -> None:
    for think in ("on", "off"):
        answer = answered(scripted_model(THOUGHT if think == "on" else "12"), think=think)
        assert (answer.decision.think, answer.decision.reason) == (think == "on", f"thinking {think} was asked for")
        assert answer.decision.reason in closing_line(answer)


def test_ask_7_stop_thinking_now_but_still_answer() -> None:
    model = scripted_model("1 2 3 4 5 6 7 8 9 " * 9, f"1{SOFT_CLOSE}so 1\n</answer>")
    running = Engine(model, clock=FakeClock(0.001)).stream("?", AnswerOptions(think="on", temperature=0.0))
    for event in running:
        if event.kind == "thinking":
            running.stop_thinking()
    assert (running.result.answer, running.result.finish_reason) == ("so 1", "stop")


def test_ask_8_a_forced_close_keeps_what_was_thought() -> None:
    """What was thought stays in the context, so that the answer can build on it."""
    model = scripted_model("1 2 3 4 5 6", "1 2 3\n</think>\n\n<answer>\nso 3\n</answer>")
    answered(model, think="on", think_tokens=3)
    assert isinstance(model.backend, ScriptedBackend)
    held = model.backend._book.held(0)
    text = b"".join(map(model.tokenizer.token_bytes, held)).decode()
    assert "1 2 3\n</think>\n\n<answer>\nso 3" in text


def test_ask_9_the_finish_reason_tells_them_apart() -> None:
    assert answered(scripted_model("12"), think="off").finish_reason == "stop"
    assert answered(scripted_model("1 2 3 4"), think="off", max_tokens=2).finish_reason == "length"
    assert answered(scripted_model("1 2 " * 300, context_size=100), think="off").finish_reason == "context"
    circle = answered(scripted_model("so it is so. " * 100, context_size=2000), think="off", think_tokens=0)
    assert circle.finish_reason == "loop"
    engine, _ = simulated(0, 5000)
    late = engine.answer("?", AnswerOptions(think="off", temperature=0.0, deadline_s=2.0))
    assert (late.finish_reason, late.answer != "") == ("deadline", True)


def test_ask_10_after_the_cut_the_answer_does_not_go_on_thinking() -> None:
    closed = "1 2 3\n</think>\n\n<answer>\n"
    for has_tag_tokens in (True, False):
        model = scripted_model(
            "1 2 3 4 5 6",
            f"{closed}<think>\nno, wait\n</think>\n4",
            f"{closed}so 3\n</answer>",
            has_tag_tokens=has_tag_tokens,
        )
        answer = answered(model, think="on", think_tokens=3)
        assert (answer.thinking, answer.answer) == ("1 2 3", "so 3")


def test_ask_11_old_reasoning_does_not_cost_the_cache() -> None:
    """The second turn prefills the last answer, the new message and the marks around them; all before is there."""
    engine = Engine(scripted_model(THOUGHT, context_size=2000), clock=FakeClock(0.001))
    session = engine.session()
    options = AnswerOptions(think="on", temperature=0.0)
    first, second = session.answer("3*4?", options), session.answer("3*4?", options)
    assert first.usage.cached_tokens == 0
    opening, next_turn = "<judge>\n", "12<|im_end|>\n<|im_start|>user\n3*4?<|im_end|>\n<|im_start|>assistant\n<judge>\n"
    assert second.usage.cached_tokens == first.usage.prompt_tokens - num_tokens(engine.model, opening)
    assert second.usage.prompt_tokens - second.usage.cached_tokens == num_tokens(engine.model, next_turn)


def test_ask_14_a_full_context_is_a_clear_end() -> None:
    full = answered(scripted_model("1 2 3 " * 200, context_size=120), think="off")
    assert full.finish_reason == "context"
    assert full.answer.startswith("1 2 3")
    in_thought = answered(scripted_model("1 2 3 " * 200, context_size=120), think="on", think_tokens=20)
    assert in_thought.finish_reason in ("context", "stop")
    with pytest.raises(PromptError, match="the context holds"):
        answered(scripted_model("1", context_size=50), "word " * 200, think="off", deadline_s=1.0)
    endless = Engine(scripted_model("1 2 3 4 5", context_size=200), clock=FakeClock(0.001)).session("Be short.")
    for _ in range(20):
        assert endless.answer("and then?", AnswerOptions(think="off", temperature=0.0)).finish_reason == "stop"
    assert endless.num_dropped_turns > 0 and endless.messages[0] == Message("system", "Be short.")


def test_ask_15_an_option_that_cannot_be_honoured_is_an_error() -> None:
    """The error names the option and the family."""
    model = scripted_model("12", dialect="plain")
    for name in ("think_tokens", "min_think_tokens"):
        with pytest.raises(UsageError, match=f"{name} is 9, and the dialect plain"):
            answered(model, **{name: 9})
    assert list(Engine(model).stream([Message("user", "?")], AnswerOptions(deadline_s=5.0)))
