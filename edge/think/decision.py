"""Who decides whether to think, behind one small interface.

Knows: the caller's wish, what the router makes of the prompt, whether the dialect has a judge of its own, and what a
model does when it is left alone. Does not know: how a mode is forced, or time.
Precedence: what the caller asked; the deadline (``plan``); the router where it is sure; the probe; the model's own
judge, or its habit.

Who may speak for a model: a judge was trained on what this very model gets right, the shipped router on what others
did. So before ``edge calibrate`` has taught the router this model's outcomes, a model with a judge is left to it. A
model without one has nobody else: where the router is not sure either, one that thinks when it is left alone thinks,
and any other goes by the router's better bet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.chat_types import Decision, Think

if TYPE_CHECKING:
    from edge.think.probe import Probe
    from edge.think.router import Difficulty


def decide(wish: Think, *, has_judge: bool, default_think: bool, difficulty: Difficulty | None) -> Decision:
    """The decision known before the model runs; ``think`` None is left to the model's judge.

    ``default_think``: what the model does when it is left alone. ``difficulty`` is what the router that may speak for
    this model found, None where there is none.
    """
    if wish != "auto":
        return Decision(wish == "on", f"thinking {wish} was asked for", "asked")
    if has_judge and (difficulty is None or not difficulty.is_sure):
        return Decision(None, "the model judges for itself", "judge")
    if difficulty is None:
        habit = "thinks" if default_think else "answers directly"
        return Decision(default_think, f"this model {habit} unless it is asked otherwise", "judge")
    if default_think and not difficulty.is_sure:
        reason = (
            f"the prompt does not tell (difficulty {difficulty.score:.2f}), and this model thinks when it is left alone"
        )
        return Decision(True, reason, "router")
    return Decision(difficulty.thinks, difficulty.reason, "router")


def decide_by_probe(probe: Probe, chance: float) -> Decision:
    """The decision where the router is not sure and ``probe`` found with what ``chance`` thinking pays."""
    thinks = chance >= probe.cut
    how = "hesitates" if thinks else "knows how to begin"
    return Decision(thinks, f"the model {how} (thinking would pay with a chance of {chance:.2f})", "probe")
