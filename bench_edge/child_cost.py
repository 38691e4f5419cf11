"""What one command costs: its wall time and the most memory it had, measured from outside, in a process of its own.

Knows: Linux's figures of a process. Does not know: what the command does.

Memory is what is resident: the program, its libraries and its arrays. Pages of files count only while they are mapped;
what the kernel keeps of files that were read or written in the ordinary way is not the process's.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.machine import describe_machine
from models.errors import BackendError

SAMPLE_EVERY_S = 0.02


@dataclass(frozen=True, slots=True)
class ChildCost:
    """Wall seconds, cores it could use, and most memory in MiB: all that was resident, and its anonymous part alone.

    ``peak_mib`` is the larger of the kernel's own high-water mark of the process and what ``wait4`` says, which may be
    this process's where that is larger: never too small.
    """

    seconds: float
    cores: int
    peak_mib: float
    anonymous_mib: float


def measure_child(command: Sequence[str], num_cores: int) -> ChildCost:
    """Run ``command`` on ``num_cores`` cores, or on all where there are fewer; its own words go where ours go.

    Raises BackendError where it fails.
    """
    cores = describe_machine().cores[:num_cores]
    start = time.perf_counter()
    child = _start(command, cores)
    peak_kib = anonymous_kib = 0
    try:
        while not (ended := os.wait4(child.pid, os.WNOHANG))[0]:
            figures = _memory_of(child.pid)
            peak_kib = max(peak_kib, figures.get("VmHWM", 0))
            anonymous_kib = max(anonymous_kib, figures.get("RssAnon", 0))
            time.sleep(SAMPLE_EVERY_S)
    except BaseException:
        child.kill()
        child.wait()
        raise
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(ended[1])
    if child.returncode:
        raise BackendError(f"{' '.join(command[-4:])} ended with {child.returncode}; what it said stands above.")
    return ChildCost(seconds, len(cores), max(peak_kib, ended[2].ru_maxrss) / 1024, anonymous_kib / 1024)


def _start(command: Sequence[str], cores: Sequence[int]) -> subprocess.Popen[bytes]:
    """Start a process that can use ``cores`` only, from its first instruction on."""
    if not hasattr(os, "sched_setaffinity"):
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)  # a child inherits it
    try:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)
    finally:
        os.sched_setaffinity(0, own)


def _memory_of(pid: int) -> dict[str, int]:
    """The lines of /proc/PID/status that are in kB; none where the process has just ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines if line.endswith(" kB"))
    return {name: int(value.split()[0]) for name, value in pairs}
