"""The speed model and the quantiles under it: recorded vectors, what is learned, what is kept."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.think.lengths import LengthModel
from edge.think.quantile import BIN_RATIO, RecentQuantile
from edge.think.speed import SpeedModel

VECTORS = Path(__file__).parent / "vectors" / "speed.jsonl"


def measured(step_s: float, num_steps: int = 200, context: int = 0) -> SpeedModel:
    """A device of which every step took ``step_s``."""
    speed = SpeedModel()
    speed.learn_decode(context, [step_s] * num_steps)
    return speed


@pytest.mark.parametrize("vector", [json.loads(line) for line in VECTORS.read_text(encoding="utf-8").splitlines()])
def test_recorded_vectors(vector: dict[str, Any]) -> None:
    """The vectors pin the model for every other implementation of it."""
    speed = SpeedModel()
    learn: dict[str, Callable[..., None]]
    learn = {"decode": speed.learn_decode, "prefill": speed.learn_prefill, "relax": speed.relax}
    for kind, *values in vector["learned"]:
        learn[kind](*values)
    for name, num_tokens, context, expected in vector["asked"]:
        assert getattr(speed, name)(num_tokens, context) == pytest.approx(expected, rel=1e-9)
    assert SpeedModel.from_json(vector["model"]).to_json() == vector["model"]


def test_nothing_is_known_before_the_first_step() -> None:
    speed = SpeedModel()
    assert not speed.is_measured
    speed.learn_prefill(100, 0, 1.0)  # without a step it says nothing
    assert not speed.is_measured
    assert speed.decode_s(10, 0) == speed.prefill_s(10, 0) == 0


def test_steady_steps_are_learned_exactly() -> None:
    speed = measured(0.02)
    assert speed.decode_s(10, 500) == pytest.approx(0.2, rel=0.02)
    assert 0.2 <= speed.slow_decode_s(10, 500) <= 0.25


def test_a_longer_context_costs_more() -> None:
    """A model that thinks steps cost the same everywhere promises too much at the end of a long conversation."""
    speed = SpeedModel()
    for context in range(0, 4000, 100):
        speed.learn_decode(context, [0.01 + 1e-6 * (context + step) for step in range(40)])
    for context in (0, 2000, 8000):
        assert speed.decode_s(1, context) == pytest.approx(0.01 + 1e-6 * context, rel=0.15)


def test_a_prefill_costs_a_step_and_its_tokens() -> None:
    speed = measured(0.02)
    for num_tokens in (20, 50, 200, 100) * 5:
        speed.learn_prefill(num_tokens, 0, 0.02 + 0.001 * num_tokens)
    assert speed.prefill_s(150, 0) == pytest.approx(0.17, rel=0.05)
    assert speed.slow_prefill_s(150, 0) >= speed.prefill_s(150, 0)


def test_a_rare_stall_moves_the_slow_quantile_and_not_the_mean() -> None:
    """One sleeping process must not make a device look a hundred times slower for ever."""
    speed = measured(0.02, 400)
    calm_s = speed.decode_s(1, 400)
    speed.learn_decode(400, [0.02] * 100 + [2.0] + [0.02] * 100)
    assert speed.decode_s(1, 400) < 1.5 * calm_s


def test_a_device_that_throttles_is_followed() -> None:
    speed = measured(0.02)
    for _ in range(3):
        speed.learn_decode(0, [0.04] * 64)
    assert speed.decode_s(10, 0) == pytest.approx(0.4, rel=0.1)


def test_stalls_average_out_over_a_long_run() -> None:
    """Reserving for a stall at every step would leave no time to think."""
    speed = SpeedModel()
    speed.learn_decode(0, [0.1 if step % 40 == 7 else 0.01 for step in range(4000)])
    single, many = speed.slow_decode_s(1, 0) / speed.decode_s(1, 0), speed.slow_decode_s(64, 0) / speed.decode_s(64, 0)
    assert single > 3 > 2 > many


def test_answers_of_a_few_tokens_measure_longer_runs_together() -> None:
    """A device that gave answers of four tokens only was taken for twice as slow as it is, for ever."""
    speed = measured(0.02, 8)
    assert speed.slow_decode_s(20, 0) > 1.5 * speed.decode_s(20, 0)
    for _ in range(600):
        speed.learn_decode(0, [0.02] * 4)
    assert speed.slow_decode_s(20, 0) <= 1.1 * speed.decode_s(20, 0)


def busy_then_calm(num_calm: int) -> SpeedModel:
    """2,000 steps at a hundredth of the speed, then ``num_calm`` short requests as fast as before."""
    speed = measured(0.001, 400)
    for num_requests, slowness in ((40, 100), (num_calm, 1)):
        for _ in range(num_requests):
            speed.learn_prefill(60, 0, slowness * 0.01)
            speed.learn_decode(60, [slowness * 0.001] * (50 if slowness > 1 else 10))
    return speed


def test_a_busy_period_is_followed_at_once_and_forgotten_in_a_few_requests() -> None:
    """After hours of other work on the cores, an idle device was taken for slow for thousands of tokens."""
    busy, calm = busy_then_calm(0), busy_then_calm(3)
    assert busy.decode_s(20, 60) == pytest.approx(2.0, rel=0.2)
    assert calm.slow_decode_s(20, 60) < 2.5 * 0.02
    assert calm.slow_prefill_s(60, 0) < 2.5 * 0.02


def test_a_short_drop_is_no_busy_period() -> None:
    """Rare slowness that comes again and again must not be forgotten each time it ends."""
    speed = measured(0.001, 400)
    for _ in range(5):
        speed.learn_decode(60, [0.01] * 20 + [0.001] * 300)
    assert speed.slow_decode_s(8, 60) > 5 * 0.008


def test_idle_time_forgets_what_was_rare_and_keeps_what_is_usual() -> None:
    speed = SpeedModel()
    speed.learn_decode(0, [0.1 if step % 40 == 7 else 0.01 for step in range(4000)])
    usual_s, stalled_s = speed.usual_decode_s(64, 0), speed.slow_decode_s(1, 0)
    speed.relax(0.0)
    assert speed.slow_decode_s(1, 0) == stalled_s
    speed.relax(24 * 3600.0)
    assert speed.usual_decode_s(64, 0) == pytest.approx(usual_s, rel=0.25)
    assert speed.slow_decode_s(1, 0) < 0.4 * stalled_s


@pytest.mark.parametrize(
    "damage", [{}, {"decode": [1]}, {"level": 0.0}, {"level": "x"}, {"looks": 1}, {"prefill": [math.inf] * 5}]
)
def test_damaged_numbers_are_refused(damage: dict[str, Any]) -> None:
    value = measured(0.02).to_json() | damage if damage else {}
    with pytest.raises((ValueError, KeyError, TypeError)):
        SpeedModel.from_json(value)


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=60), st.data())
def test_a_quantile_is_never_below_the_truth_and_at_most_a_bin_above(values: list[float], data: st.DataObject) -> None:
    rank = data.draw(st.integers(0, len(values) - 1))
    counted = RecentQuantile(values[0], 1e-9, half_life=1e9)
    for value in values:
        counted.add(value)
    exact = sorted(values)[rank]
    found = counted.quantile((rank + 0.5) / len(values))
    assert exact * (1 - 1e-6) <= found <= exact * BIN_RATIO * (1 + 1e-6)


def test_old_values_are_forgotten() -> None:
    counted = RecentQuantile(1.0, 1.0, half_life=10)
    for value in [100.0] * 200 + [1.0] * 200:
        counted.add(value)
    assert counted.quantile(0.99) == pytest.approx(1.0)
    assert len(counted.to_json()) <= 2


def test_what_is_faded_leaves_what_was_usual() -> None:
    counted = RecentQuantile(2.0, 0.2, half_life=1000)
    for value in [1.0] * 90 + [50.0] * 10:
        counted.add(value)
    counted.fade_above(2.0, 0.5)
    assert counted.quantile(0.99) == pytest.approx(50.0, rel=0.1)
    counted.fade_above(2.0, 0.0)
    assert counted.quantile(0.99) <= 2.0 * BIN_RATIO
    only_slow = RecentQuantile(50.0, 1.0, half_life=10)
    only_slow.fade_above(2.0, 0.0)
    assert only_slow.quantile(0.99) == pytest.approx(2.0, rel=0.1)


def test_the_reserve_begins_with_the_prior_and_then_follows_the_answers() -> None:
    """A constant reserve starves long answers and wastes the time of short ones."""
    lengths = LengthModel()
    assert 60 <= lengths.reserve("thought_answer") <= 80
    for _ in range(300):
        lengths.learn("thought_answer", 4)
    assert 4 <= lengths.reserve("thought_answer") <= 6
    lengths.learn("thought_answer", 400, was_cut=True)
    assert lengths.reserve("direct_answer") >= 60
    for _ in range(10):
        lengths.learn("thought_answer", 400, was_cut=True)
    assert lengths.reserve("thought_answer") >= 800


def test_one_rambling_answer_moves_no_reserve() -> None:
    """One answer of 150 tokens took the reserve to 400, and nothing was thought about from then on."""
    for num_texts in (3, 10, 60):
        lengths = LengthModel()
        for _ in range(num_texts):
            lengths.learn("thought_answer", 5)
        before = lengths.reserve("thought_answer")
        lengths.learn("thought_answer", 150)
        assert lengths.reserve("thought_answer") <= before


def test_answers_to_broken_thoughts_set_the_reserve_only_while_there_are_no_others() -> None:
    """They ramble where the thought ends in mid-line; paying for that left no time for any thought."""
    lengths = LengthModel()
    for _ in range(10):
        lengths.learn("direct_answer", 4)
        lengths.learn("closed_answer", 40)
    assert lengths.reserve("thought_answer") >= 40
    lengths.learn("thought_answer", 5)
    assert lengths.reserve("thought_answer") < 40


def test_thinking_is_tried_before_its_length_is_known() -> None:
    """A prior of 128 tokens kept a runtime with short deadlines from ever learning that thoughts have 25."""
    lengths = LengthModel()
    assert lengths.useful_thinking() <= 20
    lengths.learn("thinking", 100)
    assert lengths.useful_thinking() <= 20
    for _ in range(5):
        lengths.learn("thinking", 100)
    assert lengths.useful_thinking() >= 100


def test_lengths_survive_json() -> None:
    lengths = LengthModel()
    lengths.learn("thinking", 300)
    assert LengthModel.from_json(json.loads(json.dumps(lengths.to_json()))).to_json() == lengths.to_json()
