"""What the router costs: microseconds a prompt, milliseconds to load, bytes.

Knows: prompts of two lengths in two languages, and clocks. Does not know: whether its scores are any good.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

from bench_edge.intervals import percentile
from bench_edge.router_texts import PASSAGES, REQUESTS
from edge.think.router import Router
from edge.think.router_weights import PATH

LENGTHS = (200, 8000)
NUM_PROMPTS, NUM_ROUNDS, NUM_LOADS = 50, 40, 5
HOST_STEPS, HOST_ROUNDS = 5000, 20_000
LOAD = """
import time, numpy, edge.chat_types
start = time.perf_counter()
from edge.think.router import default_router
default_router().route("warm")
print(time.perf_counter() - start)
"""


def measure_speed(router: Router, seed: int) -> dict[str, Any]:
    """Microseconds, median and 99th percentile, by length and language; every prompt is another text."""
    rng, found = Random(seed), {}
    for length in LENGTHS:
        for language in ("en", "zh"):
            prompts = [_prompt(rng, language, length) for _ in range(NUM_PROMPTS)]
            for prompt in prompts:
                router.route(prompt)
            times_us = [_time_us(router, prompt) for _ in range(NUM_ROUNDS) for prompt in prompts]
            middle, high = percentile(times_us, 0.5), percentile(times_us, 0.99)
            found[f"{language} {length}"] = {"p50_us": round(middle, 2), "p99_us": round(high, 2)}
    return found


def measure_host() -> dict[str, float]:
    """How quiet the machine is: a loop of Python alone that takes about as long as a decision, and has nothing to wait
    for. A break is a round that took half as long again; behind one a decision finds its caches cold.
    """
    times_us = []
    for _ in range(HOST_ROUNDS):
        start_s = time.perf_counter()
        for _ in range(HOST_STEPS):
            pass
        times_us.append(1e6 * (time.perf_counter() - start_s))
    middle, high = percentile(times_us, 0.5), percentile(times_us, 0.99)
    num_breaks = sum(one > 1.5 * middle for one in times_us)
    return {
        "p50_us": round(middle, 2),
        "p99_us": round(high, 2),
        "breaks_per_s": round(1e6 * num_breaks / sum(times_us), 1),
    }


def _time_us(router: Router, prompt: str) -> float:
    start_s = time.perf_counter()
    router.route(prompt)
    return 1e6 * (time.perf_counter() - start_s)


def _prompt(rng: Random, language: str, length: int) -> str:
    """Text of exactly so many characters."""
    parts = [rng.choice(REQUESTS[language])]
    while sum(map(len, parts)) < length:
        parts.append(rng.choice(PASSAGES[language])[rng.randint(0, 40) :])
    return " ".join(parts)[:length]


def measure_size() -> dict[str, Any]:
    """Bytes of the weights, and milliseconds to the first score, the median over fresh processes.

    They have imported numpy and the runtime's own values already, as whoever routes has.
    """
    command = [sys.executable, "-c", LOAD]
    loads_s = [
        float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(NUM_LOADS)
    ]
    return {"bytes": Path(PATH).stat().st_size, "load_ms": round(1e3 * percentile(loads_s, 0.5), 2)}
