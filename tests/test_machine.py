"""Machines as the kernel describes them: big.LITTLE chips, containers with limits, and this one."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.machine import describe_machine, machine_key

GIB = 2**30


def build(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def cpus(**columns: list[int | str]) -> dict[str, str]:
    """Files below /sys for one CPU each: cpu_capacity, cpuinfo_max_freq, thread_siblings_list."""
    folders = {"cpuinfo_max_freq": "cpufreq/", "thread_siblings_list": "topology/"}
    return {
        f"sys/devices/system/cpu/cpu{number}/{folders.get(name, '')}{name}": f"{value}\n"
        for name, values in columns.items()
        for number, value in enumerate(values)
    }


@pytest.mark.parametrize(
    ("name", "files", "fast"),
    [
        ("RK3588 by capacity", cpus(cpu_capacity=[406] * 4 + [1024] * 4), (4, 5, 6, 7)),
        (
            "RK3588 by frequency",
            cpus(cpuinfo_max_freq=[1_800_000] * 4 + [2_256_000] * 2 + [2_304_000] * 2),
            (4, 5, 6, 7),
        ),
        ("RK3399", cpus(cpu_capacity=[485] * 4 + [1024] * 2), (4, 5)),
        ("a phone with three kinds", cpus(cpu_capacity=[325] * 4 + [828] * 3 + [1024]), (4, 5, 6, 7)),
        ("Raspberry Pi 5", cpus(cpuinfo_max_freq=[2_400_000] * 4), (0, 1, 2, 3)),
        ("two threads a core", cpus(thread_siblings_list=["0,2", "1,3", "0,2", "1,3"]), (0, 1)),
        ("two threads a core, in ranges", cpus(thread_siblings_list=["0-1", "0-1", "2-3", "2-3"]), (0, 2)),
        ("no speeds given", cpus(cpu_capacity=["", ""]), (0, 1)),
        ("more than ten", cpus(cpu_capacity=[400] * 4 + [1024] * 8), tuple(range(4, 12))),
    ],
)
def test_fast_cores(tmp_path: Path, name: str, files: dict[str, str], fast: tuple[int, ...]) -> None:
    """Threads on little cores make the big ones wait, and a second thread of a core gains nothing."""
    machine = describe_machine(build(tmp_path, files))
    assert machine.fast_cores == fast
    assert machine.default_threads == len(fast)


@pytest.mark.parametrize(
    ("files", "limit", "threads"),
    [
        ({}, None, 4),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None, 4),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "250000 100000\n"}, 2.5, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5, 1),
        (
            {"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/x": "", "sys/fs/cgroup/a/cpu.max": "100000 100000"},
            1.0,
            1,
        ),
        ({"proc/self/cgroup": "0::/not/here\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2.0, 2),
        (
            {
                "proc/self/cgroup": "4:cpuacct,cpu:/docker/x\n",
                "sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us": "300000",
                "sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us": "100000",
            },
            3.0,
            3,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            None,
            4,
        ),
    ],
)
def test_cpu_limits_of_containers(tmp_path: Path, files: dict[str, str], limit: float | None, threads: int) -> None:
    """Four threads on the time of one are slower than one, since they wait for each other."""
    machine = describe_machine(build(tmp_path, cpus(cpu_capacity=[1024] * 4) | files))
    assert (machine.cpu_limit, machine.default_threads) == (limit, threads)


MEMINFO = {
    "proc/meminfo": f"MemTotal: {8 * GIB // 1024} kB\nMemAvailable:   {6 * GIB // 1024} kB\nHugePages_Total: 0\n"
}


@pytest.mark.parametrize(
    ("files", "available"),
    [
        ({}, 6 * GIB),
        (
            {
                "proc/self/cgroup": "0::/box\n",
                "sys/fs/cgroup/box/memory.max": str(2 * GIB),
                "sys/fs/cgroup/box/memory.current": str(GIB),
                "sys/fs/cgroup/box/memory.stat": f"anon 1\ninactive_file {GIB // 2}\n",
            },
            3 * GIB // 2,
        ),
        (
            {
                "proc/self/cgroup": "0::/box\n",
                "sys/fs/cgroup/box/memory.max": "max",
                "sys/fs/cgroup/box/memory.current": "5",
            },
            6 * GIB,
        ),
        (
            {
                "proc/self/cgroup": "9:memory:/box\n0::/\n",
                "sys/fs/cgroup/memory/box/memory.limit_in_bytes": str(GIB),
                "sys/fs/cgroup/memory/box/memory.usage_in_bytes": str(2 * GIB),
            },
            0,
        ),
    ],
)
def test_available_memory_respects_the_cgroup(tmp_path: Path, files: dict[str, str], available: int) -> None:
    """A container's process is killed at its own limit, however much the machine has."""
    machine = describe_machine(build(tmp_path, MEMINFO | files))
    assert (machine.memory_total_bytes, machine.memory_available_bytes) == (8 * GIB, available)


X86 = (
    "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\ncpu MHz\t\t: {mhz}\nflags\t\t: fpu {flags}\nbogomips\t: {mhz}\n\n"
)


def test_key_names_the_kind_of_machine(tmp_path: Path) -> None:
    """A clock that moves must not look like another machine; another instruction set must."""
    texts = {
        "a": X86.format(mhz=3000, flags="avx2"),
        "b": X86.format(mhz=800, flags="avx2"),
        "c": X86.format(mhz=3000, flags="sse"),
    }
    keys = {name: machine_key(build(tmp_path / name, {"proc/cpuinfo": text})) for name, text in texts.items()}
    assert keys["a"] == keys["b"] != keys["c"]
    assert describe_machine(tmp_path / "a").key == keys["a"]


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        (X86.format(mhz=1, flags=""), "Some CPU @ 3 GHz"),
        ("processor : 0\nCPU part : 0xd05\n\nprocessor : 4\nCPU part : 0xd0b\n\nHardware : RK3588\n", "RK3588"),
        ("processor : 0\nCPU part : 0xd0b\n", "Arm core 0xd0b"),
    ],
)
def test_cpu_name(tmp_path: Path, cpuinfo: str, name: str) -> None:
    assert describe_machine(build(tmp_path, {"proc/cpuinfo": cpuinfo})).cpu_name == name


def test_bare_machine_has_one_thread_and_no_figures(tmp_path: Path) -> None:
    machine = describe_machine(tmp_path)
    assert (machine.default_threads, machine.memory_available_bytes, machine.cpu_limit) == (1, None, None)


def test_this_machine_is_described() -> None:
    machine = describe_machine()
    assert machine.cpu_name and machine.default_threads >= 1 and set(machine.fast_cores) <= set(machine.cores)
    assert machine.key == describe_machine().key == machine_key()
