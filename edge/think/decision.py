"""Who decides whether to think, behind one small interface.

Knows: the caller's wish and whether the dialect has a judge of its own. Does not know: how a mode is forced, or time.
Precedence: what the caller asked, then the model's own judge.
"""

from __future__ import annotations

from edge.chat_types import Decision, Think


def decide(wish: Think, *, has_judge: bool, default_think: bool) -> Decision:
    """The decision known before the model runs.

    ``has_judge``: the model judges for itself and ``think`` stays None until it has. ``default_think``: what a model
    without a judge does when it is left alone.
    """
    if wish != "auto":
        return Decision(wish == "on", f"thinking {wish} was asked for", "asked")
    if has_judge:
        return Decision(None, "the model judges for itself", "judge")
    habit = "thinks" if default_think else "answers directly"
    return Decision(default_think, f"this model {habit} unless it is asked otherwise", "judge")
