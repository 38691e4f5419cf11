"""Deadlines on a simulated device whose speed stalls, drifts, throttles and bursts.

Knows: how requests with deadlines are made, and judged by the caller's own clock. Does not know: how they are kept.

A deadline is feasible when it is at least 1.5 times the 99th percentile of the same request answered without thinking,
on the same device in the same run. A request has kept its word when it ended by itself before its deadline.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from threading import Event
from typing import Any

from bench_edge.intervals import Proportion, percentile
from bench_edge.kept import KeptRun, Progress
from bench_edge.report import Check
from bench_edge.simulated_device import SPEEDS, SimulatedClock, SimulatedDevice, simulated_model
from edge.answer import stream_answer
from edge.answer_log import Waited
from edge.chat_types import Answer, AnswerOptions, Message, Think
from edge.pace import Pace
from edge.stream_parser import StreamParser
from edge.think.controller import Controller, Limits
from edge.think.speed import SpeedModel
from models.dialect import DIALECTS

SEED = 0
WARM_UP = 300  # answers without thinking: they measure what is feasible, and the device
FEASIBLE, LONGEST = 1.5, 30.0  # deadlines, in 99th percentiles of an answer without thinking
ENDLESS_EVERY = 4  # of so many requests one is to a model that would think for ever


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request: what the caller's clock says, in seconds."""

    speed: str
    deadline_s: float
    took_s: float
    finish_reason: str
    has_answer: bool
    is_endless: bool
    has_thought: bool

    @property
    def is_on_time(self) -> bool:
        return self.took_s <= self.deadline_s and self.has_answer

    @property
    def is_kept(self) -> bool:
        """On time, and ended by itself."""
        return self.is_on_time and self.finish_reason == "stop"


def simulate(num_requests: int, kept: KeptRun) -> list[Outcome]:
    """``num_requests``, spread evenly over the kinds of speed; a kind that was finished before is not run again."""
    share, rest = divmod(num_requests, len(SPEEDS))
    rows = kept.rows(b"simulated", str(num_requests).encode())
    outcomes = [Outcome(**row) for row in rows.read()]
    for place, speed in enumerate(SPEEDS):
        if any(one.speed == speed for one in outcomes):
            continue
        found = simulate_speed(speed, share + (place < rest), SEED + place)
        for outcome in found:
            rows.add(asdict(outcome))
        outcomes += found
    return outcomes


def simulate_speed(speed: str, num_requests: int, seed: int) -> list[Outcome]:
    """Requests to one device, which has answered ``WARM_UP`` without thinking before."""
    rng = random.Random(seed)
    clock = SimulatedClock()
    caller = Caller(clock, SimulatedDevice(clock, SPEEDS[speed](rng)), rng)
    without_s = [caller.ask("off", None, 0)[1] for _ in range(WARM_UP)]
    p99_s = percentile(without_s, 0.99)
    outcomes, progress = [], Progress(f"simulated, {speed}", num_requests)
    for number in range(num_requests):
        is_endless = number % ENDLESS_EVERY == 0
        thinking = math.inf if is_endless else rng.lognormvariate(5, 1)
        deadline_s = p99_s * rng.uniform(FEASIBLE, LONGEST)
        answer, took_s = caller.ask("on", deadline_s, thinking)
        has_thought = answer.usage.thinking_tokens > 0
        outcomes.append(
            Outcome(speed, deadline_s, took_s, answer.finish_reason, bool(answer.answer), is_endless, has_thought)
        )
        progress.step()
    return outcomes


class Caller:
    """Sends requests one after the other and looks at the clock itself."""

    def __init__(self, clock: SimulatedClock, device: SimulatedDevice, rng: random.Random) -> None:
        self._clock, self._device, self._rng = clock, device, rng
        self._model, self._pace = simulated_model(device), Pace()

    def ask(self, think: Think, deadline_s: float | None, thinking_tokens: float) -> tuple[Answer, float]:
        """One request; the finished answer and the seconds it took."""
        self._device.cut(0, 0)
        self._device.thinking_tokens = thinking_tokens
        self._device.answer_tokens = min(max(self._rng.lognormvariate(3, 0.4), 3), 200)
        question = Message("user", "q" * self._rng.randint(10, 200))
        options = AnswerOptions(think=think, deadline_s=deadline_s, temperature=0.0)
        asked_s = self._clock()
        events = stream_answer(
            self._model,
            0,
            [question],
            options,
            stop=Event(),
            clock=self._clock,
            waited=Waited(asked_s),
            pace=self._pace,
        )
        answer = next(event.result for event in events if event.result is not None)
        return answer, self._clock() - asked_s


def cost_of_a_token(num_tokens: int = 20_000) -> float:
    """Seconds that controller and parser take for one token of thinking under a deadline, by the real clock."""
    speed = SpeedModel()
    speed.learn_decode(0, [0.001] * 256)
    tokens: list[int] = []
    controller = Controller(Limits(deadline_s=1e9, think_tokens=10**9, watches_answer=True), speed, tokens, 0.0)
    parser = StreamParser(DIALECTS["hipo"], "thinking")
    start_s = time.perf_counter()
    for number in range(num_tokens):
        controller.see(number * 0.001, "thinking", " word", False)
        tokens.append(number * number % 9973)
        parser.feed(" word")
    return (time.perf_counter() - start_s) / num_tokens


def used_share(outcomes: Sequence[Outcome]) -> float:
    """Share of all the time before the deadlines that was used, of requests to a model that would think for ever."""
    endless = [one for one in outcomes if one.is_endless]
    return sum(min(one.took_s, one.deadline_s) for one in endless) / sum(one.deadline_s for one in endless)


def summarize(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The figures of some requests."""
    total = len(outcomes)
    return {
        "kept": Proportion(sum(one.is_kept for one in outcomes), total).to_json(),
        "on_time": Proportion(sum(one.is_on_time for one in outcomes), total).to_json(),
        "cut_short": Proportion(sum(one.finish_reason != "stop" for one in outcomes), total).to_json(),
        "thought": Proportion(sum(one.has_thought for one in outcomes), total).to_json(),
        "used": used_share(outcomes),
        "worst_overrun_s": max(0.0, *(one.took_s - one.deadline_s for one in outcomes)),
    }


def summarize_simulation(outcomes: Sequence[Outcome], token_s: float) -> dict[str, Any]:
    """The figures of the whole, and of each kind of speed; ``token_s`` is what ``cost_of_a_token`` found."""
    by_speed = {speed: summarize([one for one in outcomes if one.speed == speed]) for speed in SPEEDS}
    return {**summarize(outcomes), "token_us": 1e6 * token_s, "by_speed": by_speed}


def simulation_checks(figures: dict[str, Any]) -> list[Check]:
    """The promised figures."""
    kept, used = 100 * figures["kept"]["value"], 100 * figures["used"]
    return [
        Check("C.sim", "simulated: on time and ended by itself, per cent", kept, 99.9, "at_least"),
        Check("C.use", "simulated: time used by endless thinking, per cent", used, 85, "at_least"),
        Check("C.cost", "controller and parser, microseconds a token", figures["token_us"], 20, "at_most"),
    ]
