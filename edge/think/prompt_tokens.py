"""Bytes to hashed words: a token is a run of letters, a run of digits, one sign, or one character of another script.

Knows: UTF-8 bytes and 64-bit hashes, all of it in whole-array steps. Does not know: weights, or what a word means.

The hash of a token comes from a running sum of ``value(byte) * base ** position`` (a polynomial hash over 64-bit
numbers, whose odd base has an inverse), so that any stretch of the text is hashed with two look-ups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

U64: np.dtype[np.uint64] = np.dtype(np.uint64)
_PAIR, _BYTE, _ID = np.dtype("<u2"), np.dtype(np.uint8), np.dtype(np.int64)
HASH_BITS = 16  # of an id
IDS = 4  # ids of each token: itself, its first letters, with the next one, with the next two
STEM_BYTES = 5
LONGEST_BYTES = 16_384

# Arrays of no dimension, which numpy takes as they are; a number has to become one in every call.
_BASE, _MIX, _STEM, _SHIFT = (
    np.array(number, U64) for number in (0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93, 0x8EBC6AF09C88C6E3, 64 - HASH_BITS)
)
_SECOND, _THIRD = 0xA0761D6478BD642F, 0xE7037ED1A0B428DB
_STEM_BYTES = np.array(STEM_BYTES)
_NEVER = 0xFF  # a byte that UTF-8 never has; each is a token, and worth nothing
_END = bytes([_NEVER] * 3)  # two tokens behind the last one, and where the second of them ends
_NOTHING, _LETTER, _DIGIT, _SIGN, _LEAD, _INSIDE = range(6)


def _powers(base: int) -> NDArray[np.uint64]:
    bases = np.full(LONGEST_BYTES + 4, base, U64)  # for the bytes around the text, too
    bases[0] = 1
    return np.multiply.accumulate(bases)


def _classes() -> NDArray[np.uint8]:
    table = np.full(256, _SIGN, np.uint8)
    table[:33] = table[127] = _NOTHING  # white space and control characters
    table[[*range(65, 91), *range(97, 123)]] = _LETTER
    table[48:58] = _DIGIT
    table[0x80:0xC0] = _INSIDE
    table[0xC0:] = _LEAD
    return table


def _byte_values() -> NDArray[np.uint64]:
    """A random number for each byte: letters without case, one for all digits, none for what separates words."""
    values = (np.arange(1, 257, dtype=U64) * _BASE) ^ np.uint64(_SECOND)  # SplitMix64 (Steele et al. 2014)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        values = (values ^ (values >> np.uint64(shift))) * np.uint64(factor)
    values ^= values >> np.uint64(31)
    values[65:91] = values[97:123]
    values[48:58] = values[48]
    values[CLASSES == _NOTHING] = values[_NEVER] = 0
    return values


def _mixes() -> NDArray[np.uint64]:
    """``(3, 3)``: from the hashes of a token and the two behind it to those of one, two and three tokens.

    Two are ``(first + second * _SECOND) * _MIX``, three ``(two + third * _THIRD) * _MIX``; one product is quicker.
    """
    mix = int(_MIX)
    two = [mix, _SECOND * mix, 0]
    three = [two[0] * mix, two[1] * mix, _THIRD * mix]
    return np.array([[number % 2**64 for number in row] for row in ([1, 0, 0], two, three)], U64)


def _starts() -> NDArray[np.bool_]:
    """Whether a byte begins a token behind another: ``[256 * here + before]``, two bytes as a number."""
    table = np.zeros((6, 6), np.bool_)
    table[[_SIGN, _LEAD, _LETTER, _DIGIT]] = True
    table[_LETTER, _LETTER] = table[_DIGIT, _DIGIT] = False
    return table[CLASSES][:, CLASSES].ravel()


CLASSES = _classes()
_VALUES = _byte_values()
_STARTS = _starts()
_POWERS = _powers(int(_BASE))
_MIXES = _mixes()
_INVERSES = _powers(pow(int(_BASE), -1, 2**64))[1:] * _MIX  # by where a token begins: one byte stands before the text


class Tokens(NamedTuple):
    """``hashes`` ``(3, n) uint64``: each token, with the next, with the next two; ``ids`` ``(4, n)``, below 65,536.

    ``starts`` ``(n,)`` are byte positions, ``leads`` ``(n,) uint8`` the bytes there.
    """

    hashes: NDArray[np.uint64]
    ids: NDArray[np.int64]
    starts: NDArray[np.intp]
    leads: NDArray[np.uint8]


def tokenize(text: bytes) -> Tokens:
    """The tokens of UTF-8 ``text``, of at most ``LONGEST_BYTES`` bytes; the rest is not looked at.

    What surrounds the text saves steps, each of which costs more than its few numbers: a byte that is worth nothing has
    a sum before each byte of the text, and the last two tokens are followed by two that are worth nothing.
    """
    text = b"\n" + text[:LONGEST_BYTES] + _END
    codes = np.frombuffer(text, _BYTE)
    pairs = np.ndarray(len(text) - 1, _PAIR, text, strides=(1,))
    bounds = _STARTS.take(pairs).nonzero()[0]
    starts, ends, count = bounds[:-1], bounds[1:], len(bounds) - 3
    sums = np.add.accumulate(_VALUES.take(codes) * _POWERS[: len(text)])
    at_bounds = sums.take(bounds)
    at_start = at_bounds[:-1]
    inverses = _INVERSES.take(starts)
    words = (at_bounds[1:] - at_start) * inverses
    stems = (sums.take(np.minimum(starts + _STEM_BYTES, ends)) - at_start) * inverses
    hashes = np.empty((IDS, count), U64)
    windows = np.ndarray((3, count), U64, words, strides=(8, 8))  # the words, those behind them, those behind these
    np.matmul(_MIXES, windows, out=hashes[:3])
    np.multiply(stems[:count], _STEM, out=hashes[3])
    starts = starts[:count]
    return Tokens(hashes[:3], (hashes >> _SHIFT).view(_ID), starts, codes[1:].take(starts))
