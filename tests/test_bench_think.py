"""The figures of ``edge bench think`` from made-up outcomes."""

import json
from dataclasses import dataclass
from typing import Any

from bench_edge.model_card import render_model_card
from bench_edge.think import MODES, Outcome, build_report, with_label_policy


@dataclass(frozen=True)
class FakeProblem:
    num_steps: int
    kind: str = "sum"
    language: str = "en"
    prompt: str = "1+1"
    canonical: str = "sum:[+1,+1]"


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


def test_label_policy_thinks_exactly_from_two_steps_on() -> None:
    label = with_label_policy(PROBLEMS, outcomes([False] * 4))["label"]
    assert [outcome.is_thought for outcome in label] == [False, False, True, True]


def test_checks_count_what_their_names_say() -> None:
    report = build_report(["--limit", "4"], PROBLEMS, outcomes([True, False, True, False]), None)
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
    report = build_report([], PROBLEMS, outcomes([False] * 4), same)
    check = next(check for check in report.checks if check.id == "A.int4")
    assert (check.value, check.holds) == (-50.0, False)


def test_report_is_one_json_object_and_makes_a_card() -> None:
    line = json.loads(json.dumps(build_report([], PROBLEMS, outcomes([True] * 4), outcomes([True] * 4)).to_json()))
    assert set(line) == {"bench", "command", "device", "commit", "seed", "results", "checks"}
    assert all(set(check) == {"id", "name", "value", "bar", "holds"} for check in line["checks"])
    card = render_model_card(line)
    assert "change, auto" in card and "bf16, right" in card
