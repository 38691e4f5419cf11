"""The backend for Rockchip NPUs: a runtime that owns its loop, behind the token contract.

Knows: the contract of ``base``, one sequence, and when the device may run ahead. Does not know: the library's calls
(``rkllm_device``) or its structures (``rkllm_library``). Bound and tested against a stand-in library, never run on a
board.

Prefill and forced tokens are evaluated in step mode, which gives logits. Where the caller says that only the likeliest
token counts, the device runs ahead by itself; as soon as another token is appended, or the offered one is banned, the
run is paused, its cache is cut to what the sequence holds, and step mode goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.backends.base import Backend, BackendOptions, PrefillResult
from edge.backends.rkllm_device import RkllmDevice
from edge.backends.rkllm_library import VERSION, find_library
from edge.backends.sequence_book import SequenceBook, common_length
from edge.backends.sequence_state import pack_state, unpack_state
from models.errors import BackendError, UsageError

DEFAULT_CONTEXT_TOKENS = 4096
MOST_CONTEXT_TOKENS = 16384
CONTEXT_STEP_TOKENS = 32
CHUNK_TOKENS = 128  # evaluated between two questions whether to stop
SURE = 20.0  # the logit of the token that the device has chosen; all others are 0


class RkllmBackend(Backend):
    """``model_path`` is a .rkllm file that Rockchip's toolkit made for this chip."""

    name = "rkllm"
    kv_bytes_per_token = 0  # the device's own memory, allocated when it opens
    num_sequences = 1
    num_threads = 1

    def __init__(self, model_path: Path, options: BackendOptions) -> None:
        if options.num_sequences != 1:
            raise UsageError(f"rkllm holds one sequence, not {options.num_sequences}; use another backend.")
        if options.num_threads is not None:
            raise UsageError("rkllm chooses its own threads; leave the number of threads out.")
        self.context_size = check_context(options.context_size)
        self._fingerprint = f"rkllm {VERSION} {model_path.name} {model_path.stat().st_size}"
        self._device = RkllmDevice(model_path, find_library(), self.context_size)
        self._may_run_ahead = False
        self._logits: NDArray[np.float32] | None = None  # those the device computed after the last token
        self._has_logits = False
        try:
            self.vocab_size = len(self._device.step([0]))
        except BackendError:
            self._device.close()
            raise
        self._book = SequenceBook(1, self.context_size, self.vocab_size)

    def run_ahead(self, is_allowed: bool) -> None:
        self._may_run_ahead = is_allowed

    def prefill(
        self, sequence: int, tokens: Sequence[int], *, should_stop: Callable[[], bool] | None = None
    ) -> PrefillResult:
        self._book.check_prefill(sequence, tokens)
        self._device.pause()
        cached = min(common_length(self._device.held, tokens), len(tokens) - 1)
        self._device.cut(cached)
        held = self._book.held(sequence)
        held[:] = tokens[:cached]
        self._logits, self._has_logits = None, False
        while len(held) < len(tokens):
            if should_stop is not None and should_stop():
                return PrefillResult(cached, len(held) - cached, is_complete=False)
            chunk = tokens[len(held) : len(held) + CHUNK_TOKENS]
            logits = self._device.step(chunk)
            held.extend(chunk)
        self._logits, self._has_logits = logits, True
        return PrefillResult(cached, len(held) - cached, is_complete=True)

    def append(self, sequence: int, tokens: Sequence[int]) -> None:
        self._book.check_append(sequence, tokens)
        if not tokens:
            return
        held = self._book.held(sequence)
        held.extend(tokens)
        self._logits, self._has_logits = None, True
        if self._device.is_ahead and len(tokens) == 1 and self._device.offered() == tokens[0]:
            self._device.take()
        else:
            self._device.pause()

    def logits(self, sequence: int, banned: Sequence[int] = ()) -> NDArray[np.float32]:
        held = self._book.held(sequence)
        if self._logits is not None:
            return self._logits
        if not self._has_logits:
            raise BackendError(f"Sequence {sequence} has no logits; evaluate a token first.")
        if self._may_run_ahead:
            if not self._device.is_ahead:
                self._device.go_ahead(self._unevaluated(held))
            if (offered := self._device.offered()) not in banned:
                return self._sure(offered)
            self._device.pause()
        self._logits = self._device.step(self._unevaluated(held))
        return self._logits

    def length(self, sequence: int) -> int:
        return len(self._book.held(sequence))

    def cut(self, sequence: int, length: int) -> None:
        self._book.check_cut(sequence, length)
        self._device.pause()
        del self._book.held(sequence)[length:]
        self._logits, self._has_logits = None, False

    def save(self, sequence: int) -> bytes:
        """The tokens alone: the runtime writes its cache to files of its own, only while it prefills."""
        return pack_state(self._fingerprint, self._book.held(sequence), b"")

    def restore(self, sequence: int, state: bytes) -> None:
        tokens, _ = unpack_state(self._fingerprint, state)
        if tokens:
            self._book.check_prefill(sequence, tokens)
        self._device.pause()
        self._book.held(sequence)[:] = tokens
        self._logits, self._has_logits = None, False

    def set_threads(self, num_threads: int) -> None:
        if num_threads != self.num_threads:
            raise UsageError(
                f"The number of threads is {num_threads}; rkllm chooses its own, so leave it at {self.num_threads}."
            )

    def close(self) -> None:
        self._device.close()
        self._book.close()

    def _unevaluated(self, held: Sequence[int]) -> Sequence[int]:
        """What of ``held`` the device has to evaluate, at least its last token; the device forgets all else."""
        common = min(common_length(self._device.held, held), len(held) - 1)
        self._device.cut(common)
        return held[common:]

    def _sure(self, token: int) -> NDArray[np.float32]:
        logits = np.zeros(self.vocab_size, np.float32)
        logits[token] = SURE
        return logits


def check_context(asked: int | None) -> int:
    """The context to open, in tokens. Raises UsageError for a size that the runtime does not take."""
    size = DEFAULT_CONTEXT_TOKENS if asked is None else asked
    if not 0 < size <= MOST_CONTEXT_TOKENS or size % CONTEXT_STEP_TOKENS:
        raise UsageError(
            f"The context is {size} tokens; RKLLM takes multiples of {CONTEXT_STEP_TOKENS} up to {MOST_CONTEXT_TOKENS}."
        )
    return size
