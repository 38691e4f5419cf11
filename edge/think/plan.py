"""How much thinking fits: a wish, a deadline and the device's measured speed become a plan.

Knows: tokens, seconds, the decision so far. Pure: no clock, no I/O.
Does not know: prompts, text, or how a plan is kept (``controller``).
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.chat_types import Decision, DecisionSource
from edge.think.lengths import LONGEST_USEFUL, SHORTEST_USEFUL, LengthModel, TextKind
from edge.think.speed import SpeedModel

HARM = 0.5  # of thinking that breaks off: the share of right answers that it spoils, at most
AMPLE = 8  # usual thoughts; where so many fit, time is not what is short, and the model's judge is asked as without it
_LONG_RUN = 64  # steps; stalls average out over so many


@dataclass(frozen=True, slots=True)
class Bounds:
    """What limits one answer. ``time_left_s`` counts from now, after the prompt's prefill; None means no limit.

    ``room_tokens`` is what the context still holds, ``open_tokens`` what forcing a mode takes, ``close_tokens`` what
    closing the thinking takes; ``think_tokens`` and ``max_tokens`` are what was asked for, ``think_share`` the part
    that may be used of the thinking that fits. No answer is shorter than ``least_answer_tokens``; ``is_shaped``: it has
    to follow a schema or a grammar.
    """

    context_tokens: int
    room_tokens: int
    time_left_s: float | None = None
    think_tokens: int | None = None
    think_share: float = 1.0
    max_tokens: int | None = None
    open_tokens: int = 0
    close_tokens: int = 0
    least_answer_tokens: int = 0
    is_shaped: bool = False


@dataclass(frozen=True, slots=True)
class ThinkPlan:
    """``think`` None: the model's judge has the word. ``think_tokens`` is the most it may think, by count alone: what
    the clock allows is found while decoding. ``answer_tokens`` is the reserve that thinking leaves to the answer.
    """

    think: bool | None
    think_tokens: int
    answer_tokens: int
    decision: Decision

    @property
    def reason(self) -> str:
        """Why, half a sentence."""
        return self.decision.reason


def plan_thinking(
    decision: Decision, bounds: Bounds, speed: SpeedModel, lengths: LengthModel, gain: float | None = None
) -> ThinkPlan:
    """The plan for ``decision`` within ``bounds``; thinking that could not get far enough is not begun.

    ``gain``: the chance, 0 to 1, that thinking rights a wrong answer; with it, what is expected of thinking in the time
    there is decides, without it (None) the length of a usual thought.

    A judge saves time, and a deadline says that there is time: where thinking fits before one, it is begun unjudged,
    unless there is so much time that nobody can have meant to use it up.
    """
    direct = _reserve("direct_answer", bounds, lengths)
    if decision.think is False:
        return ThinkPlan(False, 0, direct, decision)
    if bounds.think_tokens == 0:
        return _without_thinking("a thinking budget of 0 tokens was asked for", "asked", direct)
    reserve = _reserve("thought_answer", bounds, lengths)
    fitting = None if bounds.time_left_s is None else fitting_tokens(bounds, reserve, speed)
    usual = max(lengths.typical("thinking"), lengths.useful_thinking())
    is_judged = decision.think is None and (fitting is None or fitting >= AMPLE * usual + lengths.reserve("judge"))
    budget = _counted_budget(bounds, reserve, lengths.reserve("judge") if is_judged else 0)
    if budget < 1:
        return _without_thinking("the answer itself needs all the tokens there are", "asked", direct)
    useful = lengths.useful_thinking()
    if is_judged or fitting is None or bounds.time_left_s is None:
        return ThinkPlan(decision.think, _shared(budget, bounds, useful), reserve, decision)
    if too_few := _too_few(fitting, lengths, gain):
        reason = f"{max(bounds.time_left_s, 0.0):.2f} s leave {max(fitting, 0)} tokens to think, {too_few}"
        return _without_thinking(reason, "deadline", direct)
    budget = _shared(min(budget, fitting), bounds, useful) if bounds.think_share < 1 else budget
    reason = f"about {min(fitting, budget)} tokens to think fit into {bounds.time_left_s:.2f} s"
    if decision.think is None:
        return ThinkPlan(True, budget, reserve, Decision(True, reason, "deadline"))
    return ThinkPlan(True, budget, reserve, Decision(True, f"{decision.reason}; {reason}", decision.source))


def _reserve(kind: TextKind, bounds: Bounds, lengths: LengthModel) -> int:
    """Tokens that are kept for the answer."""
    return max(lengths.reserve("shaped_answer" if bounds.is_shaped else kind), bounds.least_answer_tokens)


def _too_few(fitting: int, lengths: LengthModel, gain: float | None) -> str:
    """Why so few tokens are not worth thinking, half a sentence; empty where they are.

    A thought that ends in time rights a wrong answer, one that breaks off now and then spoils a right one. As many
    tokens as are worth a try for the longest thoughts are always worth one.
    """
    useful = lengths.useful_thinking()
    if gain is None or not SHORTEST_USEFUL <= fitting < LONGEST_USEFUL:
        return f"and fewer than {useful} are no use" if fitting < useful else ""
    ends = lengths.share_within("thinking", fitting)
    if gain * ends > HARM * (1.0 - gain) * (1.0 - ends):
        return ""
    return f"in which {100 * ends:.0f} % of thoughts end: too few for a difficulty of {gain:.2f}"


def fitting_tokens(bounds: Bounds, reserve: int, speed: SpeedModel) -> int:
    """Thinking tokens that the time left allows beside all else, at the slow quantile; negative where none do."""
    assert bounds.time_left_s is not None
    context = bounds.context_tokens
    others_s = (
        speed.slow_prefill_s(bounds.open_tokens, context)
        + speed.slow_prefill_s(bounds.close_tokens, context)
        + speed.slow_decode_s(reserve + 1, context)
    )
    left_s = bounds.time_left_s - others_s
    fitting = _LONG_RUN
    for _ in range(3):  # a later step costs more: the average over as many as fit
        step_s = speed.slow_decode_s(max(fitting, _LONG_RUN), context) / max(fitting, _LONG_RUN)
        fitting = int(left_s / max(step_s, 1e-9))
    return fitting


def _counted_budget(bounds: Bounds, reserve: int, judge_tokens: int) -> int:
    """What counts allow: the budget asked for, and what the other limits leave beside the answer's reserve."""
    others = reserve + judge_tokens
    budget = bounds.room_tokens - others - bounds.open_tokens - bounds.close_tokens
    if bounds.max_tokens is not None:
        budget = min(budget, bounds.max_tokens - others)
    return budget if bounds.think_tokens is None else min(budget, bounds.think_tokens)


def _shared(tokens: int, bounds: Bounds, useful: int) -> int:
    """The share of ``tokens`` that may be used: no less than is useful, where there is as much."""
    return min(tokens, max(useful, int(bounds.think_share * tokens)))


def _without_thinking(reason: str, source: DecisionSource, answer_tokens: int) -> ThinkPlan:
    return ThinkPlan(False, 0, answer_tokens, Decision(False, reason, source))
