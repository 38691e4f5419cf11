"""The plan: recorded vectors, what fits, what is not begun."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.chat_types import Decision
from edge.think.lengths import LengthModel
from edge.think.plan import Bounds, plan_thinking
from edge.think.speed import SpeedModel

VECTORS = Path(__file__).parent / "vectors" / "plan.jsonl"
ON = Decision(True, "thinking on was asked for", "asked")
JUDGE = Decision(None, "the model judges for itself", "judge")
BOUNDS = Bounds(context_tokens=50, room_tokens=4000, close_tokens=10)


def speed_of(step_s: float) -> SpeedModel:
    speed = SpeedModel()
    speed.learn_decode(0, [step_s] * 2000)
    return speed


@pytest.mark.parametrize("vector", [json.loads(line) for line in VECTORS.read_text(encoding="utf-8").splitlines()])
def test_recorded_vectors(vector: dict[str, Any]) -> None:
    """The vectors pin the plan for every other implementation of it."""
    plan = plan_thinking(
        Decision(**vector["decision"]),
        Bounds(**vector["bounds"]),
        SpeedModel.from_json(vector["speed"]),
        LengthModel.from_json(vector["lengths"]),
        vector["gain"],
    )
    assert asdict(plan) == vector["plan"]


def test_thinking_that_cannot_get_anywhere_is_not_begun() -> None:
    """Three thinking tokens cost time and give nothing."""
    plan = plan_thinking(ON, replace(BOUNDS, time_left_s=1.0), speed_of(0.02), LengthModel())
    assert (plan.think, plan.decision.source) == (False, "deadline")
    assert "1.00 s leave 0 tokens to think" in plan.reason


def test_with_time_enough_the_decision_stands() -> None:
    plan = plan_thinking(ON, replace(BOUNDS, time_left_s=30.0), speed_of(0.02), LengthModel())
    assert (plan.think, plan.decision.source) == (True, "asked")
    assert "tokens to think fit into 30.00 s" in plan.reason


def test_a_judge_is_not_asked_where_time_is_short() -> None:
    """A judgement takes time from the thinking to say that it may be left out, and the deadline gave that time."""
    lengths, bounds = LengthModel(), replace(BOUNDS, time_left_s=2.0)
    for _ in range(50):
        lengths.learn("direct_answer", 5)
        lengths.learn("thinking", 80)
    plans = [plan_thinking(JUDGE, bounds, speed_of(step_s), lengths) for step_s in (0.01, 0.05)]
    assert [(plan.think, plan.decision.source) for plan in plans] == [(True, "deadline"), (False, "deadline")]


def test_a_judge_is_asked_where_time_is_ample() -> None:
    """With an hour to answer \"Hi\" it was thought about, since there was time."""
    lengths = LengthModel()
    for _ in range(50):
        lengths.learn("thinking", 80)
    for time_left_s in (None, 9.0, 3600.0):
        plan = plan_thinking(JUDGE, replace(BOUNDS, time_left_s=time_left_s), speed_of(0.01), lengths)
        assert (plan.think, plan.decision) == (None, JUDGE)


def test_a_usual_thought_must_fit() -> None:
    """Half a thought was begun, broken off and answered worse than without one."""
    lengths, bounds = LengthModel(), replace(BOUNDS, time_left_s=1.5)
    for _ in range(50):
        lengths.learn("direct_answer", 5)
        lengths.learn("thinking", 80)
    assert plan_thinking(ON, bounds, speed_of(0.01), lengths).think is True
    assert plan_thinking(ON, bounds, speed_of(0.02), lengths).think is False
    for _ in range(50):
        lengths.learn("thinking", 1000)  # one that thinks without end would not think at all
    assert plan_thinking(ON, bounds, speed_of(0.01), lengths).think is True


def test_the_answer_has_its_own_reserve() -> None:
    plan = plan_thinking(ON, replace(BOUNDS, max_tokens=200), SpeedModel(), LengthModel())
    assert 0 < plan.think_tokens == 200 - plan.answer_tokens
    assert plan_thinking(ON, replace(BOUNDS, max_tokens=20), SpeedModel(), LengthModel()).think is False


def test_a_budget_of_nothing_is_off() -> None:
    plan = plan_thinking(ON, replace(BOUNDS, think_tokens=0), SpeedModel(), LengthModel())
    assert (plan.think, plan.decision.source) == (False, "asked")


@given(st.floats(0.001, 0.2), st.floats(0.01, 60.0), st.floats(1.01, 3.0))
def test_more_time_never_plans_less(step_s: float, time_left_s: float, factor: float) -> None:
    speed, lengths = speed_of(step_s), LengthModel()
    plans = [
        plan_thinking(ON, replace(BOUNDS, time_left_s=left_s), speed, lengths)
        for left_s in (time_left_s, factor * time_left_s)
    ]
    assert bool(plans[0].think) <= bool(plans[1].think)


def test_the_harder_the_prompt_the_less_time_is_worth_a_try() -> None:
    """One rule for all prompts thinks about a hello, or gives up on a proof, with the same seconds left."""
    lengths, bounds = LengthModel(), replace(BOUNDS, time_left_s=1.5)
    for place in range(100):
        lengths.learn("direct_answer", 5)
        lengths.learn("thinking", 40 if place % 3 == 0 else 150)
    routed = Decision(True, "the prompt reads like a puzzle", "router")
    plans = [plan_thinking(routed, bounds, speed_of(0.02), lengths, gain) for gain in (0.25, 0.9)]
    assert [plan.decision.source for plan in plans] == ["deadline", "router"]
    assert "% of thoughts end: too few for a difficulty of 0.25" in plans[0].reason
    late = replace(BOUNDS, time_left_s=0.3)
    assert plan_thinking(routed, late, speed_of(0.02), lengths, 0.99).think is False
    for _ in range(200):
        lengths.learn("thinking", 1000)
    assert plan_thinking(routed, replace(BOUNDS, time_left_s=9.0), speed_of(0.02), lengths, 0.5).think is True
