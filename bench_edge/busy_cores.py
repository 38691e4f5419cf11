"""Another process that takes the cores, on and off, as background work on a real device does.

Knows: a seeded schedule and how to burn time. Does not know: what is measured meanwhile.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context, parent_process

SHORTEST_S, LONGEST_S = 0.2, 2.0  # of each busy and of each quiet time


def schedule(seed: int) -> Iterator[float]:
    """Seconds of busy, quiet, busy, quiet, … time, always the same for a seed."""
    rng = random.Random(seed)
    while True:
        yield rng.uniform(SHORTEST_S, LONGEST_S)


@contextmanager
def busy_cores(seed: int, num_cores: int) -> Iterator[None]:
    """Keep ``num_cores`` cores busy on and off, all at the same times, as long as the block runs."""
    spawn = get_context("spawn")  # a fork would copy the threads' locks of the libraries loaded so far
    start_s = time.time() + 1.0  # when all of them have come up
    burners = [spawn.Process(target=burn, args=(seed, start_s), daemon=True) for _ in range(num_cores)]
    for burner in burners:
        burner.start()
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.join()


def burn(seed: int, start_s: float, until_s: float = float("inf")) -> None:
    """Follow the schedule from the wall clock's ``start_s`` to ``until_s``, or until who asked for it is gone."""
    end_s, is_busy = start_s, False
    durations, parent = schedule(seed), parent_process()
    while end_s < until_s and (parent is None or parent.is_alive()):
        while is_busy and time.time() < end_s:
            sum(range(1000))
        time.sleep(max(end_s - time.time(), 0.0))
        end_s, is_busy = end_s + next(durations), not is_busy
