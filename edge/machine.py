"""What the machine offers a model: its cores, the fast ones among them, and the memory that is free for us.

Knows: Linux's /proc, /sys and cgroups (versions 1 and 2), read below a ``root`` that a test can fake.
Does not know: models or backends. Elsewhere than on Linux it falls back to the number of CPUs and no memory figure.
"""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CPU_FOLDER = "sys/devices/system/cpu"
CPU_DESCRIPTION_BYTES = 8192  # of /proc/cpuinfo: its first processors; all of it is slow to read on a large server
WEIGHT_BYTES_A_THREAD = 2**25  # below that threads wait for each other longer than they compute; see docs/LOG.md
FAST_BY_CAPACITY = 0.5  # cpu_capacity compares whole cores: an A55 beside an A76 has 0.4, a phone's middle core 0.65
FAST_BY_FREQUENCY = 0.8  # hertz alone flatter a small core: the same A55 has 0.75


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine as this process sees it: ``cores`` are physical cores it may run on, ``fast_cores`` the big ones."""

    cpu_name: str
    architecture: str
    cores: tuple[int, ...]
    fast_cores: tuple[int, ...]
    cpu_limit: float | None  # CPUs' worth of time the cgroup allows; None: no limit
    memory_total_bytes: int | None
    memory_available_bytes: int | None  # the smaller of what the system and the cgroup can still give
    key: str  # the same for the same kind of CPU, whatever the host is called

    @property
    def default_threads(self) -> int:
        """One thread for each fast core, within the cgroup's limit: more would wait for the slow ones."""
        allowed = len(self.fast_cores) if self.cpu_limit is None else int(self.cpu_limit)
        return max(1, min(len(self.fast_cores), allowed))

    def threads_for(self, weight_bytes: int) -> int:
        """The default for a model with so many bytes of weights: fewer threads where there is little to share."""
        return min(self.default_threads, 1 + weight_bytes // WEIGHT_BYTES_A_THREAD)


def describe_machine(root: Path = Path("/")) -> Machine:
    """Read the machine below ``root``; nothing is cached, since memory and limits change."""
    cores = _physical_cores(root)
    description = _read(root / "proc/cpuinfo", CPU_DESCRIPTION_BYTES)
    return Machine(
        cpu_name=_cpu_name(description),
        architecture=platform.machine(),
        cores=cores,
        fast_cores=_fast_cores(root, cores),
        cpu_limit=_cpu_limit(root),
        memory_total_bytes=_meminfo(root).get("MemTotal"),
        memory_available_bytes=_memory_available_bytes(root),
        key=_machine_key(description),
    )


def machine_key(root: Path = Path("/")) -> str:
    """``Machine.key`` alone: 16 hex digits of architecture, CPU model and instruction set."""
    return _machine_key(_read(root / "proc/cpuinfo", CPU_DESCRIPTION_BYTES))


def _machine_key(description: str) -> str:
    first_cpu = description.split("\n\n")[0].splitlines()
    changing = ("processor", "cpu mhz", "bogomips", "apicid", "initial apicid", "core id", "siblings", "cpu cores")
    stable = [line for line in first_cpu if line.split(":")[0].strip().lower() not in changing]
    return hashlib.sha256("\n".join([platform.machine(), *stable]).encode()).hexdigest()[:16]


def _cpu_name(description: str) -> str:
    fields = dict(line.split(":", 1) for line in reversed(description.splitlines()) if ":" in line)
    named = {key.strip().lower(): value.strip() for key, value in fields.items()}
    arm_part = f"Arm core {named['cpu part']}" if "cpu part" in named else ""
    return named.get("model name") or named.get("hardware") or arm_part or platform.processor() or platform.machine()


def _physical_cores(root: Path) -> tuple[int, ...]:
    """The CPUs this process may run on, without the second thread of a core."""
    usable = _usable_cpus(root)
    cores, seen = [], set()
    for cpu in usable:
        siblings = _read(root / CPU_FOLDER / f"cpu{cpu}/topology/thread_siblings_list").strip() or str(cpu)
        if siblings not in seen:
            seen.add(siblings)
            cores.append(cpu)
    return tuple(cores)


def _usable_cpus(root: Path) -> list[int]:
    if root != Path("/"):  # a faked machine: all of its CPUs
        return sorted(int(folder.name[3:]) for folder in (root / CPU_FOLDER).glob("cpu[0-9]*"))
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _fast_cores(root: Path, cores: tuple[int, ...]) -> tuple[int, ...]:
    for source, threshold in (("cpu_capacity", FAST_BY_CAPACITY), ("cpufreq/cpuinfo_max_freq", FAST_BY_FREQUENCY)):
        speeds = [_number(root / CPU_FOLDER / f"cpu{core}" / source) or 0.0 for core in cores]
        if speeds and min(speeds) > 0:
            return tuple(core for core, speed in zip(cores, speeds, strict=True) if speed >= threshold * max(speeds))
    return cores


def _cpu_limit(root: Path) -> float | None:
    limits = []
    for folder in _cgroup_folders(root, "cpu"):
        quota, _, period = _read(folder / "cpu.max").strip().partition(" ")
        if not quota:
            quota, period = _read(folder / "cpu.cfs_quota_us").strip(), _read(folder / "cpu.cfs_period_us").strip()
        if quota.isdigit() and period.isdigit() and int(period) > 0:
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def _memory_available_bytes(root: Path) -> int | None:
    room = [_meminfo(root).get("MemAvailable")]
    for folder in _cgroup_folders(root, "memory"):
        limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
        used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes")
        if limit is not None and used is not None:
            room.append(max(0, int(limit - used + _reclaimable_bytes(folder))))
    return min((size for size in room if size is not None), default=None)


def _reclaimable_bytes(cgroup_folder: Path) -> int:
    """File cache that counts as used but that the kernel gives back at once."""
    fields = dict(line.split(" ", 1) for line in _read(cgroup_folder / "memory.stat").splitlines() if " " in line)
    return int(fields.get("total_inactive_file") or fields.get("inactive_file") or 0)


def _cgroup_folders(root: Path, controller: str) -> Iterator[Path]:
    """The folders from this process's cgroup up to the mount point: each may set a limit."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / (controllers and controller)
        folder = mount / path.lstrip("/")
        yield from (place for place in (folder, *folder.parents) if place.is_relative_to(mount) and place.is_dir())


def _meminfo(root: Path) -> dict[str, int]:
    """Bytes by name, from lines such as ``MemAvailable:  123 kB``."""
    lines = (line.split() for line in _read(root / "proc/meminfo").splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) == 3 and words[2] == "kB"}


def _number(path: Path) -> float | None:
    text = _read(path).strip()
    return float(text) if text.isdigit() else None


def _read(path: Path, num_bytes: int = -1) -> str:
    """The text of a file of /proc or /sys, empty where there is none."""
    try:
        with path.open("rb") as file:
            return file.read(num_bytes).decode(errors="replace")
    except OSError:
        return ""


def process_age_s() -> float:
    """Seconds since this process was started, to a hundredth; 0 where the system does not say."""
    try:
        fields = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return max(time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK"), 0.0)
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0
