"""``edge calibrate`` as one call: measure, learn, keep.

Knows: the order of these steps, and where the rows of an interrupted run are. Does not know: flags, or any step's work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge.calibrate import CalibrationPrompt, Measurement
from edge.calibrate_fit import LEAST_PROMPTS, Goal, fit_refit
from edge.calibrated import keep_refit
from models.errors import UsageError

if TYPE_CHECKING:
    from edge.engine import Engine
    from edge.think.refit import Refit


def calibrate_model(
    engine: Engine,
    prompts: Sequence[CalibrationPrompt],
    goal: Goal,
    *,
    num_answers: int | None = None,
    max_tokens: int | None = None,
    told: Callable[[int, int], None] = lambda num_done, num_all: None,
) -> tuple[Refit, Path]:
    """What ``engine``'s model gets right with and without thinking, learned and kept; gives it and its file.

    The engine goes by it from now on. Outcomes are kept prompt by prompt, and a later call with the same prompts takes
    them up. Raises UsageError for too few prompts, before any is answered, or for outcomes that say too little.
    """
    if len(prompts) < LEAST_PROMPTS:
        raise UsageError(f"There are {len(prompts)} prompts, and fewer than {LEAST_PROMPTS} say too little; add more.")
    model, owner = engine.model, engine.model.owner
    if owner is None:
        raise UsageError(f"{model.name} has no weights in a file, so nothing can be kept for it; name another model.")
    outcomes = Measurement(engine, owner.rows_path, num_answers, max_tokens).run(prompts, told)
    refit = fit_refit([prompt.messages[-1].content for prompt in prompts], outcomes, goal)
    path = keep_refit(owner, refit)
    engine.model = replace(model, refit=refit)
    return refit, path
