"""The figures of ``edge bench think`` from made-up outcomes."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tiny_checkpoints import write_tiny_checkpoint

from bench_edge import kept, model_card, think, think_run
from bench_edge.model_card import render_model_card
from bench_edge.think import (
    Subject,
    build_report,
    find_subject,
    main,
    measure_float,
    outside_set,
    summarize_outside,
    with_label_policy,
)
from bench_edge.think_run import MODES, Outcome, ThinkRun
from bench_edge.think_tables import tables
from models.errors import UsageError
from models.spark import outside as outside_prompts
from models.spark.tasks import draw_set
from quantize.pipeline import quantize_checkpoint


@dataclass(frozen=True)
class FakeProblem:
    num_steps: int
    kind: str = "sum"
    language: str = "en"
    prompt: str = "1+1"
    canonical: str = "sum:[+1,+1]"
    answer: str = "2"


SPARK = Subject("spark", has_judge=True)
PROBLEMS: Any = [
    FakeProblem(1),
    FakeProblem(1),
    FakeProblem(3),
    FakeProblem(5, "story", "zh", canonical="change+n-n:[+9,-1]"),
]


def outcomes(auto_thinks: list[bool]) -> dict[Any, list[Outcome]]:
    """Off is right on one step only, on always; auto is right where its choice is."""

    def one(mode: str, index: int) -> Outcome:
        thinks = mode == "on" or (mode == "auto" and auto_thinks[index])
        is_right = thinks or PROBLEMS[index].num_steps == 1
        return Outcome(mode, index, is_right, thinks, 5 if mode == "auto" else 0, 40 if thinks else 0, 4)  # type: ignore[arg-type]

    return {mode: [one(mode, index) for index in range(len(PROBLEMS))] for mode in MODES}


def outside(num_honest: int = 3) -> dict[str, Any]:
    problems: Any = [FakeProblem(0, "outside", language) for language in ("en", "zh", "en", "zh")]
    return summarize_outside(
        problems, [Outcome("auto", index, index < num_honest, False, 5, 0, 9) for index in range(4)]
    )


def test_label_policy_thinks_exactly_from_two_steps_on() -> None:
    label = with_label_policy(PROBLEMS, outcomes([False] * 4))["label"]
    assert [outcome.is_thought for outcome in label] == [False, False, True, True]


def test_checks_count_what_their_names_say() -> None:
    report = build_report(["--limit", "4"], PROBLEMS, outcomes([True, False, True, False]), None, outside(), SPARK)
    values = {check.id: (round(check.value, 4), check.holds) for check in report.checks}
    assert values["A.on"] == (1.0, True)
    assert values["A.off1"] == (1.0, True)
    assert values["A.off3"] == (0.0, True)
    assert values["A.auto_acc"] == (-25.0, False)
    assert values["A.auto_tok"] == (1.0, True)
    assert values["A.judge"] == (5, True)
    assert values["A.auto_rate"] == (0.5, False)


def test_int4_check_is_the_worst_mode() -> None:
    same = outcomes([True] * 4)
    report = build_report([], PROBLEMS, outcomes([False] * 4), same, outside(), SPARK)
    check = next(check for check in report.checks if check.id == "A.int4")
    assert (check.value, check.holds) == (-50.0, False)


def test_nothing_is_promised_of_a_habit() -> None:
    """A model that always thinks by itself failed the figures of a judge it does not have."""
    rows = outcomes([True] * 4)
    report = build_report([], PROBLEMS, rows, rows, outside(), Subject("spark-hunyuan", has_judge=False))
    assert [check.id for check in report.checks] == ["A.on", "A.off1", "A.off3", "A.int4"]
    assert report.results["policies"]["auto"]["all"]["right"]["count"] == 4


@pytest.mark.parametrize(("model", "subject"), [(None, SPARK), ("spark-hunyuan", Subject("spark-hunyuan", False))])
def test_the_subject_is_told_from_the_model(model: str | None, subject: Subject) -> None:
    assert find_subject(model) == subject


def test_a_card_needs_words_before_the_long_run(tmp_path: Path) -> None:
    """Another model's card told the story of spark."""
    bundle = quantize_checkpoint(write_tiny_checkpoint(tmp_path / "source"), tmp_path / "tiny").path
    with pytest.raises(UsageError, match="no words"):
        main(["--model", str(bundle), "--card", str(tmp_path / "README.md")])


@pytest.fixture
def _some_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_card, "_parameters", lambda folder: "3.2 M parameters")


@pytest.mark.usefixtures("_some_checkpoint")
@pytest.mark.parametrize("subject", [SPARK, Subject("spark-hunyuan", has_judge=False)])
def test_report_is_one_json_object_and_makes_a_card(subject: Subject) -> None:
    report = build_report([], PROBLEMS, outcomes([True] * 4), outcomes([True] * 4), outside(), subject)
    line = json.loads(json.dumps(report.to_json()))
    assert set(line) == {"bench", "command", "device", "commit", "seed", "results", "checks"}
    assert all(set(check) == {"id", "name", "value", "bar", "holds"} for check in line["checks"])
    card = render_model_card(line)
    assert f"\n# {subject.name}\n" in card and f"bundle --replace --name {subject.name}" in card
    assert "3.2 M parameters" in card and "{" not in card.replace('[{"role"', "").replace('12?"}]', "")
    assert "change, auto" in card and "bf16, right" in card
    assert "change of 5, on " in card and "change of 5, label" not in card and "change of 1" not in card
    assert "auto minus label" in card and "4 prompts that are no sums" in card and "outside its world" in card


def test_differences_are_paired_and_signed() -> None:
    """Off is right on two of four, on and label on all, auto on three."""
    results = build_report([], PROBLEMS, outcomes([True, False, True, False]), None, outside(), SPARK).results
    values = {name: row["value"] for name, row in results["differences_points"].items()}
    assert values == {"auto_minus_label": -25, "auto_minus_on": -25, "auto_minus_off": 25, "on_minus_off": 50}
    low, high = results["differences_points"]["on_minus_off"]["interval_95"]
    assert low < 50 < high
    assert "on minus off" in tables(results)[2] and "+50.00" in tables(results)[2]


def test_outside_prompts_are_fixed_and_in_both_languages() -> None:
    problems = outside_set()
    assert problems == outside_set()
    assert len({problem.prompt for problem in problems}) == len(problems) == 200
    assert sum(problem.language == "zh" for problem in problems) == 100
    assert all(problem.check(outside_prompts.ANSWER[problem.language]) for problem in problems)
    assert not any(problem.check("42") for problem in problems)


def test_outside_prompts_are_reported_apart() -> None:
    results = build_report([], PROBLEMS, outcomes([True] * 4), None, outside(), SPARK).results
    assert (results["num_problems"], results["outside"]["num_prompts"]) == (4, 4)
    assert results["outside"]["all"]["right"]["count"] == 3
    assert results["outside"]["by_language"]["zh"]["right"]["count"] == 1
    assert "75.0 %" in tables(results)[3]


@pytest.mark.parametrize("arguments", [["--limit", "0"], ["--limit", "-3"], ["--limit", "x"], ["--nothing"], ["more"]])
def test_bad_arguments_are_one_sentence(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """argparse printed its usage over several lines and left the program; --limit 0 divided by zero."""
    with pytest.raises(UsageError, match=r"^[^\n]+; see edge bench think --help\.$"):
        main(arguments)
    assert capsys.readouterr().err == ""


def test_a_missing_checkpoint_is_told_before_the_long_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no checkpoint folder"):
        main(["--float-checkpoint", str(tmp_path / "gone")])


# --- resuming -------------------------------------------------------------------------------------------------------


class FakeAnswers:
    """Stands for the worker processes: remembers what was asked, and can die after some answers."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.dies_after: int | None = None

    def __call__(self, model: str | None, backend: str, problems: Any, jobs: Any) -> Any:
        for number, (mode, index) in enumerate(jobs):
            if number == self.dies_after:
                raise KeyboardInterrupt
            self.asked.append((mode, index))
            yield Outcome(mode, index, True, mode == "on", 0, 0, 1)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeAnswers:
    fake = FakeAnswers()
    monkeypatch.setattr(think_run, "_answer_all", fake)
    monkeypatch.setattr(think_run, "model_identity", lambda model: str(model).encode())
    return fake


def test_an_interrupted_bench_asks_nothing_twice(answers: FakeAnswers, state_path: Path) -> None:
    """The first model's outcomes were deleted before the second was measured."""
    ThinkRun().measure("int4", PROBLEMS)
    answers.dies_after = 5
    with pytest.raises(KeyboardInterrupt):
        ThinkRun().measure("float", PROBLEMS)
    answers.dies_after = None
    run = ThinkRun()
    outcomes = [run.measure(model, PROBLEMS) for model in ("int4", "float")]
    assert len(answers.asked) == 2 * len(MODES) * len(PROBLEMS)
    assert all([row.index for row in rows[mode]] == [0, 1, 2, 3] for rows in outcomes for mode in MODES)
    assert len(list((state_path / "bench").iterdir())) == 2
    run.finish()
    assert not list((state_path / "bench").iterdir())


def test_a_line_that_was_cut_off_is_asked_again(answers: FakeAnswers, state_path: Path) -> None:
    ThinkRun().measure("int4", PROBLEMS)
    (path,) = (state_path / "bench").iterdir()
    path.write_bytes(path.read_bytes()[:-9])
    ThinkRun().measure("int4", PROBLEMS)
    assert len(answers.asked) == len(MODES) * len(PROBLEMS) + 1


def test_a_state_folder_that_cannot_be_written_is_said_once(
    answers: FakeAnswers, state_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state_path.write_text("a file where the folder should be")
    run = ThinkRun()
    run.measure("int4", PROBLEMS)
    run.measure("float", PROBLEMS)
    run.finish()
    assert capsys.readouterr().err.count("cannot be resumed") == 1


@pytest.mark.usefixtures("answers")
def test_progress_says_the_time_left(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "PROGRESS_EVERY_S", 0.0)
    ThinkRun().measure("int4", PROBLEMS)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("int4 on llama_cpp: 1 of 12 answers, 0:0")
    assert lines[-1] == "int4 on llama_cpp: 12 of 12 answers, 0:00:00 left"


@pytest.mark.usefixtures("answers")
def test_a_run_is_named_by_model_problems_and_sources(
    tmp_path: Path, state_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changed runtime or a changed answer resumed the outcomes of the old one."""
    package = tmp_path / "edge"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(kept.edge, "__file__", str(package / "__init__.py"))

    def num_runs() -> int:
        ThinkRun().measure("a", PROBLEMS)
        return len(list((state_path / "bench").iterdir()))

    assert (num_runs(), num_runs()) == (1, 1)
    ThinkRun().measure("b", PROBLEMS)
    ThinkRun().measure("a", PROBLEMS[:2])
    assert num_runs() == 3
    (package / "sampling.py").write_text("temperature = 2")
    assert num_runs() == 4


@pytest.mark.usefixtures("answers", "_some_checkpoint")
def test_a_whole_bench_stores_line_and_card_and_leaves_nothing_behind(
    tmp_path: Path, state_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(think, "test_set", lambda: draw_set(20, 0, "test"))  # the whole set takes a while to draw
    monkeypatch.setattr(think, "measure_float", lambda run, path, problems: run.measure("float", problems))
    store, card = tmp_path / "new" / "think.json", tmp_path / "README.md"
    arguments = ["--limit", "12", "--float-checkpoint", str(tmp_path), "--store", str(store), "--card", str(card)]
    assert main(arguments) == 0
    line = json.loads(store.read_text("utf-8"))
    assert line["results"]["outside"]["num_prompts"] == line["results"]["num_problems"] == 12
    assert [check["id"] for check in line["checks"]][-1] == "A.int4"
    assert "## Promised figures" in card.read_text("utf-8")
    assert not list((state_path / "bench").iterdir())


def test_real_answers_come_back_in_order(tmp_path: Path) -> None:
    """A tiny model that knows nothing, and its float twin, through the real worker processes."""
    source = write_tiny_checkpoint(tmp_path / "source")
    bundle = quantize_checkpoint(source, tmp_path / "bundle").path
    problems = outside_set()[:2]
    run = ThinkRun()
    outcomes = run.measure(str(bundle), problems, ("off", "on"))
    assert {mode: [(row.mode, row.index) for row in rows] for mode, rows in outcomes.items()} == {
        "off": [("off", 0), ("off", 1)],
        "on": [("on", 0), ("on", 1)],
    }
    assert not any(row.is_right for rows in outcomes.values() for row in rows)
    assert set(measure_float(run, source, problems[:1])) == set(MODES)
