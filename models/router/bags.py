"""Featurized prompts in bulk, and the pools of their hashed words, forwards and backwards.

Knows: which tokens of a prompt are pooled (``edge.think.prompt_features``), sums and their gradients.
Does not know: what the pooled numbers mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.think.prompt_features import END_TOKENS, NUM_COUNTS, NUM_POOLS, SMOOTHING, featurize, stride
from edge.think.prompt_tokens import HASH_BITS, IDS

Floats = NDArray[np.float32]
TABLE_SIZE = 1 << HASH_BITS


@dataclass(frozen=True, slots=True)
class Prompts:
    """``n`` prompts: ``ids`` ``(t, 4) uint16`` of the tokens that are pooled, ``pools`` ``(t, 3)`` which pools each is
    in, ``ends`` ``(n,)`` of each prompt among the tokens, ``sizes`` ``(n, 3)`` of its pools, ``counts`` ``(n, c)``."""

    ids: NDArray[np.uint16]
    pools: NDArray[np.bool_]
    ends: NDArray[np.int64]
    sizes: Floats
    counts: Floats

    @staticmethod
    def of(texts: Sequence[str]) -> Prompts:
        """Featurize ``texts``."""
        ids, pools = [np.zeros((0, IDS), np.uint16)], [np.zeros((0, NUM_POOLS), np.bool_)]
        counts = np.zeros((len(texts), NUM_COUNTS), np.float32)
        for place, text in enumerate(texts):
            features = featurize(text)
            inside = _pools_of(features.ids.shape[1])
            kept = inside.any(1)
            ids.append(features.ids.T[kept].astype(np.uint16))
            pools.append(inside[kept])
            counts[place] = features.counts
        sizes = np.array([inside.sum(0) for inside in pools[1:]], np.float32).reshape(-1, NUM_POOLS)
        ends = np.cumsum([len(part) for part in pools[1:]], dtype=np.int64)
        return Prompts(np.concatenate(ids), np.concatenate(pools), ends, sizes, counts)

    def take(self, rows: NDArray[np.int64]) -> Prompts:
        """Only ``rows``, in that order."""
        batch = make_batch(self, rows, None, 1.0)
        lengths = np.bincount(batch.owners, minlength=len(rows))
        ids = batch.ids.astype(np.uint16)
        return Prompts(ids, batch.pools, np.cumsum(lengths), self.sizes[rows], self.counts[rows])

    def __len__(self) -> int:
        return len(self.ends)


def _pools_of(num_tokens: int) -> NDArray[np.bool_]:
    """``(num_tokens, 3)``: who is in the pool of the whole, of the head, of the tail; as the router pools them."""
    inside = np.zeros((num_tokens, NUM_POOLS), np.bool_)
    inside[:: stride(num_tokens), 0] = True
    inside[:END_TOKENS, 1] = True
    inside[-END_TOKENS:, 2] = True
    return inside


@dataclass(frozen=True, slots=True)
class Batch:
    """Some prompts: their tokens, which of the ``rows`` each belongs to, its pools, and what each sum is divided by."""

    rows: NDArray[np.int64]
    ids: NDArray[np.int64]
    owners: NDArray[np.int64]
    pools: NDArray[np.bool_]
    lengths: Floats


def make_batch(prompts: Prompts, rows: NDArray[np.int64], rng: np.random.Generator | None, keep: float) -> Batch:
    """The tokens of ``rows``; with ``rng`` only a share ``keep`` of them, so that no prompt is learned by heart."""
    ends = prompts.ends[rows]
    sizes = ends - np.where(rows > 0, prompts.ends[rows - 1], 0)
    owners = np.repeat(np.arange(len(rows)), sizes)
    places = np.arange(len(owners)) + np.repeat(ends - np.cumsum(sizes), sizes)
    if rng is None:
        keep = 1.0
    else:
        kept = rng.random(len(owners)) < keep
        owners, places = owners[kept], places[kept]
    lengths = (prompts.sizes[rows] * keep + SMOOTHING).astype(np.float32)
    return Batch(rows, prompts.ids[places].astype(np.int64), owners, prompts.pools[places], lengths)


def pooled(table: Floats, batch: Batch) -> Floats:
    """``(rows, 3 k)`` from a table ``(65536, k)``: the rows of the words, summed up by pool, over the pool's length."""
    words = table[batch.ids].sum(1)
    num_rows, parts = len(batch.rows), []
    for pool in range(NUM_POOLS):
        inside = batch.pools[:, pool]
        owners, values = batch.owners[inside], words[inside]
        sums = [np.bincount(owners, values[:, k], num_rows) for k in range(table.shape[1])]
        parts.append(np.stack(sums, 1) / batch.lengths[:, pool : pool + 1])
    return np.concatenate(parts, 1).astype(np.float32)


def pooled_all(table: Floats, prompts: Prompts, rows_at_once: int = 2048) -> Floats:
    """``pooled`` of all prompts."""
    every = np.arange(len(prompts))
    parts = [
        pooled(table, make_batch(prompts, every[start : start + rows_at_once], None, 1.0))
        for start in range(0, len(every), rows_at_once)
    ]
    return np.concatenate([np.zeros((0, NUM_POOLS * table.shape[1]), np.float32), *parts])


def table_gradient(at_pools: Floats, batch: Batch, width: int) -> Floats:
    """The gradient ``(65536, width)`` of the table from that of ``pooled``."""
    at_words = np.zeros((len(batch.owners), width), np.float32)
    for pool in range(NUM_POOLS):
        at_sum = at_pools[:, pool * width : (pool + 1) * width] / batch.lengths[:, pool : pool + 1]
        at_words += at_sum[batch.owners] * batch.pools[:, pool : pool + 1]
    flat = batch.ids.ravel()
    columns = [np.bincount(flat, np.repeat(at_words[:, k], IDS), TABLE_SIZE) for k in range(width)]
    return np.stack(columns, 1).astype(np.float32)


def shared_words(prompts: Prompts, origins: Sequence[str], least_origins: int, least_count: int) -> NDArray[np.bool_]:
    """``(65536,)``: which ids occur in prompts of enough origins; the others would only tell the origins apart."""
    names, numbers = np.unique(np.array(origins), return_inverse=True)
    owners = np.repeat(np.arange(len(prompts)), np.diff(prompts.ends, prepend=0))
    origin_of = np.repeat(numbers[owners], IDS)
    flat = prompts.ids.ravel().astype(np.int64)
    seen, counts = np.unique(flat * len(names) + origin_of, return_counts=True)
    often = seen[counts >= least_count] // len(names)
    return np.bincount(often, minlength=TABLE_SIZE) >= least_origins
