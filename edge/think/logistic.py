"""Logistic regression with a penalty: the one learner that a device needs for its own outcomes.

Knows: iteratively reweighted least squares, folds, standardized columns. Does not know: what is learned.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
NUM_ITERATIONS = 8
NUM_FOLDS = 5
LEAST_SPREAD = 0.05  # of a column; what hardly changes is not blown up


def sigmoid(logits: Doubles) -> Doubles:
    """From a logit to a chance."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -40, 40))))


def logit(chances: Doubles) -> Doubles:
    """From a chance to a logit; certainty is taken for near certainty."""
    clipped = np.clip(chances, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(clipped / (1 - clipped)))


def fit_logistic(inputs: Doubles, targets: Doubles, weights: Doubles, penalty: float) -> tuple[Doubles, float]:
    """Weights ``(c,)`` and bias for ``inputs`` ``(n, c)`` and soft ``targets`` ``(n,)``, 0 to 1.

    ``weights`` are of the rows; ``penalty`` is on squared weights, for columns of spread 1.
    """
    with_one = np.concatenate([inputs, np.ones((len(inputs), 1))], 1)
    ridge = np.diag([*[penalty] * inputs.shape[1], 1e-3])
    found = np.zeros(with_one.shape[1])
    for _ in range(NUM_ITERATIONS):
        chances = sigmoid(with_one @ found)
        curvature = weights * np.maximum(chances * (1 - chances), 1e-3)
        slope = with_one.T @ (weights * (targets - chances)) - ridge @ found
        found = found + np.linalg.solve((with_one * curvature[:, None]).T @ with_one + ridge, slope)
    return found[:-1], float(found[-1])


def fit_standardized(inputs: Doubles, targets: Doubles, penalty: float) -> tuple[Doubles, float]:
    """The same on standardized columns; the weights found apply to the columns as they are."""
    mean, spread = inputs.mean(0), inputs.std(0) + LEAST_SPREAD
    found, bias = fit_logistic((inputs - mean) / spread, targets, np.ones(len(inputs)), penalty)
    return found / spread, bias - float((found / spread) @ mean)


def cross_fitted(inputs: Doubles, targets: Doubles, penalty: float, seed: int) -> Doubles:
    """The chance ``(n,)`` that each row gets from a fit to the other folds."""
    fold_of = np.random.default_rng(seed).permutation(len(inputs)) % NUM_FOLDS
    chances = np.zeros(len(inputs))
    for fold in range(NUM_FOLDS):
        seen, unseen = fold_of != fold, fold_of == fold
        found, bias = fit_standardized(inputs[seen], targets[seen], penalty)
        chances[unseen] = sigmoid(inputs[unseen] @ found + bias)
    return chances


def log_loss(chances: Doubles, targets: Doubles) -> float:
    """The mean cross-entropy, in nats."""
    kept = np.clip(chances, 1e-6, 1 - 1e-6)
    return -float((targets * np.log(kept) + (1 - targets) * np.log(1 - kept)).mean())


def best_penalty(inputs: Doubles, targets: Doubles, penalties: Sequence[float], seed: int) -> tuple[float, Doubles]:
    """The penalty whose cross-fitted chances have the lowest loss, and these chances."""
    tried = [(penalty, cross_fitted(inputs, targets, penalty, seed)) for penalty in penalties]
    return min(tried, key=lambda pair: log_loss(pair[1], targets))
