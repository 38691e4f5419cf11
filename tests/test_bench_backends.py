"""The backends that a bench puts around real ones: one that takes its time, one that is given something to say."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import pytest
from backend_contract import CONTEXT, STEPS, BackendContract, check_any_order_of_calls
from hypothesis import given
from scripted_models import scripted_model
from test_backend_scripted import checksum

from bench_edge.busy_cores import LONGEST_S, SHORTEST_S, burn, busy_cores, schedule
from bench_edge.slowed_backend import CHUNK, SlowedBackend
from bench_edge.spoken_backend import SpokenBackend
from edge.backends.base import PrefillResult
from edge.backends.scripted import ScriptedBackend
from edge.chat_types import Answer, AnswerOptions
from edge.engine import Engine
from models.errors import ModelError


class ManualClock:
    """Time that passes only in pauses."""

    def __init__(self) -> None:
        self.now_s = 5.0

    def __call__(self) -> float:
        return self.now_s

    def pause(self, seconds: float) -> None:
        assert seconds > 0
        self.now_s += seconds


def slowed(clock: ManualClock, tokens_per_s: float = 10.0) -> SlowedBackend:
    inner = ScriptedBackend(checksum, context_size=CONTEXT, num_sequences=2)
    return SlowedBackend(inner, tokens_per_s, clock=clock, pause=clock.pause)


# --- slowed ---------------------------------------------------------------------------------------------------------


class TestContract(BackendContract):
    @pytest.fixture
    def backend(self) -> SlowedBackend:
        return slowed(ManualClock())


@given(steps=STEPS)
def test_any_order_of_calls(steps: list[tuple[str, int, int]]) -> None:
    check_any_order_of_calls(slowed(ManualClock()), steps)


def test_a_token_takes_a_step_and_a_prefill_a_tenth_for_each_more() -> None:
    clock = ManualClock()
    backend = slowed(clock)
    backend.prefill(0, [1] * 41)
    assert clock.now_s == pytest.approx(5.0 + 0.1 * (1 + 0.1 * 40))
    start_s = clock.now_s
    for _ in range(7):
        backend.append(0, [2])
    backend.append(0, [])
    assert clock.now_s - start_s == pytest.approx(0.7)


def test_what_the_runtime_takes_between_two_tokens_is_part_of_the_step() -> None:
    """A pause of a whole step each would make the device slower than it was said to be."""
    clock = ManualClock()
    backend = slowed(clock)
    backend.prefill(0, [1])
    start_s = clock.now_s
    for _ in range(10):
        clock.now_s += 0.03
        backend.append(0, [2])
    assert clock.now_s - start_s == pytest.approx(1.0)


def test_time_that_stood_idle_is_not_made_up_for() -> None:
    clock = ManualClock()
    backend = slowed(clock)
    backend.prefill(0, [1])
    clock.now_s += 60
    start_s = clock.now_s
    backend.append(0, [2])
    assert clock.now_s - start_s == pytest.approx(0.1)


def test_a_slow_prefill_is_interrupted_in_its_pauses() -> None:
    """The device below is fast: if only that one asked, a deadline would have to wait for all the pauses."""
    clock = ManualClock()
    backend = slowed(clock)
    filled = backend.prefill(0, [1] * 200, should_stop=lambda: clock.now_s > 5.2)
    assert filled == PrefillResult(0, CHUNK, is_complete=False) and backend.length(0) == CHUNK
    assert clock.now_s < 5.4
    assert backend.prefill(0, [1] * 20) == PrefillResult(CHUNK, 4, is_complete=True)


# --- spoken ---------------------------------------------------------------------------------------------------------


def speak(dialect: str, thinking: float, answer: float, **options: float) -> Answer:
    model = scripted_model("", dialect=dialect)  # its script ends every text at once
    speech = SpokenBackend(model)
    speech.thinking_tokens, speech.answer_tokens = thinking, answer
    with Engine(replace(model, backend=speech)) as engine:
        return engine.answer("How much?", AnswerOptions(temperature=0.0, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("dialect", ["hipo", "qwen3", "hunyuan"])
def test_a_random_model_is_given_thoughts_and_answers_of_a_length(dialect: str) -> None:
    answer = speak(dialect, 30, 12, think="on")  # type: ignore[arg-type]
    assert answer.finish_reason == "stop" and answer.decision.think
    assert 25 <= len(answer.thinking) <= 31 and answer.thinking[9] == "." != answer.thinking[8]
    assert 8 <= answer.usage.answer_tokens <= 14
    direct = speak(dialect, 30, 12, think="off")  # type: ignore[arg-type]
    assert (direct.finish_reason, direct.thinking) == ("stop", "") and 8 <= direct.usage.answer_tokens <= 14


def test_thoughts_without_end_are_closed_and_answered() -> None:
    answer = speak("hunyuan", math.inf, 12, think="on", think_tokens=40)  # type: ignore[arg-type]
    assert answer.finish_reason == "stop" and answer.has_answer
    assert 30 <= answer.usage.thinking_tokens <= 41


def test_a_model_that_cannot_think_cannot_be_spoken_with() -> None:
    model = scripted_model("", dialect="qwen3")
    with pytest.raises(ModelError, match="stop token"):
        SpokenBackend(replace(model, stop_ids=frozenset()))


# --- busy cores -----------------------------------------------------------------------------------------------------


def test_the_schedule_is_the_same_for_a_seed() -> None:
    first, again, other = (schedule(seed) for seed in (1, 1, 2))
    drawn = [next(first) for _ in range(50)]
    assert drawn == [next(again) for _ in range(50)] != [next(other) for _ in range(50)]
    assert all(SHORTEST_S <= seconds <= LONGEST_S for seconds in drawn)


def test_busy_times_burn_and_quiet_times_do_not() -> None:
    durations = schedule(3)
    busy_s, quiet_s = next(durations), next(durations)
    start_s, used_s = time.time(), time.process_time()
    burn(3, start_s, start_s + busy_s / 2)
    assert 0 < time.process_time() - used_s <= busy_s * 1.1
    used_s = time.process_time()
    burn(3, time.time() - busy_s - quiet_s / 2, time.time() - quiet_s / 4)
    assert time.process_time() - used_s < 0.05


def test_the_cores_are_free_again_afterwards() -> None:
    import multiprocessing

    with busy_cores(0, 1):
        (burner,) = multiprocessing.active_children()
        assert burner.is_alive()
    assert not multiprocessing.active_children()
