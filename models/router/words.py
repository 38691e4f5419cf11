"""Hashed words that say what counts alone do not: fitted to what a logistic regression leaves.

Knows: gradient descent on a table of words. Does not know: what is predicted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.think.logistic import Doubles, sigmoid
from edge.think.prompt_features import NUM_POOLS
from models.router.bags import TABLE_SIZE, Floats, Prompts, make_batch, pooled, table_gradient

WORD_KEEP, WORD_RATE, WORD_ROWS = 0.5, 0.04, 256


def fit_words(
    prompts: Prompts,
    offsets: Doubles,
    targets: Doubles,
    weights: Doubles,
    may_learn: NDArray[np.bool_],
    *,
    num_epochs: int,
    seed: int,
) -> Floats:
    """A table ``(65536, 1)`` whose pooled words, added to the logits ``offsets``, come nearer to ``targets``.

    The three pools count alike.
    """
    rng = np.random.default_rng(seed)
    table = np.zeros((TABLE_SIZE, 1), np.float32)
    squares = np.full_like(table, 1e-8)
    num_batches = -(-len(prompts) // WORD_ROWS)
    for epoch in range(num_epochs):
        order = rng.permutation(len(prompts))
        for place in range(num_batches):
            rows = order[place * WORD_ROWS : (place + 1) * WORD_ROWS]
            batch = make_batch(prompts, rows, rng, WORD_KEEP)
            left = 1.0 - (epoch * num_batches + place) / (num_epochs * num_batches)
            chances = sigmoid(offsets[rows] + pooled(table, batch).sum(1))
            at_logits = (weights[rows] * (chances - targets[rows]) / weights[rows].sum()).astype(np.float32)
            gradient = table_gradient(np.repeat(at_logits[:, None], NUM_POOLS, 1), batch, 1) * may_learn[:, None]
            squares += gradient * gradient
            table -= WORD_RATE * left * gradient / np.sqrt(squares)
    return table
