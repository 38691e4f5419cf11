"""A device that computes nothing: it says what it was told to, and takes the simulated time that its speed model says.

Knows: the backend contract, a clock of its own, and speeds that stall, drift, throttle and burst as real ones do.
Does not know: deadlines or plans; the code under measure runs on it unchanged.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge.backends.base import Backend, PrefillResult
from edge.backends.sequence_book import SequenceBook
from edge.loaded_model import LoadedModel
from models.dialect import DIALECTS, Prompt, Sampling

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIALECT = DIALECTS["hipo"]
TAGS = ("<think>", "</think>", "<answer>", "</answer>", "<|im_end|>", "</judge>", "<think_on>", "<think_off>")
THINK, ANSWER, ANSWER_END, TURN_END = 256, 258, 259, 260  # one token a byte, then the tags
STEP_S = 0.02  # a decode step of a small model on a small board
PREFILL_SHARE, CONTEXT_SHARE = 0.1, 1 / 8000  # of a step: a token of a prefill, a token of context
SENTENCE = 11  # tokens


class SimulatedClock:
    """Seconds that pass only when the device computes."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


Slowness = Iterator[float]
"""How many times longer than usual each step takes, one after the other."""


def steady(rng: random.Random) -> Slowness:
    """Jitter of five per cent."""
    while True:
        yield math.exp(rng.gauss(0, 0.05))


def stalling(rng: random.Random) -> Slowness:
    """One step in two hundred stalls, for a Pareto-distributed time (shape 1.5) of at least four steps."""
    for usual in steady(rng):
        yield usual + (4 * rng.paretovariate(1.5) if rng.random() < 0.005 else 0)


def bursting(rng: random.Random) -> Slowness:
    """Another process takes the cores now and then: three times as slow for some thirty steps."""
    is_slow = False
    for usual in steady(rng):
        is_slow = rng.random() > 1 / 30 if is_slow else rng.random() < 1 / 300
        yield 3 * usual if is_slow else usual


def drifting(rng: random.Random) -> Slowness:
    """A device that warms up and cools down: from once to twice the time and back in four thousand steps."""
    for step, usual in enumerate(steady(rng)):
        yield usual * (1.5 - 0.5 * math.cos(2 * math.pi * step / 4000))


def dropping(rng: random.Random) -> Slowness:
    """Ten times as slow for twenty steps, once in some eight hundred."""
    left = 0
    for usual in steady(rng):
        left = left - 1 if left else 20 * (rng.random() < 1 / 800)
        yield 10 * usual if left else usual


SPEEDS: dict[str, Callable[[random.Random], Slowness]] = {
    "steady": steady,
    "stalling": stalling,
    "bursting": bursting,
    "drifting": drifting,
    "dropping": dropping,
}


class LetterTokenizer:
    """One token for each tag and for each byte."""

    vocab_size = 256 + len(TAGS)

    def encode_control(self, text: str) -> list[int]:
        tokens: list[int] = []
        for run in re.split(f"({'|'.join(map(re.escape, TAGS))})", text):
            tokens += [256 + TAGS.index(run)] if run in TAGS else run.encode()
        return tokens

    def encode_user(self, text: str) -> list[int]:
        return list(text.encode())

    def encode_prompt(self, prompt: Prompt) -> tuple[list[int], list[int]]:
        tokens: list[int] = []
        for part in prompt.parts:
            tokens += self.encode_control(part.text) if part.is_control else self.encode_user(part.text)
        return tokens, self.encode_control(prompt.forced)

    def token_bytes(self, token: int) -> bytes:
        return bytes((token,)) if token < 256 else TAGS[token - 256].encode()

    def token_id(self, text: str) -> int | None:
        return 256 + TAGS.index(text) if text in TAGS else None


class SimulatedDevice(Backend):
    """Thinks for ``thinking_tokens`` (infinity: for ever) and answers in ``answer_tokens``, in sentences."""

    name = "simulated"
    kv_bytes_per_token = 0
    num_sequences = 1
    vocab_size = LetterTokenizer.vocab_size

    def __init__(self, clock: SimulatedClock, slowness: Slowness, context_size: int = 8192) -> None:
        self.context_size, self.num_threads = context_size, 1
        self.thinking_tokens: float = 0
        self.answer_tokens: float = 0
        self._clock = clock
        self._slowness = slowness
        self._book = SequenceBook(1, context_size, self.vocab_size)
        self._start = 0  # of the thinking or the answer
        self._is_thinking = False
        self._logits = np.zeros(self.vocab_size, np.float32)
        self._likeliest = 0

    def prefill(
        self, sequence: int, tokens: Sequence[int], *, should_stop: Callable[[], bool] | None = None
    ) -> PrefillResult:
        self._book.check_prefill(sequence, tokens)
        held, cached = self._book.held(sequence), self._book.kept_prefix(sequence, tokens)
        del held[cached:]
        self._look_back()
        while len(held) < len(tokens):
            if should_stop is not None and should_stop():
                return PrefillResult(cached, len(held) - cached, is_complete=False)
            self._evaluate(tokens[len(held) : len(held) + 128])
        return PrefillResult(cached, len(held) - cached, is_complete=True)

    def append(self, sequence: int, tokens: Sequence[int]) -> None:
        self._book.check_append(sequence, tokens)
        self._evaluate(tokens)

    def logits(self, sequence: int, banned: Sequence[int] = ()) -> NDArray[np.float32]:
        self._logits[self._likeliest] = 0
        self._likeliest = self._next_token()
        self._logits[self._likeliest] = 20
        return self._logits

    def set_threads(self, num_threads: int) -> None:
        self.num_threads = num_threads

    def length(self, sequence: int) -> int:
        return len(self._book.held(sequence))

    def cut(self, sequence: int, length: int) -> None:
        self._book.check_cut(sequence, length)
        del self._book.held(sequence)[length:]
        self._look_back()

    def save(self, sequence: int) -> bytes:
        return bytes(self._book.held(sequence))

    def restore(self, sequence: int, state: bytes) -> None:
        self._book.held(sequence)[:] = state

    def close(self) -> None:
        self._book.close()

    def _evaluate(self, tokens: Sequence[int]) -> None:
        held = self._book.held(0)
        for token in tokens:
            held.append(token)
            self._follow(token, len(held))
        batch = PREFILL_SHARE * len(tokens) if len(tokens) > 1 else 0.0
        self._clock.now_s += STEP_S * next(self._slowness) * (1 + batch + CONTEXT_SHARE * len(held))

    def _look_back(self) -> None:
        """Find the tag that was opened last, after a cut."""
        for length, token in enumerate(self._book.held(0), 1):
            self._follow(token, length)

    def _follow(self, token: int, length: int) -> None:
        if token in (THINK, ANSWER):
            self._is_thinking, self._start = token == THINK, length

    def _next_token(self) -> int:
        spoken = len(self._book.held(0)) - self._start
        if spoken >= (self.thinking_tokens if self._is_thinking else self.answer_tokens):
            return ANSWER if self._is_thinking else ANSWER_END
        if spoken % SENTENCE == SENTENCE - 1:
            return ord("\n") if self._is_thinking else ord(".")
        return ord("a") + (spoken * spoken + spoken // SENTENCE) % 26


def simulated_model(device: SimulatedDevice) -> LoadedModel:
    """A model on ``device`` that speaks the HiPO dialect, greedily."""
    tokenizer = LetterTokenizer()
    tags = (tokenizer.token_id(tag) for tag in DIALECT.think_tags)
    return LoadedModel(
        name="simulated",
        path=Path("simulated"),
        backend=device,
        tokenizer=tokenizer,
        dialect=DIALECT,
        dialect_reason="it is simulated",
        stop_ids=frozenset({TURN_END}),
        think_tag_ids=tuple(tag for tag in tags if tag is not None),
        sampling=Sampling(temperature=0.0, top_k=0, top_p=1.0),
    )
