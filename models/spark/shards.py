"""Batches of stage 1, made one shard ahead of the training in another process.

Knows how many rows a batch has and how a place in the endless stream is found again. Knows nothing of networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path
from random import Random

from models.spark import samples
from models.spark.kinds import KINDS, Kind
from models.spark.rendering import Renderer
from models.spark.samples import Mix, Rows
from models.spark.tokenizer import SparkTokenizer

BATCH_ROWS = 24
SHARD_ROWS = 100 * BATCH_ROWS


class ShardStream:
    """Stage-1 batches, made one shard ahead in another process; the same seed gives the same rows after a resume."""

    def __init__(self, tokenizer_folder: Path, kind: Kind, seed: int) -> None:
        self.folder, self.kind, self.seed = tokenizer_folder, kind, seed
        self.pool = ProcessPoolExecutor(1)

    def __enter__(self) -> ShardStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown(cancel_futures=True)

    def rows(self, step: int) -> Iterator[Rows]:
        """Endless batches from `step` on."""
        per_shard = SHARD_ROWS // BATCH_ROWS
        number, skip = step // per_shard, step % per_shard
        ahead: Future[Rows] = self._submit(number)
        while True:
            ids, weights = ahead.result()
            number += 1
            ahead = self._submit(number)
            for at in range(skip, per_shard):
                part = slice(at * BATCH_ROWS, (at + 1) * BATCH_ROWS)
                yield ids[part], weights[part]
            skip = 0

    def _submit(self, number: int) -> Future[Rows]:
        return self.pool.submit(make_shard, str(self.folder), self.kind.name, self.seed, number)


def make_shard(tokenizer_folder: str, kind_name: str, seed: int, number: int) -> Rows:
    """Shard `number` of stage 1."""
    rng = Random(f"{seed}/{number}")
    renderer = _renderer(tokenizer_folder, kind_name)
    mix = Mix()
    return samples.pack(rng, renderer, lambda: samples.draw_forced(rng, renderer, mix), SHARD_ROWS)


@lru_cache(maxsize=1)
def _renderer(tokenizer_folder: str, kind_name: str) -> Renderer:
    return Renderer(SparkTokenizer.load(Path(tokenizer_folder)), KINDS[kind_name])
