"""From training prompts to the router's weights: what kind each prompt is, and how hard a prompt of a kind is.

Knows: which source is of which kind, and how the parts are put together. Does not know: files, or what is reported.

A prompt's score is a mixture of experts: the chance of each kind, times the chance that a direct answer to a prompt of
that kind is wrong. So words that only tell one source from another cannot pass for difficulty, and every expert is
linear and judged inside its kind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edge.think.logistic import Doubles, fit_logistic
from edge.think.prompt_features import NUM_COUNTS, NUM_POOLS
from edge.think.router_weights import KINDS, RouterWeights
from models.router.bags import Floats, Prompts, pooled_all, shared_words
from models.router.data import Row
from models.router.gate import train_gate
from models.router.words import fit_words

KIND_OF = {
    "clinc": "chat",
    "crosswoz": "chat",
    "chatterbot": "chat",
    "everyday": "chat",
    "errand": "chat",
    "simple request about a passage": "text",
    "problem left aside": "text",
    "gsm8k": "story",
    "school": "school",
    "plain problem": "school",  # to the eye; how hard it is was never measured on that scale
    "tal": "exam",
    "mmlu": "knowledge",
    "reasoning": "steps",
    "puzzle": "work",
    "deduction": "work",
    "problem behind a passage": "work",
}
PENALTY = {
    "chat": 3e4,
    "text": 3e4,
    "story": 30.0,
    "school": 100.0,
    "exam": 100.0,
    "knowledge": 30.0,
    "steps": 100.0,
    "work": 3e3,
}
NOT_FITTED = "plain problem"  # serves the gate alone
WORDS_KIND = "knowledge"  # the one kind whose words say more about difficulty than its counts do
NUM_EPOCHS, WORD_EPOCHS, NUM_FOLDS = 3, 4, 5
LEAST_SPREAD = 0.05


def fit_weights(rows: Sequence[Row], prompts: Prompts, seed: int, tell: Callable[[str], None]) -> RouterWeights:
    """The weights that ``rows``, featurized as ``prompts``, teach."""
    kinds = np.array([KINDS.index(KIND_OF[row.source]) for row in rows])
    is_fitted = np.array([row.source != NOT_FITTED for row in rows])
    mean, spread = prompts.counts.mean(0), prompts.counts.std(0) + LEAST_SPREAD
    counts = ((prompts.counts - mean) / spread).astype(np.float32)
    weights = np.array([row.weight for row in rows], np.float32)
    common = shared_words(prompts, [row.origin for row in rows], least_origins=2, least_count=4)
    gate = train_gate(
        prompts, counts, kinds, weights, common, num_kinds=len(KINDS), num_epochs=NUM_EPOCHS, seed=seed, tell=tell
    )
    width = len(KINDS) + 1
    table = np.zeros((len(gate.table), width), np.float32)
    table[:, :-1] = gate.table
    layer = np.zeros((NUM_COUNTS + NUM_POOLS * width, 2 * len(KINDS)), np.float32)
    bias = np.zeros(2 * len(KINDS), np.float32)
    gate_rows = [*range(NUM_COUNTS)]
    gate_rows += [NUM_COUNTS + pool * width + kind for pool in range(NUM_POOLS) for kind in range(len(KINDS))]
    layer[gate_rows, : len(KINDS)], bias[: len(KINDS)] = gate.weights, gate.bias
    for place, kind in enumerate(KINDS):
        chosen = np.flatnonzero((kinds == place) & is_fitted)
        expert, expert_bias, words = _fit_expert(
            kind, [rows[int(row)] for row in chosen], prompts, chosen, counts, seed
        )
        layer[:NUM_COUNTS, len(KINDS) + place], bias[len(KINDS) + place] = expert, expert_bias
        if words is not None:
            table[:, -1:] = words
            layer[[NUM_COUNTS + pool * width + width - 1 for pool in range(NUM_POOLS)], len(KINDS) + place] = 1.0
        tell(f"how hard a prompt is, kind {kind}: {len(chosen)} prompts")
    layer[:NUM_COUNTS] /= spread[:, None]
    steps = np.ones(width, np.float32)
    return RouterWeights(table, steps, layer, (bias - mean @ layer[:NUM_COUNTS]).astype(np.float32))


def _fit_expert(
    kind: str, rows: Sequence[Row], prompts: Prompts, chosen: NDArray[np.int64], counts: Floats, seed: int
) -> tuple[Doubles, float, Floats | None]:
    """Weights and bias over standardized counts, and a table of words for the kind that has one."""
    if not rows:  # a kind that was left out of this training
        return np.zeros(NUM_COUNTS), 0.0, None
    targets = np.array([row.target for row in rows])
    inputs = counts[chosen].astype(np.float64)
    if kind != WORDS_KIND:
        return *fit_logistic(inputs, targets, np.ones(len(rows)), PENALTY[kind]), None
    groups = np.array([row.group for row in rows])
    part = prompts.take(chosen)
    found, bias, words = _fit_with_words(part, inputs, targets, groups, seed)
    slope, shift = _correction(part, inputs, targets, groups, seed)
    return found * slope, bias * slope + shift, words * slope


def _alike(groups: NDArray[np.str_]) -> Doubles:
    """Weights with which every group counts alike, 1 on average."""
    _, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return np.asarray(len(groups) / len(sizes) / sizes[inverse])


def _fit_with_words(
    prompts: Prompts, inputs: Doubles, targets: Doubles, groups: NDArray[np.str_], seed: int
) -> tuple[Doubles, float, Floats]:
    """Weights and bias over counts, then a table of words for what they leave."""
    weights = _alike(groups)
    found, bias = fit_logistic(inputs, targets, weights, PENALTY[WORDS_KIND])
    common = shared_words(prompts, list(groups), least_origins=4, least_count=2)
    offsets = inputs @ found + bias
    words = fit_words(prompts, offsets, targets, weights, common, num_epochs=WORD_EPOCHS, seed=seed)
    return found, bias, words


def _correction(
    prompts: Prompts, inputs: Doubles, targets: Doubles, groups: NDArray[np.str_], seed: int
) -> tuple[float, float]:
    """Slope and shift that make logits honest on groups that were not seen (Platt 1999), found by leaving out."""
    names = np.unique(groups)
    folds = dict(zip(np.random.default_rng(seed).permutation(names), np.arange(len(names)) % NUM_FOLDS, strict=True))
    fold_of = np.array([folds[name] for name in groups])
    logits = np.zeros(len(targets))
    for fold in range(NUM_FOLDS):
        seen, unseen = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        found, bias, words = _fit_with_words(prompts.take(seen), inputs[seen], targets[seen], groups[seen], seed)
        logits[unseen] = inputs[unseen] @ found + bias + pooled_all(words, prompts.take(unseen)).sum(1)
    slope, shift = fit_logistic(logits[:, None], targets, _alike(groups), 0.0)
    return float(slope[0]), shift


def scores(weights: RouterWeights, prompts: Prompts) -> Floats:
    """The score of each prompt, as the router gives it."""
    found = np.concatenate([prompts.counts, pooled_all(weights.table, prompts)], 1) @ weights.layer + weights.bias
    return weights.mix(found)
