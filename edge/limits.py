"""What limits one answer: when it is due, and the plan that keeps it within time and tokens.

Knows: how options, a model, an opened prompt and the device's pace become a plan and the controller's limits.
Does not know: how a plan is reckoned (``think.plan``) or kept (``think.controller``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING

from edge.answer_log import Waited
from edge.chat_types import AnswerOptions, Decision
from edge.forced_text import ForcedText
from edge.opening import Opening
from edge.pace import Pace
from edge.think.controller import Limits
from edge.think.plan import Bounds, ThinkPlan, plan_thinking
from models.errors import UsageError

if TYPE_CHECKING:
    from edge.answer_shape import AnswerShape
    from edge.loaded_model import LoadedModel
    from edge.think.lengths import LengthModel


JUDGE_FACTOR, LEAST_JUDGE, JUDGE_SHARE = 4, 24, 0.25  # of nearly all; tokens; of what the context still holds


class Due:
    """When a request has to be answered; ``at_s`` is a reading of ``clock``, None without a deadline."""

    def __init__(self, deadline_s: float | None, waited: Waited, clock: Callable[[], float], stop: Event) -> None:
        self.at_s = None if deadline_s is None else waited.asked_at_s - waited.load_s + deadline_s
        self._clock = clock
        self._stop = stop

    def left_s(self) -> float | None:
        """Seconds from now, None without a deadline."""
        return None if self.at_s is None else self.at_s - self._clock()

    def is_over(self) -> bool:
        """Whether the request was stopped, or its time is over."""
        return self._stop.is_set() or (self.at_s is not None and self._clock() >= self.at_s)


def plan_answer(
    model: LoadedModel,
    options: AnswerOptions,
    decision: Decision,
    opening: Opening,
    pace: Pace,
    due: Due,
    forced_text: ForcedText,
    shape: AnswerShape | None = None,
    *,
    gain: float | None = None,
) -> tuple[ThinkPlan, Limits]:
    """The plan and what the controller has to keep; with a deadline the prompt may have to be prefilled first.

    An answer with a ``shape`` has room for its shortest document, and the time that it takes to end one early.
    ``gain`` is what the router expects of thinking.
    """
    is_new = due.at_s is not None and not pace.speed.is_measured
    close_tokens, line_tokens = forced_text.num_closing_tokens
    bounds = Bounds(
        context_tokens=opening.num_prompt,
        room_tokens=model.backend.context_size - opening.num_prompt,
        think_tokens=options.think_tokens,
        think_share=options.think_share,
        max_tokens=options.max_tokens,
        open_tokens=opening.num_forced,
        close_tokens=close_tokens + line_tokens,
        least_answer_tokens=0 if shape is None else len(forced_text.encode(shape.shortest)),
        is_shaped=shape is not None,
    )
    plan = _plan_in_time(decision, bounds, opening, pace, due, gain)
    if is_new:
        note = f"{plan.reason}; this device was new and measured with the prompt"
        plan = replace(plan, decision=replace(plan.decision, reason=note))
    limits = Limits(
        deadline_s=due.at_s if due.at_s is None or shape is None else due.at_s - shape.end_s,
        think_tokens=plan.think_tokens,
        answer_tokens=plan.answer_tokens - _ends_with_tag(model, shape),
        close_tokens=close_tokens,
        line_tokens=line_tokens,
        judge_tokens=most_judge_tokens(pace.lengths, bounds.room_tokens),
        watches_answer=True,
    )
    return plan, limits


def _plan_in_time(
    decision: Decision, bounds: Bounds, opening: Opening, pace: Pace, due: Due, gain: float | None
) -> ThinkPlan:
    """The plan for the time that is left behind the prompt.

    Where a prefill that takes no time and a slow one come to the same, it is known before, and prompt and opening are
    evaluated at once, which saves a step; else the prefill is waited for.
    """

    def plan_with(time_left_s: float | None) -> ThinkPlan:
        return plan_thinking(decision, replace(bounds, time_left_s=time_left_s), pace.speed, pace.lengths, gain)

    if due.at_s is None:
        return plan_with(None)
    if pace.speed.is_measured:
        left_s = due.left_s() or 0.0
        prefill_s = 0.0 if opening.cached_tokens is not None else pace.speed.slow_prefill_s(opening.num_prompt, 0)
        fast, slow = plan_with(left_s), plan_with(left_s - prefill_s)
        if fast.think is slow.think:
            return slow
    opening.prefill_prompt(pace.speed)
    return plan_with(due.left_s())


def most_judge_tokens(lengths: LengthModel, room_tokens: int) -> int:
    """A judgement that is longer never ends: it would take the deadline, or the context, from the answer."""
    return min(max(JUDGE_FACTOR * lengths.reserve("judge"), LEAST_JUDGE), int(JUDGE_SHARE * room_tokens))


def _ends_with_tag(model: LoadedModel, shape: AnswerShape | None) -> bool:
    """Whether an answer is over with its last token; else one more is waited for, the stop token."""
    return shape is None and any(tag.closes == "answer" for tag in model.dialect.tags.values())


def check_tools(model: LoadedModel, options: AnswerOptions) -> None:
    """Raises UsageError for tools that this model's dialect has no words for."""
    if options.tools and model.dialect.layout.tool_format is None:
        raise UsageError(
            f"tools are given, and the dialect {model.dialect.name} of {model.name} has no tool calls; leave them out."
        )


def check_limits(model: LoadedModel, options: AnswerOptions) -> None:
    """Raises UsageError for a thinking budget that this model cannot keep."""
    dialect, context_size = model.dialect, model.backend.context_size
    for name in ("think_tokens", "min_think_tokens"):
        wished = getattr(options, name)
        if wished is None:
            continue
        if dialect.asks_for_steps:
            raise UsageError(
                f"{name} is {wished}, and the dialect {dialect.name} of {model.name} has no thinking that could be "
                "counted; leave it out."
            )
        if wished >= context_size:
            raise UsageError(f"{name} is {wished:,} and the context holds {context_size:,} tokens; ask for fewer.")
