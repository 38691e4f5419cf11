"""Writes tests/vectors/{speed,lengths,plan,controller,threads}.jsonl, for when one is meant to decide otherwise.

Read the difference before you commit it: these lines pin every other implementation of the five.

* speed: what was learned in order (``decode``: context, seconds of each step; ``prefill``: tokens, context, seconds;
  ``relax``: idle seconds), what was asked afterwards (name, tokens, context, seconds), and the whole model as JSON.
* lengths: what was learned in order (kind, tokens, whether it was cut short), what every kind then reserves and is
  typically, the shares within some lengths, the least useful thinking, and the whole model as JSON.
* plan: a decision, bounds, models of speed and lengths as JSON, the router's gain or null, and the plan.
* controller: limits, a speed model, the tokens there are when decoding begins, then for each token the time, stage,
  text of the token before, whether the end of thinking is asked for, the action and its cause, and the token that is
  appended if the action is ``go``.
* threads: by number of threads a speed model as JSON and its idle seconds, the most there are, the deadline, the tokens
  of an answer, and the choice.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from edge.chat_types import Decision
from edge.think.controller import Controller, Limits, Stage
from edge.think.lengths import LengthModel, TextKind
from edge.think.plan import Bounds, plan_thinking
from edge.think.speed import SpeedModel
from edge.think.threads import MeasuredThreads, choose_threads

FOLDER = Path(__file__).parent / "vectors"
QUESTIONS = ("decode_s", "slow_decode_s", "prefill_s", "slow_prefill_s")
DECISIONS = (
    Decision(True, "thinking on was asked for", "asked"),
    Decision(None, "the model judges for itself", "judge"),
    Decision(False, "thinking off was asked for", "asked"),
)


def main() -> None:
    """Record all five."""
    for name, records in (
        ("speed", speed_records()),
        ("lengths", lengths_records()),
        ("plan", plan_records()),
        ("controller", controller_records()),
        ("threads", threads_records()),
    ):
        with (FOLDER / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            for record in records:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")


def steps_of(rng: random.Random, num_steps: int, slowness: float = 1.0) -> list[float]:
    """Seconds of steps, with a stall now and then."""
    return [round(slowness * 0.01 * (rng.uniform(0.9, 1.1) + 20 * (rng.random() < 0.01)), 6) for _ in range(num_steps)]


def learned(rng: random.Random, num_requests: int) -> tuple[SpeedModel, list[list[Any]]]:
    """A speed model and what it learned from."""
    speed, told = SpeedModel(), []
    for request in range(num_requests):
        context, num_prompt = rng.randint(0, 500), rng.randint(2, 300)
        steps_s = steps_of(rng, rng.choice((4, 40, 150)), 1 + 0.2 * request)
        prefill_s = round(0.01 + 0.001 * num_prompt * rng.uniform(1, 1.3), 6)
        told += [["decode", context, steps_s], ["prefill", num_prompt, context, prefill_s]]
        speed.learn_decode(context, steps_s)
        speed.learn_prefill(num_prompt, context, prefill_s)
    return speed, told


def speed_records() -> Iterator[dict[str, Any]]:
    rng = random.Random(1)
    for num_requests, idle_s, slownesses in (
        (0, 0.0, ()),
        (1, 0.0, ()),
        (3, 0.0, ()),
        (8, 0.0, ()),
        (8, 900.0, ()),
        (4, 0.0, (30,)),  # a busy period
        (4, 0.0, (30, 1)),  # that is over
    ):
        speed, told = learned(rng, num_requests)
        if idle_s:
            speed.relax(idle_s)
            told.append(["relax", idle_s])
        for slowness in slownesses:
            for _ in range(3):
                steps_s, prefill_s = steps_of(rng, 20, slowness), round(slowness * 0.05, 6)
                speed.learn_decode(50, steps_s)
                speed.learn_prefill(40, 0, prefill_s)
                told += [["decode", 50, steps_s], ["prefill", 40, 0, prefill_s]]
        asked = [
            [name, num_tokens, context, getattr(speed, name)(num_tokens, context)]
            for name in QUESTIONS
            for num_tokens, context in ((1, 0), (5, 100), (20, 1000), (200, 64), (0, 7))
        ]
        yield {"learned": told, "asked": asked, "model": speed.to_json()}


def lengths_records() -> Iterator[dict[str, Any]]:
    rng = random.Random(5)
    kinds = get_args(TextKind)
    for num_texts in (0, 1, 2, 3, 8, 20, 60, 400):
        lengths, told = LengthModel(), []
        for _ in range(num_texts):
            kind, was_cut = rng.choice(kinds), rng.random() < 0.2
            num_tokens = max(0, round(rng.lognormvariate(5 if kind == "thinking" else 2, 0.5)))
            lengths.learn(kind, num_tokens, was_cut=was_cut)
            told.append([kind, num_tokens, was_cut])
        yield {
            "learned": told,
            "typical": {kind: lengths.typical(kind) for kind in kinds},
            "reserve": {kind: lengths.reserve(kind) for kind in kinds},
            "share_within": [[kind, most, lengths.share_within(kind, most)] for kind in kinds for most in (5, 20, 150)],
            "useful_thinking": lengths.useful_thinking(),
            "model": lengths.to_json(),
        }


def plan_records() -> Iterator[dict[str, Any]]:
    rng = random.Random(2)
    for number in range(60):
        speed, _ = learned(rng, 1 + number % 3)
        lengths = LengthModel()
        for _ in range(number % 7):
            lengths.learn(rng.choice(("thought_answer", "closed_answer")), rng.randint(3, 30))
            lengths.learn("thinking", rng.randint(20, 400), was_cut=rng.random() < 0.5)
        decision = DECISIONS[number % len(DECISIONS)]
        bounds = Bounds(
            context_tokens=rng.randint(10, 300),
            room_tokens=rng.choice((400, 4000, 4000)),
            time_left_s=rng.choice((None, 0.05, 1.0, 3.0, 20.0, 90.0)),
            think_tokens=rng.choice((None, None, None, 0, 50)),
            max_tokens=rng.choice((None, None, None, 30, 400)),
            open_tokens=rng.randint(0, 20),
            close_tokens=rng.randint(2, 30),
            think_share=rng.choice((1.0, 1.0, 1.0, 0.5)),
            least_answer_tokens=rng.choice((0, 0, 30)),
            is_shaped=number % 9 == 8,
        )
        gain = rng.choice((None, None, 0.2, 0.9))
        plan = plan_thinking(decision, bounds, speed, lengths, gain)
        yield {
            "decision": asdict(decision),
            "bounds": asdict(bounds),
            "speed": speed.to_json(),
            "lengths": lengths.to_json(),
            "gain": gain,
            "plan": asdict(plan),
        }


def controller_records() -> Iterator[dict[str, Any]]:
    rng = random.Random(3)
    for number in range(18):
        speed, _ = learned(rng, 2)
        limits = Limits(
            deadline_s=None if number % 6 == 5 else rng.choice((100.8, 101.2, 101.6)),
            think_tokens=None if number % 6 == 5 else rng.choice((None, 20, 100)),
            judge_tokens=8 if number % 7 == 3 else None,
            answer_tokens=rng.choice((5, 40)),
            close_tokens=10,
            line_tokens=rng.choice((0, 6)),
            watches_answer=number % 2 == 0,
        )
        yield {
            "limits": asdict(limits),
            "speed": speed.to_json(),
            "num_tokens": 50,
            "start_s": 100.0,
            "seen": seen(rng, limits, speed, number),
        }


def threads_records() -> Iterator[dict[str, Any]]:
    rng = random.Random(4)
    for number in range(30):
        most = rng.choice((1, 2, 4, 6))
        measured = {}
        for threads in rng.sample(range(1, most + 1), rng.randint(0, most)):
            speed = SpeedModel()
            stall_s = rng.choice((0.0, 0.1, 1.0))
            speed.learn_decode(0, [0.1 / threads + stall_s * (rng.random() < 0.1) for _ in range(200)])
            measured[threads] = MeasuredThreads(speed, rng.choice((0.0, 100.0, 5000.0)))
        deadline_s, answer_tokens = None if number % 10 == 9 else rng.choice((0.5, 4.0, 60.0)), rng.choice((5, 40))
        yield {
            "measured": {
                threads: {"speed": known.speed.to_json(), "idle_s": known.idle_s} for threads, known in measured.items()
            },
            "most": most,
            "deadline_s": deadline_s,
            "answer_tokens": answer_tokens,
            "choice": asdict(choose_threads(measured, most, deadline_s, answer_tokens)),
        }


def seen(rng: random.Random, limits: Limits, speed: SpeedModel, number: int) -> list[list[Any]]:
    """Tokens until the controller has closed the thinking and ended the answer, or 160 of them."""
    tokens = list(range(50))
    controller = Controller(limits, speed, tokens, 100.0)
    stage: Stage = "judge" if number % 3 == 0 else "thinking"
    now_s, text, told = 100.0, "", []
    for step in range(160):
        now_s = round(now_s + 0.01 * rng.uniform(0.9, 1.4) * (8 if number % 4 == 1 and step > 40 else 1), 6)
        is_asked = number % 5 == 4 and step >= 30
        action = controller.see(now_s, stage, text, is_asked)
        token = step % 5 if number % 6 == 5 and step > 60 else rng.randrange(10_000)
        told.append([now_s, stage, text, is_asked, action, controller.cause, token])
        if action in ("last", "end"):
            break
        if action in ("soft", "hard"):
            controller.forced()
            stage, text = "answer", "\n"
            continue
        tokens.append(token)
        text = rng.choice((" word", " word", " so", " so", " a", " 3.", ".", "\n", "。", ""))
        if stage == "judge" and step == 10:
            stage = "thinking"
    return told


if __name__ == "__main__":
    main()
