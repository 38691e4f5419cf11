"""How well the router tells prompts apart: between sources it never saw, inside sources, and in long prompts.

Knows: which rows are put against which, and what length alone makes of them. Does not know: how a router is trained or
how figures are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import numpy as np

from bench_edge.intervals import Proportion
from bench_edge.ranking import Figure, Floats, auc, bootstrap, calibration_error, spearman
from bench_edge.router_texts import buried, long_request
from edge.think.router import Router
from models.router.data import LANGUAGES, Row

EASY_SOURCES, HARD_SOURCES = ("clinc", "crosswoz", "chatterbot"), ("gsm8k", "tal", "cmath")
LEFT_OUT = ("clinc", "crosswoz", "chatterbot", "gsm8k", "tal")
MOST_ROWS = 2000  # of a side of a comparison
NUM_LONG = 600
BANDS = (100, 400, 1500)  # characters where a band of lengths ends

Score = Callable[[Sequence[str]], Floats]


def scorer(router: Router) -> Score:
    """Scores of texts, as that router gives them."""
    return lambda texts: np.array([router.route(text).score for text in texts])


def by_length(texts: Sequence[str]) -> Floats:
    """The rule that a router must beat: long is hard."""
    return np.array([float(len(text)) for text in texts])


def compare(easy: Sequence[str], hard: Sequence[str], score: Score) -> dict[str, Any]:
    """The area under the curve of ``hard`` above ``easy``, and that of length alone; always and never have 0.5."""
    texts = [*easy, *hard]
    labels = np.array([0.0] * len(easy) + [1.0] * len(hard))
    ours, length = bootstrap(auc, score(texts), labels), bootstrap(auc, by_length(texts), labels)
    return {"router": ours.to_json(), "length": length.to_json(), "always_or_never": 0.5}


def coarse(dev: Sequence[Row], left_out: str, train: Sequence[Row], score: Score) -> dict[str, Any]:
    """The source that the training did not see against unseen rows of the other side, by language."""
    tested = [row for row in (*train, *dev) if row.source == left_out]
    others = EASY_SOURCES if left_out in HARD_SOURCES else HARD_SOURCES
    found = {}
    for language in LANGUAGES:
        own = sample([row.text for row in tested if row.language == language])
        other = sample([row.text for row in dev if row.language == language and row.source in others])
        if own and other:
            easy, hard = (other, own) if left_out in HARD_SOURCES else (own, other)
            found[f"{left_out} {language}"] = compare(easy, hard, score)
    return found


def long_prompts(dev: Sequence[Row], score: Score, seed: int) -> dict[str, Any]:
    """Simple requests about passages against hard prompts, half of which stand in passages themselves, by language."""
    rng, found = Random(seed), {}
    for language in LANGUAGES:
        easy = [long_request(rng, language) for _ in range(NUM_LONG)]
        hard = sample([row.text for row in dev if row.language == language and row.source in HARD_SOURCES], NUM_LONG)
        hard = [text if place % 2 else buried(rng, language, text) for place, text in enumerate(hard)]
        found[language] = compare(easy, hard, score)
    return found


def inside(dev: Sequence[Row], score: Score) -> dict[str, Any]:
    """Order inside a source: unseen subjects by the measured outcome, problems by steps and by grade."""
    measured: dict[str, tuple[str, Callable[[Row], float], Callable[[Floats, Floats], float]]] = {
        "mmlu": ("mmlu", lambda row: float(not row.direct_right), auc),
        "gsm8k": ("gsm8k", lambda row: float(row.steps or 0), spearman),
        "cmath": ("cmath", lambda row: float(row.grade or 0), spearman),
    }
    found = {}
    for name, (source, value_of, figure) in measured.items():
        rows = [row for row in dev if row.source == source]
        texts, values = [row.text for row in rows], np.array([value_of(row) for row in rows])
        ours, length = bootstrap(figure, score(texts), values), bootstrap(figure, by_length(texts), values)
        found[name] = {"router": ours.to_json(), "length": length.to_json()}
    return found


def calibration(dev: Sequence[Row], score: Score) -> Figure:
    """Scores against whether a direct answer was wrong, over the unseen subjects."""
    rows = [row for row in dev if row.direct_right is not None]
    wrong = np.array([float(not row.direct_right) for row in rows])
    return bootstrap(calibration_error, score([row.text for row in rows]), wrong)


def by_band(dev: Sequence[Row], router: Router) -> dict[str, Any]:
    """How often it would think, and its mean score, by source, language and band of lengths."""
    groups: dict[str, list[Row]] = {}
    for row in dev:
        band = sum(len(row.text) > end for end in BANDS)
        low, high = ([0, *BANDS])[band], ([*BANDS, "more"])[band]
        groups.setdefault(f"{row.source} {row.language} {low}-{high}", []).append(row)
    found = {}
    for name in sorted(groups):
        routed = [router.route(row.text) for row in groups[name]]
        found[name] = {
            "thinks": Proportion(sum(each.thinks for each in routed), len(routed)).to_json(),
            "sure": Proportion(sum(each.is_sure for each in routed), len(routed)).to_json(),
            "mean_score": round(float(np.mean([each.score for each in routed])), 4),
        }
    return found


def sample(texts: Sequence[str], most: int = MOST_ROWS) -> list[str]:
    """At most so many of ``texts``, always the same."""
    return list(texts) if len(texts) <= most else Random(0).sample(texts, most)
