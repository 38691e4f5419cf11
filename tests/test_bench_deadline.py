"""``edge bench deadline`` at tiny sizes: simulated and scripted devices, made-up outcomes, and one real model."""

from __future__ import annotations

import json
import math
import random
import struct
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_bench_backends import ManualClock

from bench_edge import deadline, deadline_accuracy, deadline_picture, deadline_simulated, deadline_turn, kept, readme
from bench_edge.deadline_accuracy import BUDGETS, DEADLINES_S, WITH_DEADLINE, WITHOUT_DEADLINE, SlowModel, all_jobs
from bench_edge.deadline_accuracy import Outcome as Judged
from bench_edge.deadline_curves import BUDGET, CUT, OFF, OURS, accuracy_checks, num_beaten, num_lower, summarize
from bench_edge.deadline_picture import draw
from bench_edge.deadline_real import Caller, Course, Timed, counted, feasible, real_checks, send_all, shape_course
from bench_edge.deadline_real import summarize as summarize_real
from bench_edge.deadline_tables import tables
from bench_edge.fresh_engine import fresh_model
from bench_edge.intervals import percentile
from bench_edge.kept import KeptRun
from bench_edge.readme import PROMISED, PROMISED_DEADLINE, measured_part, promised_part
from bench_edge.report import Check
from bench_edge.shapes import SHAPES, write_random_model
from bench_edge.simulated_device import SimulatedClock, SimulatedDevice, simulated_model, steady
from edge.backends import self_test
from edge.backends.self_test import PASSED, SelfTest
from edge.chat_types import AnswerOptions
from edge.engine import Engine
from models.errors import BackendError, UsageError
from models.spark.tasks import draw_set

pytestmark = pytest.mark.usefixtures("_self_test_passed")


@pytest.fixture
def _self_test_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_test, "choose_mode", lambda path: SelfTest("normal", PASSED, is_remembered=True, notes=()))


class Simulated:
    """An engine on a simulated device, in simulated time."""

    def __init__(self, thinking: float = math.inf, answer: float = 10) -> None:
        self.clock = SimulatedClock()
        self.device = SimulatedDevice(self.clock, steady(random.Random(0)))
        self.device.thinking_tokens, self.device.answer_tokens = thinking, answer
        self.engine = Engine(simulated_model(self.device), clock=self.clock)


# --- real devices ---------------------------------------------------------------------------------------------------


def timed(deadline_s: float, took_s: float, *, without_s: float = 0.1, has_answer: bool = True) -> Timed:
    return Timed(0, deadline_s, took_s, "stop", has_answer, True, without_s)


def test_a_deadline_is_feasible_from_one_and_a_half_p99_of_its_own_prompt() -> None:
    """The slowest answer without thinking decides, and another prompt's has no say."""
    requests = [timed(0.29, 0.1), timed(0.31, 0.1), timed(0.31, 0.1, without_s=0.2)]
    slow = Timed(1, 1.0, 0.1, "stop", True, True, 5.0)
    assert feasible([*requests, slow]) == requests[1:]


def test_percentile_is_the_nearest_rank() -> None:
    assert percentile(list(range(100, 0, -1)), 0.99) == 99
    assert percentile([3.0, 1.0], 0.99) == percentile([3.0], 0.5) == 3.0


COURSE = Course("spark", ("How much is it?", "And that?"), 6, 24, 0.5, 8.0, counts_from_s=1.0)
LONG = replace(COURSE, longest_s=60.0)


def test_late_empty_and_refused_answers_are_misses() -> None:
    requests = [timed(2.0, 1.9), timed(2.0, 2.5), timed(2.0, 1.0, has_answer=False), timed(2.0, 1.0), timed(0.6, 0.7)]
    figures = summarize_real(COURSE, [*requests, timed(0.1, 0.1)])
    assert (figures["on_time"]["count"], figures["on_time"]["total"], figures["empty"]) == (2, 4, 1)
    assert figures["worst_overrun_s"] == figures["p99_overrun_s"] == pytest.approx(0.5)
    assert (figures["num_sent"], figures["num_infeasible"]) == (6, 1)
    assert (figures["shorter"]["on_time"]["count"], figures["shorter"]["on_time"]["total"]) == (0, 1)
    (check,) = real_checks({"spark": figures})
    assert (check.id, check.value, check.holds) == ("C.real_1", 0.5, False)
    assert "500 ms" in tables({"real": {"spark": figures}})[0]


def test_requests_are_sent_until_enough_count_and_none_twice() -> None:
    """An interrupted run began anew, and another run of the same requests drew others."""
    simulated, run = Simulated(thinking=30), KeptRun("deadline")
    first = send_all(LONG, simulated.engine, None, run.rows(b"a"), simulated.clock)
    assert len(counted(LONG, first)) == 6 < len(first) <= 24
    assert all(one.is_on_time for one in counted(LONG, first)) and any(one.has_thought for one in first)
    assert {one.prompt for one in first} == {0, 1} and all(0.5 <= one.deadline_s <= 60 for one in first)
    before_s = simulated.clock.now_s
    assert send_all(LONG, simulated.engine, None, KeptRun("deadline").rows(b"a"), simulated.clock) == first
    assert simulated.clock.now_s == before_s
    other = Simulated(answer=40)
    again = send_all(LONG, other.engine, None, run.rows(b"b"), other.clock)
    assert again[0].deadline_s == first[0].deadline_s and again[0].took_s != first[0].took_s


def test_a_run_ends_where_no_deadline_can_be_kept() -> None:
    simulated = Simulated(answer=2000)
    requests = send_all(COURSE, simulated.engine, None, KeptRun("deadline").rows(b"a"), simulated.clock)
    assert len(requests) == 24 and not feasible(requests)
    assert summarize_real(COURSE, requests)["on_time"]["total"] == 0


def test_a_device_that_fails_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    simulated = Simulated()

    def fail(*_: Any, **__: Any) -> None:
        raise BackendError("It is out of order.")

    monkeypatch.setattr(simulated.device, "append", fail)
    requests = send_all(COURSE, simulated.engine, None, KeptRun("deadline").rows(b"a"), simulated.clock)
    assert {one.finish_reason for one in requests} == {"refused"} and not any(one.is_on_time for one in requests)


def test_a_random_model_of_a_true_vocabulary_is_asked_as_well(tmp_path: Path) -> None:
    """Its answers never ended, so that nothing was feasible."""
    whole = SHAPES["hunyuan-1.8b"]
    narrow = {"hidden_size": 64, "num_layers": 2, "num_heads": 4, "num_kv_heads": 2, "head_dim": 32}
    spec = replace(whole.spec, feed_forward_size=128, **narrow)
    write_random_model(replace(whole, spec=spec), "tiny", tmp_path / "tiny.gguf", seed=0)
    with fresh_model(tmp_path / "tiny.gguf") as (engine, speech):
        sent = Caller(engine, speech).send(shape_course("tiny", 1), 0)
    assert sent.finish_reason in ("stop", "deadline") and sent.has_answer and 0 < sent.without_s < sent.deadline_s


# --- accuracy -------------------------------------------------------------------------------------------------------


def test_a_cut_answer_is_what_had_arrived() -> None:
    """Nothing of an answer that comes later counts, and one that never thought in vain is left at the last moment."""
    simulated = Simulated(thinking=20, answer=30)
    options = AnswerOptions(think="on", temperature=0.0)
    moments_s = (0.1, 0.8, 1.0, 9.0)
    texts, took_s, tokens = deadline_accuracy.texts_at(simulated.engine, "Q", options, moments_s, simulated.clock)
    assert texts[0] == "" and 0 < len(texts[1]) < len(texts[2]) < len(texts[3]) and texts[3].startswith(texts[2])
    assert took_s < 9 and tokens > 50
    simulated.device.thinking_tokens = math.inf
    simulated.device.cut(0, 0)
    texts, took_s, _ = deadline_accuracy.texts_at(simulated.engine, "Q", options, moments_s, simulated.clock)
    assert texts == [""] * 4 and 9.0 < took_s < 9.2


def test_every_problem_meets_every_policy_at_every_deadline_once() -> None:
    jobs = all_jobs(3)
    assert len(jobs) == len(set(jobs)) == 3 * (len(WITHOUT_DEADLINE) + len(WITH_DEADLINE) * len(DEADLINES_S))
    assert [job[1] for job in jobs] == sorted(job[1] for job in jobs)
    assert [job[0] for job in jobs if job[1] == 0] != [job[0] for job in jobs if job[1] == 1]


def made_up(ours: Sequence[int], off: int = 40, on: Sequence[int] = (0, 0, 0, 50, 80, 90, 95, 95)) -> dict[str, Any]:
    """Figures of 100 problems: how many of them each policy has right at each deadline, always the first ones."""

    def row(num_right: int, index: int) -> bool:
        return index < num_right

    outcomes = []
    for index in range(100):
        outcomes.append(Judged("off", index, None, (row(off, index),) * len(DEADLINES_S), 0.1, 5))
        outcomes.append(Judged("on", index, None, tuple(row(right, index) for right in on), 0.6, 45))
        for size in BUDGETS:
            right = tuple(row(70 if size == 32 and place > 2 else 10, index) for place in range(len(DEADLINES_S)))
            outcomes.append(Judged(f"budget {size}", index, None, right, 0.4, 30))
        for deadline_s, num_right in zip(DEADLINES_S, ours, strict=True):
            for policy in WITH_DEADLINE:
                outcomes.append(Judged(policy, index, deadline_s, (row(num_right, index),), deadline_s - 0.01, 20))
    return summarize(100, outcomes)


AS_GOOD = (40, 40, 40, 75, 80, 90, 95, 95)


def test_ours_is_compared_with_the_best_other_on_the_same_problems() -> None:
    figures = made_up(AS_GOOD)
    assert figures["best_budget"][3:] == [32] * 5
    assert [row["value"] for row in figures["right"][BUDGET]] == [0.1] * 3 + [0.7] * 5
    assert figures["ours_minus_points"][CUT][0]["value"] == 40 and figures["ours_minus_points"][OFF][0]["value"] == 0
    assert (num_lower(figures), num_beaten(figures)) == (0, 3)
    assert all(check.holds for check in accuracy_checks(figures))


def test_a_deadline_at_which_ours_loses_is_counted() -> None:
    """Lower within the interval of the pairs is no loss, and being level with a rival everywhere is not above it."""
    assert num_lower(made_up((40, 40, 39, 70, 80, 90, 94, 95))) == 0
    assert num_lower(made_up((40, 40, 30, 70, 80, 90, 80, 95))) == 2
    level = made_up((40, 40, 40, 70, 80, 90, 95, 95), off=0, on=(40, 40, 40, 70, 80, 90, 95, 95))
    assert num_beaten(level) == 2
    assert [check.holds for check in accuracy_checks(level)] == [True, False]


@pytest.fixture(scope="module")
def _quick_practice() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deadline_accuracy, "WARM_UP", 3)
        yield


@pytest.mark.usefixtures("_quick_practice")
def test_the_embedded_model_on_a_slow_device_in_simulated_time() -> None:
    clock = ManualClock()
    problems = draw_set(40, 3, "validation")[:2]
    model = SlowModel(problems, clock, clock.pause)
    off, on = model.answer(("off", 0, None)), model.answer(("on", 0, None))
    assert len(off.right) == len(on.right) == len(DEADLINES_S)
    assert not on.right[0] and on.tokens > off.tokens
    assert off.took_s == pytest.approx(0.1, abs=0.1) and on.took_s > 2 * off.took_s
    for policy in WITH_DEADLINE:
        for deadline_s in (0.25, 1.0):
            outcome = model.answer((policy, 1, deadline_s))
            assert len(outcome.right) == 1 and outcome.took_s <= deadline_s


def test_real_workers_answer_in_order() -> None:
    """Two answers without thinking, so that nobody has to practise."""
    problems = draw_set(40, 3, "validation")[:2]
    outcomes = list(deadline_accuracy.answer_all(problems, [("off", 1, None), ("off", 0, None)]))
    assert [one.index for one in outcomes] == [1, 0]
    assert all(one.took_s > 0.05 for one in outcomes)


def test_measured_answers_are_kept_until_the_bench_ends(monkeypatch: pytest.MonkeyPatch, state_path: Path) -> None:
    asked: list[Any] = []

    def answer(problems: Any, jobs: Any) -> Any:
        for policy, index, deadline_s in jobs:
            if len(asked) == 30:
                raise KeyboardInterrupt
            asked.append((policy, index, deadline_s))
            yield Judged(policy, index, deadline_s, (True,) * (len(DEADLINES_S) if deadline_s is None else 1), 0.1, 1)

    monkeypatch.setattr(deadline_accuracy, "answer_all", answer)
    monkeypatch.setattr(deadline_accuracy, "test_set", lambda: draw_set(20, 0, "test"))
    with pytest.raises(KeyboardInterrupt):
        deadline_accuracy.measure(2, KeptRun("deadline"))
    first, asked[:] = list(asked), asked[:0]
    run = KeptRun("deadline")
    outcomes = deadline_accuracy.measure(2, run)
    assert sorted([*first, *asked], key=str) == sorted(all_jobs(2), key=str)
    assert summarize(2, outcomes)["right"][OURS][0]["count"] == 2
    run.finish()
    assert not list((state_path / "bench").iterdir())


# --- second turn, simulation ----------------------------------------------------------------------------------------


def test_a_second_turn_prefills_what_is_new() -> None:
    figures = deadline_turn.measure(None, 1)
    assert figures["most_beyond"] == 0
    assert figures["prefilled"] == figures["answer"] + figures["message"] + figures["marks"] > 20
    assert figures["first_token_s"] > 0 < figures["bare_prefill_s"]
    checks = deadline_turn.turn_checks({"spark": figures, "hunyuan-1.8b": {**figures, "most_beyond": 3}})
    assert [check.id for check in checks] == ["C.turn_1", "C.turn_2", "C.turn_3"]
    assert (checks[0].value, checks[0].holds) == (3, False)
    assert "marks" in tables({"turn": {"spark": figures}})[0]


def test_a_kind_of_speed_that_was_finished_is_not_simulated_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline_simulated, "WARM_UP", 20)
    first = deadline_simulated.simulate(10, KeptRun("deadline"))
    monkeypatch.setattr(deadline_simulated, "simulate_speed", lambda *_: pytest.fail("simulated again"))
    assert deadline_simulated.simulate(10, KeptRun("deadline")) == first
    figures = deadline_simulated.summarize_simulation(first, 4e-6)
    checks = {check.id: check.value for check in deadline_simulated.simulation_checks(figures)}
    assert checks["C.cost"] == pytest.approx(4.0) and checks["C.sim"] > 80
    assert len(tables({"simulated": figures})[0].splitlines()) == 7


# --- picture, command, README ---------------------------------------------------------------------------------------


def test_the_picture_is_a_png_of_readable_size(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deadline.png"
    draw(json.loads(json.dumps(made_up(AS_GOOD))), path)
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    assert 1000 <= width <= 1600 and 500 <= height <= 1000


def test_a_picture_that_cannot_be_drawn_is_told_before_the_long_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline_picture, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'edge-think\[bench\]'"):
        deadline.main(["--accuracy", "--picture", "a.png"])
    with pytest.raises(UsageError, match="name that part"):
        deadline.main(["--turn", "--picture", "a.png"])


def test_a_picture_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--picture"):
        draw(made_up(AS_GOOD), tmp_path / "file" / "a.png")


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Namespace]:
    """The parts without their measurements; tells with which options each was asked."""
    asked: dict[str, Namespace] = {}
    figures = {"simulated": {"by_speed": {}}, "real": {}, "accuracy": made_up(AS_GOOD), "turn": {}}

    def part(name: str) -> Any:
        def measure(options: Namespace, run: KeptRun) -> Any:
            asked[name] = options
            return figures[name], [Check(f"C.{name}", name, 1, 1, "at_least")]

        return measure

    monkeypatch.setattr(deadline, "PARTS", {name: part(name) for name in figures})
    return asked


def test_all_parts_run_unless_some_are_named(parts: dict[str, Namespace], tmp_path: Path) -> None:
    store, picture = tmp_path / "deadline.json", tmp_path / "deadline.png"
    assert deadline.main(["--json", "--store", str(store), "--picture", str(picture)]) == 0
    line = json.loads(store.read_text("utf-8"))
    assert list(line["results"]) == ["simulated", "real", "accuracy", "turn"] and picture.exists()
    options = parts.pop("real")
    assert (options.simulated, options.real, options.accuracy, options.turn) == (10_000, 1_000, 500, 40)
    parts.clear()
    assert deadline.main(["--simulate", "50", "--turn"]) == 0
    assert set(parts) == {"simulated", "turn"}
    assert (parts["turn"].simulated, parts["turn"].turn) == (50, 40)


@pytest.mark.parametrize("arguments", [["--simulate", "0"], ["--real", "x"], ["--accuracy", "-1"], ["--fast"]])
def test_bad_arguments_are_one_sentence(arguments: list[str]) -> None:
    with pytest.raises(UsageError, match=r"see edge bench deadline --help\.$"):
        deadline.main(arguments)


def test_too_few_requests_for_all_kinds_of_speed() -> None:
    with pytest.raises(UsageError, match="--simulate is 4"):
        deadline.main(["--simulate", "4"])


def test_the_prior_work_is_named() -> None:
    for work in ("2512.21859", "2601.16486", "2501.19393", "t_max_predict_ms"):
        assert work in (deadline.__doc__ or "")


def stored(folder: Path, name: str, promised: Sequence[str], results: dict[str, Any]) -> None:
    checks = [{"id": promise, "name": promise, "value": 1.0, "bar": 1.0, "holds": True} for promise in promised]
    line = {"command": "c", "device": "d", "commit": "0", "results": results, "checks": checks}
    (folder / f"{name}.json").write_text(json.dumps(line))


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of stored lines in which only the deadlines are missing."""
    monkeypatch.setattr(readme, "MEASURED_FOLDER", tmp_path)
    monkeypatch.setattr(readme, "tables", lambda results: [])
    stored(tmp_path, "think", PROMISED, {"num_problems": 1})
    stored(tmp_path, "speed", (), {})
    return tmp_path


def test_the_readme_shows_deadlines_once_they_are_measured(measured: Path) -> None:
    assert "C.sim" not in promised_part() and "deadline" not in measured_part()
    stored(measured, "deadline", PROMISED_DEADLINE, {"accuracy": made_up(AS_GOOD)})
    part = measured_part()
    assert all(f"| {name} " in promised_part() for name in PROMISED_DEADLINE)
    assert "best fixed budget" in part and "deadline.png" not in part
    (measured / "deadline.png").write_bytes(b"")
    assert "](deadline.png)" in measured_part()


def test_a_deadline_bench_of_some_parts_only_is_refused_by_the_readme(measured: Path) -> None:
    stored(measured, "deadline", PROMISED_DEADLINE[:-1], {})
    with pytest.raises(UsageError, match=r"lack C\.turn_3;"):
        promised_part()


def test_kept_rows_that_are_damaged_are_skipped(state_path: Path) -> None:
    rows = kept.KeptRun("deadline").rows(b"a")
    rows.add({"speed": 1})
    (path,) = (state_path / "bench").iterdir()
    path.write_text(path.read_text() + '[1]\n{"sp')
    assert rows.read() == [{"speed": 1}]
