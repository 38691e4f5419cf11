"""The long half of ``edge bench think``: every problem answered in every mode, kept until the whole bench has ended.

Knows: one process a core, and the runtime's public API. Does not know: how rows are kept (``kept``), or what the
outcomes add up to.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from bench_edge.kept import KeptRun, model_identity
from models.dialect import Think
from models.spark.tasks import Problem

if TYPE_CHECKING:
    from edge.engine import Engine

MODES: tuple[Think, ...] = ("off", "on", "auto")
MAX_TOKENS = 400

Job = tuple[Think, int]  # a mode and the index of a problem


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one problem in one mode; tokens as in ``Usage``."""

    mode: Think
    index: int
    is_right: bool
    is_thought: bool
    judge_tokens: int
    thinking_tokens: int
    answer_tokens: int

    @property
    def tokens(self) -> int:
        """Thinking and answer tokens; the judge's are counted apart."""
        return self.thinking_tokens + self.answer_tokens


class ThinkRun:
    """Measures any number of times, and keeps every outcome in the state folder until ``finish``."""

    def __init__(self, bench: str = "think") -> None:
        self._kept = KeptRun(bench)

    def measure(
        self,
        model: str | None,
        problems: Sequence[Problem],
        modes: Sequence[Think] = MODES,
        backend: str = "llama_cpp",
    ) -> dict[Think, list[Outcome]]:
        """Answer every problem greedily in every mode on ``backend``; rows are in the order of the problems.

        A run that was interrupted goes on where it was, if model, problems and sources are still the same.
        """
        texts = (f"{problem.prompt}\0{problem.answer}".encode() for problem in problems)
        rows = self._kept.rows(model_identity(model), backend.encode(), *texts)
        # all modes of a problem in turn, so that the time left is known early
        outcomes = rows.go_on(
            [(mode, index) for index in range(len(problems)) for mode in modes],
            read=_read,
            write=lambda _, outcome: asdict(outcome),
            do=lambda todo: zip(todo, _answer_all(model, backend, problems, todo), strict=True),
            progress=f"{model or 'spark'} on {backend}",
        )
        return {mode: [outcomes[mode, index] for index in range(len(problems))] for mode in modes}

    def finish(self) -> None:
        """Forget what was kept; to be called when the bench has said all it has to say."""
        self._kept.finish()


def _read(row: dict[str, Any]) -> tuple[Job, Outcome]:
    outcome = Outcome(**row)
    return (outcome.mode, outcome.index), outcome


# --- answering ------------------------------------------------------------------------------------------------------

_worker_state: tuple[Engine, Sequence[Problem]] | None = None  # of one worker process


def _answer_all(model: str | None, backend: str, problems: Sequence[Problem], jobs: Sequence[Job]) -> Iterator[Outcome]:
    num_workers = usable_cores()
    if not jobs:
        return
    spawn = get_context("spawn")  # a fork would copy the threads' locks of the libraries loaded so far
    with ProcessPoolExecutor(
        num_workers, spawn, initializer=_start_worker, initargs=(model, backend, problems)
    ) as pool:
        yield from pool.map(_answer_one, jobs, chunksize=16)


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_worker(model: str | None, backend: str, problems: Sequence[Problem]) -> None:
    global _worker_state
    from edge.engine import load

    _worker_state = load(model, backend=backend, num_threads=1, context_size=1024), problems


def _answer_one(job: Job) -> Outcome:
    from edge.chat_types import AnswerOptions

    assert _worker_state is not None
    engine, problems = _worker_state
    mode, index = job
    answer = engine.answer(problems[index].prompt, AnswerOptions(think=mode, temperature=0.0, max_tokens=MAX_TOKENS))
    usage = answer.usage
    return Outcome(
        mode,
        index,
        problems[index].check(answer.answer),
        bool(answer.decision.think),
        usage.judge_tokens,
        usage.thinking_tokens,
        usage.answer_tokens,
    )
