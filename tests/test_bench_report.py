"""Bench lines on disk: what a run of some parts leaves of the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench_edge import readme, report
from bench_edge.report import BenchReport, Check, print_report


@pytest.fixture(autouse=True)
def one_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "describe_device", lambda: "this machine")


def store(path: Path, commit: str, monkeypatch: pytest.MonkeyPatch, bench: str = "quant", **parts: float) -> Any:
    """Run a bench of ``parts``, each with one figure; its line."""
    monkeypatch.setattr(report, "current_commit", lambda: commit)
    checks = [Check(f"B.{name}", name, value, 0.0, "at_least") for name, value in parts.items()]
    print_report(BenchReport(bench, list(parts), 0, dict(parts), checks), [], as_json=False, store=path)
    return json.loads(path.read_text())


def test_parts_that_were_not_measured_again_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The quality of new weights, stored alone, threw away half an hour of costs."""
    path = tmp_path / "quant.json"
    store(path, "one", monkeypatch, cost=1.0, quality=2.0)
    store(path, "two", monkeypatch, quality=3.0)
    line = store(path, "three", monkeypatch, accuracy=4.0)
    assert line["results"] == {"cost": 1.0, "quality": 3.0, "accuracy": 4.0}
    assert {check["id"]: check["value"] for check in line["checks"]} == {
        "B.cost": 1.0, "B.quality": 3.0, "B.accuracy": 4.0,
    }  # fmt: skip
    assert {part: source["commit"] for part, source in line["earlier"].items()} == {"cost": "one", "quality": "two"}
    shown = readme.made_by(line)
    assert shown.startswith("`edge bench quant accuracy` on this machine, commit three; cost by `edge bench quant cost")


def test_a_whole_run_and_another_bench_take_nothing_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "quant.json"
    store(path, "one", monkeypatch, cost=1.0)
    assert "earlier" not in store(path, "two", monkeypatch, cost=2.0)
    assert store(path, "three", monkeypatch, bench="speed", loop=2.0)["results"] == {"loop": 2.0}
    path.write_text("cut off {")
    assert store(path, "four", monkeypatch, cost=3.0)["results"] == {"cost": 3.0}
