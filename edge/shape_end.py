"""The shortest way to end a document that is under way, found byte by byte.

Knows: a matcher over the 256 bytes (llguidance's), JSON's brackets and quotes. Does not know: tokens, schemas, models.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

NUM_BYTES = 256
LONGEST_END, LONGEST_VALUE = 512, 16  # bytes in all, and more for each name and level; a longer end goes in circles
MOST_NODES = 1000  # of a search: a fraction of a second
LARGE_CHOICE = 40  # bytes: beyond it one of each sort stands for all


def _order(first: bytes, last: bytes = b"") -> bytes:
    return first + bytes(byte for byte in range(NUM_BYTES) if byte not in first + last) + last


IN_STRING = _order(b'"0', last=b"\\")
ORDERS = (  # outside of strings: JSON, an object rather than an array, and other languages
    _order(b'}],0123456789ntf":-[{'),
    _order(b'}],0123456789ntf":-{['),
    _order(b")}]>;.,", last=b"([{<"),
)


def close_json(matcher: Any, written: bytes, names: Sequence[str], order: bytes) -> bytes | None:
    """What closes the JSON ``written`` that ``matcher`` stands behind: the first byte of ``order`` that is allowed.

    ``names`` are tried first where a property's name begins. None where this way does not come to an end.
    """
    matcher, place, end = matcher.deep_copy(), _JsonPlace(), bytearray()
    openings = [f'{name}"'.encode() for name in names]
    for byte in written:
        place.feed(byte)
    level = LONGEST_VALUE + sum(len(name) + LONGEST_VALUE for name in openings)
    longest = LONGEST_END + level * (LONGEST_VALUE + place.depth)
    while not matcher.is_accepting():
        found = next((name for name in openings if place.begins_name and _takes(matcher, name)), b"")
        if not found:
            mask = matcher.compute_bitmask()
            allowed = (bytes([one]) for one in (IN_STRING if place.is_in_string else order) if _holds(mask, one))
            found = next(allowed, b"")
        if not found or len(end) > longest:
            return None
        matcher.consume_tokens(list(found))
        end += found
        for byte in found:
            place.feed(byte)
    return bytes(end)


def _takes(matcher: Any, text: bytes) -> bool:
    return bool(matcher.validate_tokens(list(text)) == len(text))


def _holds(mask: bytes, byte: int) -> bool:
    return bool(mask[byte // 8] >> byte % 8 & 1)


class _JsonPlace:
    """Where the JSON fed so far breaks off."""

    def __init__(self) -> None:
        self.is_in_string = False
        self.begins_name = False  # just behind the quote of a property's name
        self._is_escaped = False
        self._open: list[int] = []
        self._before = 0  # the last byte outside of strings

    @property
    def depth(self) -> int:
        """How many objects and arrays are open."""
        return len(self._open)

    def feed(self, byte: int) -> None:
        self.begins_name = False
        if self.is_in_string:
            self.is_in_string = byte != 0x22 or self._is_escaped
            self._is_escaped = byte == 0x5C and not self._is_escaped
            return
        if byte == 0x22:
            self.is_in_string = True
            self.begins_name = self._open[-1:] == [0x7B] and self._before in b"{,"
        elif byte in b"{[":
            self._open.append(byte)
        elif byte in b"}]" and self._open:
            self._open.pop()
        self._before = byte


def search_end(matcher: Any) -> bytes | None:
    """The shortest end of what ``matcher`` stands behind, by uniform-cost search; None within ``MOST_NODES`` steps.

    Bytes that lead to the same choices are tried once.
    """
    queue: list[tuple[int, int, bytes, Any]] = [(0, 0, b"", matcher.deep_copy())]
    num_nodes = 0
    while queue and num_nodes < MOST_NODES:
        _, _, end, here = heapq.heappop(queue)
        if here.is_accepting():
            return end
        seen: set[bytes] = set()
        for byte in _choices(here.compute_bitmask()):
            num_nodes += 1
            there = here.deep_copy()
            there.consume_token(byte)
            sort = there.compute_bitmask() + bytes([there.is_accepting()])
            if sort not in seen:
                seen.add(sort)
                heapq.heappush(queue, (len(end) + 1, num_nodes, end + bytes([byte]), there))
    return None


def _choices(mask: bytes) -> list[int]:
    """The bytes worth trying: all of a few, one of each sort of many."""
    allowed = [byte for byte in range(NUM_BYTES) if _holds(mask, byte)]
    if len(allowed) <= LARGE_CHOICE:
        return allowed
    sorts: dict[object, int] = {}
    for byte in allowed:
        letter = chr(byte)
        sort = letter if byte < 128 and not letter.isalnum() else (byte >= 128, letter.isdigit(), letter.isupper())
        sorts.setdefault(sort, byte)
    return list(sorts.values())
