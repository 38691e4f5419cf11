"""The router's bench: its comparisons, its attacks, its checks; and the policies on a calibrated model."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest

from bench_edge.ranking import auc, bootstrap
from bench_edge.report import format_checks
from bench_edge.router import coarse_check, embeddings_note, text_checks
from bench_edge.router_attack import attacks, flip_share
from bench_edge.router_sources import by_band, calibration, coarse, compare, inside, long_prompts, scorer
from bench_edge.router_spark import Decided, spark_checks, summarize
from bench_edge.router_speed import LENGTHS, _prompt, measure_host, measure_size, measure_speed
from bench_edge.router_tables import tables
from bench_edge.router_texts import PASSAGES, REQUESTS, begged, buried, long_request
from bench_edge.think_run import Outcome
from edge.think.router import default_router
from models.router.data import Row
from models.router.passages import SENTENCES
from models.router.requests import ABOUT_PASSAGE
from models.spark.tasks import test_set as held_out

DEV = [
    *(Row(f"set an alarm for {n} o'clock", "en", "clinc", "alarm", 0.02) for n in range(30)),
    *(Row(f"附近有没有{n}元的餐馆？", "zh", "crosswoz", "lookup", 0.02) for n in range(30)),
    *(
        Row(
            f"Ann has {n} boxes of {n + 2} pens and sells half. How many are left?",
            "en",
            "gsm8k",
            "2",
            0.5,
            steps=n % 5,
        )
        for n in range(30)
    ),
    *(Row(f"一桶油重{n}千克，用去2/5后还剩多少千克？", "zh", "cmath", "6", 0.5, grade=1 + n % 6) for n in range(30)),
    *(
        Row(f"Which law holds in case {n}?\nA. one\nB. two", "en", "mmlu", "law", 0.5, direct_right=n % 3 > 0)
        for n in range(30)
    ),
]


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    router = default_router()
    score = scorer(router)
    return {
        "speed": {f"{tongue} {size}": {"p50_us": 50.0, "p99_us": 90.0} for size in LENGTHS for tongue in ("en", "zh")},
        "size": {"bytes": 600_000, "load_ms": 12.0},
        "coarse": coarse(DEV, "clinc", [], score) | coarse(DEV, "crosswoz", [], score),
        "inside": inside(DEV, score),
        "calibration": {"direct answers, unseen subjects": calibration(DEV, score).to_json()},
        "long": long_prompts(DEV, score, 1),
        "attack": attacks(DEV, router, 1),
        "bands": by_band(DEV, router),
        "sentence_embeddings": embeddings_note(),
        "models": {},
    }


def test_every_promised_figure_is_checked_and_shown(results: dict[str, Any]) -> None:
    """A figure that is measured and not checked is a promise nobody keeps."""
    checks = [*text_checks(results), coarse_check(results["coarse"])]
    assert {check.id.split("_")[0] for check in checks} == {
        *("D.fast", "D.small", "D.coarse", "D.long", "D.inside", "D.ece", "D.attack")
    }
    assert "D.coarse" in format_checks([check.to_json() for check in checks])
    text = "\n\n".join(tables(results))
    assert "clinc en" in text and "a riddle first" in text and "gsm8k en 0-100" in text


def test_the_router_beats_length_where_length_is_a_trap(results: dict[str, Any]) -> None:
    """The comparison must be able to show the trap that it is there for."""
    for row in results["long"].values():
        assert row["length"]["value"] < 0.5 < row["router"]["value"]
    assert flip_share(results["attack"], "router") < flip_share(results["attack"], "length")


def test_the_bench_asks_in_its_own_words() -> None:
    """A template or passage of the training in the test would measure memory."""
    for language in ("en", "zh"):
        assert not set(REQUESTS[language]) & set(ABOUT_PASSAGE[language].split("\n"))
        trained = {sentence[:20] for sentence in SENTENCES[language].split("\n")}
        assert not any(start in passage for start in trained for passage in PASSAGES[language])


def test_texts_hold_what_they_are_made_of() -> None:
    """A plea that swallowed the question would make every decision flip."""
    rng = Random(1)
    for _ in range(20):
        assert "{x} & y" in begged(rng, {"en": ("Quick: {}",)}, "en", "{x} & y")
        assert "the problem" in buried(rng, "en", "the problem")
        text = long_request(rng, "zh")
        assert any(request in text for request in REQUESTS["zh"])
    assert len(_prompt(rng, "en", 8000)) == 8000


def test_a_comparison_has_an_interval_around_its_value() -> None:
    """A bare figure of a few prompts says less than it seems to."""
    found = compare(["hi"] * 20, ["Prove it for all n."] * 20, scorer(default_router()))["router"]
    assert found["interval_95"][0] <= found["value"] <= found["interval_95"][1] and found["count"] == 40
    figure = bootstrap(auc, np.zeros(0), np.zeros(0))
    assert figure.value == 0.5 and figure.count == 0


def test_speed_is_measured_by_length_and_language(monkeypatch: pytest.MonkeyPatch) -> None:
    """One language alone would hide the other, whose characters are three bytes."""
    monkeypatch.setattr("bench_edge.router_speed.NUM_PROMPTS", 2)
    monkeypatch.setattr("bench_edge.router_speed.NUM_ROUNDS", 2)
    monkeypatch.setattr("bench_edge.router_speed.NUM_LOADS", 1)
    monkeypatch.setattr("bench_edge.router_speed.HOST_ROUNDS", 20)
    assert set(measure_speed(default_router(), 1)) == {"en 200", "zh 200", "en 8000", "zh 8000"}
    host = measure_host()
    assert 0.0 < host["p50_us"] <= host["p99_us"] and host["breaks_per_s"] >= 0.0
    assert 0 < measure_size()["bytes"] <= 1_000_000


def test_policies_on_a_calibrated_model() -> None:
    """Auto costs and earns what the mode costs and earns that it decides for."""
    problems = held_out(40)
    hard = np.array([problem.num_steps >= 2 for problem in problems])
    off = [Outcome("off", place, not is_hard, False, 0, 0, 5) for place, is_hard in enumerate(hard)]
    on = [Outcome("on", place, True, True, 0, 40, 5) for place in range(40)]
    sure = hard.astype(float)
    found = summarize(problems, off, on, Decided(0.9 * sure, sure, sure, 0 * sure, 0 * sure), 1)
    assert found["policies"]["auto"] == found["policies"]["label"]
    assert found["auto_minus_label_points"]["value"] == 0.0 and found["auto_over_label_tokens"] == 1.0
    back = summarize(problems, off, on, Decided(0.9 * sure, sure, sure, 0 * sure, 2 * sure), 1)
    assert back["taken_back"] == {"answers": round(sure.mean(), 5), "tokens": round(2 * sure.mean(), 5)}
    assert back["auto_over_label_tokens"] > 1.0  # what was begun and dropped is not free
    checks = {check.id: check for check in spark_checks({"spark": found})}
    assert set(checks) == {"D.spark_1", "D.spark_2", "D.probe_1", "D.ece_2"}
    assert checks["D.spark_1"].holds and checks["D.spark_2"].holds
