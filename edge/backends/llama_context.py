"""One open llama.cpp context: the calls on it that run for every token, and nothing they do not need.

Knows: pointers, the batch, the logits buffer, the cache's own verbs. Does not know: which tokens a sequence holds, or
what may be asked of it: a token outside the vocabulary, a full context or a closed handle is the caller's to prevent.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.backends.llama_library import load_library, take_complaint
from models.errors import BackendError


class LlamaContext:
    """``handle`` is an open context whose model has ``vocab_size`` tokens; ``batch_size`` is what one decode takes."""

    def __init__(self, handle: int, vocab_size: int) -> None:
        self._library: Any = load_library()
        self._handle = handle
        self._vocab_size = vocab_size
        self.batch_size = int(self._library.llama_n_batch(handle))
        self._memory = self._library.llama_get_memory(handle)
        self._decode = self._library.llama_decode
        self._logits_address = _logits_function(self._library)
        self._view_address, self._view = 0, np.empty(0, np.float32)
        self._callback: Any = None
        self._make_batch()

    def _make_batch(self) -> None:
        """One batch for all calls: its arrays are filled anew each time, its pointers stay."""
        size, library = self.batch_size, self._library
        self._tokens = (library.llama_token * size)()
        self._positions = (library.llama_pos * size)()
        self._wants_logits = (ctypes.c_int8 * size)()
        self._sequence = library.llama_seq_id(0)
        one_each = (ctypes.c_int32 * size)(*[1] * size)
        same_sequence = (ctypes.POINTER(library.llama_seq_id) * size)(*[ctypes.pointer(self._sequence)] * size)
        self._batch = library.llama_batch(
            n_tokens=0,
            token=self._tokens,
            embd=None,
            pos=self._positions,
            n_seq_id=one_each,
            seq_id=same_sequence,
            logits=self._wants_logits,
        )

    def decode(
        self, sequence: int, start: int, tokens: Sequence[int], *, wants_logits: bool, also: int | None = None
    ) -> int:
        """Evaluate at most ``batch_size`` tokens of ``sequence`` from position ``start`` on; returns llama.cpp's code.

        With ``wants_logits``, those after the last token are in ``logits`` then, in place of any others; those after
        the token with index ``also`` of ``tokens`` are in ``logits_after``.
        """
        count = len(tokens)
        self._tokens[:count] = tokens
        self._positions[:count] = range(start, start + count)
        self._wants_logits[count - 1] = wants_logits
        if also is not None:
            self._wants_logits[also] = True
        self._sequence.value = sequence
        self._batch.n_tokens = count
        try:
            return int(self._decode(self._handle, self._batch))
        finally:
            self._wants_logits[count - 1] = False
            if also is not None:
                self._wants_logits[also] = False

    def logits(self) -> NDArray[np.float32]:
        """``(vocab_size,) float32``, llama.cpp's own buffer; the view is made anew only when the buffer has moved."""
        address = self._logits_address(self._handle, -1)
        if address != self._view_address:
            if not address:
                raise BackendError(f"llama.cpp has no logits ({take_complaint()}); evaluate a token first.")
            buffer: Any = (ctypes.c_float * self._vocab_size).from_address(address)
            self._view_address, self._view = address, np.frombuffer(buffer, np.float32)
        return self._view

    def logits_after(self, index: int) -> NDArray[np.float32]:
        """``(vocab_size,) float32``, a copy, after the token that the last ``decode`` was asked for as ``also``."""
        address = self._logits_address(self._handle, index)
        if not address:
            raise BackendError(f"llama.cpp has no logits ({take_complaint()}); evaluate the tokens again.")
        buffer: Any = (ctypes.c_float * self._vocab_size).from_address(address)
        return np.array(np.frombuffer(buffer, np.float32))

    def forget(self, sequence: int, length: int) -> bool:
        """Drop all of ``sequence`` from position ``length`` on; False where the memory cannot be cut there."""
        return bool(self._library.llama_memory_seq_rm(self._memory, sequence, length, -1))

    def clear(self, sequence: int) -> None:
        """Drop all of ``sequence``, which every memory can."""
        self._library.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def save(self, sequence: int) -> bytes:
        """The part of the cache that belongs to ``sequence``."""
        size = self._library.llama_state_seq_get_size(self._handle, sequence)
        buffer = (ctypes.c_uint8 * size)()
        written = self._library.llama_state_seq_get_data(self._handle, buffer, size, sequence)
        return bytes(memoryview(buffer)[:written])

    def restore(self, sequence: int, cache: bytes) -> bool:
        """Bring back what ``save`` gave; False where llama.cpp refuses it."""
        buffer = (ctypes.c_uint8 * len(cache)).from_buffer_copy(cache)
        return bool(self._library.llama_state_seq_set_data(self._handle, buffer, len(cache), sequence))

    def ask_while_computing(self, should_stop: Callable[[], bool] | None) -> None:
        """Let llama.cpp ask between two operations, and abort at a yes; each question costs about a microsecond.

        ``should_stop`` must not raise; None: it asks nobody.
        """
        callback_type = self._library.ggml_abort_callback
        callback = callback_type(lambda _: should_stop()) if should_stop else callback_type()
        self._library.llama_set_abort_callback(self._handle, callback, None)
        self._callback = callback  # kept alive as long as llama.cpp may call it

    def set_threads(self, num_threads: int) -> None:
        """For single tokens and for batches alike."""
        self._library.llama_set_n_threads(self._handle, num_threads, num_threads)

    def close(self) -> None:
        """Free the context; no other call may follow."""
        self._library.llama_free(self._handle)


def _logits_function(library: Any) -> Any:
    """``llama_get_logits_ith`` with a plain address as result: making a typed pointer each time would cost more."""
    address = ctypes.cast(library.llama_get_logits_ith, ctypes.c_void_p).value
    assert address is not None
    return ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32)(address)
