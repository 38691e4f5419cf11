"""One prompt becomes one answer: modes, bans, counts, times and ends, on a scripted backend."""

from __future__ import annotations

from dataclasses import replace
from threading import Event

import numpy as np
import pytest
from scripted_models import FakeClock, num_tokens, scripted_model

from edge.answer import stream_answer
from edge.backends.scripted import ScriptedBackend
from edge.chat_types import Answer, AnswerOptions, Message, StreamEvent, Think
from edge.engine import Engine
from edge.loaded_model import LoadedModel
from models.dialect import DIALECTS
from models.errors import PromptError

JUDGED_ON = "hard\n</judge>\n\n<think_on>\n<think>\n3*4 is 12\n</think>\n\n<answer>\n12\n</answer>"
JUDGED_OFF = "easy\n</judge>\n\n<think_off>\n<answer>\n5\n</answer>"
THOUGHT = "3*4 is 12\n</think>\n\n<answer>\n12\n</answer>"


def events_of(
    model: LoadedModel, think: Think = "auto", *, stop: Event | None = None, **options: object
) -> list[StreamEvent]:
    """All events of the answer to one question, greedy."""
    wished = AnswerOptions(think=think, temperature=0.0, **options)  # type: ignore[arg-type]
    question = [Message("user", "3*4?")]
    return list(stream_answer(model, 0, question, wished, stop=stop or Event(), clock=FakeClock()))


def result_of(model: LoadedModel, think: Think = "auto", **options: object) -> Answer:
    """The finished answer to one question."""
    result = events_of(model, think, **options)[-1].result  # type: ignore[arg-type]
    assert result is not None
    return result


@pytest.mark.parametrize("has_tag_tokens", [True, False])
def test_auto_is_the_models_own_judgement(has_tag_tokens: bool) -> None:
    """A judge spelt in many tokens must be understood like one that has tag tokens."""
    answer = result_of(scripted_model(JUDGED_ON, has_tag_tokens=has_tag_tokens))
    assert (answer.decision.think, answer.decision.source) == (True, "judge")
    assert answer.decision.reason == "the model judged: hard"
    assert (answer.thinking, answer.answer, answer.raw) == ("3*4 is 12", "12", JUDGED_ON)
    assert answer.finish_reason == "stop"


def test_auto_may_answer_at_once() -> None:
    answer = result_of(scripted_model(JUDGED_OFF))
    assert (answer.decision.think, answer.thinking, answer.answer) == (False, "", "5")


def test_decision_event_comes_once_and_before_the_text() -> None:
    """A user interface that learns the mode after the text has drawn the text in the wrong place."""
    kinds = [event.kind for event in events_of(scripted_model(JUDGED_ON))]
    assert kinds.count("decision") == 1
    assert kinds.index("judge") < kinds.index("decision") < kinds.index("thinking") < kinds.index("answer")
    assert kinds[-1] == "done"


def test_what_was_asked_is_decided_before_the_model_runs() -> None:
    first = events_of(scripted_model(THOUGHT), "on")[0]
    assert first.decision is not None
    assert (first.decision.think, first.decision.source) == (True, "asked")


def test_the_answer_is_the_stream_joined() -> None:
    events = events_of(scripted_model(JUDGED_ON))
    answer = events[-1].result
    assert answer is not None
    assert answer.thinking == "".join(event.text for event in events if event.kind == "thinking")
    assert answer.answer == "".join(event.text for event in events if event.kind == "answer")


def test_on_thinks_though_the_model_would_not() -> None:
    answer = result_of(scripted_model(THOUGHT, JUDGED_OFF), "on")
    assert (answer.thinking, answer.answer) == ("3*4 is 12", "12")


@pytest.mark.parametrize("has_tag_tokens", [True, False])
@pytest.mark.parametrize(
    ("think", "judged", "spoken"), [("on", JUDGED_ON, THOUGHT), ("off", JUDGED_OFF, "5\n</answer>")]
)
def test_the_same_text_costs_the_same_judged_or_forced(
    has_tag_tokens: bool, think: Think, judged: str, spoken: str
) -> None:
    """The model paid three tokens of fixed tags in auto that cost nothing where the mode is asked for."""
    auto = result_of(scripted_model(judged, has_tag_tokens=has_tag_tokens))
    asked = result_of(scripted_model(spoken, has_tag_tokens=has_tag_tokens), think)
    assert (auto.answer, auto.thinking) == (asked.answer, asked.thinking)
    assert auto.usage.thinking_tokens == asked.usage.thinking_tokens
    assert auto.usage.answer_tokens == asked.usage.answer_tokens
    assert auto.raw == judged.removesuffix("\n</answer>") + "\n</answer>"


@pytest.mark.parametrize("dialect", ["hipo", "qwen3", "hunyuan"])
@pytest.mark.parametrize("has_tag_tokens", [True, False])
def test_on_does_not_end_before_the_first_thought(dialect: str, has_tag_tokens: bool) -> None:
    """A model that closes the forced thinking at once made ``on`` an answer without a thought."""
    closing = "</think>\n\n<answer>\n1\n</answer>" if dialect != "qwen3" else "</think>\n\n1"
    thought = "\n3 < 4\n</think>\n\n<answer>\n12\n</answer>" if dialect != "qwen3" else "\n3 < 4\n</think>\n\n12"
    answer = result_of(scripted_model(closing, thought, dialect=dialect, has_tag_tokens=has_tag_tokens), "on")
    assert (answer.thinking.strip(), answer.answer) == ("3 < 4", "12")


@pytest.mark.parametrize("dialect", ["hipo", "qwen3", "hunyuan", "plain"])
@pytest.mark.parametrize("has_tag_tokens", [True, False])
@pytest.mark.parametrize("lead", ["", "so", "so <", "a < b="])
def test_off_generates_no_reasoning_token(dialect: str, has_tag_tokens: bool, lead: str) -> None:
    """A model that wants to think with thinking off must be kept from it, however its vocabulary spells the tag."""
    model = scripted_model(
        f"{lead}<think>\nhmm, 12\n</think>\n12", f"{lead}12", dialect=dialect, has_tag_tokens=has_tag_tokens
    )
    answer = result_of(model, "off")
    assert answer.thinking == ""
    assert answer.usage.thinking_tokens == answer.usage.judge_tokens == 0
    assert (answer.answer, answer.raw) == (f"{lead}12", f"{lead}12")
    assert answer.usage.answer_tokens == num_tokens(model, f"{lead}12")


def test_off_holds_nothing_back_for_good() -> None:
    """Text that only begins like a tag belongs to the answer, also at its very end."""
    assert result_of(scripted_model("a <thin line, and <th", has_tag_tokens=False), "off").answer == (
        "a <thin line, and <th"
    )


@pytest.mark.parametrize("has_tag_tokens", [True, False])
def test_after_the_thinking_there_is_no_more(has_tag_tokens: bool) -> None:
    """An answer that goes on thinking would be shown to the user as an answer."""
    again = "12</think>\n<answer>\nso<think>\nor 13"
    answer = result_of(scripted_model(again, "12</think>\n<answer>\nso=12", has_tag_tokens=has_tag_tokens), "on")
    assert (answer.thinking, answer.answer) == ("12", "so=12")


def test_unsaid_tokens_leave_the_cache() -> None:
    """A tag that stays in the cache steers the rest of the answer."""
    model = scripted_model("so<think>\nhmm", "so=12 and so on", has_tag_tokens=False)
    answer = result_of(model, "off")
    assert answer.answer == "so=12 and so on"
    backend = model.backend
    assert isinstance(backend, ScriptedBackend)
    rewound = [call.tokens for call in backend.calls if call.method == "prefill"][-1]
    appended = [token for call in backend.calls if call.method == "append" for token in call.tokens]
    assert b"".join(map(model.tokenizer.token_bytes, rewound)).decode().endswith("<answer>\nso")
    assert len(rewound) + len(model.tokenizer.encode_control("=12 and so on")) == backend.length(0)
    assert appended  # the tag's own tokens, before they were unsaid, and the answer


def test_usage_counts_every_generated_token_once() -> None:
    """Tokens of a tag that is split count with the part it closes; what was forced is not generated."""
    model = scripted_model(JUDGED_ON, has_tag_tokens=False)
    usage = result_of(model).usage
    assert usage.judge_tokens == num_tokens(model, "hard\n</judge>\n\n<think_on>")
    assert usage.forced_tokens == num_tokens(model, "\n<think>\n")
    generated = usage.judge_tokens + usage.thinking_tokens + usage.answer_tokens
    assert generated + usage.forced_tokens == num_tokens(model, JUDGED_ON)
    forced = result_of(scripted_model(THOUGHT), "on").usage
    assert forced.judge_tokens == 0
    assert forced.forced_tokens > 0
    assert usage.prompt_tokens == num_tokens(
        model, "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
    ) + num_tokens(model, "3*4?") + num_tokens(model, "<|im_end|>\n<|im_start|>assistant\n<judge>\n")


def test_second_answer_finds_the_prompt_in_the_cache() -> None:
    model = scripted_model(THOUGHT)
    first, second = result_of(model, "on"), result_of(model, "on")
    assert first.usage.cached_tokens == 0
    assert second.usage.cached_tokens == first.usage.prompt_tokens + first.usage.forced_tokens - 1


def test_timings_split_the_time() -> None:
    """Every stage is timed by the clock handed in, and the parts never exceed the whole."""
    timings = result_of(scripted_model(JUDGED_ON)).timings
    assert timings.prefill_s > 0
    assert timings.thinking_s > 0
    assert timings.answer_s > 0
    assert timings.prefill_s < timings.ttft_s < timings.total_s
    assert timings.prefill_s + timings.thinking_s + timings.answer_s <= timings.total_s
    assert timings.decode_tokens_per_s > 0


def test_max_tokens_ends_with_length() -> None:
    answer = result_of(scripted_model(THOUGHT), "on", max_tokens=3)
    assert answer.finish_reason == "length"
    assert answer.usage.thinking_tokens == 3


def test_full_context_ends_clearly_and_keeps_what_was_said() -> None:
    """A full context must not raise in mid-answer: nothing that was said may be lost."""
    model = scripted_model("1 2 3 4 5 6 7 8 9 " * 20, context_size=100)
    answer = result_of(model, "off")
    assert answer.finish_reason == "context"
    assert answer.answer.startswith("1 2 3")
    assert answer.usage.prompt_tokens + answer.usage.forced_tokens + answer.usage.answer_tokens == 101


def test_prompt_longer_than_the_context_is_refused_with_both_numbers() -> None:
    with pytest.raises(PromptError, match=r"\d+ tokens long and the context holds 20"):
        events_of(scripted_model(THOUGHT, context_size=20))


@pytest.mark.parametrize("messages", [[], [Message("user", " \n")], [Message("user", "a"), Message("assistant", "b")]])
def test_nothing_to_answer_is_refused(messages: list[Message]) -> None:
    with pytest.raises(PromptError):
        list(stream_answer(scripted_model("x"), 0, messages, AnswerOptions(), stop=Event()))


def test_stop_keeps_what_was_said() -> None:
    stop = Event()
    events = []
    question = [Message("user", "3*4?")]
    for event in stream_answer(scripted_model("1 2 3 4 5"), 0, question, AnswerOptions(think="off"), stop=stop):
        events.append(event)
        if event.kind == "answer":
            stop.set()
    answer = events[-1].result
    assert answer is not None
    assert answer.finish_reason == "stopped"
    assert answer.answer == "1"


def test_stop_during_prefill_ends_without_text() -> None:
    stop = Event()
    stop.set()
    answer = events_of(scripted_model(THOUGHT), "on", stop=stop)[-1].result
    assert answer is not None
    assert (answer.finish_reason, answer.raw) == ("stopped", "")
    assert answer.timings.decode_tokens_per_s == 0


def test_a_character_cut_by_the_limit_is_flushed() -> None:
    """The bytes of half a character must come out as one replacement mark, not vanish or break the stream."""
    model = scripted_model("好", has_tag_tokens=False)
    assert num_tokens(model, "龘") == 3
    answer = result_of(scripted_model("龘"), "off", max_tokens=2)
    assert answer.answer == "\ufffd"


def test_same_seed_same_answer() -> None:
    """An answer that cannot be repeated cannot be examined."""
    model = scripted_model("x")
    fair = ScriptedBackend(
        lambda _held: np.zeros(model.backend.vocab_size, np.float32), vocab_size=model.backend.vocab_size
    )

    def sampled(seed: int) -> str:
        options = AnswerOptions(think="off", temperature=1.0, seed=seed, max_tokens=20)
        events = stream_answer(replace(model, backend=fair), 0, [Message("user", "?")], options, stop=Event())
        return next(event.result.raw for event in events if event.result is not None)

    assert sampled(7) == sampled(7) != sampled(8)


@pytest.mark.parametrize("has_tag_tokens", [True, False])
@pytest.mark.parametrize(
    ("dialect", "early_end"),
    [
        ("hipo", ""),
        ("hipo", "</answer>"),
        ("hipo", "\n</answer>"),
        ("hunyuan", "<answer>\n</answer>"),
        ("hunyuan", "\n</answer>"),
        ("qwen3", ""),
        ("qwen3", "\n"),
    ],
)
@pytest.mark.parametrize("think", ["on", "off"])
def test_an_answer_is_not_over_before_it_began(
    dialect: str, early_end: str, has_tag_tokens: bool, think: Think
) -> None:
    """Made to answer in mid-thought, a model closed the answer at once and had said nothing."""
    lead = f"hm{DIALECTS[dialect].closings['thinking']}" if think == "on" else ""
    others = [f"{lead}{early_end.rpartition('<')[0]}12", f"{lead}{early_end.partition('<')[0]}12"]
    model = scripted_model(lead + early_end, *others, dialect=dialect, has_tag_tokens=has_tag_tokens)
    answer = Engine(model, clock=FakeClock(0.001)).answer("3*4?", AnswerOptions(think=think, temperature=0.0))
    assert (answer.answer.strip(), answer.finish_reason) == ("12", "stop")


def test_a_model_with_nothing_to_say_may_end() -> None:
    """Kept from ending for a few tokens only: what it says instead might never end either."""
    model = scripted_model("")
    answer = Engine(model, clock=FakeClock(0.001)).answer("?", AnswerOptions(think="off", temperature=0.0))
    assert (answer.finish_reason, answer.usage.answer_tokens <= 24) == ("stop", True)
