"""How fast: time to first token, prefill, decode and memory, and what the runtime adds to a bare llama_decode loop.

Knows: how to time the runtime from outside, by the caller's own clock, in turn with the bare loop in the same process.
Does not know: anything inside the runtime. Speeds of a model with random weights say so: they measure time, not sense.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_edge.arguments import BenchParser, whole_number
from bench_edge.bare_loop import BareLoop
from bench_edge.report import BenchReport, Check, format_table, print_report
from models.errors import BackendError, UsageError

if TYPE_CHECKING:
    from edge.engine import Engine

SEED = 0
PROMPT = "What is 38*47-5+12?"
PREFILL_TOKENS = 512


def main(arguments: list[str]) -> int:
    """Run the bench; see ``edge bench speed --help``."""
    options = _parse(arguments)
    results: dict[str, Any] = {"spark": measure_in_child(None, repeats=40, tokens=60, threads=options.threads)}
    checks = []
    if options.shape:
        model_path = shape_file(options.shape, Path(options.folder))
        results[options.shape] = measure_in_child(model_path, repeats=11, tokens=28, threads=options.threads)
        ratio = results[options.shape]["decode_ratio"]
        checks.append(Check("A.loop_1", f"decode over a bare loop, {options.shape} shape", ratio, 0.97, "at_least"))
    ratio = results["spark"]["decode_ratio"]
    checks.append(Check("A.loop_2", "decode over a bare loop, spark", ratio, 0.90, "at_least"))
    results["start_s"] = start_times(options.starts)
    median_start = statistics.median(results["start_s"])
    checks.append(Check("A.start", 'edge-chat "2+3=?", whole process, median seconds', median_start, 1.0, "at_most"))
    report = BenchReport("speed", arguments, SEED, results, checks)
    print_report(report, [speed_table(results)], as_json=options.json, store=options.store)
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = BenchParser("speed", __doc__)
    parser.add_argument("--shape", help="also a model of this true shape with random weights, such as hunyuan-1.8b")
    parser.add_argument("--folder", default=".", help="where the random model's file is kept")
    parser.add_argument(
        "--threads", type=whole_number, help="threads of both loops (the runtime's choice if not given)"
    )
    parser.add_argument("--starts", type=whole_number, default=7, help="how many whole processes to time")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        print(json.dumps(measure(**json.loads(options.child))))
        raise SystemExit(0)
    return options


def shape_file(shape: str, folder: Path) -> Path:
    """The GGUF of a random model of ``shape`` in ``folder``, written if it is not there yet."""
    from bench_edge.shapes import SHAPES, write_random_gguf

    if shape not in SHAPES:
        raise UsageError(f"There is no shape {shape!r}; use one of {', '.join(SHAPES)}.")
    path = folder / f"random-{shape}.gguf"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_random_gguf(shape, path)
    return path


def measure_in_child(model_path: Path | None, **settings: Any) -> dict[str, Any]:
    """``measure`` in a process of its own, so that the peak memory is this model's alone."""
    request = json.dumps({"model": str(model_path) if model_path else None, **settings})
    command = [sys.executable, "-m", "bench_edge.speed", "--child", request]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    if child.returncode:
        raise UsageError(f"The speed of {model_path or 'spark'} could not be measured: {child.stderr.strip()[-400:]}")
    result: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return result


def measure(model: str | None, repeats: int, tokens: int, threads: int | None) -> dict[str, Any]:
    """Time the runtime and the bare loop in turn on the same file with the same number of threads."""
    from edge.engine import load

    start = time.perf_counter()
    with load(model, backend="llama_cpp", num_threads=threads, context_size=2048) as engine:
        load_s = time.perf_counter() - start
        prompt_tokens = _prompt_tokens(engine)
        prefill_s = statistics.median(_time_prefill(engine, prompt_tokens) for _ in range(3))
        time_runtime(engine, tokens)
        memory_mib = peak_memory_mib()  # before the bare loop adds a second copy of the model
        with BareLoop(engine.model.path, engine.model.backend.num_threads) as bare:
            rows = [
                (*time_runtime(engine, tokens), bare.decode(prompt_tokens, tokens) / tokens) for _ in range(repeats)
            ]
        ttft_s, runtime_s, bare_s = (statistics.median(column) for column in zip(*rows, strict=True))
        ratios = sorted(bare / runtime for _, runtime, bare in rows)
        return {
            "model": engine.model.name,
            "threads": engine.model.backend.num_threads,
            "load_s": load_s,
            "ttft_s": ttft_s,
            "prefill_tokens_per_s": PREFILL_TOKENS / prefill_s,
            "decode_tokens_per_s": 1 / runtime_s,
            "bare_decode_tokens_per_s": 1 / bare_s,
            "decode_ratio": statistics.median(ratios),
            "decode_ratio_min_max": [ratios[0], ratios[-1]],
            "peak_memory_mib": memory_mib,
        }


def peak_memory_mib() -> float:
    """Most memory this process has had resident, in MiB: VmHWM of Linux, which begins anew with a program.

    ``ru_maxrss`` does not: it keeps, over fork and exec, what the parent once had.
    """
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise BackendError("This system does not tell a process's peak memory (no VmHWM in /proc/self/status).")


def time_runtime(engine: Engine, tokens: int) -> tuple[float, float]:
    """Seconds to the first token, and seconds a decoded token.

    The latter is the wall time of an answer of ``tokens`` + 1 tokens less that of one token, so that tokenizer, parser
    and events all count, as a caller meets them.
    """
    first_s, _ = _time_answer(engine, 1)
    all_s, num_tokens = _time_answer(engine, tokens + 1)
    if num_tokens < 2:
        raise BackendError(f"{engine.model.name} ended its answer at its first token, so it has no decode speed.")
    return first_s, (all_s - first_s) / (num_tokens - 1)


def _time_answer(engine: Engine, max_tokens: int) -> tuple[float, int]:
    """Wall seconds of a streamed answer with thinking, and the number of tokens generated.

    Raises BackendError where the runtime closed the thinking, which takes time of its own: a model with random weights
    goes in circles after some thirty tokens.
    """
    from edge.chat_types import AnswerOptions

    engine.model.backend.cut(0, 0)
    start = time.perf_counter()
    for event in engine.stream(PROMPT, AnswerOptions(think="on", temperature=0.0, max_tokens=max_tokens)):
        last = event
    seconds = time.perf_counter() - start
    assert last.result is not None
    usage = last.result.usage
    if last.result.timings.close_s:
        raise BackendError(f"{engine.model.name} went in circles within {max_tokens} tokens; measure fewer.")
    return seconds, usage.judge_tokens + usage.thinking_tokens + usage.answer_tokens


def _prompt_tokens(engine: Engine) -> list[int]:
    """What the runtime prefills for the same question."""
    from models.dialect import Message

    prompt, forced = engine.model.tokenizer.encode_prompt(engine.model.dialect.render([Message("user", PROMPT)], "on"))
    return [*prompt, *forced]


def _time_prefill(engine: Engine, prompt_tokens: list[int]) -> float:
    tokens = (prompt_tokens * PREFILL_TOKENS)[:PREFILL_TOKENS]
    engine.model.backend.cut(0, 0)
    start = time.perf_counter()
    engine.model.backend.prefill(0, tokens)
    return time.perf_counter() - start


def start_times(count: int) -> list[float]:
    """Wall seconds of ``count`` whole processes ``edge-chat "2+3=?"``, after one that warms the disk cache."""
    command = [sys.executable, "-c", "from edge.cli import chat_main; chat_main()", "2+3=?"]
    seconds = []
    for _ in range(count + 1):
        start = time.perf_counter()
        child = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        seconds.append(time.perf_counter() - start)
        if child.returncode:
            raise BackendError(f"edge-chat failed: {child.stderr.strip()[-400:]}")
    return seconds[1:]


def speed_table(results: dict[str, Any]) -> str:
    """One row a model."""
    header = (
        "model",
        "threads",
        "first token, ms",
        "prefill tok/s",
        "decode tok/s",
        "of a bare loop",
        "peak memory, MiB",
    )
    rows = [
        (
            name,
            row["threads"],
            f"{1000 * row['ttft_s']:.1f}",
            f"{row['prefill_tokens_per_s']:.0f}",
            f"{row['decode_tokens_per_s']:.1f}",
            f"{row['decode_ratio']:.3f}",
            f"{row['peak_memory_mib']:.0f}",
        )
        for name, row in results.items()
        if isinstance(row, dict)
    ]
    return format_table(header, rows)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
