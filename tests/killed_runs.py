"""A program for test_robust: quantizes again and again, each time killed at another point, in a process of its own.

Knows: fork, SIGKILL, and the events that Python reports of everything it does to files. Does not know: what of it is
right; the test looks at the folders. Run as `python killed_runs.py SOURCE OUT METHOD NUM_POINTS`: leaves OUT-0, OUT-1,
each killed once and then run to its end, and so on, and prints the number of file events of an undisturbed run.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any, get_args

from quantize.pipeline import quantize_checkpoint
from quantize.recipe import FileFormat, QuantRecipe

FILE_EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "shutil.copyfile"}
FILE_FORMATS = get_args(FileFormat)
QUICK = {"windows": 3, "window_tokens": 32, "held_out": 1, "grid": 3}


def quantize(source: Path, out: Path, method: str) -> None:
    """What is killed: a calibrated run, one that only rounds, or one that rounds into several formats."""
    options: dict[str, Any] = QUICK if method == "awq" else {}
    if method == "formats":
        method, options = "rtn", {"file_formats": FILE_FORMATS}
    quantize_checkpoint(source, out, QuantRecipe(method=method, **options), name="m")


def in_child(source: Path, out: Path, method: str, dies_at: int | None = None, dies_after_s: float = 0.0) -> int:
    """The number of file events of one run in a child of its own, -1 where it was killed as asked."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        count = 0

        def look(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal count
            if event in FILE_EVENTS and str(out.parent) in str(arguments):
                count += 1
                if count == dies_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(look)
        if dies_after_s:
            signal.setitimer(signal.ITIMER_REAL, dies_after_s)  # its signal kills, as nobody handles it
        quantize(source, out, method)
        os.write(writing, str(count).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return -1
    assert status == 0, f"a run in {out} ended with status {status}"
    return int(told)


def main() -> None:
    """Kill at points spread over all file events, and at two moments by the clock; then run each again."""
    source, out, method, num_points = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    num_events = in_child(source, out.with_name("whole"), method)
    points = [1 + number * (num_events - 1) // (num_points - 1) for number in range(num_points)]
    for number, point in enumerate(points):
        path = out.with_name(f"{out.name}-{number}")
        assert in_child(source, path, method, point) == -1 or number == num_points - 1, f"event {point} never came"
        if number % 2:  # and once more, while it goes on
            in_child(source, path, method, max(1, point // 2))
        if not path.exists():  # those that died after the last rename are whole
            in_child(source, path, method)
    for number, seconds in enumerate((0.02, 0.1)):
        path = out.with_name(f"{out.name}-clock-{number}")
        in_child(source, path, method, dies_after_s=seconds)
        if not path.exists():
            in_child(source, path, method)
    print(num_events)


if __name__ == "__main__":
    main()
