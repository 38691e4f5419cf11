"""How many threads: recorded vectors, and a device on which two threads stall while others use the cores."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench_edge.simulated_device import SimulatedClock, SimulatedDevice, simulated_model
from edge.chat_types import AnswerOptions
from edge.engine import Engine
from edge.think.speed import SpeedModel
from edge.think.threads import STALE_S, MeasuredThreads, ThreadChoice, choose_threads

VECTORS = Path(__file__).parent / "vectors" / "threads.jsonl"
HURRIED = AnswerOptions(think="on", temperature=0.0, deadline_s=8.0)


def measured(step_s: float, stall_s: float = 0.0, *, every: int = 10, idle_s: float = 0.0) -> MeasuredThreads:
    """Steps of ``step_s``, one in ``every`` of them with a stall."""
    speed = SpeedModel()
    speed.learn_decode(0, [step_s + (stall_s if step % every == 7 else 0.0) for step in range(800)])
    return MeasuredThreads(speed, idle_s)


@pytest.mark.parametrize("vector", [json.loads(line) for line in VECTORS.read_text(encoding="utf-8").splitlines()])
def test_recorded_vectors(vector: dict[str, Any]) -> None:
    """The vectors pin the choice for every other implementation of it."""
    known = {
        int(number): MeasuredThreads(SpeedModel.from_json(one["speed"]), one["idle_s"])
        for number, one in vector["measured"].items()
    }
    choice = choose_threads(known, vector["most"], vector["deadline_s"], vector["answer_tokens"])
    assert choice == ThreadChoice(**vector["choice"])


def test_without_a_deadline_all_threads_are_used() -> None:
    known = {1: measured(0.1), 2: measured(0.05, stall_s=2.0)}
    assert choose_threads(known, 2, None, 20).num_threads == 2
    assert choose_threads(known, 2, 5.0, 20).num_threads == 1


def test_calm_threads_are_kept_and_nothing_is_tried() -> None:
    """A trial costs an answer at half the speed; where nothing stalls there is nothing to gain by it."""
    assert choose_threads({4: measured(0.05)}, 4, 5.0, 20) == ThreadChoice(4, "fewer would not be quicker")
    assert choose_threads({}, 4, 5.0, 20).num_threads == 4


def test_stalls_have_fewer_threads_tried_and_then_compared() -> None:
    known = {4: measured(0.05, stall_s=3.0)}
    assert choose_threads(known, 4, 5.0, 20) == ThreadChoice(2, "tried: 2 may stall less than 4 or be quicker")
    known[2] = measured(0.09)
    choice = choose_threads(known, 4, 5.0, 20)
    assert choice.num_threads == 2
    assert "ms with 2" in choice.reason and "ms with 4" in choice.reason


def test_a_long_deadline_bears_stalls_for_a_better_mean() -> None:
    known = {1: measured(0.1), 2: measured(0.05, stall_s=2.0, every=100)}
    assert choose_threads(known, 2, 2.0, 20).num_threads == 1
    assert choose_threads(known, 2, 200.0, 20).num_threads == 2


def test_what_was_not_used_for_long_is_tried_again() -> None:
    """A busy hour must not keep a device on one thread for ever."""
    stalled = measured(0.05, stall_s=3.0, idle_s=STALE_S)
    assert choose_threads({1: measured(0.1), 2: stalled}, 2, 5.0, 20).num_threads == 2


class SharedCores:
    """Cores on which other work runs or not: ``slowness`` of the device's next step with its threads."""

    def __init__(self) -> None:
        self.are_busy = False
        self.device = SimulatedDevice(SimulatedClock(), self._slowness(random.Random(0)))
        self.device.num_threads = 2
        self.device.thinking_tokens, self.device.answer_tokens = 60, 10
        self.clock = self.device._clock

    def _slowness(self, rng: random.Random) -> Iterator[float]:
        while True:
            stalls = self.are_busy and rng.random() < (0.15 if self.device.num_threads > 1 else 0.005)
            yield rng.uniform(0.95, 1.05) * 2 / self.device.num_threads + (40 if stalls else 0)


def test_an_engine_leaves_stalling_threads_under_a_deadline_only() -> None:
    """Two threads on two busy cores stall where one does not; once they are found out the answers come in time."""
    cores = SharedCores()
    engine = Engine(simulated_model(cores.device), clock=cores.clock, chooses_threads=True)
    used = []
    for number in range(24):
        cores.are_busy = number >= 4
        engine.answer("How much is it?", HURRIED)
        used.append(cores.device.num_threads)
    assert used[:4] == [2] * 4
    assert used[-8:] == [1] * 8
    engine.answer("How much is it?", AnswerOptions(think="off", temperature=0.0))
    assert cores.device.num_threads == 2


def test_a_number_that_was_asked_for_is_kept() -> None:
    cores = SharedCores()
    cores.are_busy = True
    engine = Engine(simulated_model(cores.device), clock=cores.clock)
    for _ in range(8):
        engine.answer("How much is it?", HURRIED)
        assert cores.device.num_threads == 2
    assert engine.threads_for(8.0) == ThreadChoice(2, "asked for")
