"""Answers under a deadline or a budget, from end to end: scripted models, and a device whose speed is no constant."""

from __future__ import annotations

import math
import random
import re
import threading
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_models import FakeClock, num_tokens, scripted_model

from bench_edge.deadline_simulated import simulate_speed
from bench_edge.simulated_device import SPEEDS, STEP_S, SimulatedClock, SimulatedDevice, simulated_model
from edge.answer import stream_answer
from edge.answer_log import Waited
from edge.backends.scripted import ScriptedBackend
from edge.chat_types import Answer, AnswerOptions, Message, Think
from edge.cli_chat import seconds_of
from edge.engine import Engine
from edge.loaded_model import LoadedModel
from edge.opening import Opening
from edge.pace import FILE, Pace, pace_key
from edge.state import read_state, write_state
from models.dialect import DIALECTS
from models.errors import UsageError

THOUGHT = "3*4 is 12\n</think>\n\n<answer>\n12\n</answer>"
CLOSED_SOFT = "No more time."


class Simulation:
    """Requests to one simulated device, timed by the caller."""

    def __init__(self, speed: str = "steady", seed: int = 0, context_size: int = 8192) -> None:
        self.clock, self.pace = SimulatedClock(), Pace()
        self.device = SimulatedDevice(self.clock, SPEEDS[speed](random.Random(seed)), context_size)
        self.took_s = 0.0

    def answer(self, options: AnswerOptions, *, thinking: float = 50, answer: int = 10, queue_s: float = 0.0) -> Answer:
        self.device.thinking_tokens, self.device.answer_tokens = thinking, answer
        asked_s = self.clock()
        self.clock.now_s += queue_s
        events = stream_answer(
            simulated_model(self.device),
            0,
            [Message("user", "How much is it?")],
            options,
            stop=Event(),
            clock=self.clock,
            waited=Waited(asked_s, queue_s=queue_s),
            pace=self.pace,
        )
        result = next(event.result for event in events if event.result is not None)
        self.took_s = self.clock() - asked_s
        return result


def on(**limits: float) -> AnswerOptions:
    return AnswerOptions(think="on", temperature=0.0, **limits)  # type: ignore[arg-type]


# --- deadlines ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("speed", SPEEDS)
def test_simulated_deadlines_are_kept(speed: str) -> None:
    """On time and ended by itself, on a device that stalls, bursts, drifts or drops; the bench asks far more."""
    outcomes = simulate_speed(speed, 60, seed=7)
    assert sum(one.is_kept for one in outcomes) >= 59
    assert all(one.has_answer for one in outcomes)


@settings(max_examples=60)
@given(
    speed=st.sampled_from(sorted(SPEEDS)),
    seed=st.integers(0, 1000),
    deadline_steps=st.floats(1, 400),
    thinking=st.sampled_from([0, 20, 200, math.inf]),
    answer=st.integers(1, 300),
    is_on=st.booleans(),
)
def test_no_deadline_hangs_or_leaves_nothing(
    speed: str, seed: int, deadline_steps: float, thinking: float, answer: int, is_on: bool
) -> None:
    """Any deadline, feasible or not: the answer ends, late by no more than what was being computed just then, and it
    is empty only where not even a token fitted."""
    simulation = Simulation(speed, seed)
    options = AnswerOptions(think="on" if is_on else "auto", temperature=0.0, deadline_s=deadline_steps * STEP_S)
    result = simulation.answer(options, thinking=thinking, answer=answer)
    assert result.finish_reason in ("stop", "deadline")
    assert "\ufffd" not in result.answer
    if result.finish_reason == "deadline" and not result.answer:
        assert simulation.took_s >= deadline_steps * STEP_S or result.usage.answer_tokens


def test_endless_thinking_uses_the_time_and_answers() -> None:
    simulation = Simulation()
    for _ in range(30):
        simulation.answer(on(), thinking=20)
    result = simulation.answer(on(deadline_s=6.0), thinking=math.inf)
    assert (result.finish_reason, len(result.answer)) == ("stop", 9)  # the tenth is the line end after the tag
    assert 5.0 < simulation.took_s <= 6.0
    assert result.decision.reason.endswith("its thinking was closed for the deadline")
    assert result.timings.close_s > 0


def test_closed_thoughts_and_tags_teach_no_answer_lengths() -> None:
    """A closing writes the tags before the answer itself; to keep time for them again closed it too early."""
    simulation = Simulation()
    simulation.answer(on(), thinking=20, answer=10)
    lengths = simulation.pace.lengths
    assert lengths.typical("thought_answer") in (10, 11)
    simulation.answer(on(deadline_s=6.0), thinking=math.inf, answer=30)
    assert lengths.typical("thought_answer") in (10, 11)
    assert lengths.typical("closed_answer") in (30, 31)


def test_a_new_device_is_measured_with_the_prompt_and_says_so() -> None:
    """A first request that does not know the device must neither guess nor spend time on a probe."""
    simulation = Simulation()
    result = simulation.answer(on(deadline_s=20.0), thinking=math.inf)
    assert "this device was new and measured with the prompt" in result.decision.reason
    assert (result.finish_reason, result.answer != "") == ("stop", True)
    assert 10 < simulation.took_s <= 20
    assert "measured" not in simulation.answer(on(deadline_s=20.0)).decision.reason


def test_what_a_probe_evaluated_is_no_fast_prefill() -> None:
    """On a device that was new, the prompt that a look ahead had left in the cache seemed to have taken no time."""
    clock, pace = SimulatedClock(), Pace()
    model = simulated_model(SimulatedDevice(clock, SPEEDS["steady"](random.Random(0)), 8192))
    opening = Opening(model, 0, [Message("user", "How much is it? " * 20)], should_stop=lambda: False, clock=clock)
    opening.look_ahead(pace.speed)
    opening.render("on")
    opening.prefill_prompt(pace.speed)
    assert pace.speed.prefill_s(100, 0) >= 10 * pace.speed.decode_s(1, 0)


@pytest.mark.parametrize(("think", "deadline_s", "num_prefills"), [("on", 4.0, 1), ("off", 4.0, 1), ("on", 1.3, 2)])
def test_prompt_and_opening_are_one_prefill_where_the_plan_is_clear(
    think: Think, deadline_s: float, num_prefills: int
) -> None:
    """Planning behind the prompt's prefill cost every answer with a deadline a step of its own for the opening."""
    model, clock, pace = scripted_model(THOUGHT), FakeClock(0.0), Pace()
    pace.speed.learn_decode(0, [0.01] * 100)
    for _ in range(50):
        pace.lengths.learn("thinking", 20)
        pace.lengths.learn("thought_answer", 4)
    options = AnswerOptions(think=think, temperature=0.0, deadline_s=deadline_s)
    list(stream_answer(model, 0, [Message("user", "3*4?")], options, stop=Event(), clock=clock, pace=pace))
    assert isinstance(model.backend, ScriptedBackend)
    assert sum(call.method == "prefill" for call in model.backend.calls) == num_prefills


def test_answers_in_a_shape_are_learned_apart() -> None:
    pace = Pace()
    answer = Simulation().answer(AnswerOptions(think="off", temperature=0.0), answer=300)
    pace.learn(replace(answer, document="whole"), 10, [0.01] * 300, closed_by=None, opening_tokens=0)
    assert pace.lengths.typical("shaped_answer") >= 300
    assert pace.lengths.reserve("direct_answer") < 100


def test_a_device_that_was_busy_thinks_again_after_a_few_requests() -> None:
    """On an idle device that made 4,000 tokens a second, 300 ms left no time to think, hours after it was busy."""
    clock, slowness, options = SimulatedClock(), [0.00025 / STEP_S], on(deadline_s=0.3)
    device, pace = SimulatedDevice(clock, iter(lambda: slowness[0], None)), Pace()
    device.answer_tokens = 10

    def ask() -> bool | None:
        device.thinking_tokens = 100
        question = [Message("user", "How much is it?")]
        events = stream_answer(simulated_model(device), 0, question, options, stop=Event(), clock=clock, pace=pace)
        result = next(event.result for event in events if event.result is not None)
        assert result.finish_reason == "stop"
        return result.decision.think

    for _ in range(5):
        assert ask()
    pace.speed.learn_decode(0, [0.025] * 2000)
    assert [ask() for _ in range(4)][-1]


def test_time_in_the_queue_counts() -> None:
    simulation = Simulation()
    simulation.answer(on())
    result = simulation.answer(on(deadline_s=8.0), thinking=math.inf, queue_s=4.0)
    assert result.finish_reason == "stop"
    assert simulation.took_s <= 8.0
    assert result.timings.thinking_s < 4.0


def test_loading_counts_for_the_first_answer() -> None:
    model = scripted_model("1 2 3 4 5 6 7 8 9 " * 20)
    late = Engine(model, load_s=5.0, clock=FakeClock(0.001)).answer("?", AnswerOptions(think="off", deadline_s=4.0))
    assert (late.finish_reason, late.answer) == ("deadline", "")


def test_an_answer_that_was_too_late_for_the_load_does_not_make_the_next_one_late() -> None:
    """The time of the load was counted again with every answer, until one had a deadline that was longer."""
    engine = Engine(scripted_model("1 2 3"), load_s=5.0, clock=FakeClock(0.001))
    options = AnswerOptions(think="off", deadline_s=4.0)
    reasons = [engine.answer("?", options).decision.reason for _ in range(2)]
    assert "before the model was loaded" in reasons[0]
    assert "loaded" not in reasons[1]


def test_a_deadline_in_the_prefill_ends_it() -> None:
    """A prompt that cannot be read in time must not block the device for minutes."""
    simulation = Simulation()
    events = stream_answer(
        simulated_model(simulation.device),
        0,
        [Message("user", "word " * 1200)],
        on(deadline_s=0.5),
        stop=Event(),
        clock=simulation.clock,
        pace=simulation.pace,
    )
    result = next(event.result for event in events if event.result is not None)
    assert (result.finish_reason, result.answer) == ("deadline", "")
    assert simulation.clock() < 1.0


def test_an_answer_that_does_not_fit_ends_at_a_sentence_before_the_deadline() -> None:
    simulation = Simulation()
    for _ in range(20):
        simulation.answer(AnswerOptions(think="off", temperature=0.0))
    options = AnswerOptions(think="off", temperature=0.0, deadline_s=3.0)
    result = simulation.answer(options, answer=1000)
    assert result.finish_reason == "deadline"
    assert 2.5 < simulation.took_s <= 3.0
    assert len(result.answer) > 80


def test_a_character_is_not_cut_by_the_deadline() -> None:
    pace = Pace()
    pace.speed.learn_decode(0, [1.0] * 8)
    for deadline_s in range(30, 60, 2):
        model = scripted_model("龘龘龘龘龘龘龘龘龘龘龘龘龘龘龘龘")
        options = AnswerOptions(think="off", temperature=0.0, deadline_s=float(deadline_s))
        events = stream_answer(model, 0, [Message("user", "?")], options, stop=Event(), clock=FakeClock(), pace=pace)
        result = next(event.result for event in events if event.result is not None)
        assert set(result.answer) <= {"龘"}
        assert result.finish_reason == "deadline"


def test_a_judge_that_takes_too_long_is_cut_short() -> None:
    """A judgement without end would be a thought without end under another name."""
    closed = "1 2 3\n</judge>\n\n<think_off>\n<answer>\n"
    model = scripted_model(f"{'1 2 3 4 5 6 7 8 9 ' * 30}</judge>", f"{closed}so 12\n</answer>")
    running = Engine(model, clock=FakeClock(0.001)).stream("3*4?", AnswerOptions(temperature=0.0))
    said = ""
    for event in running:
        said += event.text if event.kind == "judge" else ""
        if said == "1 2 3":
            running.stop_thinking()
    assert (running.result.answer, running.result.decision.think) == ("so 12", False)
    assert running.result.decision.reason == "the model's judgement was cut short on request"


@pytest.mark.parametrize("context_size", [512, 4000])
@pytest.mark.parametrize("limits", [{}, {"think_tokens": 50}])
def test_a_judge_without_end_does_not_eat_the_context(context_size: int, limits: dict[str, int]) -> None:
    """It never set its marker, and the answer stayed empty when the context was full."""
    musing = " ".join(map(str, range(2000)))
    model = scripted_model(musing, context_size=context_size)
    script, answer_line = model.backend._script, model.tokenizer.encode_control("12\n</answer>")  # type: ignore[attr-defined]
    opening = "<think_off>\n<answer>\n"

    def answers_when_made_to(held: list[int]) -> object:
        _, is_open, said = b"".join(map(model.tokenizer.token_bytes, held)).decode().partition(opening)
        return answer_line[num_tokens(model, said) if said else 0] if is_open else script(held)

    model.backend._script = answers_when_made_to  # type: ignore[attr-defined]
    engine = Engine(model, clock=FakeClock(0.001))
    answer = engine.answer("3*4?", AnswerOptions(temperature=0.0, **limits))  # type: ignore[arg-type]
    assert (answer.answer, answer.finish_reason, answer.decision.think) == ("12", "stop", False)
    assert 64 <= answer.usage.judge_tokens <= min(256, context_size / 4)
    assert answer.decision.reason == "the model's judgement was cut short at its budget"


# --- budgets --------------------------------------------------------------------------------------------------------


def result_of(model: LoadedModel, options: AnswerOptions, question: str = "3*4?") -> Answer:
    events = stream_answer(model, 0, [Message("user", question)], options, stop=Event(), clock=FakeClock())
    return next(event.result for event in events if event.result is not None)


@pytest.mark.parametrize("dialect", ["hipo", "qwen3", "hunyuan"])
@pytest.mark.parametrize("has_tag_tokens", [True, False])
def test_a_budget_closes_in_the_models_own_dialect(dialect: str, has_tag_tokens: bool) -> None:
    """Thoughts stay in the context, the forced words are counted apart, and the tags are those the model knows."""
    spoken = DIALECTS[dialect]
    closing = spoken.closings["thinking"]
    kept = "1 2 3 4 5 6 7 8"
    model = scripted_model(
        f"{kept} 9 10 11 12", f"{kept}{closing}twelve", dialect=dialect, has_tag_tokens=has_tag_tokens
    )
    result = result_of(model, on(think_tokens=8))
    assert (result.thinking, result.answer) == (kept, "twelve")
    assert result.usage.thinking_tokens == num_tokens(model, kept) == 8
    forced_on = num_tokens(model, spoken.forced_on)
    assert result.usage.forced_tokens == forced_on + num_tokens(model, closing)
    assert result.raw == f"{kept}{closing}twelve"
    assert result.finish_reason == "stop"
    assert result.decision.reason == "thinking on was asked for; its thinking was closed at its budget"


def test_least_thinking_goes_on_after_the_model_wanted_to_end() -> None:
    """s1's other half: the end of thinking is taken back and a line that goes on is forced, in the asker's language."""
    rest = "\nWait, let me check that again.\nyes 1 2 3 4 5 6 7 8 9 so 12\n</think>\n\n<answer>\n12\n</answer>"
    for has_tag_tokens in (True, False):
        model = scripted_model(THOUGHT, f"3*4 is 12{rest}", has_tag_tokens=has_tag_tokens)
        least = num_tokens(model, "3*4 is 12") + 3
        result = result_of(model, on(min_think_tokens=least))
        assert result.thinking == "3*4 is 12\nWait, let me check that again.\nyes 1 2 3 4 5 6 7 8 9 so 12"
        assert (result.answer, result.finish_reason) == ("12", "stop")
        assert result.usage.forced_tokens > num_tokens(model, DIALECTS["hipo"].forced_on)
    assert result_of(scripted_model(THOUGHT), on(min_think_tokens=2)).thinking == "3*4 is 12"


def test_least_thinking_gives_way_to_the_deadline() -> None:
    """Thinking that has to go on for longer than there is time must not cost the answer."""
    simulation = Simulation()
    for _ in range(5):
        simulation.answer(on(), thinking=20)
    result = simulation.answer(on(min_think_tokens=5000, deadline_s=6.0), thinking=20)
    assert (result.finish_reason, result.answer != "") == ("stop", True)
    assert simulation.took_s <= 6.0
    assert result.thinking.count("Wait, let me check that again.") > 1  # it wanted to answer at once, tag and all
    assert "its thinking was closed" in result.decision.reason


def test_a_model_that_stops_in_mid_thought_is_made_to_answer() -> None:
    """With a limit there is always an answer; a turn that ended inside the thinking had none."""
    model = scripted_model("3*4", "3*4\n</think>\n\n<answer>\n12\n</answer>")
    model.backend._script._lines[1].append(7)  # type: ignore[attr-defined]
    result = result_of(model, on(think_tokens=100))
    assert result.answer == "12"


def test_without_limits_nothing_is_forced() -> None:
    result = result_of(scripted_model(THOUGHT), on())
    assert result.usage.forced_tokens == num_tokens(scripted_model(THOUGHT), DIALECTS["hipo"].forced_on)
    assert result.timings.close_s == 0
    assert result.decision.reason == "thinking on was asked for"


@pytest.mark.parametrize("deadline_s", [0.0, -1.0, math.nan, math.inf])
def test_a_deadline_that_is_none_is_refused(deadline_s: float) -> None:
    with pytest.raises(UsageError, match="deadline_s"):
        AnswerOptions(deadline_s=deadline_s)


@pytest.mark.parametrize(
    "wrong",
    [{"deadline_s": "3s"}, {"deadline_s": True}, {"think_tokens": 2.5}, {"max_tokens": "9"}, {"temperature": "cold"},
     {"min_think_tokens": "5"}, {"top_p": [1]}, {"seed": 0.5}],
)  # fmt: skip
def test_what_is_no_number_is_named(wrong: dict[str, object]) -> None:
    """A text where a number belongs was a TypeError from somewhere inside."""
    ((name, value),) = wrong.items()
    with pytest.raises(UsageError, match=re.escape(f"{name} is {value!r}; use a ")):
        AnswerOptions(**wrong)  # type: ignore[arg-type]
    AnswerOptions(think_tokens=np.int64(5), deadline_s=np.float32(2))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ({"think_tokens": -1}, "think_tokens is -1"),
        ({"min_think_tokens": 0}, "min_think_tokens is 0"),
        ({"think_tokens": 5, "min_think_tokens": 6}, "above the most"),
        ({"think": "off", "min_think_tokens": 6}, "think is off"),
        ({"max_tokens": 20, "min_think_tokens": 20}, "that leaves no answer"),
    ],
)
def test_limits_that_cannot_be_meant_are_refused(limits: dict[str, object], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        AnswerOptions(**limits)  # type: ignore[arg-type]


def test_a_budget_above_the_context_is_refused_before_the_model_runs() -> None:
    model = scripted_model(THOUGHT)
    with pytest.raises(UsageError, match="think_tokens is 5,000 and the context holds 512"):
        result_of(model, on(think_tokens=5000))
    assert isinstance(model.backend, ScriptedBackend)
    assert model.backend.calls == []


@pytest.mark.parametrize(("text", "seconds"), [("3s", 3.0), ("800ms", 0.8), ("2.5", 2.5), ("0.2s", 0.2)])
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "soon", "0", "-1s", "nan", "inf", "3 minutes", "0ms"])
def test_a_duration_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="The deadline is"):
        seconds_of(text)


# --- stop thinking --------------------------------------------------------------------------------------------------


def test_stop_thinking_from_another_thread_answers_from_what_there_is() -> None:
    thoughts = "1 2 3 4 5 6 7 8 9 "
    closed = f"1\n{CLOSED_SOFT}\n</think>\n\n<answer>\nso 12\n</answer>"
    engine = Engine(scripted_model(thoughts * 20, closed), clock=FakeClock(0.001))
    running = engine.stream("count", on())
    for event in running:
        if event.kind == "thinking":
            stopper = threading.Thread(target=running.stop_thinking)
            stopper.start()
            stopper.join()
            break
    result = running.result
    assert (result.thinking, result.answer) == (f"1\n{CLOSED_SOFT}", "so 12")
    assert result.finish_reason == "stop"
    assert result.decision.reason.endswith("its thinking was closed on request")


def test_stop_thinking_does_nothing_to_an_answer() -> None:
    engine = Engine(scripted_model("1 2 3"), clock=FakeClock(0.001))
    running = engine.stream("count", AnswerOptions(think="off", temperature=0.0))
    running.stop_thinking()
    assert (running.result.answer, running.result.finish_reason) == ("1 2 3", "stop")


# --- what is kept ---------------------------------------------------------------------------------------------------


def test_the_pace_is_kept_between_runs(state_path: Path) -> None:
    model = scripted_model(THOUGHT)
    with Engine(model, clock=FakeClock(0.001)) as engine:
        engine.answer("3*4?", on())
    kept = Pace(pace_key(model))
    assert kept.speed.is_measured
    assert kept.speed.decode_s(1, 100) > 0
    assert not Pace("another device").speed.is_measured
    assert (state_path / FILE).stat().st_size < 20_000


def test_a_damaged_pace_is_measured_anew() -> None:
    write_state(FILE, {"version": 1, "paces": {"here": {"speed": {"decode": "fast"}}}})
    pace = Pace("here")
    assert not pace.speed.is_measured
    pace.speed.learn_decode(0, [0.01] * 9)
    assert pace.keep() is None
    assert Pace("here").speed.is_measured


def test_only_so_many_paces_are_kept() -> None:
    """A folder that grows with every model tried would never be cleaned."""
    for number in range(40):
        pace = Pace(f"device {number}")
        pace.speed.learn_decode(0, [0.01])
        pace.keep()
    paces = read_state(FILE)["paces"]
    assert len(paces) == 32
    assert "device 39" in paces
