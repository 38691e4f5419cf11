"""Accuracy against the deadline: the same problems under every policy, on a device slowed down by real pauses.

Knows: the policies, the worker processes that sleep side by side, and the answer that a caller has at a deadline. Does
not know: how the runtime keeps a deadline, or what the outcomes add up to (``deadline_curves``).

Every policy is judged alike: what of its answer has arrived at the deadline, right or wrong, be it whole or not. So
one run of a policy that knows no deadline tells what a hard cut at any of them would leave.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from os import environ
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench_edge.kept import KeptRun, model_identity
from bench_edge.slowed_backend import SlowedBackend
from bench_edge.think_run import usable_cores
from edge.chat_types import AnswerOptions
from edge.engine import Engine
from models.spark.tasks import Problem, draw_set, test_set

SEED = 0
TOKENS_PER_S = 100.0
DEADLINES_S = (0.15, 0.25, 0.35, 0.5, 0.65, 0.8, 1.0, 1.5)
BUDGETS = (8, 16, 24, 32, 48, 64, 96)
WORKERS_A_CORE = 8  # they sleep nearly all the time
WARM_UP = 72  # problems outside the test set, from which the runtime learns device and lengths
PRACTICE = tuple(AnswerOptions(think=mode, temperature=0.0) for mode in ("off", "on"))

WITHOUT_DEADLINE: dict[str, AnswerOptions] = {
    "off": AnswerOptions(think="off", temperature=0.0),
    "on": AnswerOptions(think="on", temperature=0.0),
    **{f"budget {size}": AnswerOptions(think="on", temperature=0.0, think_tokens=size) for size in BUDGETS},
}
WITH_DEADLINE: dict[str, AnswerOptions] = {
    "auto": AnswerOptions(think="auto", temperature=0.0),
    "always": AnswerOptions(think="on", temperature=0.0),
}

Job = tuple[str, int, float | None]  # policy, index of the problem, the deadline that the runtime is told


@dataclass(frozen=True, slots=True)
class Outcome:
    """One answer; ``right`` at each of DEADLINES_S, or only at the deadline that the runtime was told."""

    policy: str
    index: int
    deadline_s: float | None
    right: tuple[bool, ...]
    took_s: float
    tokens: int


def measure(num_problems: int, kept: KeptRun) -> list[Outcome]:
    """The first problems of the test set under every policy; an interrupted run goes on where it was."""
    problems = test_set()[:num_problems]
    rows = kept.rows(b"accuracy", str(num_problems).encode(), model_identity(None))
    outcomes = rows.go_on(
        all_jobs(num_problems),
        read=_read,
        write=lambda _, outcome: asdict(outcome),
        do=lambda todo: zip(todo, answer_all(problems, todo), strict=True),
        progress="accuracy against the deadline",
    )
    return list(outcomes.values())


def _read(row: dict[str, Any]) -> tuple[Job, Outcome]:
    outcome = Outcome(**{**row, "right": tuple(row["right"])})
    return (outcome.policy, outcome.index, outcome.deadline_s), outcome


def all_jobs(num_problems: int) -> list[Job]:
    """Problem by problem, so that all policies meet the same conditions; for each of them shuffled."""
    jobs: list[Job] = []
    for index in range(num_problems):
        ours: list[Job] = [(policy, index, deadline_s) for policy in WITH_DEADLINE for deadline_s in DEADLINES_S]
        both: list[Job] = [*((policy, index, None) for policy in WITHOUT_DEADLINE), *ours]
        random.Random(f"{SEED} {index}").shuffle(both)
        jobs += both
    return jobs


# --- answering ------------------------------------------------------------------------------------------------------


class SlowModel:
    """spark on a slow device, with one engine for each policy that learns: nobody learns from another's requests.

    ``clock`` gives seconds, ``pause`` waits for some.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        clock: Callable[[], float] = time.perf_counter,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        from edge.backends.base import BackendOptions
        from edge.loaded_model import load_model
        from edge.model_source import find_model

        options = BackendOptions(context_size=1024, num_threads=1)
        loaded = load_model(find_model(None), backend="llama_cpp", options=options, dialect=None)
        self._problems = problems
        slowed = SlowedBackend(loaded.backend, TOKENS_PER_S, clock=clock, pause=pause)
        self._model, self._clock = replace(loaded, backend=slowed), clock
        self._engines: dict[str, Engine] = {}

    def answer(self, job: Job) -> Outcome:
        """One problem under one policy."""
        policy, index, deadline_s = job
        options = replace({**WITHOUT_DEADLINE, **WITH_DEADLINE}[policy], deadline_s=deadline_s)
        problem = self._problems[index]
        moments = DEADLINES_S if deadline_s is None else (deadline_s,)
        self._model.backend.cut(0, 0)
        texts, took_s, tokens = texts_at(self._engine(policy), problem.prompt, options, moments, self._clock)
        return Outcome(policy, index, deadline_s, tuple(problem.check(text) for text in texts), took_s, tokens)

    def _engine(self, policy: str) -> Engine:
        """The engine of a policy; one that is to keep deadlines has practised before."""
        name = policy if policy in WITH_DEADLINE else ""
        if name not in self._engines:
            self._engines[name] = Engine(self._model, clock=self._clock)
            for place, problem in enumerate(draw_set(WARM_UP, SEED, "validation") if name else ()):
                self._model.backend.cut(0, 0)
                self._engines[name].answer(problem.prompt, PRACTICE[place % len(PRACTICE)])
        return self._engines[name]


def texts_at(
    engine: Engine,
    prompt: str,
    options: AnswerOptions,
    moments_s: Sequence[float],
    clock: Callable[[], float],
) -> tuple[list[str], float, int]:
    """What of the answer a caller has at each of ``moments_s``, the seconds until its end, and the tokens generated.

    The answer is left at the last of the moments, unless the runtime was told a deadline and ends it by itself.
    """
    texts, said = [""] * len(moments_s), ""
    start_s = clock()
    with engine.stream(prompt, options) as running:
        for event in running:
            now_s = clock() - start_s
            if event.kind == "answer":
                said += event.text
                texts = [said if now_s <= moment_s else text for text, moment_s in zip(texts, moments_s, strict=True)]
            if options.deadline_s is None and now_s > moments_s[-1]:
                running.stop()
        usage = running.result.usage
    return texts, clock() - start_s, usage.judge_tokens + usage.thinking_tokens + usage.answer_tokens


_slow_model: SlowModel | None = None  # of one worker process


def answer_all(problems: Sequence[Problem], jobs: Sequence[Job]) -> Iterator[Outcome]:
    """The outcomes of ``jobs`` in their order, from processes that sleep side by side."""
    if not jobs:
        return
    spawn = get_context("spawn")  # a fork would copy the threads' locks of the libraries loaded so far
    num_workers = min(WORKERS_A_CORE * usable_cores(), len(jobs))
    with (
        TemporaryDirectory() as folder,
        ProcessPoolExecutor(num_workers, spawn, initializer=_start_worker, initargs=(problems, folder)) as pool,
    ):
        yield from pool.map(_answer_one, jobs, chunksize=4)


def _start_worker(problems: Sequence[Problem], folder: str) -> None:
    """Load the model with the user's own state, so that no self-test is made; what is learned stays apart from it."""
    global _slow_model
    _slow_model = SlowModel(problems)
    environ["EDGE_STATE"] = str(Path(folder) / "state")  # never written: these engines are not closed


def _answer_one(job: Job) -> Outcome:
    assert _slow_model is not None
    return _slow_model.answer(job)
