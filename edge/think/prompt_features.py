"""A prompt as numbers for the router: the hashed words themselves, and counts of what cheaply shows structure.

Knows: tokens, signs, word groups, where in the prompt they stand. Does not know: weights, or what a prompt deserves.
"""

from __future__ import annotations

from math import log1p
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge.think.prompt_tokens import HASH_BITS, Tokens, tokenize
from edge.think.prompt_view import view
from edge.think.prompt_words import WORD_GROUPS, lexicon

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLLOW_UP_TOKENS = 16  # a longer message stands for itself
END_TOKENS = 24  # at the head and at the tail, where a long prompt says what it wants
POOLED_TOKENS = 128  # of the whole, evenly spread
NUM_POOLS = 3  # the whole, the head, the tail
SMOOTHING = 4.0  # tokens added to the number that a pool's sum is divided by
NUM_GROUPS = len(WORD_GROUPS) + 1
MOST_GROUPS = 32
SIGNS: dict[str, str] = {
    "numbers": "0123456789",
    "words": "abcdefghijklmnopqrstuvwxyz",
    "capitals": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "question marks": "?",
    "full stops": ".!",
    "commas": ",;",
    "operators": "+-*/=<>^",
    "money": "$",
    "percent": "%",
    "backslashes": "\\",
    "brackets": "()[]",
    "braces": "{}",
    "quotes": "\"'",
    "colons": ":",
    "code signs": "`#|_&@~",
}
_SCRIPTS = {"chinese": range(0xE4, 0xEA), "wide signs": (0xE2, 0xE3, 0xEF), "other scripts": range(0xC0, 0xE2)}
NUM_SIGNS = len(SIGNS) + len(_SCRIPTS)
NUM_COUNTS = 3 + 2 * NUM_SIGNS + 3 * (NUM_GROUPS - 1)


def _sign_table() -> NDArray[np.uint8]:
    """``(256,)``: which kind of token begins with a byte, in the order of the counts; NUM_SIGNS is none of them."""
    table = np.full(256, NUM_SIGNS, np.uint8)
    for kind, signs in enumerate(SIGNS.values()):
        table[[ord(sign) for sign in signs]] = kind
    for kind, leads in enumerate(_SCRIPTS.values(), start=len(SIGNS)):
        table[list(leads)] = kind
    return table


def _word_slots() -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """By id: the whole hash of the word there, and its group, above it what is more the more tokens it has."""
    words = lexicon()
    text = ("\n".join(words) + "\n").encode()
    tokens = tokenize(text)
    ends = np.searchsorted(tokens.starts, np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n")))
    starts = np.concatenate([[0], ends[:-1]])
    lengths = np.minimum(ends - starts, 3) - 1
    found = tokens.hashes[lengths, starts]
    whole, groups = np.zeros(1 << HASH_BITS, np.uint64), np.zeros(1 << HASH_BITS, np.uint8)
    slots = found >> np.uint64(64 - HASH_BITS)
    whole[slots], groups[slots] = found, np.array(list(words.values())) + lengths * MOST_GROUPS
    return whole, groups


_FOLLOW_UP = list(WORD_GROUPS).index("follow-up") + 1
_SIGN_TABLE = _sign_table()
# Where the groups of each begin behind the signs, in one count of all; and what of it goes into the features.
_WHOLE, _HEAD, _TAIL = (np.array(NUM_SIGNS + 1 + place * NUM_GROUPS, np.uint8) for place in range(3))
_NUM_MARKS = NUM_SIGNS + 1 + 3 * NUM_GROUPS
_GROUP_MARKS = [int(first) + group for first in (_WHOLE, _HEAD, _TAIL) for group in range(1, NUM_GROUPS)]
_MARKS = np.array([0, 0, 0, *range(NUM_SIGNS), *range(NUM_SIGNS), *_GROUP_MARKS])
_GROUP_BITS = np.array(MOST_GROUPS - 1, np.uint8)
_WORD_HASHES, _WORD_GROUPS = _word_slots()


class Features(NamedTuple):
    """``ids`` ``(4, n)`` of ``n`` tokens, ``counts`` ``(NUM_COUNTS,)``, ``groups`` ``(n,)`` of words."""

    ids: NDArray[np.int64]
    counts: NDArray[np.float64]
    groups: NDArray[np.uint8]

    @property
    def follows_up(self) -> bool:
        """Whether it is short and asks on about what was said before, as ``why?`` does."""
        return self.ids.shape[1] <= FOLLOW_UP_TOKENS and bool((self.groups == _FOLLOW_UP).any())

    def sign_count(self, name: str) -> float:
        """How many tokens of a kind in ``SIGNS`` there are in what was looked at."""
        return float(np.expm1(self.counts[3 + list(SIGNS).index(name)]))


def featurize(prompt: str) -> Features:
    """The features of ``prompt``, whatever is in it; of a long one, those of its ends and some windows."""
    seen = view(prompt)
    tokens = tokenize(seen)
    groups = word_groups(tokens)
    return Features(tokens.ids, _count(tokens, groups, len(prompt), seen.count(b"\n")), groups)


def stride(num_tokens: int) -> int:
    """Every so many tokens one is in the pool of the whole prompt."""
    return max(1, -(-num_tokens // POOLED_TOKENS))


def word_groups(tokens: Tokens) -> NDArray[np.uint8]:
    """``(n,)``: the group of the word of one to three tokens that begins at each token, the longest one; 0 is none."""
    slots = tokens.ids[:3]
    is_word = (_WORD_HASHES.take(slots) == tokens.hashes).view(np.uint8)  # to cast it would take longer
    found = _WORD_GROUPS.take(slots) * is_word
    longest: NDArray[np.uint8] = np.maximum.reduce(found) & _GROUP_BITS
    return longest


def _count(tokens: Tokens, groups: NDArray[np.uint8], num_chars: int, num_lines: int) -> NDArray[np.float64]:
    num_tokens = len(tokens.starts)
    # Signs, and the groups of the whole, of the head and of the tail, side by side, so that one count does.
    pools = (groups + _WHOLE, groups[:END_TOKENS] + _HEAD, groups[-END_TOKENS:] + _TAIL)
    marked = np.concatenate((_SIGN_TABLE.take(tokens.leads), *pools))
    found = np.bincount(marked, minlength=_NUM_MARKS)
    counts = np.log1p(found.take(_MARKS))
    counts[0], counts[1], counts[2] = log1p(num_chars), log1p(num_tokens), log1p(num_lines)
    counts[3 + NUM_SIGNS : 3 + 2 * NUM_SIGNS] = found[:NUM_SIGNS] / (num_tokens + 4.0)
    return counts
