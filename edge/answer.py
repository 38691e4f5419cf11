"""One prompt becomes one answer: decide, plan, render, prefill, then token by token.

Knows: the order of these steps and what each hands to the next. Does not know: devices, locks, terminals, how a prompt
is evaluated (``opening``), or how a token is sampled and read (``token_loop``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any

from edge.answer_log import AnswerLog, Waited
from edge.answer_shape import make_shape
from edge.chat_types import AnswerOptions, Decision, DecisionSource, FinishReason, Message, StreamEvent, Think
from edge.document_loop import DocumentLoop
from edge.drafted import DraftedTokens
from edge.forced_text import ForcedText
from edge.limits import Due, check_limits, check_tools, most_judge_tokens, plan_answer
from edge.opening import Opening
from edge.pace import Pace
from edge.sampling import Sampler
from edge.think.controller import Cause, Controller, Limits
from edge.think.decision import decide, decide_by_probe
from edge.token_loop import TokenLoop
from models.errors import PromptError

if TYPE_CHECKING:
    from edge.answer_shape import AnswerShape
    from edge.loaded_model import LoadedModel
    from edge.stream_parser import StreamParser


CAUSES: dict[Cause, str] = {
    "deadline": "for the deadline",
    "budget": "at its budget",
    "loop": "because it went in circles",
    "asked": "on request",
}


def stream_answer(
    model: LoadedModel,
    sequence: int,
    messages: Sequence[Message],
    options: AnswerOptions,
    *,
    stop: Event,
    stop_thinking: Event | None = None,
    clock: Callable[[], float] = time.perf_counter,
    waited: Waited | None = None,
    pace: Pace | None = None,
) -> Iterator[StreamEvent]:
    """Answer the last of ``messages`` on ``sequence`` of the model's backend; the last event carries the result.

    ``stop`` ends the answer early from any thread, ``stop_thinking`` the thinking. ``clock`` gives seconds. ``pace`` is
    what is known of the device; it learns from this answer. Raises PromptError for an empty or too long prompt,
    UsageError for a limit, tools or a shape that this model cannot keep, BackendError when the device fails.
    """
    waited, pace = waited or Waited(clock()), pace or Pace()
    log = AnswerLog(clock, waited)
    check_limits(model, options)
    check_tools(model, options)
    shape = make_shape(model, options, clock)
    due = Due(options.deadline_s, waited, clock, stop)
    opening = Opening(
        model, sequence, check_messages(messages), tools=options.tools, should_stop=due.is_over, clock=clock
    )
    forced_text = ForcedText(model.dialect, model.tokenizer, messages[-1].content)
    decision, parser, limits = _plan(model, options, opening, pace, due, forced_text, shape)
    if decision.think is not None:
        yield StreamEvent("decision", decision=decision)

    is_complete = opening.prefill()
    log.prefilled(opening.start_s, opening.num_prompt, opening.num_forced, opening.cached_tokens or 0)
    controller = Controller(limits, pace.speed, opening.tokens, clock())
    sampler = make_sampler(model, options)
    draft, num_read = opening.draft, len(opening.tokens)  # the loop goes on with these tokens
    drafted = None if draft is None else DraftedTokens(model.backend, draft, controller.forced)
    if draft is not None:
        log.drafted(draft.num_tags, draft.steps_s)
    model.backend.run_ahead(sampler.is_greedy and shape is None)
    loop = _make_loop(
        model, sequence, options, opening, shape,
        parser=parser, sampler=sampler, log=log, controller=controller, forced_text=forced_text,
        backend=drafted or model.backend, decided=decision.think,
        stop=stop, stop_thinking=stop_thinking or Event(), clock=clock,
    )  # fmt: skip
    if is_complete:
        decision = yield from _tell(loop, parser, log, decision)
    decision = with_closing(decision, loop.closed_by) if log.tokens["thinking"] else decision
    reason: FinishReason = loop.finish_reason if is_complete or stop.is_set() else "deadline"
    num_malformed = parser.num_malformed_calls
    result = log.finish(
        decision, reason, model.name, model.backend.name, malformed_tool_calls=num_malformed, document=loop.document
    )
    opening.learn(pace.speed)
    num_read += drafted.num_taken if drafted is not None else 0
    pace.learn(result, num_read, controller.steps_s, closed_by=loop.closed_by, opening_tokens=log.opening_tokens)
    yield StreamEvent("done", result=result)


def _plan(
    model: LoadedModel,
    options: AnswerOptions,
    opening: Opening,
    pace: Pace,
    due: Due,
    forced_text: ForcedText,
    shape: AnswerShape | None,
) -> tuple[Decision, StreamParser, Limits]:
    """Decide, render, and plan where anything is limited; the prompt of what came out is rendered last."""
    difficulty = model.difficulty(opening.messages) if options.think == "auto" else None
    dialect = model.dialect
    decision = decide(
        options.think, has_judge=dialect.has_judge, default_think=dialect.default_think, difficulty=difficulty
    )
    gain = None if difficulty is None else difficulty.score
    if difficulty is not None and not difficulty.is_sure and model.refit is not None:
        probe, score = model.refit.probe, difficulty.score
        signals = opening.look_ahead(
            pace.speed,
            lambda seen: probe.is_settled(probe.chance(score, seen), len(seen.tokens)),
            is_free=shape is None and not options.tools,
        )
        if signals is not None:
            gain = probe.chance(score, signals)
            decision = decide_by_probe(probe, gain)
    parser = opening.render(think_mode(decision))
    if not options.has_limits:
        room_tokens = model.backend.context_size - opening.num_prompt
        return decision, parser, Limits(judge_tokens=most_judge_tokens(pace.lengths, room_tokens))
    plan, limits = plan_answer(model, options, decision, opening, pace, due, forced_text, shape, gain=gain)
    if plan.think is not decision.think:
        parser = opening.render(think_mode(plan.decision))
    return plan.decision, parser, limits


def _make_loop(
    model: LoadedModel,
    sequence: int,
    options: AnswerOptions,
    opening: Opening,
    shape: AnswerShape | None,
    **parts: Any,
) -> TokenLoop:
    """The loop that goes on from ``opening``, with the limits of ``options``; ``parts`` are what it works with."""
    loop_class: Callable[..., TokenLoop] = TokenLoop if shape is None else partial(DocumentLoop, shape=shape)
    return loop_class(
        model,
        sequence,
        opening.tokens,
        limit=options.max_tokens,
        least_thinking=options.min_think_tokens or 0,
        is_limited=options.has_limits,
        **parts,
    )


def _tell(
    loop: TokenLoop, parser: StreamParser, log: AnswerLog, decision: Decision
) -> Generator[StreamEvent, None, Decision]:
    """Run the loop and give out what it says; returns the decision, which the model's judge may have had to make."""
    for piece in loop.run():
        if piece.kind == "tool_call":
            if call := log.called(piece.text):
                yield StreamEvent("tool_call", piece.text, tool_call=call)
            continue
        if decision.think is None and piece.kind != "judge":
            decision = judged(parser.think, log.text("judge"), loop.closed_by)
            yield StreamEvent("decision", decision=decision)
        if piece.kind != "marker" and piece.text:
            log.show(piece.kind, piece.text)
            yield StreamEvent(piece.kind, piece.text)
    return decision


def think_mode(decision: Decision) -> Think:
    """The mode to render: what was decided is forced, so that it holds; only an open decision is left to the model."""
    if decision.think is None:
        return "auto"
    return "on" if decision.think else "off"


def judged(think: bool | None, judge_text: str, closed_by: Cause | None) -> Decision:
    """The decision of the model's own judge, with the judge's words as its reason; or of what cut it short."""
    if closed_by is not None:
        source: DecisionSource = "deadline" if closed_by == "deadline" else "asked"
        return Decision(bool(think), f"the model's judgement was cut short {CAUSES[closed_by]}", source)
    words = " ".join(judge_text.split())
    return Decision(bool(think), f"the model judged: {words}" if words else "the model judged so", "judge")


def with_closing(decision: Decision, closed_by: Cause | None) -> Decision:
    """``decision`` with the reason why its thinking was closed, where the model did not end it."""
    if closed_by is None:
        return decision
    return replace(decision, reason=f"{decision.reason}; its thinking was closed {CAUSES[closed_by]}")


def make_sampler(model: LoadedModel, options: AnswerOptions) -> Sampler:
    """What was asked for, and the model's own defaults for the rest."""
    default = model.sampling
    return Sampler(
        temperature=default.temperature if options.temperature is None else options.temperature,
        top_k=default.top_k if options.top_k is None else options.top_k,
        top_p=default.top_p if options.top_p is None else options.top_p,
        seed=options.seed,
    )


def check_messages(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages, if there is something to answer. Raises PromptError."""
    if not messages:
        raise PromptError("There is no message to answer; give at least one from the user.")
    if messages[-1].role not in ("user", "tool"):
        raise PromptError(f"The last message is from the {messages[-1].role}; end with one from the user.")
    if messages[-1].role == "user" and not messages[-1].content.strip():
        raise PromptError("The prompt is empty; write a question.")
    return tuple(messages)
