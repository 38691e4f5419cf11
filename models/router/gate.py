"""What kind of prompt it is: a softmax over counts and pooled hashed words, trained by gradient descent.

Knows: its inputs, its gradients, its optimizers. Does not know: what the kinds are, or what each is worth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.think.prompt_features import NUM_POOLS
from models.router.bags import TABLE_SIZE, Batch, Floats, Prompts, make_batch, pooled, table_gradient

KEEP = 0.4  # of the words in each step
TABLE_RATE, RATE, DECAY = 0.25, 5e-3, 2e-3
ROWS_AT_ONCE = 256


@dataclass(slots=True)
class Gate:
    """``table`` ``(65536, k)``, ``weights`` ``(c + 3 k, k)`` over standardized counts and pools, ``bias`` ``(k,)``."""

    table: Floats
    weights: Floats
    bias: Floats

    @staticmethod
    def fresh(num_counts: int, num_kinds: int) -> Gate:
        """Nothing is known; the pools of a kind's own words count for it."""
        weights = np.zeros((num_counts + NUM_POOLS * num_kinds, num_kinds), np.float32)
        for pool in range(NUM_POOLS):
            start = num_counts + pool * num_kinds
            weights[start : start + num_kinds] = np.eye(num_kinds, dtype=np.float32)
        bias = np.zeros(num_kinds, np.float32)
        return Gate(np.zeros((TABLE_SIZE, num_kinds), np.float32), weights, bias)


def softmax(logits: Floats) -> Floats:
    """Over the last axis."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True), np.float32)


def train_gate(
    prompts: Prompts,
    counts: Floats,
    kinds: NDArray[np.int64],
    weights: Floats,
    may_learn: NDArray[np.bool_],
    *,
    num_kinds: int,
    num_epochs: int,
    seed: int,
    tell: Callable[[str], None],
) -> Gate:
    """A gate that tells ``kinds`` ``(n,)`` from standardized ``counts`` and the words that ``may_learn``."""
    rng = np.random.default_rng(seed)
    gate = Gate.fresh(counts.shape[1], num_kinds)
    optimizer = _Optimizer(gate, may_learn)
    num_batches = -(-len(prompts) // ROWS_AT_ONCE)
    for epoch in range(num_epochs):
        order, loss = rng.permutation(len(prompts)), 0.0
        for place in range(num_batches):
            rows = order[place * ROWS_AT_ONCE : (place + 1) * ROWS_AT_ONCE]
            batch = make_batch(prompts, rows, rng, KEEP)
            left = 1.0 - (epoch * num_batches + place) / (num_epochs * num_batches)
            loss += _step(gate, optimizer, batch, counts[rows], kinds[rows], weights[rows], left)
        tell(f"kinds of prompts, epoch {epoch + 1} of {num_epochs}: loss {loss / num_batches:.4f}")
    return gate


def _step(
    gate: Gate,
    optimizer: _Optimizer,
    batch: Batch,
    counts: Floats,
    kinds: NDArray[np.int64],
    weights: Floats,
    left: float,
) -> float:
    """One update, slower the less is ``left`` of the training (1 to 0); the loss before it."""
    num_counts, num_kinds = counts.shape[1], len(gate.bias)
    inputs = np.concatenate([counts, pooled(gate.table, batch)], 1)
    chances = softmax(inputs @ gate.weights + gate.bias)
    shares = (weights / weights.sum()).astype(np.float32)
    every = np.arange(len(kinds))
    loss = -float((shares * np.log(chances[every, kinds] + 1e-9)).sum())
    chances[every, kinds] -= 1.0
    at_logits = chances * shares[:, None]
    at_pools = at_logits @ gate.weights[num_counts:].T
    optimizer.update_table(table_gradient(at_pools, batch, num_kinds), left)
    optimizer.update_layer(inputs.T @ at_logits, at_logits.sum(0), left)
    return loss


class _Optimizer:
    """AdaGrad (Duchi et al. 2011) for the table, Adam (arXiv 1412.6980) for the rest."""

    def __init__(self, gate: Gate, may_learn: NDArray[np.bool_]) -> None:
        self._gate = gate
        self._may_learn = may_learn[:, None]
        self._table_squares = np.full_like(gate.table, 1e-8)
        self._means = [np.zeros_like(gate.weights), np.zeros_like(gate.bias)]
        self._squares = [np.zeros_like(gate.weights), np.zeros_like(gate.bias)]
        self._steps = 0

    def update_table(self, gradient: Floats, left: float) -> None:
        gradient = gradient * self._may_learn
        self._table_squares += gradient * gradient
        self._gate.table -= TABLE_RATE * left * gradient / np.sqrt(self._table_squares)

    def update_layer(self, weights: Floats, bias: Floats, left: float) -> None:
        self._steps += 1
        values = (self._gate.weights, self._gate.bias)
        for value, gradient, mean, square in zip(values, (weights, bias), self._means, self._squares, strict=True):
            mean += 0.1 * (gradient - mean)
            square += 0.01 * (gradient * gradient - square)
            size = np.sqrt(square / (1 - 0.99**self._steps)) + 1e-8
            value -= RATE * left * (mean / (1 - 0.9**self._steps) / size + DECAY * value)
