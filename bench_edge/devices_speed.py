"""A model of a true size on every runtime that is here, each in turn: prefill, decode, and what memory would allow.

Knows: onnxruntime-genai as the rival on the same ONNX files, llama.cpp on the same weights as GGUF, and how fast this
machine reads memory. Does not know: anything inside a backend. Weights are random: they measure time, not sense.
"""

from __future__ import annotations

import importlib.util
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench_edge.genai_loop import GenaiLoop
from bench_edge.intervals import paired_difference
from bench_edge.report import Check
from edge.backends.base import Backend, BackendOptions, open_backend
from models.errors import BackendError, UsageError

PROMPT_TOKENS, PREFILL_TOKENS, DECODED_TOKENS = 32, 512, 16
PREFILL_ROUNDS = 3
DECODE_RUNS = 3  # in each process
READ_BYTES = 2**28  # of each thread; far above any cache
PACKAGES = ("onnxruntime", "onnxruntime_genai", "onnx")


def check_can_measure(shape: str) -> None:
    """Raises UsageError for an unknown shape, or where a package of the rivals is missing."""
    from bench_edge.shapes import SHAPES

    if shape not in SHAPES:
        raise UsageError(f"There is no shape {shape!r}; use one of {', '.join(SHAPES)}.")
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        raise UsageError(
            f"This bench needs {', '.join(missing)}; run: pip install '.[bench,onnx]', or give --shape none."
        )


def shape_files(shape: str, folder: Path) -> tuple[Path, Path]:
    """A GGUF and an ONNX graph of the same random weights in ``folder``, written if they are not there yet."""
    from bench_edge.shapes import write_random_onnx
    from bench_edge.speed import shape_file

    onnx_folder = folder / f"random-{shape}-onnx"
    if not onnx_folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_random_onnx(shape, onnx_folder)
    return shape_file(shape, folder), onnx_folder / "model.onnx"


def measure(shape: str, folder: Path, threads: int, processes: int, rounds: int) -> dict[str, Any]:
    """Tokens a second of each runtime, and the ratios that are promised; ratios are of rounds in turn.

    Every part runs in a process of its own. A runtime's speed differs from one process to the next, by where its
    weights come to lie in memory, and is steady within one: onnx and its rival meet in ``processes`` pairs of new ones.
    """
    shape_files(shape, folder)  # by this process, whose progress is seen
    part = {"shape": shape, "folder": str(folder), "threads": threads}
    rivals = {name: partial(_in_child, decode_s, name=name, **part) for name in ("onnx", "onnxruntime-genai")}
    decode = {name: [float(each) for each in found] for name, found in in_turn(rivals, processes).items()}
    prefill = _in_child(prefill_times_s, **part)
    limit = _in_child(limit_times_s, rounds=rounds, **part)
    bytes_read = [shape_files(shape, folder)[0].stat().st_size / seconds for seconds in limit["llama_cpp"]]
    return {
        "shape": shape,
        "threads": threads,
        "processes": processes,
        "rounds": rounds,
        "decode_tokens_per_s": {
            **{name: 1 / statistics.median(seconds) for name, seconds in decode.items()},
            "llama_cpp": 1 / statistics.median(limit["llama_cpp"]),
        },
        "decode_ms_by_process": {name: [1000 * each for each in seconds] for name, seconds in decode.items()},
        "prefill_tokens_per_s": {
            name: PREFILL_TOKENS / statistics.median(seconds) for name, seconds in prefill.items()
        },
        "decode_over_genai": ratio(decode["onnxruntime-genai"], decode["onnx"]),
        "prefill_over_llama": ratio(prefill["llama_cpp"], prefill["onnx"]),
        "llama_bytes_per_s": statistics.median(bytes_read),
        "read_bytes_per_s": max(threads * READ_BYTES / seconds for seconds in limit["memory"]),
    }


def _in_child(part: Callable[..., Any], **settings: Any) -> Any:
    """What ``part`` gives in a new process. Raises BackendError where that fails."""
    command = [sys.executable, "-m", "bench_edge.devices_speed", part.__name__, json.dumps(settings)]
    child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if child.returncode:
        raise BackendError(f"The speed could not be measured (exit code {child.returncode}); see above.")
    return json.loads(child.stdout.splitlines()[-1])


def decode_s(name: str, shape: str, folder: str, threads: int) -> float:
    """Seconds a token of onnx or its rival, the median of some runs after one that does not count."""
    onnx_path = shape_files(shape, Path(folder))[1]
    if name == "onnx":
        with closing(open_backend("onnx", onnx_path, _options(threads))) as onnx:
            times_s = [decode_s_of(onnx) for _ in range(DECODE_RUNS + 1)]
    else:
        with GenaiLoop(onnx_path.parent, threads) as genai:
            times_s = [genai.decode_s(_prompt(), DECODED_TOKENS) for _ in range(DECODE_RUNS + 1)]
    return statistics.median(times_s[1:])


def prefill_times_s(shape: str, folder: str, threads: int) -> dict[str, list[float]]:
    """Seconds of prefills in turn, by backend."""
    gguf_path, onnx_path = shape_files(shape, Path(folder))
    with (
        closing(open_backend("onnx", onnx_path, _options(threads))) as onnx,
        closing(open_backend("llama_cpp", gguf_path, _options(threads))) as llama,
    ):
        rivals = {"onnx": lambda: prefill_s_of(onnx), "llama_cpp": lambda: prefill_s_of(llama)}
        return in_turn(rivals, PREFILL_ROUNDS)


def limit_times_s(shape: str, folder: str, threads: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of a token of llama.cpp, in turn with seconds of reading memory by as many threads."""
    path = shape_files(shape, Path(folder))[0]
    with closing(open_backend("llama_cpp", path, _options(threads))) as llama:
        return in_turn({"llama_cpp": lambda: decode_s_of(llama), "memory": lambda: read_s(threads)}, rounds)


PARTS: tuple[Callable[..., Any], ...] = (decode_s, prefill_times_s, limit_times_s)


def speed_checks(figures: dict[str, Any]) -> list[Check]:
    """The promised figures."""
    shape, threads = figures["shape"], figures["threads"]
    decode, prefill = figures["decode_over_genai"]["value"], figures["prefill_over_llama"]["value"]
    limit = figures["llama_bytes_per_s"] / figures["read_bytes_per_s"]
    what = f"{shape} shape, {threads} threads"
    return [
        Check("E.onnx_decode", f"onnx decode over onnxruntime-genai, {what}", decode, 0.97, "at_least"),
        Check("E.onnx_prefill", f"onnx prefill of {PREFILL_TOKENS} over llama.cpp, {what}", prefill, 0.5, "at_least"),
        Check("E.llama_limit", f"llama.cpp decode over memory's read bandwidth, {what}", limit, 0.9, "at_least"),
    ]


# --- measuring ------------------------------------------------------------------------------------------------------


def in_turn(rivals: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Each of ``rivals`` once a round, the first to go changing, after one round that does not count."""
    names = list(rivals)
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        for name in names if number % 2 else reversed(names):
            value = rivals[name]()
            if number:
                found[name].append(value)
    return found


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> dict[str, Any]:
    """How many times as fast as theirs: the mean of paired rounds on a logarithmic scale, with its 95 % interval."""
    mean, ends = paired_difference([math.log(value) for value in theirs], [math.log(value) for value in ours])
    return {"value": math.exp(mean), "interval_95": [math.exp(end) for end in ends] if len(ours) > 1 else None}


def decode_s_of(device: Backend) -> float:
    """Seconds a token, each the likeliest after the last."""
    device.prefill(0, _prompt())
    start_s = time.perf_counter()
    for _ in range(DECODED_TOKENS):
        device.append(0, (int(device.logits(0).argmax()),))
    return (time.perf_counter() - start_s) / DECODED_TOKENS


def prefill_s_of(device: Backend) -> float:
    """Seconds of a prefill of PREFILL_TOKENS into an empty cache."""
    device.cut(0, 0)
    start_s = time.perf_counter()
    device.prefill(0, _tokens(PREFILL_TOKENS))
    return time.perf_counter() - start_s


def read_s(threads: int) -> float:
    """Seconds in which ``threads`` threads read READ_BYTES each, by the fastest of numpy's own loops over memory."""
    arrays = [np.ones(READ_BYTES // 8, np.uint64) for _ in range(threads)]
    times_s = []
    with ThreadPoolExecutor(threads) as pool:
        for reduce in (np.bitwise_or.reduce, lambda array: np.maximum.reduce(array.view(np.float32))):
            for _ in range(2):
                start_s = time.perf_counter()
                list(pool.map(reduce, arrays))
                times_s.append(time.perf_counter() - start_s)
    return min(times_s)


def _prompt() -> list[int]:
    return _tokens(PROMPT_TOKENS)


def _tokens(count: int) -> list[int]:
    return [int(token) for token in np.random.default_rng(0).integers(0, 1000, count)]


def _options(threads: int) -> BackendOptions:
    return BackendOptions(context_size=PREFILL_TOKENS + DECODED_TOKENS, num_threads=threads)


if __name__ == "__main__":
    named = {part.__name__: part for part in PARTS}
    print(json.dumps(named[sys.argv[1]](**json.loads(sys.argv[2]))))
