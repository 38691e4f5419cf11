"""Is the answer there before its deadline: on a simulated device whose speed stalls, drifts, throttles and bursts.

Knows: how requests with deadlines are made, and judged by the caller's own clock. Does not know: how they are kept.

A deadline is feasible when it is at least 1.5 times the 99th percentile of the same request answered without thinking,
on the same device in the same run. A request has kept its word when it ended by itself before its deadline.
TimeBill (arXiv 2512.21859) predicts lengths and times before the answer, Timely-Eval (2601.16486) measures agents
against the clock, s1 (2501.19393) sets budgets in tokens, llama.cpp's t_max_predict_ms cuts the answer off; here the
thinking gives way to the answer while both are under way.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from dataclasses import dataclass
from threading import Event
from typing import Any

from bench_edge.intervals import Proportion
from bench_edge.report import BenchReport, Check, format_table, print_report
from bench_edge.simulated_device import SPEEDS, SimulatedClock, SimulatedDevice, simulated_model
from edge.answer import stream_answer
from edge.answer_log import Waited
from edge.chat_types import Answer, AnswerOptions, Message, Think
from edge.pace import Pace
from edge.stream_parser import StreamParser
from edge.think.controller import Controller, Limits
from edge.think.speed import SpeedModel
from models.dialect import DIALECTS
from models.errors import UsageError

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


def main(arguments: list[str]) -> int:
    """Run the bench; see ``edge bench deadline --help``."""
    parser = argparse.ArgumentParser(prog="edge bench deadline", description=__doc__, allow_abbrev=False)
    parser.add_argument("--simulate", type=int, default=10_000, metavar="N", help="how many requests (10,000)")
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    options = parser.parse_args(arguments)
    if options.simulate < len(SPEEDS):
        raise UsageError(f"--simulate is {options.simulate}; use {len(SPEEDS)} or more, one for each kind of speed.")
    outcomes = simulate(options.simulate)
    token_s = cost_of_a_token()
    report = build_report(arguments, outcomes, token_s)
    print_report(report, [outcome_table(outcomes)], as_json=options.json)
    return 0


def simulate(num_requests: int) -> list[Outcome]:
    """``num_requests``, spread evenly over the kinds of speed."""
    share, rest = divmod(num_requests, len(SPEEDS))
    return [
        outcome
        for place, speed in enumerate(SPEEDS)
        for outcome in simulate_speed(speed, share + (place < rest), SEED + place)
    ]


def simulate_speed(speed: str, num_requests: int, seed: int) -> list[Outcome]:
    """Requests to one device, which has answered ``WARM_UP`` without thinking before."""
    rng = random.Random(seed)
    clock = SimulatedClock()
    caller = Caller(clock, SimulatedDevice(clock, SPEEDS[speed](rng)), rng)
    without_s = sorted(caller.ask("off", None, 0)[1] for _ in range(WARM_UP))
    p99_s = without_s[math.ceil(0.99 * WARM_UP) - 1]
    outcomes = []
    for number in range(num_requests):
        is_endless = number % ENDLESS_EVERY == 0
        thinking = math.inf if is_endless else rng.lognormvariate(5, 1)
        deadline_s = p99_s * rng.uniform(FEASIBLE, LONGEST)
        answer, took_s = caller.ask("on", deadline_s, thinking)
        has_thought = answer.usage.thinking_tokens > 0
        outcomes.append(
            Outcome(speed, deadline_s, took_s, answer.finish_reason, bool(answer.answer), is_endless, has_thought)
        )
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


def used_share(outcomes: list[Outcome]) -> float:
    """Share of all the time before the deadlines that was used, of requests to a model that would think for ever."""
    endless = [one for one in outcomes if one.is_endless]
    return sum(min(one.took_s, one.deadline_s) for one in endless) / sum(one.deadline_s for one in endless)


def build_report(arguments: list[str], outcomes: list[Outcome], token_s: float) -> BenchReport:
    """The figures and the promised bars."""
    kept = Proportion(sum(one.is_kept for one in outcomes), len(outcomes))
    on_time = Proportion(sum(one.is_on_time for one in outcomes), len(outcomes))
    cut = Proportion(sum(one.finish_reason != "stop" for one in outcomes), len(outcomes))
    overrun_s = max(one.took_s - one.deadline_s for one in outcomes)
    results: dict[str, Any] = {
        "kept": kept.to_json(),
        "on_time": on_time.to_json(),
        "cut_short": cut.to_json(),
        "worst_overrun_s": max(overrun_s, 0.0),
        "used": used_share(outcomes),
        "token_us": 1e6 * token_s,
    }
    checks = (
        Check("C.sim", "simulated: on time and ended by itself, per cent", 100 * kept.value, 99.9, "at_least"),
        Check("C.use", "simulated: time used by endless thinking, per cent", 100 * results["used"], 85, "at_least"),
        Check("C.cost", "controller and parser, microseconds a token", 1e6 * token_s, 20, "at_most"),
    )
    return BenchReport("deadline", arguments, SEED, results, checks)


def outcome_table(outcomes: list[Outcome]) -> str:
    """One row for each kind of speed."""
    rows = []
    for speed in SPEEDS:
        ours = [one for one in outcomes if one.speed == speed]
        rows.append(
            (
                speed,
                len(ours),
                Proportion(sum(one.is_kept for one in ours), len(ours)),
                Proportion(sum(one.is_on_time for one in ours), len(ours)),
                Proportion(sum(one.finish_reason != "stop" for one in ours), len(ours)),
                Proportion(sum(one.has_thought for one in ours), len(ours)),
                f"{100 * used_share(ours):.1f} %",
                f"{1000 * max(max(one.took_s - one.deadline_s for one in ours), 0):.0f} ms",
            )
        )
    header = ("speed", "requests", "kept", "on time", "cut short", "thought", "time used", "worst overrun")
    return format_table(header, rows)
