"""How hard a prompt of one kind is: logistic regressions on counts, one a kind, and hashed words for one of them.

Knows: iteratively reweighted least squares, and gradient descent on words. Does not know: what the kinds are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.think.prompt_features import NUM_POOLS
from models.router.bags import TABLE_SIZE, Floats, Prompts, make_batch, pooled, table_gradient

Doubles = NDArray[np.float64]
NUM_ITERATIONS = 8
WORD_KEEP, WORD_RATE, WORD_ROWS = 0.5, 0.04, 256


def fit_logistic(inputs: Doubles, targets: Doubles, weights: Doubles, penalty: float) -> tuple[Doubles, float]:
    """Weights and bias of the logistic regression of soft ``targets``, with a ``penalty`` on squared weights."""
    with_one = np.concatenate([inputs, np.ones((len(inputs), 1))], 1)
    ridge = np.diag([*[penalty] * inputs.shape[1], 1e-3])
    found = np.zeros(with_one.shape[1])
    for _ in range(NUM_ITERATIONS):
        chances = sigmoid(with_one @ found)
        curvature = weights * np.maximum(chances * (1 - chances), 1e-3)
        slope = with_one.T @ (weights * (targets - chances)) - ridge @ found
        found = found + np.linalg.solve((with_one * curvature[:, None]).T @ with_one + ridge, slope)
    return found[:-1], float(found[-1])


def sigmoid(logits: Doubles) -> Doubles:
    """From a logit to a chance."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -40, 40))))


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
