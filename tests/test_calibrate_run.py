"""``edge calibrate``: right answers, resumed rows, goals, refusals, and what is kept where."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from edge.calibrate import CalibrationPrompt, Measurement, Outcome, is_right, pass_rates, read_prompts
from edge.calibrate_fit import Goal, area, choose_cut, curve, fit_refit, read_goal
from edge.calibrated import Owner, find_refit, forget_refit, keep_refit, owner_of, write_copy
from edge.chat_types import AnswerOptions
from edge.cli_calibrate import default_prompts
from edge.engine import Engine, load
from edge.model_source import embedded_bundle_path, find_model
from edge.think.decision import decide, decide_by_probe
from edge.think.logistic import cross_fitted, fit_standardized, sigmoid
from edge.think.probe import Figures, Look, Probe, ProbeSignals
from edge.think.refit import Refit
from edge.think.router import route
from models.bundle import open_bundle, verify_bundle
from models.errors import BundleError, UsageError

HESITANT = ProbeSignals((Figures(2.0, 0.1, -2.0), Figures(1.5, 0.2, -1.5)))
CERTAIN = ProbeSignals((Figures(0.1, 4.0, -0.1), Figures(0.1, 5.0, -0.1)))


def sums(count: int, seed: int = 1) -> tuple[list[str], list[Outcome]]:
    """Sums of which the long ones need thinking, as the outcomes of a model that knows its limits."""
    rng, texts, outcomes = Random(seed), [], []
    for place in range(count):
        num_steps = rng.choice((1, 1, 3, 4))
        texts.append("+".join(str(rng.randint(2, 60)) for _ in range(num_steps + 1)) + "=?")
        is_hard = num_steps > 1
        signals = HESITANT if is_hard else CERTAIN
        outcomes.append(Outcome(str(place), 0.1 if is_hard else 1.0, 1.0, 5.0, 40.0, 0.1, 0.8, signals.looks()))
    return texts, outcomes


@pytest.fixture(scope="module")
def refit() -> Refit:
    return fit_refit(*sums(200), Goal())


@pytest.mark.parametrize(
    ("answer", "reference", "is_it"),
    [
        ("5", "5 apples", True),
        ("The answer is 1,250.", "1250", True),
        ("3+4 is 7", "7", True),
        ("7 or 8", "7", False),
        ("8：05", "8:05", True),
        ("", "5", False),
        ("Paris.", "paris", True),
        ("Not Paris", "Paris", False),
    ],
)
def test_an_answer_is_right_by_what_it_says(answer: str, reference: str, is_it: bool) -> None:
    """A unit or a full stop must not turn a right answer into a wrong one."""
    assert is_right(answer, reference) is is_it


def test_without_a_reference_the_majority_of_thoughts_is_right() -> None:
    """A mode that agreed only with itself would win every prompt."""
    assert pass_rates({"off": ["7", "8"], "on": ["8", "so 8", "9"]}, None) == {"off": 0.5, "on": pytest.approx(2 / 3)}
    assert pass_rates({"off": ["7"], "on": [""]}, None) == {"off": 0.0, "on": 0.0}


def test_prompts_are_read_with_and_without_references(tmp_path: Path) -> None:
    """A reference that was dropped in silence would be replaced by a majority."""
    path = tmp_path / "prompts.jsonl"
    path.write_text('"hello"\n\n{"prompt": "2+3=?", "reference": 5}\n', encoding="utf-8")
    first, second = read_prompts(path)
    assert (first.reference, second.reference, second.messages[0].content) == (None, "5", "2+3=?")
    assert first.identity != second.identity
    path.write_text('{"prompt": "x"}\n{"promt": "y"}\n', encoding="utf-8")
    with pytest.raises(UsageError, match="Line 2"):
        read_prompts(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_prompts(tmp_path / "missing.jsonl")
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b'"hello"')[:12])
    with pytest.raises(UsageError, match="cannot be read"):
        read_prompts(tmp_path / "cut.jsonl.gz")


def test_the_shipped_prompts_have_references() -> None:
    """Without a file of one's own, ``edge calibrate`` must work as it is."""
    prompts = read_prompts(default_prompts())
    assert len(prompts) >= 1000 and all(prompt.reference for prompt in prompts)


@pytest.mark.parametrize("text", ["accuracy=1%", "tokens=0%", "tokens=many", "tokens=120%", "accuracy-loss=-1%", ""])
def test_a_goal_that_says_nothing_is_refused(text: str) -> None:
    """An hour of measuring must not end in a complaint about the goal."""
    with pytest.raises(UsageError, match=r"accuracy-loss=0\.5%"):
        read_goal(text)


def test_goals_choose_along_the_curve() -> None:
    """``tokens=50%`` must keep the budget, ``accuracy-loss`` the accuracy."""
    assert read_goal("accuracy-loss=0.5%") == Goal("accuracy-loss", 0.005)
    assert read_goal("chance=25%") == Goal("chance", 0.25)
    assert read_goal(str(Goal())) == Goal()
    _, outcomes = sums(300)
    chances = np.array([0.9 if one.off_rate < 0.5 else 0.1 for one in outcomes])
    points = curve(chances, outcomes)
    assert points[0].thinking_rate == 1.0 and points[-1].thinking_rate == 0.0
    best = choose_cut(chances, outcomes, Goal("accuracy-loss", 0.0))
    assert best.accuracy == 1.0 and best.tokens < points[0].tokens
    likely = choose_cut(chances, outcomes, Goal("chance", 0.5))
    assert likely.cut == 0.5 and likely.accuracy == 1.0
    half = choose_cut(chances, outcomes, Goal("tokens", 0.5))
    assert half.tokens <= 0.5 * points[0].tokens
    ahead = np.full(300, 2.0)
    assert curve(chances, outcomes, ahead)[0].tokens == points[0].tokens  # thinking always looks at nothing
    likely_tokens = choose_cut(chances, outcomes, Goal("chance", 0.5), ahead).tokens
    assert likely_tokens == pytest.approx(likely.tokens + 2.0 * likely.thinking_rate)
    assert area(points) > area(curve(np.random.default_rng(0).random(300), outcomes))


def test_what_was_learned_tells_hard_from_easy(refit: Refit) -> None:
    """The last layer must speak for this model: the general router knows nothing of its limits."""
    router = refit.router()
    easy, hard = router.route("12+7=?"), router.route("31+8+22+17+5=?")
    assert easy.score < 0.3 < 0.7 < hard.score and hard.thinks and not easy.thinks
    assert refit.probe.chance(0.5, HESITANT) > 0.5 > refit.probe.chance(0.5, CERTAIN)
    assert len(refit.probe.looks) == 2
    assert refit.report["prompts"] == 200


def test_too_little_data_is_refused_politely() -> None:
    """A layer fitted to a handful of outcomes would look like knowledge."""
    texts, outcomes = sums(40)
    with pytest.raises(UsageError, match="fewer than 60"):
        fit_refit(texts, outcomes, Goal())
    texts, outcomes = sums(120)
    same = [replace(one, off_rate=1.0, on_rate=1.0) for one in outcomes]
    with pytest.raises(UsageError, match="thinking pays on 0 only"):
        fit_refit(texts, same, Goal())


def test_a_refit_survives_its_json_and_a_damaged_one_is_none(refit: Refit, state_path: Path) -> None:
    """State may be deleted or cut off at any time; an answer must not fail for it."""
    again = Refit.from_json(json.loads(json.dumps(refit.to_json())))
    text = "31+8+22=?"
    assert again.router().route(text).score == pytest.approx(refit.router().route(text).score, abs=1e-6)
    assert (again.cuts, again.probe) == (refit.cuts, refit.probe)
    owner = Owner("model", "hipo", "a" * 64)
    path = keep_refit(owner, refit)
    assert path.is_relative_to(state_path) and find_refit(owner, None)[0] is not None
    path.write_text(json.dumps({**json.loads(path.read_text()), "weights": [1.0]}))
    found, notes = find_refit(owner, None)
    assert found is None and "another version" in notes[0]
    path.write_text("{")
    assert find_refit(owner, None)[0] is None
    assert forget_refit(owner) and not forget_refit(owner)


def test_what_other_weights_taught_is_not_applied(refit: Refit, state_path: Path) -> None:
    """Weights trained again have the name and the size of the old ones; their outcomes are others."""
    old, new = Owner("model", "hipo", "a" * 64), Owner("model", "hipo", "b" * 64)
    path = keep_refit(old, refit)
    found, notes = find_refit(new, None)
    assert found is None and "other weights" in notes[0] and "edge calibrate" in notes[0]
    assert find_refit(Owner("another", "hipo", "b" * 64), None) == (None, ())
    path.rename(state_path / new.state_name)  # even where the file is found
    found, notes = find_refit(new, None)
    assert found is None and "not used" in notes[0]
    path = keep_refit(old, refit)
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({**kept, "made_for": {**kept["made_for"], "router": "c" * 64}}))
    assert find_refit(old, None)[0] is None  # the layer weighs another router's inputs
    assert forget_refit(new) and find_refit(new, None) == (None, ())


def test_weights_are_told_apart_by_what_is_in_them(tmp_path: Path) -> None:
    """Two fine-tunes of one model may share the name, the size and the first bytes."""
    paths = [tmp_path / name / "model.gguf" for name in "abc"]
    for path, inside in zip(paths, (b"\x01", b"\x01", b"\x02"), strict=True):
        path.parent.mkdir()
        path.write_bytes(b"GGUF" + inside * 100_000)
    first, same, other = (owner_of(find_model(path), "plain") for path in paths)
    assert first == same and first.family == other.family and first.state_name != other.state_name
    ours = owner_of(find_model(None), "hipo")
    assert len(ours.weights) == 64 and ours != owner_of(find_model("spark-hunyuan"), "hunyuan")


def test_a_model_says_once_that_its_old_calibration_is_passed_over(refit: Refit) -> None:
    """Auto that goes by the judge again, without a word, would look like a fault of the calibration."""
    owner = owner_of(find_model(None), "hipo")
    keep_refit(replace(owner, weights="0" * 64), refit)
    with load(num_threads=1, context_size=256) as engine:
        assert engine.model.refit is None and any("other weights" in note for note in engine.notes)
        keep_refit(owner, refit)
    with load(num_threads=1, context_size=256) as engine:
        assert engine.model.refit is not None and not any("other weights" in note for note in engine.notes)


def test_a_copy_of_the_bundle_brings_it_along(refit: Refit, tmp_path: Path) -> None:
    """A bundle is hashed: a file that was slipped in would make ``verify`` fail."""
    source = open_bundle(embedded_bundle_path())
    owner = owner_of(find_model(None), "hipo")
    copy = write_copy(source, tmp_path / "copy", refit, owner)
    assert verify_bundle(copy.path).manifest.name == source.manifest.name
    with load(copy.path, num_threads=1, context_size=256) as engine:
        assert engine.model.refit is not None
        answer = engine.answer("31+8+22+17+5=?", AnswerOptions(temperature=0.0))
    assert (answer.decision.source, answer.decision.think) in (("router", True), ("probe", True))
    with pytest.raises(BundleError, match="exists already"):
        write_copy(source, tmp_path / "copy", refit, owner)


def test_measuring_goes_on_where_it_was(tmp_path: Path) -> None:
    """Hours on a slow board must not be lost to a power cut."""
    prompts = read_prompts(default_prompts())[:4]
    told: list[tuple[int, int]] = []
    with load(num_threads=1, context_size=512) as engine:
        measurement = Measurement(engine, tmp_path / "rows.jsonl", 1, 200)
        first = measurement.run(prompts[:2], lambda done, count: told.append((done, count)))
        with (tmp_path / "rows.jsonl").open("a") as rows:
            rows.write('{"answers": 1, "ident')
        rows_before = (tmp_path / "rows.jsonl").read_text()
        (tmp_path / "rows.jsonl").write_text(rows_before + "\n")
        told.clear()
        again = measurement.run(prompts, lambda done, count: told.append((done, count)))
    assert again[:2] == first and told[-1] == (2, 2)
    assert all(len(look) == 8 for one in again for look in one.signals)
    assert all(len(one.signals) == 2 and one.on_tokens > one.off_tokens > 0 for one in again)


def test_rows_of_other_signals_are_measured_anew(tmp_path: Path) -> None:
    """What an older version saw of a prompt is no help: its probe would be learned again."""
    path = tmp_path / "rows.jsonl"
    with load(num_threads=1, context_size=512) as engine:
        measurement = Measurement(engine, path, 1, 50)
        first = measurement.run([CalibrationPrompt.of("2+3=?", "5")], lambda done, count: None)
        row = json.loads(path.read_text())
        for stale in ({**row, "format_version": 1, "off_rate": 0.5}, {"answers": 1, "off_rate": 0.5}):
            path.write_text(json.dumps(stale) + "\n")
            again = measurement.run([CalibrationPrompt.of("2+3=?", "5")], lambda done, count: None)
            assert again[0].off_rate == first[0].off_rate != 0.5


def test_a_greedy_model_with_a_reference_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its second answer was the first, at twice the time; without a reference one thought alone said what is right."""
    asked: list[tuple[str, int, float | None]] = []
    with load() as engine:
        assert engine.model.sampling.temperature == 0
        answer = engine.answer

        def listen(messages: Any, options: Any) -> Any:
            asked.append((options.think, options.seed, options.temperature))
            return answer(messages, options)

        monkeypatch.setattr(engine, "answer", listen)
        prompts = [CalibrationPrompt.of("2+3=?", "5"), CalibrationPrompt.of("4+3=?", None)]
        for number, counts in ((None, (2, 6)), (2, (4, 4))):
            for prompt, count in zip(prompts, counts, strict=True):
                asked.clear()
                Measurement(engine, tmp_path / f"{number}.jsonl", number, 100).run([prompt], lambda done, of: None)
                assert len(asked) == count
                assert all(temperature == (0.7 if seed else 0.0) for _, seed, temperature in asked)


def test_who_decides_and_in_which_order() -> None:
    """What was asked comes first; a judge gives way only to a router that was taught its model's outcomes."""
    sure, unsure = route("Hello there"), replace(route("Hello there"), choice="unsure", thinks=True)
    judged = {"has_judge": True, "default_think": False}
    assert decide("on", **judged, difficulty=sure).source == "asked"
    assert decide("auto", **judged, difficulty=None).think is None
    assert decide("auto", **judged, difficulty=unsure).source == "judge"
    for thinks, habit in ((False, False), (False, True), (True, False)):
        bet = replace(unsure, thinks=thinks)
        found = decide("auto", has_judge=False, default_think=habit, difficulty=bet)
        assert (found.think, found.source) == (thinks or habit, "router")
    habit = decide("auto", has_judge=False, default_think=True, difficulty=replace(unsure, thinks=False))
    assert "thinks when it is left alone" in habit.reason  # not what speaks against thinking
    assert decide("auto", **judged, difficulty=sure).source == "router"
    probe = Probe((Look((0.0, 1.0, *[0.0] * 7), -1.0),), 0.5)
    assert decide_by_probe(probe, probe.chance(unsure.score, HESITANT)).think is True
    assert decide_by_probe(probe, probe.chance(unsure.score, CERTAIN)).source == "probe"


def test_answers_shorter_than_the_looks_are_learned_from_too() -> None:
    """A one-word answer has no second token; a model that gives no others has one look."""
    texts, outcomes = sums(200)
    short = [replace(one, signals=one.signals[:1]) for one in outcomes]
    assert len(fit_refit(texts, short, Goal()).probe.looks) == 1
    mixed = [replace(one, signals=one.signals[: 1 + place % 2]) for place, one in enumerate(outcomes)]
    assert len(fit_refit(texts, mixed, Goal()).probe.looks) == 2
    unread = fit_refit(texts, [replace(one, signals=()) for one in outcomes], Goal()).probe
    assert unread.chance(0.7, CERTAIN) == pytest.approx(0.7)


def test_cross_fitting_never_sees_its_own_rows() -> None:
    """Chances of rows that were learned from would look far too good."""
    rng = np.random.default_rng(0)
    noise, labels = rng.standard_normal((80, 60)), (rng.random(80) < 0.5).astype(float)
    found, bias = fit_standardized(noise, labels, 0.1)
    own, crossed = sigmoid(noise @ found + bias), cross_fitted(noise, labels, 0.1, 0)
    assert ((own > 0.5) == labels).mean() > 0.9
    assert ((crossed > 0.5) == labels).mean() < 0.7


def test_an_engine_without_a_refit_is_left_to_its_judge() -> None:
    """The shipped router was taught by other models; spark's own judge knows better."""
    with load(num_threads=1, context_size=256) as engine:
        assert isinstance(engine, Engine) and engine.model.refit is None
        assert engine.answer("2+3=?", AnswerOptions(temperature=0.0)).decision.source == "judge"
