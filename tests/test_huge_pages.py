"""Memory on huge pages: only what a block brought, unchanged, and nothing at all where it would take too long."""

from __future__ import annotations

import mmap
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.backends import huge_pages
from edge.backends.huge_pages import HUGE_PAGE, LEAST_BYTES, move, on_huge_pages

SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
SIZE = 2 * LEAST_BYTES


def filled_memory() -> NDArray[np.uint8]:
    """Memory of its own, written once, as a library's weights are."""
    memory = np.frombuffer(mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), np.uint8)
    memory[:] = np.arange(SIZE, dtype=np.uint8)
    return memory


def huge_bytes() -> int:
    """What of this process lies on huge pages."""
    lines = Path("/proc/self/smaps_rollup").read_text("utf-8").splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("AnonHugePages"))


@pytest.fixture
def _kernel_can() -> None:
    if not SETTING.exists() or "[never]" in SETTING.read_text("utf-8"):
        pytest.skip("this kernel has no huge pages to give")


@pytest.mark.usefixtures("_kernel_can")
def test_new_memory_moves_and_keeps_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huge_pages, "MOST_SHARE", 1e6)
    older, before = filled_memory(), huge_bytes()
    with on_huge_pages():
        memory = filled_memory()
    gained = huge_bytes() - before
    if not gained:
        pytest.skip("this kernel gives no huge pages behind the fact (Linux before 6.1)")
    assert SIZE - 2 * HUGE_PAGE <= gained <= SIZE + 2 * HUGE_PAGE  # and not the older memory as well
    assert np.array_equal(memory, older)


def test_it_ends_when_its_time_is_over() -> None:
    """On a busy machine pages move slowly, and a model must not take twice as long to load for it."""
    memory = filled_memory()
    address = memory.ctypes.data
    assert move([(address, address + SIZE)], time.perf_counter() - 1) == 0


def test_a_kernel_that_refuses_or_does_not_tell_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert move([(HUGE_PAGE, 2 * HUGE_PAGE)], time.perf_counter() + 9) == 0  # nothing lies there
    monkeypatch.setattr(huge_pages, "_advise", lambda: None)
    with on_huge_pages():
        memory = filled_memory()
    assert memory[-1] == 255
    monkeypatch.setattr(huge_pages, "MAPS", tmp_path / "none")
    with on_huge_pages():
        assert huge_pages._pieces() == []


def test_neighbours_that_were_there_are_left_out() -> None:
    size = LEAST_BYTES
    assert huge_pages._without([(0, 9 * size)], [(2 * size, 3 * size), (5 * size, 9 * size)]) == [
        (0, 2 * size),
        (3 * size, 5 * size),
    ]
    assert huge_pages._without([(size, 2 * size)], [(size, 2 * size), (5 * size, 6 * size)]) == []
    assert huge_pages._without([(size, 2 * size)], []) == [(size, 2 * size)]
