"""Weights in memory move to huge pages, where Linux lets a program ask for them.

Knows: which memory came while a block ran, and how the kernel is asked. Does not know: weights, or who put them there.

Every token reads all weights, and in pages of 4 KiB a processor spends much of that on looking up where they lie. The
libraries that load them do not ask for larger pages, so that this is done behind them, in no more than a share of the
time that the loading itself took. Where the kernel refuses, everything stays as it was.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

HUGE_PAGE = 2 * 2**20
SLICE_BYTES = 16 * 2**20  # of one call
LEAST_BYTES = 32 * 2**20  # of a piece of memory: small models are in the processor's own caches
MOST_SHARE = 0.5  # of the time that the loading took
MADV_HUGEPAGE, MADV_COLLAPSE = 14, 25  # the second since Linux 6.1
MAPS = Path("/proc/self/maps")

Piece = tuple[int, int]  # addresses: the first, and the one behind the last


@contextmanager
def on_huge_pages() -> Iterator[None]:
    """What the block puts into memory is on huge pages afterwards, as far as the kernel and the time allow."""
    before, start_s = _pieces(), time.perf_counter()
    yield
    now_s = time.perf_counter()
    move(_without(_pieces(), before), now_s + MOST_SHARE * (now_s - start_s))


def move(pieces: list[Piece], until_s: float) -> int:
    """Ask for ``pieces`` until time.perf_counter() says ``until_s``; returns the bytes that were moved."""
    moved = 0
    for begin, end in pieces:
        begin, end = -(-begin // HUGE_PAGE) * HUGE_PAGE, end // HUGE_PAGE * HUGE_PAGE
        for first in range(begin, end, SLICE_BYTES):
            size = min(SLICE_BYTES, end - first)
            if time.perf_counter() > until_s or not _is_moved(first, size):
                return moved
            moved += size
    return moved


def _is_moved(first: int, size: int) -> bool:
    """False where the kernel does not know of huge pages, or has none left."""
    advise = _advise()
    return advise is not None and advise(first, size, MADV_HUGEPAGE) == advise(first, size, MADV_COLLAPSE) == 0


def _without(pieces: list[Piece], older: list[Piece]) -> list[Piece]:
    """``pieces`` less ``older``: the kernel shows neighbours as one. Both in the order of their addresses."""
    found = []
    for begin, end in pieces:
        for old_begin, old_end in older:
            if old_begin < end and old_end > begin:
                found.append((begin, old_begin))
                begin = old_end
        found.append((begin, end))
    return [(begin, end) for begin, end in found if end - begin >= LEAST_BYTES]


@cache
def _advise() -> ctypes._NamedFuncPointer | None:
    """The C library's madvise."""
    advise = getattr(ctypes.CDLL(None), "madvise", None)
    if advise is not None:
        advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return advise


def _pieces() -> list[Piece]:
    """Large pieces of this process's own memory that it may write; none where the system does not tell."""
    try:
        lines = MAPS.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        addresses, permissions, *rest = line.split()
        begin, end = (int(address, 16) for address in addresses.split("-"))
        if permissions == "rw-p" and len(rest) == 3 and end - begin >= LEAST_BYTES:  # a fourth would name a file
            found.append((begin, end))
    return found
