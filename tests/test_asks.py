"""What users of other runtimes ask for, one test each, named after the ask.

Where the embedded model can show it, it does, as it ships: on this machine where no time matters, and slowed to a small
board's speed, in simulated time, where one does. What no well-behaved model shows is shown by a scripted one.
"""

from __future__ import annotations

import json
import math
import random
import threading
from collections.abc import Iterator
from dataclasses import replace

import jsonschema
import pytest
from scripted_models import FakeClock, num_tokens, scripted_model

import edge
from bench_edge.simulated_device import SPEEDS, SimulatedClock, SimulatedDevice, simulated_model
from bench_edge.slowed_backend import SlowedBackend
from edge.backends.scripted import ScriptedBackend
from edge.chat_types import Answer, AnswerOptions, Message
from edge.engine import Engine
from edge.loaded_model import LoadedModel
from edge.terminal import closing_line
from models.dialect import DIALECTS
from models.errors import PromptError, UsageError

THOUGHT = "3*4 is 12\n</think>\n\n<answer>\n12\n</answer>"
HARD = "What is 38*47-5+12?"  # spark thinks some hundred tokens about it
BOARD_TOKENS_PER_S = 15.0
GREEDY = AnswerOptions(temperature=0.0)
SOFT_CLOSE = "\nNo more time.\n</think>\n\n<answer>\n"


def answered(model: LoadedModel, question: str = "3*4?", **options: object) -> Answer:
    wished = AnswerOptions(temperature=0.0, **options)  # type: ignore[arg-type]
    return Engine(model, clock=FakeClock(0.001)).answer(question, wished)


def simulated(thinking_tokens: float, answer_tokens: int) -> tuple[Engine, SimulatedClock]:
    clock = SimulatedClock()
    device = SimulatedDevice(clock, SPEEDS["steady"](random.Random(0)))
    device.thinking_tokens, device.answer_tokens = thinking_tokens, answer_tokens
    return Engine(simulated_model(device), clock=clock), clock


@pytest.fixture(scope="module")
def spark() -> Iterator[Engine]:
    """The embedded model, as it ships."""
    with edge.load(num_threads=1, context_size=2048) as engine:
        yield engine


class Board:
    """The embedded model on a device that makes 15 tokens a second, in simulated time."""

    def __init__(self, spark: Engine) -> None:
        self.now_s = 0.0
        backend = SlowedBackend(spark.model.backend, BOARD_TOKENS_PER_S, clock=self, pause=self.pause)
        self.engine = Engine(replace(spark.model, backend=backend), clock=self)

    def __call__(self) -> float:
        return self.now_s

    def pause(self, seconds: float) -> None:
        self.now_s += seconds

    def answer(self, question: str, **options: object) -> tuple[Answer, float]:
        """The answer, and the seconds it took."""
        start_s = self.now_s
        answer = self.engine.answer(question, replace(GREEDY, **options))  # type: ignore[arg-type]
        return answer, self.now_s - start_s


def test_ask_1_off_means_off(spark: Engine) -> None:
    """With off no reasoning token is generated, and the answer is not empty."""
    said = spark.answer(HARD, replace(GREEDY, think="off"))
    assert (said.usage.judge_tokens, said.usage.thinking_tokens, said.thinking) == (0, 0, "")
    assert said.answer.strip().isdigit() and "<think" not in said.raw
    for dialect in DIALECTS:
        answer = answered(scripted_model("<think>\nhm\n</think>\n12", "12", dialect=dialect), think="off")
        assert (answer.usage.thinking_tokens, answer.thinking, answer.answer) == (0, "", "12")


def test_ask_2_a_thinking_budget_per_request(spark: Engine) -> None:
    """The same model, another budget for each request; the answer comes all the same."""
    used = [spark.answer(HARD, replace(GREEDY, think="on", think_tokens=most)) for most in (10, 40, 1000)]
    assert [answer.usage.thinking_tokens <= most for answer, most in zip(used, (10, 40, 1000), strict=True)] == [
        True
    ] * 3
    assert 0 < used[0].usage.thinking_tokens < used[1].usage.thinking_tokens < used[2].usage.thinking_tokens
    assert all(answer.answer.strip() for answer in used) and used[2].answer == "1793"
    model = scripted_model("1 2 3 4 5 6", "1 2 3\n</think>\n\n<answer>\nso 3\n</answer>")
    answer = answered(model, think="on", think_tokens=3)
    assert (answer.usage.thinking_tokens, answer.thinking, answer.answer) == (3, "1 2 3", "so 3")


def test_ask_3_a_budget_in_seconds(spark: Engine) -> None:
    """Given little time the model thinks less, given enough it thinks to its end, and each answer is on time."""
    board = Board(spark)
    for _ in range(4):
        board.answer("12+30=?", think="on")
    full, natural_s = board.answer(HARD, think="on")
    for deadline_s in (natural_s / 2, 1.5 * natural_s):
        answer, took_s = board.answer(HARD, think="on", deadline_s=deadline_s)
        assert took_s <= deadline_s
        assert answer.finish_reason == "stop" and answer.answer.strip()
        assert (answer.thinking == full.thinking) is (deadline_s > natural_s)
    engine, clock = simulated(math.inf, 10)
    asked_s = clock()
    answer = engine.answer("?", AnswerOptions(think="on", temperature=0.0, deadline_s=10.0))
    assert answer.finish_reason == "stop"
    assert answer.answer
    assert clock() - asked_s <= 10.0


def test_ask_4_thinking_that_loops_is_closed_and_answered() -> None:
    """Without any limit asked for: today's runtimes think on until the context is full."""
    circle = "so it is 12, or is it? "
    model = scripted_model(circle * 200, context_size=2000)
    turns = num_tokens(model, circle)
    script = model.backend._script  # type: ignore[attr-defined]
    answer_line = model.tokenizer.encode_control("12\n</answer>")

    def after_the_closing(held: list[int]) -> object:
        text = b"".join(map(model.tokenizer.token_bytes, held)).decode()
        if SOFT_CLOSE not in text:
            return script(held)
        done = num_tokens(model, text.partition(SOFT_CLOSE)[2]) if text.partition(SOFT_CLOSE)[2] else 0
        return answer_line[done]

    model.backend._script = after_the_closing  # type: ignore[attr-defined]
    answer = answered(model, think="on")
    assert answer.answer == "12"
    assert answer.usage.thinking_tokens < 4 * turns + 64
    assert "because it went in circles" in answer.decision.reason


def test_ask_5_an_easy_prompt_is_answered_at_once(spark: Engine) -> None:
    """A voice assistant gives up after a few seconds; \"Hi\" was thought about for minutes."""
    board = Board(spark)
    for greeting in ("Hi", "你好", "2+3=?"):
        answer, took_s = board.answer(greeting)
        assert (answer.decision.think, answer.usage.thinking_tokens, answer.finish_reason) == (False, 0, "stop")
        assert answer.answer.strip()
        assert took_s < 3.0
    for _ in range(4):
        board.answer("12+30=?", think="on")
    answer, took_s = board.answer("2+3=?", deadline_s=60.0)  # ample time is no reason to use it up
    assert (answer.decision.think, answer.decision.source) == (False, "judge")
    assert took_s < 3.0


def test_ask_6_every_answer_carries_its_decision_and_reason(spark: Engine) -> None:
    """Chosen anew for each turn of a conversation, by the model's own judge, and shown."""
    session = spark.session()
    for question, think in ((HARD, True), ("2+3=?", False)):
        judged = session.answer(question, GREEDY)
        assert (judged.decision.think, judged.decision.source) == (think, "judge")
        assert judged.decision.reason.startswith("the model judged: ")
        assert judged.decision.reason in closing_line(judged)
    for think in ("on", "off"):
        answer = answered(scripted_model(THOUGHT if think == "on" else "12"), think=think)
        assert (answer.decision.think, answer.decision.reason) == (think == "on", f"thinking {think} was asked for")
        assert answer.decision.reason in closing_line(answer)


def test_ask_7_stop_thinking_now_but_still_answer(spark: Engine) -> None:
    """From another thread, in mid-thought: the answer comes from what there is."""
    full = spark.answer(HARD, replace(GREEDY, think="on"))
    running = spark.stream(HARD, replace(GREEDY, think="on"))
    for event in running:
        if event.kind == "thinking":
            stopper = threading.Thread(target=running.stop_thinking)
            stopper.start()
            stopper.join()
            break
    stopped = running.result
    assert 0 < stopped.usage.thinking_tokens < full.usage.thinking_tokens / 2
    assert (stopped.finish_reason, stopped.answer.strip() != "") == ("stop", True)
    assert stopped.decision.reason.endswith("its thinking was closed on request")


def test_ask_8_a_forced_close_keeps_what_was_thought(spark: Engine) -> None:
    """What was thought stays in the context, so that the answer can build on it."""
    cut = spark.answer(HARD, replace(GREEDY, think="on", think_tokens=30))
    assert cut.thinking and cut.raw.startswith(cut.thinking)
    usage = cut.usage
    evaluated = usage.prompt_tokens + usage.forced_tokens + usage.thinking_tokens + usage.answer_tokens
    assert evaluated - 1 <= spark.model.backend.length(0) <= evaluated
    model = scripted_model("1 2 3 4 5 6", "1 2 3\n</think>\n\n<answer>\nso 3\n</answer>")
    answered(model, think="on", think_tokens=3)
    assert isinstance(model.backend, ScriptedBackend)
    held = model.backend._book.held(0)
    text = b"".join(map(model.tokenizer.token_bytes, held)).decode()
    assert "1 2 3\n</think>\n\n<answer>\nso 3" in text


def test_ask_9_the_finish_reason_tells_them_apart(spark: Engine) -> None:
    """A total cap beside the thinking budget; and a time-out is not taken for a wrong answer."""
    capped = spark.answer(HARD, replace(GREEDY, think="on", think_tokens=20, max_tokens=30))
    assert capped.usage.thinking_tokens + capped.usage.answer_tokens <= 30
    assert spark.answer(HARD, replace(GREEDY, think="on", max_tokens=4)).finish_reason == "length"
    timed_out, _ = Board(spark).answer(HARD, think="on", deadline_s=0.1)
    assert timed_out.finish_reason == "deadline"
    assert spark.answer(HARD, GREEDY).finish_reason == "stop"
    assert answered(scripted_model("12"), think="off").finish_reason == "stop"
    assert answered(scripted_model("1 2 3 4"), think="off", max_tokens=2).finish_reason == "length"
    assert answered(scripted_model("1 2 " * 300, context_size=100), think="off").finish_reason == "context"
    circle = answered(scripted_model("so it is so. " * 100, context_size=2000), think="off", think_tokens=0)
    assert circle.finish_reason == "loop"
    engine, _ = simulated(0, 5000)
    late = engine.answer("?", AnswerOptions(think="off", temperature=0.0, deadline_s=2.0))
    assert (late.finish_reason, late.answer != "") == ("deadline", True)


def test_ask_10_after_the_cut_the_answer_does_not_go_on_thinking(spark: Engine) -> None:
    """Wherever it is cut; and a model that opens its thinking again is kept from it."""
    for most in range(1, 60, 7):
        cut = spark.answer(HARD, replace(GREEDY, think="on", think_tokens=most))
        assert cut.raw.partition("</think>")[0] == cut.thinking + "\n" * (not cut.thinking.endswith("\n"))
        assert not any(tag in cut.raw for tag in ("<think>", "<think_on>", "<judge>"))
        assert cut.usage.thinking_tokens <= most and cut.answer.strip()
    closed = "1 2 3\n</think>\n\n<answer>\n"
    for has_tag_tokens in (True, False):
        model = scripted_model(
            "1 2 3 4 5 6",
            f"{closed}<think>\nno, wait\n</think>\n4",
            f"{closed}so 3\n</answer>",
            has_tag_tokens=has_tag_tokens,
        )
        answer = answered(model, think="on", think_tokens=3)
        assert (answer.thinking, answer.answer) == ("1 2 3", "so 3")


def test_ask_11_old_reasoning_does_not_cost_the_cache(spark: Engine) -> None:
    """The second turn prefills the last answer, the new message and the marks around them; all before is there."""
    talk = spark.session()
    first, second = (talk.answer(question, replace(GREEDY, think="on")) for question in (HARD, "2+3=?"))
    assert first.usage.thinking_tokens > 50
    assert second.usage.prompt_tokens - second.usage.cached_tokens < 40
    engine = Engine(scripted_model(THOUGHT, context_size=2000), clock=FakeClock(0.001))
    session = engine.session()
    options = AnswerOptions(think="on", temperature=0.0)
    first, second = session.answer("3*4?", options), session.answer("3*4?", options)
    assert first.usage.cached_tokens == 0
    opening, next_turn = "<judge>\n", "12<|im_end|>\n<|im_start|>user\n3*4?<|im_end|>\n<|im_start|>assistant\n<judge>\n"
    assert second.usage.cached_tokens == first.usage.prompt_tokens - num_tokens(engine.model, opening)
    assert second.usage.prompt_tokens - second.usage.cached_tokens == num_tokens(engine.model, next_turn)


def test_ask_12_think_freely_then_answer_in_strict_json(spark: Engine) -> None:
    """The constraint begins with the answer: the thoughts are those of a free answer, letter for letter."""
    schema = {"type": "object", "properties": {"result": {"type": "integer"}}, "required": ["result"]}
    free = spark.answer(HARD, replace(GREEDY, think="on"))
    answer = spark.answer(HARD, replace(GREEDY, think="on", schema=schema, max_tokens=400))
    assert answer.thinking == free.thinking
    jsonschema.validate(json.loads(answer.answer), schema)
    assert answer.document in ("whole", "completed")


def test_ask_13_tool_calls_while_thinking_are_not_lost() -> None:
    """A call in mid-thought or in the answer is returned as a call, by every family that has tools."""
    tool = {"type": "function", "function": {"name": "weather"}}
    words = '<tool_call>\n{"name": "weather", "arguments": {"city": "Bern"}}\n</tool_call>'
    fenced = '<tool_calls><tool_call>weather\n```json\n{"city": "Bern"}\n```</tool_call></tool_calls>'
    for dialect, spoken in (("qwen3", words), ("hipo", words), ("hunyuan", fenced)):
        for think in ("on", "off"):
            model = scripted_model(f"Let me look.\n{spoken}", dialect=dialect, context_size=2000)
            answer = answered(model, "Rain?", think=think, tools=[tool])
            assert [(call.name, call.arguments) for call in answer.tool_calls] == [("weather", {"city": "Bern"})]
            assert (answer.thinking or answer.answer).strip() == "Let me look."


def test_ask_14_a_full_context_is_a_clear_end() -> None:
    """The embedded model and a scripted one that never ends: no hang, no crash, and the chat goes on."""
    with edge.load(num_threads=1, context_size=96) as small:
        cut = small.answer(HARD, replace(GREEDY, think="on"))
        assert (cut.finish_reason, cut.thinking != "") == ("context", True)
        with pytest.raises(PromptError, match="the context holds 96"):
            small.answer("1+" * 200 + "1=?", GREEDY)
        talk = small.session()
        for _ in range(12):
            assert talk.answer("2+3=?", replace(GREEDY, think="off")).answer == "5"
        assert talk.num_dropped_turns > 0
    full = answered(scripted_model("1 2 3 " * 200, context_size=120), think="off")
    assert full.finish_reason == "context"
    assert full.answer.startswith("1 2 3")
    in_thought = answered(scripted_model("1 2 3 " * 200, context_size=120), think="on", think_tokens=20)
    assert in_thought.finish_reason in ("context", "stop")
    with pytest.raises(PromptError, match="the context holds"):
        answered(scripted_model("1", context_size=50), "word " * 200, think="off", deadline_s=1.0)
    endless = Engine(scripted_model("1 2 3 4 5", context_size=200), clock=FakeClock(0.001)).session("Be short.")
    for _ in range(20):
        assert endless.answer("and then?", AnswerOptions(think="off", temperature=0.0)).finish_reason == "stop"
    assert endless.num_dropped_turns > 0 and endless.messages[0] == Message("system", "Be short.")


def test_ask_15_an_option_that_cannot_be_honoured_is_an_error(spark: Engine) -> None:
    """The error names the option and the family."""
    with pytest.raises(UsageError, match="think_tokens is 4,000 and the context holds 2,048"):
        spark.answer(HARD, replace(GREEDY, think_tokens=4000))
    with edge.load(num_threads=1, context_size=256, dialect="plain") as plain:
        tools = [{"type": "function", "function": {"name": "f"}}]
        with pytest.raises(UsageError, match="tools are given, and the dialect plain of spark"):
            plain.answer(HARD, replace(GREEDY, tools=tools))
    model = scripted_model("12", dialect="plain")
    for name in ("think_tokens", "min_think_tokens"):
        with pytest.raises(UsageError, match=f"{name} is 9, and the dialect plain"):
            answered(model, **{name: 9})
    assert list(Engine(model).stream([Message("user", "?")], AnswerOptions(deadline_s=5.0)))
