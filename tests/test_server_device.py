"""One device, many callers: thinking gives way to others' deadlines, and what is promised is kept."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from slow_models import THINKER, num_steps, slow_engine, until

from edge.chat_types import Answer, AnswerOptions, Message
from edge.engine import Engine
from edge.server.ask import Ask
from edge.server.denials import passed
from edge.server.device import BEST_EFFORT, OTHERS_WAIT, TIME_RUNS_OUT, Device
from edge.server.forecast import Forecast, Means
from edge.server.refusal import Refusal
from edge.server.thinking import with_budget
from edge.server.ticket import Ticket
from models.errors import PromptError, UsageError

COUNT = (Message("user", "count"),)
OFF = AnswerOptions(think="off", temperature=0.0, max_tokens=5)
ON = AnswerOptions(think="on", temperature=0.0)


@contextmanager
def device_of(
    engine: Engine, *, queue_limit: int = 8, deadline_s: float = 60.0
) -> Iterator[tuple[Device, list[Answer | Refusal]]]:
    """A device that works, and all that it reports."""
    ended: list[Answer | Refusal] = []
    device = Device(
        engine,
        queue_limit=queue_limit,
        deadline_s=deadline_s,
        longest_s=600.0,
        cache_bytes=10**6,
        report=lambda _ticket, outcome: ended.append(outcome),
    )
    device.start()
    try:
        yield device, ended
    finally:
        device.stop(10.0)


async def answers(device: Device, *asks: Ask, pause_s: float = 0.0) -> list[Answer | Refusal]:
    """The results of ``asks``, made one after another without waiting for the first answers."""

    async def one(ticket: Ticket) -> Answer | Refusal:
        try:
            return await ticket.result()
        except Refusal as exc:
            return exc

    waiting: list[asyncio.Task[Answer | Refusal]] = []
    for ask in asks:
        try:
            waiting.append(asyncio.create_task(one(await device.submit(ask))))
        except Refusal as exc:
            refused = exc
            waiting.append(asyncio.create_task(asyncio.sleep(0, refused)))
        await asyncio.sleep(pause_s)
    return [await task for task in waiting]


def ask(options: AnswerOptions = OFF, *, deadline_s: float | None = None, is_best_effort: bool = False) -> Ask:
    return Ask(COUNT, replace(options, deadline_s=deadline_s), is_best_effort=is_best_effort)


def test_the_earliest_deadline_is_answered_first() -> None:
    with device_of(slow_engine(step_s=0.03)) as (device, ended):
        deadlines = (50.0, 30.0, 20.0, 40.0)
        asks = (ask(deadline_s=deadline_s) for deadline_s in deadlines)
        results = asyncio.run(answers(device, *asks, pause_s=0.01))
    by_deadline = [result for _, result in sorted(zip(deadlines[1:], results[1:], strict=True), key=lambda r: r[0])]
    assert ended == [results[0], *by_deadline]


def test_the_time_in_the_queue_counts() -> None:
    with device_of(slow_engine(step_s=0.01)) as (device, _):
        first, second = asyncio.run(answers(device, ask(), ask()))
    assert isinstance(first, Answer) and isinstance(second, Answer)
    assert second.timings.queue_s >= 0.03
    assert second.timings.total_s > second.timings.queue_s


def test_thinking_gives_way_to_somebody_elses_deadline() -> None:
    """One request with a long deadline must not think while another one's time runs out."""
    with device_of(slow_engine(THINKER, step_s=0.005)) as (device, _):
        asyncio.run(answers(device, ask(), ask()))  # the device learns how long answers are
        thinker, hurried = asyncio.run(answers(device, ask(ON, deadline_s=60.0), ask(OFF, deadline_s=4.0), pause_s=0.2))
    assert isinstance(thinker, Answer) and isinstance(hurried, Answer)
    assert OTHERS_WAIT in thinker.decision.reason
    assert 0 < thinker.usage.thinking_tokens < 1500
    assert hurried.timings.total_s < 4.0


def test_an_answer_does_not_begin_to_think_where_others_wait() -> None:
    """A thought that is broken off at once is worth less than none."""
    with device_of(slow_engine(THINKER, step_s=0.02)) as (device, _):
        asyncio.run(answers(device, ask(), ask()))  # the device learns how long answers are, and how slow it is
        asks = [ask(OFF, deadline_s=36.0), ask(ON, deadline_s=1.3), ask(OFF, deadline_s=1.4)]
        _, thinker, other = asyncio.run(answers(device, *asks))
    assert isinstance(thinker, Answer) and isinstance(other, Answer)
    assert (thinker.usage.thinking_tokens, thinker.decision.reason) == (0, OTHERS_WAIT)
    assert other.timings.total_s < 1.4


@pytest.mark.parametrize(("wished", "fitting", "budget"), [(None, 50, None), (100, 50, 50), (20, 50, 20), (50, 50, 50)])
def test_a_budget_shrinks_where_others_wait(wished: int | None, fitting: int, budget: int | None) -> None:
    planned = with_budget(AnswerOptions(think_tokens=wished, min_think_tokens=10), fitting)
    assert planned.think_tokens == budget
    assert (planned.min_think_tokens or 0) <= (budget or 10)


def test_an_impossible_deadline_is_refused_with_what_is_possible() -> None:
    with device_of(slow_engine(step_s=0.02)) as (device, _):
        (refusal,) = asyncio.run(answers(device, ask(deadline_s=0.01)))
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.code) == (503, "deadline_impossible")
    assert refusal.possible_s is not None and 0.02 < refusal.possible_s < 5


def test_what_is_said_to_be_possible_is() -> None:
    with device_of(slow_engine(step_s=0.01)) as (device, _):
        (refusal,) = asyncio.run(answers(device, ask(deadline_s=0.001)))
        assert isinstance(refusal, Refusal) and refusal.possible_s is not None
        (answer,) = asyncio.run(answers(device, ask(deadline_s=1.05 * refusal.possible_s)))
    assert isinstance(answer, Answer)
    assert answer.timings.total_s < 1.05 * refusal.possible_s


def test_best_effort_is_answered_without_thinking() -> None:
    with device_of(slow_engine(THINKER, step_s=0.005)) as (device, _):
        options = replace(ON, max_tokens=8)
        (answer,) = asyncio.run(answers(device, ask(options, deadline_s=0.001, is_best_effort=True)))
    assert isinstance(answer, Answer)
    assert (answer.usage.thinking_tokens, answer.decision.reason) == (0, BEST_EFFORT)
    assert answer.has_answer


def test_best_effort_is_answered_where_the_device_is_slower_than_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Late, but not refused: that is what was asked for."""
    engine = slow_engine(step_s=0.0)
    with device_of(engine) as (device, _):
        learned = engine.model.backend.append
        monkeypatch.setattr(engine.model.backend, "append", lambda *call: (time.sleep(0.2), learned(*call)))
        (answer,) = asyncio.run(answers(device, ask(deadline_s=1e-5, is_best_effort=True)))
    assert isinstance(answer, Answer)
    assert answer.finish_reason == "length"


def test_best_effort_gives_way_to_who_was_promised_something() -> None:
    """Asking for it would else be a way around the server's own deadline, at the cost of everybody else."""
    with device_of(slow_engine(step_s=0.02), deadline_s=2.0) as (device, _):
        asyncio.run(answers(device, *[ask()] * 3))  # the device learns that answers are short
        endless = ask(replace(OFF, max_tokens=None), deadline_s=1e-5, is_best_effort=True)
        late, *timed = asyncio.run(answers(device, endless, *[ask(deadline_s=1.0)] * 5, pause_s=0.4))
    assert isinstance(late, Answer) and (late.finish_reason, late.has_answer) == ("deadline", True)
    assert all(isinstance(each, Answer) and each.finish_reason == "length" for each in timed)
    assert late.timings.total_s < 2.5


def test_a_full_queue_refuses() -> None:
    with device_of(slow_engine(step_s=0.01), queue_limit=1) as (device, _):
        results = asyncio.run(answers(device, *[ask()] * 3, pause_s=0.01))
    codes = [result.code for result in results if isinstance(result, Refusal)]
    assert codes == ["queue_full"]


def test_a_failure_is_told_and_the_next_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device thread that dies of one answer leaves a server that only queues."""
    engine = slow_engine(step_s=0.0)
    with device_of(engine) as (device, _):
        stream = engine.stream
        monkeypatch.setattr(engine, "stream", lambda *_, **__: 1 // 0)
        (failure,) = asyncio.run(answers(device, ask()))
        monkeypatch.setattr(engine, "stream", stream)
        (answer,) = asyncio.run(answers(device, ask()))
    assert isinstance(failure, Refusal) and isinstance(answer, Answer)
    assert (failure.status, type(failure.__cause__)) == (500, ZeroDivisionError)
    assert "division" not in str(failure)


@pytest.mark.parametrize(
    ("messages", "options", "error"),
    [
        ((Message("user", "  "),), OFF, PromptError),
        ((Message("assistant", "x"),), OFF, PromptError),
        (COUNT, AnswerOptions(think_tokens=10**9), UsageError),
    ],
)
def test_what_cannot_be_answered_does_not_wait(
    messages: tuple[Message, ...], options: AnswerOptions, error: type[Exception]
) -> None:
    with device_of(slow_engine(step_s=0.0)) as (device, ended), pytest.raises(error):
        asyncio.run(answers(device, Ask(messages, options)))
    assert ended == []


def test_a_stopped_device_refuses_and_is_freed() -> None:
    engine = slow_engine(step_s=0.0)
    with device_of(engine) as (device, _):
        assert device.stop(5.0)
        assert not device.is_alive
        (refusal,) = asyncio.run(answers(device, ask()))
    assert isinstance(refusal, Refusal)
    assert refusal.code == "stopping"
    with pytest.raises(UsageError, match="closed"):
        engine.answer("count", OFF)


def test_a_stop_does_not_wait_for_an_endless_answer() -> None:
    engine = slow_engine(step_s=0.01)
    with device_of(engine) as (device, _):
        thread = threading.Thread(target=lambda: asyncio.run(answers(device, ask(replace(OFF, max_tokens=None)))))
        thread.start()
        assert until(lambda: num_steps(engine) > 8)
        start_s = time.monotonic()
        assert not device.stop(0.3)
        assert time.monotonic() - start_s < 5
        thread.join(10)


def test_a_deadline_that_passed_says_how_long_it_took() -> None:
    refusal = passed(1.5)
    assert (refusal.status, refusal.code, refusal.retry_after_s) == (503, "deadline_passed", 1.5)


def test_the_servers_own_deadline_ends_an_answer_that_named_none() -> None:
    """A request without a deadline must neither hold the device for ever nor be decided otherwise than without one."""
    with device_of(slow_engine(step_s=0.005), deadline_s=0.8) as (device, _):
        (answer,) = asyncio.run(answers(device, ask(replace(OFF, max_tokens=None))))
    assert isinstance(answer, Answer)
    assert (answer.finish_reason, answer.decision.source) == ("deadline", "asked")
    assert 0.6 < answer.timings.total_s < 1.2


def test_the_servers_own_deadline_closes_the_thinking() -> None:
    with device_of(slow_engine(THINKER, step_s=0.002), deadline_s=1.0) as (device, _):
        (answer,) = asyncio.run(answers(device, ask(ON)))
    assert isinstance(answer, Answer)
    assert TIME_RUNS_OUT in answer.decision.reason
    assert 0 < answer.usage.thinking_tokens < 500


def test_a_forecast_of_nothing_lets_everything_in() -> None:
    """A device that was never measured must answer to be measured."""
    assert Forecast().need(1000, 0, None).slow_s == 0


def test_a_forecast_follows_what_was_learned() -> None:
    engine = slow_engine(step_s=0.01)
    means = Means()
    for _ in range(4):
        means.learn(engine.answer("count", replace(OFF, deadline_s=30.0)), 0.1, Forecast.of(engine.pace, means))
    forecast = Forecast.of(engine.pace, means)
    assert forecast.step_s == pytest.approx(0.01, rel=0.5)
    short, long = (forecast.need(50, 0, max_tokens) for max_tokens in (1, 5))
    assert short.mean_s < long.mean_s <= long.slow_s
    assert forecast.need(500, 400, 1).mean_s < forecast.need(500, 0, 1).mean_s
    assert forecast.thinking_tokens(10.0, 50) > forecast.thinking_tokens(1.0, 50)
