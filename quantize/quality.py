"""What quantizing did to a model: perplexity and Kullback-Leibler divergence to the float model, on held-out windows.

Knows: two sets of weights run side by side, one block and a few rows of the head at a time. Does not know: where the
weights come from, or how they were rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.spec import ModelSpec, TensorPlace
from quantize.calibrate import Windows
from quantize.decoder import rms_norm, rotation_of, run_block, split_places

Floats = NDArray[np.float32]
ReadChunks = Callable[[TensorPlace], Iterator[tuple[Floats, Floats]]]  # whole rows: those of the float model, and ours

LOGITS = 1 << 23  # computed at a time


@dataclass(frozen=True, slots=True)
class Quality:
    """Averages over ``num_tokens`` predicted tokens; divergences in nats a token.

    ``same_top``: the share of positions at which both models find the same token likeliest. The perplexities and
    ``reply_divergence`` count only the tokens that the model itself would write; where the text holds no replies, the
    perplexities count all, and ``reply_divergence`` is None.
    """

    num_tokens: int
    perplexity_float: float
    perplexity: float
    divergence: float
    same_top: float
    reply_divergence: float | None


class _Comparison:
    """Two distributions over tokens at each of P positions, made known a few tokens at a time; float model first."""

    def __init__(self, targets: NDArray[np.int32]) -> None:
        num_positions = len(targets)
        self._targets = targets
        self._largest = np.full((2, num_positions), -np.inf, np.float32)
        self._total = np.zeros((2, num_positions))  # of exp(logit - largest)
        self._difference = np.zeros(num_positions)  # of exp(float logit - largest) * (float logit - our logit)
        self._top = np.zeros((2, num_positions), np.intp)
        self._target_logits = np.zeros((2, num_positions), np.float32)

    def add(self, first: int, logits: tuple[Floats, Floats]) -> None:
        """Logits (P, V) of the tokens from ``first`` on, of both models."""
        columns = np.arange(len(self._targets))
        for side, some in enumerate(logits):
            best = some.argmax(axis=1)
            largest = some[columns, best]
            is_new = largest > self._largest[side]
            self._top[side][is_new] = best[is_new] + first
            grown = np.maximum(largest, self._largest[side])
            shrink = np.exp(self._largest[side] - grown)
            powers = np.exp(some - grown[:, None])
            self._total[side] = self._total[side] * shrink + powers.sum(axis=1)
            if side == 0:
                weighted = np.einsum("pv,pv->p", powers, logits[0] - logits[1])
                self._difference = self._difference * shrink + weighted
            self._largest[side] = grown
            is_here = (self._targets >= first) & (self._targets < first + some.shape[1])
            self._target_logits[side][is_here] = some[is_here, self._targets[is_here] - first]

    def summary(self, is_reply: NDArray[np.bool_]) -> Quality:
        """The averages, once all tokens are known."""
        normalizers = self._largest + np.log(self._total)
        is_spoken = is_reply if is_reply.any() else ~is_reply
        surprise = (normalizers - self._target_logits)[:, is_spoken].mean(axis=1)
        divergence = np.maximum(self._difference / self._total[0] - normalizers[0] + normalizers[1], 0)
        return Quality(
            num_tokens=len(self._targets),
            perplexity_float=float(np.exp(surprise[0])),
            perplexity=float(np.exp(surprise[1])),
            divergence=float(divergence.mean()),
            same_top=float((self._top[0] == self._top[1]).mean()),
            reply_divergence=float(divergence[is_reply].mean()) if is_reply.any() else None,
        )


def measure_quality(spec: ModelSpec, read_chunks: ReadChunks, windows: Windows) -> Quality:
    """Compare two models of ``spec`` on ``windows``, at least one; ``read_chunks`` gives the tensors of both in order.

    Memory holds one block of both, and the head's rows a chunk at a time.
    """
    outside, blocks = split_places(spec)
    hidden = _embed(read_chunks(outside["embedding"]), windows.tokens, spec.hidden_size)
    rotation = rotation_of(spec, windows.tokens.shape[1])
    for places in blocks:
        tensors = {role: _whole(read_chunks(place)) for role, place in places.items()}
        for side in range(2):
            weights = {role: both[side] for role, both in tensors.items()}
            for window in hidden[side]:
                window[:] = run_block(spec, weights, window, rotation)
    norms = _whole(read_chunks(outside["final_norm"]))
    inputs = [
        rms_norm(hidden[side, :, :-1], norms[side], spec.norm_eps).reshape(-1, spec.hidden_size) for side in range(2)
    ]
    comparison = _Comparison(windows.tokens[:, 1:].reshape(-1))
    step = max(1, LOGITS // len(inputs[0]))
    first = 0
    for both in read_chunks(outside["embedding" if spec.has_tied_head else "head"]):
        for start in range(0, len(both[0]), step):
            part = slice(start, start + step)
            comparison.add(first + start, (inputs[0] @ both[0][part].T, inputs[1] @ both[1][part].T))
        first += len(both[0])
    return comparison.summary(windows.is_reply[:, 1:].reshape(-1))


def _embed(chunks: Iterator[tuple[Floats, Floats]], tokens: NDArray[np.int32], width: int) -> Floats:
    """Hidden states (2, W, T, width) before the first block."""
    rows = np.empty((2, *tokens.shape, width), np.float32)
    first = 0
    for both in chunks:
        is_here = (tokens >= first) & (tokens < first + len(both[0]))
        for side in range(2):
            rows[side][is_here] = both[side][tokens[is_here] - first]
        first += len(both[0])
    return rows


def _whole(chunks: Iterator[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    left, right = zip(*chunks, strict=True)
    return np.concatenate(left), np.concatenate(right)
