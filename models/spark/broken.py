"""Stage 3: answers from thoughts that were broken off and closed as the runtime closes them.

A runtime with a deadline ends a thought in its midst, writes the closing into the model's mouth, with a closing line at
the end of a sentence and without one elsewhere, and the answer has to come from what there is. A model that never saw
this answers wrongly even where its direct answer would be right. Knows which thoughts are broken off, where, and with
what they are mixed; the loop is train.py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from models.dialect_base import CLOSING_LINES
from models.spark import hybrid, samples, tasks
from models.spark.hybrid import Judged
from models.spark.rendering import Renderer, Sample
from models.spark.samples import Mix, Rows

BROKEN_SHARE = 0.35
AT_ONCE_SHARE = 0.2  # closed before the first token, or after a few
FEW_TOKENS = 4
SOFT_SHARE = 0.4  # closed at the end of a line, with a closing line
ONE_STEP_SHARE = 0.5
JUDGED_SHARE = 0.5  # of the broken thoughts of a model with a judge, those that it asked for by itself
WEIGHT = 2.0


def make_rows(renderer: Renderer, judged: Sequence[Judged], num_rows: int, seed: int) -> Rows:
    """Broken thoughts among what the earlier stages taught, so that this stays what it was."""
    rng = Random(seed)
    mix = Mix()
    draw_judged = hybrid.judged_samples(renderer, judged, rng, mix) if judged else None

    def draw() -> Sample:
        if rng.random() < BROKEN_SHARE:
            return draw_broken(rng, renderer, mix)
        if draw_judged is not None and rng.random() < hybrid.JUDGED_SHARE:
            return draw_judged()
        return samples.draw_forced(rng, renderer, mix)

    return samples.pack(rng, renderer, draw, num_rows)


def draw_broken(rng: Random, renderer: Renderer, mix: Mix) -> Sample:
    """One problem of the train split whose thought is closed before its end."""
    num_steps = 1 if rng.random() < ONE_STEP_SHARE else samples.draw_many_steps(rng, think=True)
    language = rng.choice(("en", "en", "zh"))
    problem = tasks.draw_problem(rng, num_steps, rng.choice(("sum", "story")), language, "train")
    pieces = [renderer.tokenizer.decode([token]) for token in renderer.tokenizer.encode_control(problem.thinking)]
    line_ends = [place + 1 for place, piece in enumerate(pieces) if piece.endswith("\n")]
    closing = renderer.kind.dialect.closings["thinking"]
    if line_ends and rng.random() < SOFT_SHARE:
        num_kept = rng.choice(line_ends)
        closing = f"\n{CLOSING_LINES[language]}{closing}"
    elif rng.random() < AT_ONCE_SHARE:
        num_kept = rng.randrange(FEW_TOKENS)
    else:
        num_kept = rng.randrange(len(pieces))
    is_judged = renderer.kind.dialect.has_judge and rng.random() < JUDGED_SHARE
    past = samples.draw_past(rng, renderer, mix)
    return renderer.broken_sample(problem, num_kept, closing, WEIGHT, past, is_judged)
