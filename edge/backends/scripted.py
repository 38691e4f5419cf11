"""A backend without a model: the contract of ``base`` kept to the letter, with a script in place of a network.

Knows: tokens, sequences, the context limit, interrupts, saved states. Does not know: text, or any real device.
For tests, and as the shortest example of what a backend has to do. Every call is recorded in ``calls``.

    >>> backend = ScriptedBackend(play({(1, 2): (7, 8, 9)}))
    >>> backend.prefill(0, [5, 1, 2])
    PrefillResult(cached_tokens=0, evaluated_tokens=3, is_complete=True)
    >>> int(backend.logits(0).argmax())
    7
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.backends.base import Backend, PrefillResult
from edge.backends.sequence_book import SequenceBook
from models.errors import BackendError, UsageError

Script = Callable[[Sequence[int]], "int | NDArray[np.float32]"]
"""The tokens a sequence holds -> the token that follows (its logit is 20, all others 0), or all logits."""


@dataclass(frozen=True, slots=True)
class Call:
    """One recorded call: ``tokens`` as handed in by prefill and append, ``length`` as handed in by cut."""

    method: str
    sequence: int
    tokens: tuple[int, ...] = ()
    length: int = 0


def play(replies: Mapping[tuple[int, ...], Sequence[int]]) -> Script:
    """A script of cues and replies: after the last cue that the held tokens contain, its reply is played.

    A pure function of the held tokens, so that it survives cuts, forced tokens (which may be cues) and restored
    states. Raises BackendError where no reply goes on: a test sees at once that it left its script.
    """

    def script(held: Sequence[int]) -> int:
        tokens = tuple(held)
        for end in range(len(tokens), 0, -1):
            for cue, reply in replies.items():
                spoken = tokens[end:]
                if tokens[:end][-len(cue) :] == cue and spoken == tuple(reply[: len(spoken)]) != tuple(reply):
                    return reply[len(spoken)]
        raise BackendError(f"The script has no reply that goes on after {list(tokens[-8:])}; add a cue for it.")

    return script


class ScriptedBackend(Backend):
    """Plays ``script``; ``chunk_size`` is how many tokens a prefill evaluates before it asks ``should_stop`` again."""

    name = "scripted"
    kv_bytes_per_token = 0
    num_threads = 1

    def __init__(
        self,
        script: Script,
        *,
        vocab_size: int = 1024,
        context_size: int = 512,
        num_sequences: int = 1,
        chunk_size: int = 16,
    ) -> None:
        self.calls: list[Call] = []
        self.vocab_size, self.context_size, self.num_sequences = vocab_size, context_size, num_sequences
        self._script = script
        self._chunk_size = chunk_size
        self._book = SequenceBook(num_sequences, context_size, vocab_size)
        self._has_logits = [False] * num_sequences

    def prefill(
        self, sequence: int, tokens: Sequence[int], *, should_stop: Callable[[], bool] | None = None
    ) -> PrefillResult:
        self.calls.append(Call("prefill", sequence, tokens=tuple(tokens)))
        self._book.check_prefill(sequence, tokens)
        held = self._book.held(sequence)
        cached = self._book.kept_prefix(sequence, tokens)
        del held[cached:]
        self._has_logits[sequence] = False
        while len(held) < len(tokens):
            if should_stop is not None and should_stop():
                return PrefillResult(cached, len(held) - cached, is_complete=False)
            held.extend(tokens[len(held) : len(held) + self._chunk_size])
        self._has_logits[sequence] = True
        return PrefillResult(cached, len(held) - cached, is_complete=True)

    def append(self, sequence: int, tokens: Sequence[int]) -> None:
        self.calls.append(Call("append", sequence, tokens=tuple(tokens)))
        self._book.check_append(sequence, tokens)
        self._book.held(sequence).extend(tokens)
        self._has_logits[sequence] |= bool(tokens)

    def logits(self, sequence: int, banned: Sequence[int] = ()) -> NDArray[np.float32]:
        held = self._book.held(sequence)
        if not self._has_logits[sequence]:
            raise BackendError(f"Sequence {sequence} has no logits; evaluate a token first.")
        played = self._script(held)
        if isinstance(played, np.ndarray):
            return played
        logits = np.zeros(self.vocab_size, np.float32)
        logits[played] = 20.0
        return logits

    def length(self, sequence: int) -> int:
        return len(self._book.held(sequence))

    def cut(self, sequence: int, length: int) -> None:
        self.calls.append(Call("cut", sequence, length=length))
        self._book.check_cut(sequence, length)
        del self._book.held(sequence)[length:]
        self._has_logits[sequence] = False

    def save(self, sequence: int) -> bytes:
        return json.dumps({"scripted": self._book.held(sequence)}).encode()

    def restore(self, sequence: int, state: bytes) -> None:
        try:
            tokens = json.loads(state)["scripted"]
        except (ValueError, KeyError, TypeError) as exc:
            raise BackendError(f"A state of {len(state)} bytes is not one of this backend; prefill instead.") from exc
        if tokens:
            self._book.check_prefill(sequence, tokens)
        self._book.held(sequence)[:] = tokens
        self._has_logits[sequence] = False

    def set_threads(self, num_threads: int) -> None:
        if num_threads < 1:
            raise UsageError(f"The number of threads is {num_threads}; use 1 or more.")
        self.num_threads = num_threads

    def close(self) -> None:
        self.calls.append(Call("close", 0))
        self._book.close()
