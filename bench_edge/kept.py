"""Rows of a long measurement, kept in the state folder until the whole bench has ended, and how much of it is left.

Knows: JSON lines, a name for a run by all it depends on, what is left of a list of jobs, and the clock. Does not know:
what the rows say.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import bench_edge
import edge
import models
import quantize

PROGRESS_EVERY_S = 20.0
Job = TypeVar("Job", bound=Hashable)
Outcome = TypeVar("Outcome")


class KeptRun:
    """One run of a bench, with any number of measurements whose rows are kept until ``finish``.

    A run that was interrupted anywhere goes on where it was; one on other sources or other settings starts anew. Where
    the folder cannot be written nothing is kept, which is said once.
    """

    def __init__(self, bench: str) -> None:
        self._bench = bench
        self._paths: list[Path] = []
        self._keeps = True

    def rows(self, *parts: bytes) -> KeptRows:
        """The rows of one measurement, which ``parts`` tell apart from every other."""
        from edge.state import state_folder

        try:
            path = state_folder() / "bench" / f"{self._bench}-{fingerprint(*parts)}.jsonl"
        except OSError:
            return KeptRows(self, None)
        self._paths.append(path)
        return KeptRows(self, path)

    def file(self, *parts: bytes) -> Path:
        """Where a measurement keeps rows of its own until ``finish``. Raises OSError where there is no home folder."""
        from edge.state import state_folder

        path = state_folder() / "bench" / f"{self._bench}-{fingerprint(*parts)}.own.jsonl"
        self._paths.append(path)
        return path

    def keep(self, path: Path | None, row: Mapping[str, Any]) -> None:
        """Append ``row`` to the file, if that is possible."""
        if not self._keeps:
            return
        try:
            if path is None:
                raise OSError("there is no home folder")
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as exc:
            self._keeps = False
            reason = exc.strerror or exc
            say(f"This bench cannot be resumed if it is interrupted ({reason}); set EDGE_STATE to a writable folder.")

    def finish(self) -> None:
        """Forget what was kept; to be called when the bench has said all it has to say."""
        for path in self._paths:
            with suppress(OSError):  # it was never written, or it stays and does no harm
                path.unlink()


class KeptRows:
    """The rows of one measurement in the file at ``path``; None: they are not kept."""

    def __init__(self, run: KeptRun, path: Path | None) -> None:
        self._run = run
        self._path = path

    def read(self) -> list[dict[str, Any]]:
        """What an interrupted run has left; a line that was cut off is skipped."""
        try:
            text = self._path.read_text("utf-8", errors="replace") if self._path is not None else ""
        except OSError:
            return []
        rows = []
        for line in text.splitlines():
            with suppress(ValueError):
                rows.append(json.loads(line))
        return [row for row in rows if isinstance(row, dict)]

    def add(self, row: Mapping[str, Any]) -> None:
        """Keep one more row."""
        self._run.keep(self._path, row)

    def go_on(
        self,
        jobs: Sequence[Job],
        *,
        read: Callable[[dict[str, Any]], tuple[Job, Outcome]],
        write: Callable[[Job, Outcome], Mapping[str, Any]],
        do: Callable[[list[Job]], Iterable[tuple[Job, Outcome]]],
        progress: str,
        unit: str = "answers",
    ) -> dict[Job, Outcome]:
        """The outcome of each of ``jobs``, in their order: those that are kept, and the others as ``do`` gives them.

        ``read`` may raise KeyError, TypeError or ValueError for a row of something else; ``write`` is its inverse.
        """
        outcomes: dict[Job, Outcome] = {}
        for row in self.read():
            with suppress(KeyError, TypeError, ValueError):
                job, outcome = read(row)
                outcomes[job] = outcome
        todo = [job for job in jobs if job not in outcomes]
        told = Progress(progress, len(todo), unit)
        for job, outcome in do(todo):
            outcomes[job] = outcome
            self.add(write(job, outcome))
            told.step()
        return {job: outcomes[job] for job in jobs}


def fingerprint(*parts: bytes) -> str:
    """Names a measurement by all it depends on: ``parts``, and the sources of all packages."""
    digest = hashlib.sha256()
    for package in (edge, models, quantize, bench_edge):
        folder = Path(package.__file__ or "").parent
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"\0{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes())
    for part in parts:
        digest.update(f"\0{len(part)}\0".encode() + part)
    return digest.hexdigest()[:16]


def model_identity(model: str | Path | None) -> bytes:
    """A bundle's manifest, which holds the hashes of its files; of a bare file its path, size and time."""
    from edge.model_source import find_model
    from models.manifest import MANIFEST_NAME

    source = find_model(model)
    if source.bundle is not None:
        return (source.bundle.path / MANIFEST_NAME).read_bytes()
    stat = source.gguf_path.stat()
    return f"{source.gguf_path.resolve()} {stat.st_size} {stat.st_mtime_ns}".encode()


class Progress:
    """A line now and then: how much is done of ``total``, and the time left at the speed so far."""

    def __init__(self, name: str, total: int, unit: str = "answers") -> None:
        self._name, self._total, self._unit, self._done = name, total, unit, 0
        self._start_s = self._last_s = time.monotonic()

    def step(self) -> None:
        """One more is done."""
        self._done += 1
        now = time.monotonic()
        if now - self._last_s < PROGRESS_EVERY_S and self._done < self._total:
            return
        self._last_s = now
        left = timedelta(seconds=round((now - self._start_s) / self._done * max(self._total - self._done, 0)))
        say(f"{self._name}: {self._done} of {self._total} {self._unit}, {left} left")


def say(text: str) -> None:
    """A line for the person who waits, beside what the bench prints."""
    print(text, file=sys.stderr, flush=True)
