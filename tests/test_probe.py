"""Stage two: figures of the first tokens, one pass for them, and an answer that goes on from there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Event
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scripted_models import scripted_model

from bench_edge.simulated_device import SimulatedClock
from edge.answer import stream_answer
from edge.backends.base import PrefillResult
from edge.backends.scripted import ScriptedBackend
from edge.calibrate import CalibrationPrompt
from edge.chat_types import Answer, AnswerOptions, Message, Think
from edge.drafted import Draft, DraftedTokens
from edge.engine import Engine, load
from edge.pace import Pace
from edge.think.probe import NUM_TOKENS, SIGNAL_NAMES, SURE, Figures, Look, Probe, ProbeSignals
from edge.think.refit import Refit
from edge.think.router import CutPoints, LastLayer
from edge.think.router_weights import NUM_INPUTS

PROMPT = "38*47-5+12=?"
NO, YES = -9.0, 9.0  # of a look, as a logit


def made_up(*looks: float) -> Refit:
    """A router that is never sure, and a probe that says the same to everything after each number of tokens."""
    blind = LastLayer(np.zeros(NUM_INPUTS, np.float32), 0.0)
    never_sure = CutPoints(unsure=0.0, short=1.1, think=1.1, better=0.5)
    weights = (0.0,) * (1 + len(SIGNAL_NAMES))
    return Refit(blind, never_sure, Probe(tuple(Look(weights, bias) for bias in looks), 0.5))


def count_passes(engine: Engine) -> list[int]:
    """The number of forward passes of the device from now on, in a list of one."""
    backend: Any = engine.model.backend
    passes = [0]

    def counted(run: Callable[..., Any]) -> Callable[..., Any]:
        def run_counted(*arguments: Any, **options: Any) -> Any:
            passes[0] += 1
            return run(*arguments, **options)

        return run_counted

    if backend.name == "llama_cpp":
        backend._context.decode = counted(backend._context.decode)
    else:
        for sequence in backend._sequences:
            sequence.run = counted(sequence.run)
    return passes


class Asked:
    """One model, asked anew each time: answers and the passes they took."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._passes = count_passes(engine)

    def __call__(self, think: Think, refit: Refit | None = None, **options: Any) -> tuple[Answer, int]:
        engine = self._engine
        engine.model = replace(engine.model, refit=refit)
        engine.model.backend.cut(0, 0)
        self._passes[0] = 0
        answer = engine.answer(PROMPT, AnswerOptions(think=think, **{"temperature": 0.0, **options}))
        return answer, self._passes[0]


@pytest.mark.parametrize(
    ("model", "backend"), [("spark", "llama_cpp"), ("spark-hunyuan", "llama_cpp"), ("spark-hunyuan", "onnx")]
)
def test_the_probe_costs_one_pass_or_none(model: str, backend: str) -> None:
    """What it computed is the beginning of the answer; where the model thinks after all, that is all that is lost."""
    with load(model, backend=backend, num_threads=1, context_size=512) as engine:
        asked = Asked(engine)
        (off, off_passes), (on, on_passes) = asked("off"), asked("on")
        kept, kept_passes = asked("auto", made_up(NO, NO))
        thought, thought_passes = asked("auto", made_up(YES, NO))
        taken_back, taken_back_passes = asked("auto", made_up(NO, YES))
    assert (kept.raw, kept.usage, kept.decision.source) == (off.raw, off.usage, "probe")
    assert kept_passes <= off_passes
    assert thought.raw == taken_back.raw == on.raw and thought.usage == on.usage
    assert thought_passes == on_passes + 1
    assert taken_back_passes == on_passes + NUM_TOKENS


def test_where_a_device_gives_logits_in_one_place_the_odds_take_a_pass_of_their_own() -> None:
    """ONNX Runtime computes the last token's logits alone."""
    with load("spark", backend="onnx", num_threads=1, context_size=512) as engine:
        asked = Asked(engine)
        (off, off_passes), (_, on_passes) = asked("off"), asked("on")
        kept, kept_passes = asked("auto", made_up(NO, NO))
        _, thought_passes = asked("auto", made_up(YES, NO))
    assert (kept.raw, kept_passes, thought_passes) == (off.raw, off_passes + 1, on_passes + 2)


@pytest.mark.parametrize(("model", "temperature"), [("spark", 3.0), ("spark-hunyuan", 1.0)])
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_what_is_drawn_is_what_would_have_been_drawn(model: str, temperature: float, seed: int) -> None:
    """A draft that was taken because it was there would make warm answers colder.

    The tags before an answer are taken for fixed, which at a temperature of 3 they are not.
    """
    with load(model, num_threads=1, context_size=512) as engine:
        asked = Asked(engine)
        off, _ = asked("off", temperature=temperature, seed=seed)
        kept, _ = asked("auto", made_up(NO, NO), temperature=temperature, seed=seed)
    assert (kept.raw, kept.usage) == (off.raw, off.usage)


@pytest.mark.parametrize("model", ["spark", "spark-hunyuan"])
def test_a_shape_and_a_limit_hold_behind_a_draft(model: str) -> None:
    """The first token of a document is no free one, and one token of an answer may be all there is to say."""
    with load(model, num_threads=1, context_size=512) as engine:
        asked = Asked(engine)
        for options in ({"schema": {"type": "integer"}}, {"max_tokens": 1}, {"max_tokens": 3}, {"deadline_s": 20.0}):
            off, _ = asked("off", **options)
            kept, _ = asked("auto", made_up(NO, NO), **options)
            assert (kept.raw, kept.usage, kept.document) == (off.raw, off.usage, off.document), options
            assert kept.timings.decode_s > 0 and kept.timings.decode_tokens_per_s >= 0


@pytest.mark.parametrize("model", ["spark", "spark-hunyuan"])
@pytest.mark.parametrize("backend", ["llama_cpp", "onnx"])
def test_a_draft_that_was_not_used_up_does_not_meet_the_next_answer(model: str, backend: str) -> None:
    """What lies behind the last token of an answer is no part of the conversation, nor of a saved one."""
    first = [Message("user", PROMPT)]
    with load(model, backend=backend, num_threads=1, context_size=512) as engine:
        plain = engine.model
        cut = engine.answer(first, AnswerOptions(think="off", temperature=0.0, max_tokens=1))
        second = [*first, Message("assistant", cut.answer), Message("user", "12+7=?")]
        expected = engine.answer(second, AnswerOptions(think="off", temperature=0.0)).raw
        engine.model.backend.cut(0, 0)
        engine.model = replace(plain, refit=made_up(NO, NO))
        engine.answer(first, AnswerOptions(temperature=0.0, max_tokens=1))
        state = engine.save_cache(first)
        engine.model = plain
        assert engine.answer(second, AnswerOptions(think="off", temperature=0.0)).raw == expected
        assert state is not None and engine.restore_cache(state)
        assert engine.answer(second, AnswerOptions(think="off", temperature=0.0)).raw == expected


def test_tools_may_be_called_where_an_answer_was_drafted() -> None:
    """The probe reads on behind the tag of an answer; a call of a tool has another one."""
    tool = {"type": "function", "function": {"name": "sum", "parameters": {"type": "object", "properties": {}}}}
    with load("spark-hunyuan", num_threads=1, context_size=1024) as engine:
        asked = Asked(engine)
        off, _ = asked("off", tools=[tool])
        kept, _ = asked("auto", made_up(NO, NO), tools=[tool])
    assert (kept.raw, kept.usage) == (off.raw, off.usage)


STEP_S = 0.01


class TimedBackend(ScriptedBackend):
    """Takes a step's time for each call that evaluates something, and half a step's for each token of it."""

    clock: SimulatedClock

    def prefill(self, sequence: int, tokens: Sequence[int], **options: Any) -> PrefillResult:
        result = super().prefill(sequence, tokens, **options)
        self.clock.now_s += STEP_S * (1 + result.evaluated_tokens / 2)
        return result

    def append(self, sequence: int, tokens: Sequence[int]) -> None:
        super().append(sequence, tokens)
        self.clock.now_s += STEP_S * (1 + (len(tokens) - 1) / 2)


def timed_answer(refit: Refit | None, think: Think) -> tuple[Answer, ScriptedBackend, list[list[float]]]:
    """An answer of a scripted model, and the seconds of the steps that its pace has learned."""
    model, clock, pace, learned = scripted_model("12 and so on\n</answer>"), SimulatedClock(), Pace(), []
    assert isinstance(model.backend, ScriptedBackend)
    model.backend.__class__ = TimedBackend
    model.backend.clock = clock  # type: ignore[attr-defined]
    pace.speed.learn_decode(0, [STEP_S] * 8)
    learn = pace.speed.learn_decode
    pace.speed.learn_decode = lambda context, steps_s: (learned.append(steps_s), learn(context, steps_s))  # type: ignore
    events = stream_answer(
        replace(model, refit=refit), 0, [Message("user", "3*4?")], AnswerOptions(think, temperature=0.0),
        stop=Event(), clock=clock, pace=pace,
    )  # fmt: skip
    result = next(event.result for event in events if event.result is not None)
    return result, model.backend, learned


def test_drafted_tokens_teach_no_speed_and_are_timed() -> None:
    """A token that was there already would look as if the device made it in no time."""
    off, plain, off_learned = timed_answer(None, "off")
    kept, backend, learned = timed_answer(made_up(NO, NO), "auto")
    assert kept.decision.source == "probe" and kept.raw == off.raw and kept.usage == off.usage
    appends = [sum(call.method == "append" for call in device.calls) for device in (plain, backend)]
    assert appends[0] == appends[1]  # the second look's token is one of the answer's
    assert all(step == pytest.approx(STEP_S) for steps in (*learned, *off_learned) for step in steps)
    assert len(learned[-1]) == len(off_learned[-1]) - 1
    assert kept.timings.decode_s == pytest.approx(off.timings.decode_s)
    assert kept.timings.decode_tokens_per_s == pytest.approx(off.timings.decode_tokens_per_s)


def test_looking_ahead_leaves_the_answers_as_they_are() -> None:
    """The probe's pass shares the cache with the answer; a token left behind would change it."""
    with load(num_threads=1, context_size=512) as engine:
        messages = CalibrationPrompt.of(PROMPT).messages
        before = engine.answer(messages, AnswerOptions(think="on", temperature=0.0)).raw
        signals = engine.look_ahead(messages)
        assert signals is not None
        assert all(token.entropy >= 0.0 and token.margin >= 0.0 >= token.top for token in signals.tokens)
        assert engine.answer(messages, AnswerOptions(think="on", temperature=0.0)).raw == before


@pytest.mark.parametrize("backend", ["llama_cpp", "onnx"])
def test_each_token_that_is_looked_at_has_its_own_figures(backend: str) -> None:
    """A device hands out its logits as a view: kept over a step, the last token's stood for all of them."""
    with load(backend=backend, num_threads=1, context_size=512) as engine:
        model, messages = engine.model, CalibrationPrompt.of(PROMPT).messages
        signals = engine.look_ahead(messages)
        tokens, forced = model.tokenizer.encode_prompt(model.dialect.render(messages, "off", ()))
        model.backend.prefill(0, [*tokens, *forced])
        first, likeliest = Figures.of(model.backend.logits(0)), int(model.backend.logits(0).argmax())
        model.backend.append(0, [likeliest])
        second = Figures.of(model.backend.logits(0))
        marker = model.judge_marker_ids
        assert marker is not None
        model.backend.prefill(0, [*tokens, *forced[: forced.index(marker[1])]])
        logits = model.backend.logits(0)
        odds = float(logits[marker[0]] - logits[marker[1]])
    assert signals is not None and len(signals.tokens) == NUM_TOKENS
    for found, expected in zip(signals.tokens, (first, second), strict=True):
        assert found.entropy == pytest.approx(expected.entropy, rel=1e-3, abs=1e-4)
        assert (found.margin, found.top) == pytest.approx((expected.margin, expected.top), rel=1e-3, abs=1e-3)
    assert signals.odds == pytest.approx(odds, rel=1e-3, abs=1e-3)


def test_the_probe_decides_only_where_the_router_is_unsure() -> None:
    """Stage two costs a pass; where the text is enough it must not be asked."""
    unsure = made_up(NO, NO)
    with load(num_threads=1, context_size=512) as engine:
        asked = Asked(engine)
        assert asked("auto", unsure)[0].decision.source == "probe"
        decision = asked("auto", replace(unsure, cuts=replace(unsure.cuts, unsure=1.1, better=1.1)))[0].decision
    assert (decision.source, decision.think) == ("router", False)


def test_figures_are_the_textbook_ones() -> None:
    """Entropy of a half-half choice is the log of two, its margin nothing."""
    even = Figures.of(np.array([3.0, 3.0, -50.0], np.float32))
    assert even.entropy == pytest.approx(np.log(2), abs=1e-6)
    assert (even.margin, even.top) == (pytest.approx(0.0), pytest.approx(-np.log(2), abs=1e-6))
    both = ProbeSignals((Figures.of(np.array([9.0, 0.0], np.float32)), even), odds=0.5)
    values = dict(zip(SIGNAL_NAMES, both.values(), strict=True))
    assert values["entropy"] < 0.01 and values["odds"] == 0.5
    assert values["most entropy"] == pytest.approx(np.log(2), abs=1e-6) and values["least margin"] == 0.0
    assert both.looks() == (tuple(ProbeSignals(both.tokens[:1], 0.5).values()), tuple(both.values()))


def test_a_probe_is_settled_by_a_sure_first_look_or_by_its_last() -> None:
    """A look that cannot change the decision would take a step from the thoughts."""
    weights = (0.0, 1.0, *[0.0] * 7)  # of the entropy
    probe = Probe((Look(weights, 0.0), Look((0.0,) * 9, NO)), 0.3)
    calm, upset = (ProbeSignals((Figures(entropy, 1.0, -1.0),) * 2) for entropy in (0.0, 3.0))
    assert probe.settle(0.5, upset) == (pytest.approx(1 / (1 + np.exp(-3.0))), 1)
    assert probe.settle(0.5, calm) == (pytest.approx(1 / (1 + np.exp(9.0))), 2)
    assert probe.settle(0.5, ProbeSignals(calm.tokens[:1])) == (0.5, 1)  # the answer has no second token
    assert probe.is_settled(SURE, 1) and not probe.is_settled(SURE - 0.01, 1) and probe.is_settled(0.0, 2)
    eager = replace(probe, cut=0.97)  # what is not enough to think is not enough to stop looking
    assert eager.settle(0.5, upset) == (pytest.approx(1 / (1 + np.exp(9.0))), 2)
    assert Probe.from_json(probe.to_json()) == probe
    with pytest.raises(ValueError, match="9 weights"):
        Probe.from_json({"looks": [{"weights": [1.0], "bias": 0.0}], "cut": 0.5})
    with pytest.raises(ValueError, match="one look or more"):
        Probe.from_json({"looks": [], "cut": 0.5})


def scripted(held: list[int], followers: dict[int, int]) -> ScriptedBackend:
    """A backend that holds ``held`` and says ``followers[token]`` behind ``token``."""
    backend = ScriptedBackend(lambda tokens: followers.get(tokens[-1], 0), vocab_size=16)
    backend.prefill(0, held)
    backend.calls.clear()
    return backend


def drafting(backend: ScriptedBackend, *logits: NDArray[np.float32] | None) -> tuple[DraftedTokens, list[None]]:
    """A draft of 3 and 4 behind 1 and 2, and an entry for each time that is no step's."""
    marks: list[None] = []
    return DraftedTokens(backend, Draft([1, 2], [3, 4], list(logits), 0.0), lambda: marks.append(None)), marks


def test_drafted_tokens_cost_nothing_as_long_as_they_are_picked() -> None:
    """The device is asked for what lies behind them, and for nothing before."""
    backend = scripted([1, 2, 3, 4], {4: 5})
    draft, marks = drafting(backend, None, np.eye(16, dtype=np.float32)[4])
    for token in (3, 4):
        assert int(draft.logits(0).argmax()) == token
        draft.append(0, (token,))
    assert backend.calls == [] and len(marks) == draft.num_taken == 2 and int(draft.logits(0).argmax()) == 5
    draft.append(0, (5,))
    assert backend.length(0) == 5 and len(marks) == 2


def test_what_is_drafted_is_cut_where_another_token_is_picked_or_forced() -> None:
    """A token that was never said must not stay in the cache; nor is the time to go back for it a step's."""
    backend = scripted([1, 2, 3, 4], {3: 4, 6: 7})
    draft, marks = drafting(backend, *[np.eye(16, dtype=np.float32)[3]] * 2)
    draft.append(0, (3, 6))
    assert backend.length(0) == 4 and int(draft.logits(0).argmax()) == 7
    assert (draft.num_taken, len(marks)) == (1, 2)
    backend = scripted([1, 2, 3, 4], {2: 3, 9: 8})
    draft, marks = drafting(backend, None, None)
    assert int(draft.logits(0, banned=(3,)).argmax()) == 3 and backend.length(0) == 2  # the device's own logits
    draft.append(0, (9,))
    assert backend.length(0) == 3 and int(draft.logits(0).argmax()) == 8
    assert (draft.num_taken, len(marks)) == (0, 1)
    backend = scripted([1, 2, 3, 4], {2: 3})
    draft, marks = drafting(backend, None, None)
    draft.append(0, (3,))
    draft.prefill(0, [1, 2])
    assert backend.length(0) == 2 and int(draft.logits(0).argmax()) == 3
