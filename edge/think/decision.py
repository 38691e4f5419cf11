"""Who decides whether to think, behind one small interface.

Knows: the caller's wish, what the router makes of the prompt, and whether the dialect has a judge of its own.
Does not know: how a mode is forced, or time. Precedence: what the caller asked; the deadline (``plan``); the router
where it is sure; the probe; the model's own judge.

Who may speak for a model: a judge was trained on what this very model gets right, the shipped router on what others
did. So before ``edge calibrate`` has taught the router this model's outcomes, a model with a judge is left to it; a
model without one has nobody else, and takes the router's better bet even where it is not sure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.chat_types import Decision, Think

if TYPE_CHECKING:
    from edge.think.probe import FirstToken, Probe
    from edge.think.router import Difficulty


def decide(wish: Think, *, has_judge: bool, difficulty: Difficulty | None) -> Decision:
    """The decision known before the model runs; ``think`` None is left to the model's judge.

    ``difficulty`` is what the router that may speak for this model found, None where there is none.
    """
    if wish != "auto":
        return Decision(wish == "on", f"thinking {wish} was asked for", "asked")
    if difficulty is not None and (difficulty.is_sure or not has_judge):
        return Decision(difficulty.thinks, difficulty.reason, "router")
    if has_judge:
        return Decision(None, "the model judges for itself", "judge")
    return Decision(False, "nobody can tell, so it answers directly", "router")


def decide_by_probe(probe: Probe, difficulty: Difficulty, signals: FirstToken) -> Decision:
    """The decision where the router is not sure and the model's first signal was read."""
    chance = probe.chance(difficulty.score, signals)
    thinks = chance >= probe.cut
    how = "hesitates" if thinks else "knows how to begin"
    return Decision(thinks, f"the model {how} (thinking would pay with a chance of {chance:.2f})", "probe")
