"""Deadlines on a real device while other processes take its cores on and off.

Knows: requests with drawn deadlines, the same prompts answered without thinking in between, and what counts, all by the
caller's own clock. Does not know: how an answer is made or a deadline kept.

On time is an answer that is not empty and whose stream had ended before the deadline, from sending the request; a
refusal is a miss. A deadline is feasible when it is at least 1.5 times the 99th percentile of the same prompt answered
without thinking, on the same device under the same load in the same run: each request follows one such answer. Every
request begins with an empty cache.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from bench_edge.busy_cores import busy_cores
from bench_edge.fresh_engine import fresh_model
from bench_edge.intervals import Proportion, percentile
from bench_edge.kept import KeptRows, KeptRun, Progress, model_identity
from bench_edge.report import Check
from bench_edge.spoken_backend import SpokenBackend
from bench_edge.think_run import usable_cores
from edge.chat_types import AnswerOptions
from models.errors import EdgeError
from models.spark.tasks import draw_set

if TYPE_CHECKING:
    from edge.engine import Engine

SEED = 0
FEASIBLE = 1.5  # 99th percentiles of an answer without thinking
REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Course:
    """What is asked of one model: deadlines from ``shortest_s`` to ``longest_s``, evenly spread on a logarithmic scale.

    Requests are sent until ``num_requests`` of them count, those with a feasible deadline of ``counts_from_s`` or more,
    or until there were ``most_requests``.
    """

    name: str
    prompts: tuple[str, ...]
    num_requests: int
    most_requests: int
    shortest_s: float
    longest_s: float
    counts_from_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Timed:
    """One request, and the same prompt without thinking and without a deadline just before it; in seconds."""

    prompt: int
    deadline_s: float
    took_s: float
    finish_reason: str
    has_answer: bool
    has_thought: bool
    without_s: float

    @property
    def is_on_time(self) -> bool:
        return self.took_s <= self.deadline_s and self.has_answer

    @property
    def overrun_s(self) -> float:
        """How much later than its deadline the answer had ended."""
        return max(self.took_s - self.deadline_s, 0.0)


def spark_course(num_requests: int) -> Course:
    """Ten problems of the embedded model, which ends its thoughts and answers by itself."""
    prompts = tuple(problem.prompt for problem in draw_set(10, SEED, "validation"))
    return Course("spark", prompts, num_requests, 4 * num_requests, 0.03, 1.0, counts_from_s=0.2)


def shape_course(shape: str, num_requests: int) -> Course:
    """A model of a true size with random weights, which is made to think until it is stopped and then to answer."""
    return Course(shape, ("What is 17 times 9?",), num_requests, 4 * num_requests, 4.0, 20.0)


def measure(course: Course, model: str | Path | None, kept: KeptRun, backend: str = "llama_cpp") -> list[Timed]:
    """Send the requests of ``course`` to ``model`` under load; an interrupted run goes on.

    A path is a file of random weights, a string names a bundle; None is spark.
    """
    rows = kept.rows(b"real", repr(course).encode(), backend.encode(), model_identity(model))
    with fresh_model(model, backend) as (engine, speech), busy_cores(SEED, usable_cores()):
        return send_all(course, engine, speech, rows)


def send_all(
    course: Course,
    engine: Engine,
    speech: SpokenBackend | None,
    rows: KeptRows,
    clock: Callable[[], float] = perf_counter,
) -> list[Timed]:
    """Requests, each the same in every run, until enough of them count."""
    caller = Caller(engine, speech, clock)
    done = [Timed(**row) for row in rows.read()]
    num_counted = len(counted(course, done))
    progress = Progress(f"{course.name} under load", course.num_requests - num_counted, "requests that count")
    while num_counted < course.num_requests and len(done) < course.most_requests:
        done.append(caller.send(course, len(done)))
        rows.add(asdict(done[-1]))
        while num_counted < len(counted(course, done)):
            num_counted += 1
            progress.step()
    return done


class Caller:
    """Sends requests one after the other and looks at the clock itself."""

    def __init__(
        self, engine: Engine, speech: SpokenBackend | None = None, clock: Callable[[], float] = perf_counter
    ) -> None:
        self._engine, self._speech, self._clock = engine, speech, clock

    def send(self, course: Course, number: int) -> Timed:
        """Request ``number`` of the course, and the same prompt without thinking before it."""
        rng = random.Random(f"{SEED} {course.name} {number}")
        prompt = rng.randrange(len(course.prompts))
        deadline_s = math.exp(rng.uniform(math.log(course.shortest_s), math.log(course.longest_s)))
        if self._speech is not None:
            self._speech.answer_tokens = rng.randint(8, 16)
        text = course.prompts[prompt]
        without_s = self._ask(text, AnswerOptions(think="off", temperature=0.0))[0]
        options = AnswerOptions(think="on", temperature=0.0, deadline_s=deadline_s)
        return Timed(prompt, deadline_s, *self._ask(text, options), without_s)

    def _ask(self, prompt: str, options: AnswerOptions) -> tuple[float, str, bool, bool]:
        """Seconds until the stream had ended, why, whether there is an answer, and whether there was a thought."""
        self._engine.model.backend.cut(0, 0)
        start_s = self._clock()
        try:
            answer = self._engine.answer(prompt, options)
        except EdgeError:
            return self._clock() - start_s, REFUSED, False, False
        took_s = self._clock() - start_s
        return took_s, answer.finish_reason, answer.has_answer, answer.usage.thinking_tokens > 0


# --- figures --------------------------------------------------------------------------------------------------------


def without_thinking_s(requests: Sequence[Timed]) -> dict[int, float]:
    """The 99th percentile of each prompt's answers without thinking, in seconds."""
    by_prompt: dict[int, list[float]] = {}
    for one in requests:
        by_prompt.setdefault(one.prompt, []).append(one.without_s)
    return {prompt: percentile(times_s, 0.99) for prompt, times_s in by_prompt.items()}


def feasible(requests: Sequence[Timed]) -> list[Timed]:
    """The requests whose deadline could be kept."""
    p99_s = without_thinking_s(requests)
    return [one for one in requests if one.deadline_s >= FEASIBLE * p99_s[one.prompt]]


def counted(course: Course, requests: Sequence[Timed]) -> list[Timed]:
    """The feasible requests that are long enough for the promise."""
    return [one for one in feasible(requests) if one.deadline_s >= course.counts_from_s]


def summarize(course: Course, requests: Sequence[Timed]) -> dict[str, Any]:
    """The figures of a course: of the requests that count, of the shorter ones, and how many were left out."""
    can_be_kept = feasible(requests)
    p99_s = without_thinking_s(requests)
    return {
        **summarize_requests(counted(course, requests)),
        "shorter": summarize_requests([one for one in can_be_kept if one.deadline_s < course.counts_from_s]),
        "num_sent": len(requests),
        "num_infeasible": len(requests) - len(can_be_kept),
        "deadlines_s": [course.shortest_s, course.longest_s],
        "counts_from_s": course.counts_from_s,
        "without_thinking_p99_s": [min(p99_s.values()), max(p99_s.values())],
    }


def summarize_requests(requests: Sequence[Timed]) -> dict[str, Any]:
    """Share on time, overruns, how the answers ended."""
    overruns_s = [one.overrun_s for one in requests] or [0.0]
    return {
        "on_time": Proportion(sum(one.is_on_time for one in requests), len(requests)).to_json(),
        "thought": Proportion(sum(one.has_thought for one in requests), len(requests)).to_json(),
        "empty": sum(not one.has_answer for one in requests),
        "ended_by": dict(Counter(one.finish_reason for one in requests)),
        "p99_overrun_s": percentile(overruns_s, 0.99),
        "worst_overrun_s": max(overruns_s),
    }


def real_checks(figures: dict[str, dict[str, Any]]) -> list[Check]:
    """The promised figures of each model, in the order of ``figures``."""
    return [
        Check(f"C.real_{place}", f"under load: {name} on time", row["on_time"]["value"], 0.99, "at_least")
        for place, (name, row) in enumerate(figures.items(), 1)
    ]
