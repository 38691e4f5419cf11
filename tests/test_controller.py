"""The controller: recorded vectors, when thinking is closed and how, when an answer ends, what is a circle."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.think.controller import Action, Controller, Limits, Stage
from edge.think.loops import LineLoop, repeated_period
from edge.think.speed import SpeedModel

VECTORS = Path(__file__).parent / "vectors" / "controller.jsonl"
STEP_S = 0.01


def speed_of(step_s: float = STEP_S) -> SpeedModel:
    speed = SpeedModel()
    speed.learn_decode(0, [step_s] * 2000)
    return speed


@pytest.mark.parametrize("vector", [json.loads(line) for line in VECTORS.read_text(encoding="utf-8").splitlines()])
def test_recorded_vectors(vector: dict[str, Any]) -> None:
    """The vectors pin the controller for every other implementation of it."""
    tokens = list(range(vector["num_tokens"]))
    speed = SpeedModel.from_json(vector["speed"])
    controller = Controller(Limits(**vector["limits"]), speed, tokens, vector["start_s"])
    for now_s, stage, text, is_asked, action, cause, token in vector["seen"]:
        assert (controller.see(now_s, stage, text, is_asked), controller.cause) == (action, cause)
        if action == "go":
            tokens.append(token)
        elif action in ("soft", "hard"):
            controller.forced()


def first_action(
    limits: Limits, *, stage: Stage = "thinking", text: str = " word", step_s: float = STEP_S, most: int = 2000
) -> tuple[Action, int, float, Controller]:
    """The first action that is not ``go``, after how many tokens, and when; all tokens differ."""
    tokens: list[int] = []
    controller, now_s = Controller(limits, speed_of(), tokens, 0.0), 0.0
    for number in range(most):
        action = controller.see(now_s, stage, text if number else "", False)
        if action != "go":
            return action, number, now_s, controller
        tokens.append(1000 + number)
        now_s += step_s
    return "go", most, now_s, controller


def test_without_limits_everything_goes() -> None:
    assert first_action(Limits())[0] == "go"
    assert first_action(Limits(), stage="answer")[0] == "go"


def test_a_budget_is_kept_to_the_token() -> None:
    action, number, _, controller = first_action(Limits(think_tokens=100))
    assert (action, number, controller.cause) == ("hard", 100, "budget")


def test_a_judgement_is_closed_after_so_many_tokens() -> None:
    """A judge that never set its marker took the whole answer."""
    limits = Limits(judge_tokens=24)
    action, number, _, controller = first_action(limits, stage="judge")
    assert (action, number, controller.cause) == ("hard", 24, "budget")
    assert first_action(limits, stage="thinking")[0] == "go"


def test_a_budget_is_closed_softly_at_a_sentence_before_it() -> None:
    action, number, _, _ = first_action(Limits(think_tokens=100), text=" so.")
    assert action == "soft"
    assert 85 <= number < 100


@pytest.mark.parametrize(("deadline_s", "closing"), [(1.0, "hard"), (4.0, "soft")])
def test_no_sentence_end_is_looked_for_in_a_few_steps(deadline_s: float, closing: Action) -> None:
    """With a hundred steps in all, every token counts, and the end of a sentence seldom falls into the last five."""
    assert first_action(Limits(deadline_s=deadline_s, answer_tokens=5), text=" so.")[0] == closing


def test_a_closing_line_is_said_only_where_there_is_time_for_it() -> None:
    """Asked to stop in the last moment, a line of twenty tokens took the time of the answer."""
    limits = Limits(deadline_s=5.0, answer_tokens=5, close_tokens=5, line_tokens=20)
    for asked_s, closing in ((4.5, "soft"), (4.88, "hard")):
        controller = Controller(limits, speed_of(), [], asked_s)
        assert controller.see(asked_s, "thinking", " hm", True) == closing


def test_a_steady_device_keeps_less_in_reserve() -> None:
    """Twenty per cent for what never happens were two tokens of thinking that an answer in time lacked."""
    limits, ends_s = Limits(deadline_s=5.0, answer_tokens=50), []
    for jitter in (0.0, 0.25):
        speed, rng = SpeedModel(), random.Random(0)
        speed.learn_decode(0, [STEP_S * (1 + rng.uniform(-jitter, jitter)) for _ in range(2000)])
        tokens: list[int] = []
        controller, now_s = Controller(limits, speed, tokens, 0.0), 0.0
        while controller.see(now_s, "thinking", " word", False) == "go":
            tokens.append(len(tokens))
            now_s += STEP_S
        ends_s.append(now_s)
    assert 5.0 - ends_s[0] == pytest.approx(51 * STEP_S, rel=0.07)
    assert ends_s[1] < ends_s[0]


def test_thinking_leaves_the_answer_its_time() -> None:
    action, _, now_s, controller = first_action(Limits(deadline_s=5.0, answer_tokens=50))
    assert (action, controller.cause) == ("hard", "deadline")
    assert 0.5 <= 5.0 - now_s <= 1.0  # fifty steps at the slow quantile


def test_a_device_that_slowed_down_closes_earlier() -> None:
    limits = Limits(deadline_s=50.0, answer_tokens=50)
    assert first_action(limits, most=10_000)[2] > 49
    assert first_action(limits, step_s=10 * STEP_S)[2] < 50 - 50 * 10 * STEP_S


def test_an_answer_out_of_time_keeps_the_token_in_hand() -> None:
    """An answer that ends a step too late is late, one that drops what it has is emptier than it need be."""
    action, _, now_s, controller = first_action(Limits(deadline_s=1.0), stage="answer")
    assert (action, controller.cause) == ("last", "deadline")
    assert 1.0 - 4 * STEP_S <= now_s < 1.0


def test_an_answer_out_of_time_ends_at_a_sentence() -> None:
    assert first_action(Limits(deadline_s=1.0), stage="answer", text=" end.")[0] == "end"
    assert first_action(Limits(deadline_s=1.0), stage="answer", text=" 3.")[0] == "last"  # 3.14 is no sentence


def test_asked_to_stop_thinking() -> None:
    controller = Controller(Limits(), SpeedModel(), [], 0.0)
    assert controller.see(0.0, "thinking", "", False) == "go"
    assert controller.see(0.1, "thinking", " hm", True) == "soft"
    assert controller.cause == "asked"
    assert controller.see(0.2, "answer", "\n", True) == "go"


@pytest.mark.parametrize("period", [1, 3, 20, 64])
def test_circles_of_tokens_are_found(period: int) -> None:
    lead = [10_000 + number for number in range(30)]
    circle = list(range(period))
    assert repeated_period(lead + circle * max(4, 48 // period + 1)) == period
    assert repeated_period(lead + circle * 3) == 0
    assert repeated_period(lead * 3) == 0


@given(st.lists(st.integers(0, 3), max_size=200))
def test_a_found_circle_is_one(tokens: list[int]) -> None:
    period = repeated_period(tokens)
    if period:
        span = max(48, 4 * period)
        assert all(tokens[-place] == tokens[-place - period] for place in range(1, span - period + 1))


def test_circles_of_lines_are_found() -> None:
    """Lines that come again between others are no run of tokens, and a circle all the same."""
    lines = LineLoop()
    for number in range(3):
        assert not lines.feed(f"Let me check that again.\nso it is {number} and not less\n")
    assert lines.feed("Let me check ") is False
    assert lines.feed("that again.\n") is True
    short = LineLoop()
    assert not any(short.feed("1+1=2\n") for _ in range(10))


@given(
    st.lists(st.floats(0.0, 0.5), min_size=1, max_size=80),
    st.floats(0.1, 5.0),
    st.sampled_from([" a", ".", "", "\n", "。"]),
)
def test_nothing_goes_on_after_the_deadline(steps_s: list[float], deadline_s: float, text: str) -> None:
    """Whatever the device does: at the first token after the deadline the answer ends, the thinking too."""
    for stage in ("thinking", "answer"):
        tokens: list[int] = []
        controller, now_s = Controller(Limits(deadline_s=deadline_s), speed_of(), tokens, 0.0), 0.0
        for number, step_s in enumerate(steps_s):
            now_s += step_s
            action = controller.see(now_s, stage, text, False)  # type: ignore[arg-type]
            if now_s >= deadline_s:
                assert action == "end"
                break
            tokens.append(number)


def test_a_token_costs_microseconds() -> None:
    """The controller stands in the token loop; the bound is generous so that a busy machine does not fail it."""
    tokens: list[int] = []
    controller = Controller(Limits(deadline_s=1e9, think_tokens=10**9, watches_answer=True), speed_of(), tokens, 0.0)
    start_s = time.perf_counter()
    for number in range(10_000):
        controller.see(STEP_S * number, "thinking", " word", False)
        tokens.append(number)
    assert (time.perf_counter() - start_s) / 10_000 < 40e-6
