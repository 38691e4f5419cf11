"""Stage 2: HiPO's hybrid data pipeline, then training of the judge on what it found.

On fresh problems the stage-1 model answers several times with thinking and several times without; the mode with the
higher pass rate wins, pass rates that differ by less than DELTA go to off, the shortest correct answer is kept, one
problem in a hundred gets a random mode. Knows outcomes and labels; the loop is train.py's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import torch

from models.spark import evaluate, samples, tasks
from models.spark.evaluate import Reply
from models.spark.network import SparkNetwork
from models.spark.rendering import Renderer, Sample
from models.spark.samples import Mix, Rows
from models.spark.tasks import Problem

NUM_ANSWERS = 4
DELTA = 0.2
TEMPERATURE = 0.7
RANDOM_SHARE = 0.01
JUDGED_SHARE = 0.6
OUTSIDE_SHARE = 0.04
CHUNK = 500


@dataclass(frozen=True, slots=True)
class Outcome:
    """What sampling found for one problem: pass rates and, per mode, the shortest correct text (None: none)."""

    prompt: str
    language: str
    num_steps: int
    off_rate: float
    on_rate: float
    off_answer: str | None
    on_answer: str | None
    on_thinking: str | None


@dataclass(frozen=True, slots=True)
class Judged:
    """One training example of the judge: the mode that won and what it said."""

    prompt: str
    language: str
    think: bool
    answer: str
    thinking: str


def measure(network: SparkNetwork, renderer: Renderer, path: Path, num_problems: int, seed: int) -> list[Outcome]:
    """Outcomes of `num_problems` fresh problems, kept in `path` (JSON lines) chunk by chunk, so that it resumes."""
    problems = tasks.draw_set(num_problems, seed, "judge")
    lines = path.read_text().splitlines() if path.exists() else []
    outcomes = [Outcome(**json.loads(line)) for line in lines]
    while len(outcomes) < num_problems:
        start = len(outcomes)
        part = problems[start : start + CHUNK]
        generator = torch.Generator(network.embed_tokens.weight.device).manual_seed(seed + start)
        repeated = [problem for problem in part for _ in range(NUM_ANSWERS)]
        off = evaluate.ask(network, renderer, repeated, "off", TEMPERATURE, generator)
        on = evaluate.ask(network, renderer, repeated, "on", TEMPERATURE, generator)
        for at, problem in enumerate(part):
            window = slice(at * NUM_ANSWERS, (at + 1) * NUM_ANSWERS)
            outcomes.append(_outcome(problem, off[window], on[window]))
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(asdict(outcome), ensure_ascii=False) + "\n" for outcome in outcomes))
        os.replace(temporary, path)
        print(f"measured {len(outcomes)}/{num_problems} problems", flush=True)
    return outcomes


def _outcome(problem: Problem, off: Sequence[Reply], on: Sequence[Reply]) -> Outcome:
    best_off = min((reply for reply in off if reply.is_right), key=_size, default=None)
    best_on = min((reply for reply in on if reply.is_right), key=_size, default=None)
    return Outcome(
        problem.prompt,
        problem.language,
        problem.num_steps,
        sum(reply.is_right for reply in off) / len(off),
        sum(reply.is_right for reply in on) / len(on),
        best_off.answer if best_off else None,
        best_on.answer if best_on else None,
        best_on.thinking if best_on else None,
    )


def _size(reply: Reply) -> int:
    return reply.num_tokens


def label(outcome: Outcome, rng: Random) -> Judged | None:
    """The winning mode with its shortest correct answer; None where that mode has none."""
    think = outcome.on_rate - outcome.off_rate >= DELTA
    if rng.random() < RANDOM_SHARE:
        think = rng.random() < 0.5
    answer = outcome.on_answer if think else outcome.off_answer
    if answer is None:
        return None
    return Judged(outcome.prompt, outcome.language, think, answer, outcome.on_thinking or "")


def make_rows(renderer: Renderer, judged: Sequence[Judged], num_rows: int, seed: int) -> Rows:
    """Judged samples mixed with stage-1 samples, so that the forced modes stay what they were."""
    rng = Random(seed)
    mix = Mix()
    draw_judged = judged_samples(renderer, judged, rng, mix)

    def draw() -> Sample:
        return draw_judged() if rng.random() < JUDGED_SHARE else samples.draw_forced(rng, renderer, mix)

    return samples.pack(rng, renderer, draw, num_rows)


def judged_samples(renderer: Renderer, judged: Sequence[Judged], rng: Random, mix: Mix) -> Callable[[], Sample]:
    """Draws samples that judge for themselves: all of `judged` in turn, in ever new order, and some from outside."""
    order: list[Judged] = []

    def draw() -> Sample:
        if rng.random() < OUTSIDE_SHARE:
            problem = tasks.draw_outside(rng, rng.choice(("en", "en", "zh")))
            chosen = Judged(problem.prompt, problem.language, False, problem.answer, "")
        else:
            if not order:
                order.extend(judged)
                rng.shuffle(order)
            chosen = order.pop()
        text = renderer.judged_text(chosen.language, chosen.think, chosen.answer, chosen.thinking)
        return renderer.judged_sample(chosen.prompt, text, samples.draw_past(rng, renderer, mix))

    return draw


def batches(rows: Rows, batch_rows: int, step: int) -> Iterator[Rows]:
    """Batches of prepared rows from `step` on."""
    ids, weights = rows
    for start in range(step * batch_rows, len(ids) - batch_rows + 1, batch_rows):
        yield ids[start : start + batch_rows], weights[start : start + batch_rows]
