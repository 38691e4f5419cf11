"""The long half of ``edge bench think``: every problem answered in every mode, kept until the whole bench has ended.

Knows: one process a core, the runtime's public API, and how an interrupted run is resumed. Does not know: what the
outcomes add up to.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import edge
import models
from models.dialect import Think
from models.spark.tasks import Problem

if TYPE_CHECKING:
    from edge.engine import Engine

MODES: tuple[Think, ...] = ("off", "on", "auto")
MAX_TOKENS = 400
PROGRESS_EVERY_S = 20.0

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
    """Measures any number of times, and keeps every outcome in the state folder until ``finish``.

    A run that was interrupted anywhere goes on where it was; one on other sources, another model or other problems
    starts anew. Where the folder cannot be written nothing is kept, which is said once.
    """

    def __init__(self) -> None:
        self._paths: list[Path] = []
        self._keeps = True

    def measure(
        self, model: str | None, problems: Sequence[Problem], modes: Sequence[Think] = MODES
    ) -> dict[Think, list[Outcome]]:
        """Answer every problem greedily in every mode; rows are in the order of the problems."""
        path = _outcomes_path(model, problems)
        done = {(outcome.mode, outcome.index): outcome for outcome in _read_outcomes(path)}
        # all modes of a problem in turn, so that the time left is known early
        jobs = [(mode, index) for index in range(len(problems)) for mode in modes]
        todo = [job for job in jobs if job not in done]
        if path is not None:
            self._paths.append(path)
        progress = _Progress(model or "spark", len(todo))
        for outcome in _answer_all(model, problems, todo):
            done[outcome.mode, outcome.index] = outcome
            self._keep(path, outcome)
            progress.step()
        return {mode: [done[mode, index] for index in range(len(problems))] for mode in modes}

    def finish(self) -> None:
        """Forget what was kept; to be called when the bench has said all it has to say."""
        for path in self._paths:
            with suppress(OSError):  # it was never written, or it stays and does no harm
                path.unlink()

    def _keep(self, path: Path | None, outcome: Outcome) -> None:
        if not self._keeps:
            return
        try:
            if path is None:
                raise OSError("there is no home folder")
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(outcome)) + "\n")
        except OSError as exc:
            self._keeps = False
            reason = exc.strerror or exc
            _say(f"This bench cannot be resumed if it is interrupted ({reason}); set EDGE_STATE to a writable folder.")


class _Progress:
    """A line now and then: answers done, and the time left at the speed so far."""

    def __init__(self, name: str, total: int) -> None:
        self._name, self._total, self._done = name, total, 0
        self._start_s = self._last_s = time.monotonic()

    def step(self) -> None:
        self._done += 1
        now = time.monotonic()
        if now - self._last_s < PROGRESS_EVERY_S and self._done < self._total:
            return
        self._last_s = now
        left = timedelta(seconds=round((now - self._start_s) / self._done * (self._total - self._done)))
        _say(f"{self._name}: {self._done} of {self._total} answers, {left} left")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- resuming -------------------------------------------------------------------------------------------------------


def _outcomes_path(model: str | None, problems: Sequence[Problem]) -> Path | None:
    """The file for the outcomes of this model, these problems and these sources; None without a home folder."""
    from edge.state import state_folder

    try:
        return state_folder() / "bench" / f"think-{fingerprint(model, problems)}.jsonl"
    except RuntimeError:
        return None


def fingerprint(model: str | None, problems: Sequence[Problem]) -> str:
    """Names a run by all it depends on: model, questions, and the sources of runtime and checker."""
    digest = hashlib.sha256(_model_identity(model))
    for package in (edge, models):
        folder = Path(package.__file__ or "").parent
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"\0{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes())
    for problem in problems:
        digest.update(f"\0{problem.prompt}\0{problem.answer}".encode())
    return digest.hexdigest()[:16]


def _model_identity(model: str | None) -> bytes:
    """A bundle's manifest, which holds the hashes of its files; of a bare file its path, size and time."""
    from edge.model_source import find_model
    from models.manifest import MANIFEST_NAME

    source = find_model(model)
    if source.bundle is not None:
        return (source.bundle.path / MANIFEST_NAME).read_bytes()
    stat = source.gguf_path.stat()
    return f"{source.gguf_path.resolve()} {stat.st_size} {stat.st_mtime_ns}".encode()


def _read_outcomes(path: Path | None) -> Iterator[Outcome]:
    """Outcomes of an interrupted run; a line that was cut off is skipped."""
    try:
        text = path.read_text("utf-8", errors="replace") if path is not None else ""
    except OSError:
        return
    for line in text.splitlines():
        try:
            yield Outcome(**json.loads(line))
        except (ValueError, TypeError):
            continue


# --- answering ------------------------------------------------------------------------------------------------------

_worker_state: tuple[Engine, Sequence[Problem]] | None = None  # of one worker process


def _answer_all(model: str | None, problems: Sequence[Problem], jobs: Sequence[Job]) -> Iterator[Outcome]:
    num_workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not jobs:
        return
    spawn = get_context("spawn")  # a fork would copy the threads' locks of the libraries loaded so far
    with ProcessPoolExecutor(num_workers, spawn, initializer=_start_worker, initargs=(model, problems)) as pool:
        yield from pool.map(_answer_one, jobs, chunksize=16)


def _start_worker(model: str | None, problems: Sequence[Problem]) -> None:
    global _worker_state
    from edge.engine import load

    _worker_state = load(model, num_threads=1, context_size=1024), problems


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
