"""bench_edge.kept: a list of jobs goes on where it was interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench_edge.kept import KeptRun


def go_on(run: KeptRun, jobs: list[str], done: list[str], breaks_at: str = "") -> dict[str, int]:
    """The lengths of ``jobs``; ``done`` hears which were really worked out."""

    def work(todo: list[str]) -> Iterator[tuple[str, int]]:
        for job in todo:
            if job == breaks_at:
                raise KeyboardInterrupt
            done.append(job)
            yield job, len(job)

    def read(row: dict[str, Any]) -> tuple[str, int]:
        return row["job"], int(row["length"])

    return run.rows(b"lengths").go_on(
        jobs, read=read, write=lambda job, length: {"job": job, "length": length}, do=work, progress="lengths"
    )


def test_jobs_go_on_where_they_were(state_path: Path) -> None:
    """Hours of answers must not be lost to a Ctrl-C, and no answer must be taken from another measurement."""
    jobs, done = ["a", "bb", "ccc", "dddd"], []
    with pytest.raises(KeyboardInterrupt):
        go_on(KeptRun("test"), jobs, done, breaks_at="ccc")
    (path,) = (state_path / "bench").iterdir()
    path.write_text(path.read_text("utf-8") + '{"of": "something else"}\n{"job": "dd\n', encoding="utf-8")
    run = KeptRun("test")
    assert list(go_on(run, jobs[::-1], done).items()) == [("dddd", 4), ("ccc", 3), ("bb", 2), ("a", 1)]
    assert done == ["a", "bb", "dddd", "ccc"]
    assert run.file(b"own").parent == path.parent
    run.finish()
    assert not list((state_path / "bench").iterdir())
