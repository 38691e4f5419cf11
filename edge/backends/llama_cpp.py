"""llama.cpp behind the token-level contract, through its low-level C API.

Knows: batches, the shared cache, aborts, logits pointers, threads. Does not know: text (see llama_cpp_tokenizer), or how
the library is loaded (llama_library) and tried out (self_test).

What llama.cpp does not forgive is kept from it here: a batch above its limit, a token outside the vocabulary, a full
context, a handle that was freed. The one-token path is short on purpose: a small model decodes in 0.3 ms.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge.backends import self_test
from edge.backends.base import Backend, BackendOptions, PrefillResult
from edge.backends.llama_library import last_complaint, load_library, open_context, open_model
from edge.backends.memory_plan import plan_context
from edge.backends.sequence_book import SequenceBook
from edge.backends.sequence_state import pack_state, unpack_state
from edge.machine import describe_machine
from models.errors import BackendError, BundleError, ContextFullError, UsageError

if TYPE_CHECKING:
    from edge.backends.llama_cpp_tokenizer import LlamaCppTokenizer

BATCH_SIZE = 512
ABORTED = 2
CACHE_BYTES_PER_VALUE = 2  # F16
FINGERPRINT_BYTES = 2**20


class LlamaCppBackend(Backend):
    """One GGUF file, one context; see ``Backend`` for the contract.

    ``is_safe_mode`` tells that the fast kernels are not used, ``self_test`` how that was found out, and
    ``context_reason`` why the context is as large as it is.
    Raises BundleError for a file llama.cpp cannot read, UsageError or BackendError for options that cannot be met.
    """

    name = "llama_cpp"

    def __init__(self, model_path: Path, options: BackendOptions) -> None:
        _check(model_path, options)
        machine = describe_machine()
        self.self_test = self_test.choose_mode(model_path)
        self.is_safe_mode = self.self_test.mode == "safe"
        self.num_sequences = options.num_sequences
        self.num_threads = options.num_threads or machine.default_threads
        self._path = model_path
        self._library: Any = load_library()
        self._context = 0
        self._model = open_model(model_path, is_safe=self.is_safe_mode)
        try:
            self._read_model()
            plan = plan_context(
                options.context_size,
                trained=self._library.llama_model_n_ctx_train(self._model),
                kv_bytes_per_token=self.kv_bytes_per_token,
                weight_bytes=self._library.llama_model_size(self._model),
                available_bytes=machine.memory_available_bytes,
            )
            self.context_size, self.context_reason = plan.size, plan.reason
            self.notes = self.self_test.notes + ((f"The context is {plan.reason}.",) if plan.is_cut_short else ())
            self._open_context()
        except BaseException:
            self.close()
            raise

    def _read_model(self) -> None:
        library, model = self._library, self._model
        self.vocab_size = library.llama_vocab_n_tokens(library.llama_model_get_vocab(model))
        self.kv_bytes_per_token = self._cache_values_per_token() * CACHE_BYTES_PER_VALUE
        self._can_cut = not (library.llama_model_is_recurrent(model) or library.llama_model_is_hybrid(model))

    def _cache_values_per_token(self) -> int:
        library, model = self._library, self._model
        num_heads = max(1, library.llama_model_n_head(model))
        default_size = library.llama_model_n_embd(model) // num_heads
        architecture = self._metadata("general.architecture")
        sizes = (self._metadata(f"{architecture}.attention.{kind}_length") for kind in ("key", "value"))
        head_values = sum(int(size) if size.isdigit() else default_size for size in sizes)
        return int(library.llama_model_n_layer(model) * library.llama_model_n_head_kv(model) * head_values)

    def _metadata(self, key: str) -> str:
        text = ctypes.create_string_buffer(128)
        self._library.llama_model_meta_val_str(self._model, key.encode(), text, len(text))
        return text.value.decode(errors="replace")

    def _open_context(self) -> None:
        library = self._library
        self._context = open_context(
            self._model,
            context_size=self.context_size,
            batch_size=min(BATCH_SIZE, self.context_size),
            num_threads=self.num_threads,
            num_sequences=self.num_sequences,
        )
        self._batch_size = int(library.llama_n_batch(self._context))
        self._memory = library.llama_get_memory(self._context)
        self._decode_batch = library.llama_decode
        self._logits_address = _logits_function(library)
        self._book = SequenceBook(self.num_sequences, self.context_size, self.vocab_size)
        self._view_address, self._view = 0, np.empty(0, np.float32)
        self._logits_owner: int | None = None  # the sequence whose logits lie in llama.cpp's buffer
        self._set_aside: dict[int, NDArray[np.float32]] = {}  # logits of other sequences, copied before they go
        self._make_batch()

    def _make_batch(self) -> None:
        """One batch for all calls: its arrays are filled anew each time, its pointers stay."""
        size, library = self._batch_size, self._library
        self._tokens = (library.llama_token * size)()
        self._positions = (library.llama_pos * size)()
        self._wants_logits = (ctypes.c_int8 * size)()
        self._batch_sequence = library.llama_seq_id(0)
        one_each = (ctypes.c_int32 * size)(*[1] * size)
        same_sequence = (ctypes.POINTER(library.llama_seq_id) * size)(*[ctypes.pointer(self._batch_sequence)] * size)
        self._batch = library.llama_batch(
            n_tokens=0,
            token=self._tokens,
            embd=None,
            pos=self._positions,
            n_seq_id=one_each,
            seq_id=same_sequence,
            logits=self._wants_logits,
        )

    def prefill(
        self, sequence: int, tokens: Sequence[int], *, should_stop: Callable[[], bool] | None = None
    ) -> PrefillResult:
        self._book.check_prefill(sequence, tokens)
        held = self._book.held(sequence)
        self._forget(sequence, self._book.kept_prefix(sequence, tokens))
        cached = len(held)
        interrupt = _Interrupt(should_stop)
        self._set_abort(interrupt.callback if should_stop is not None and self._can_cut else None)
        try:
            while len(held) < len(tokens) and not interrupt.asked():
                chunk = tokens[len(held) : len(held) + self._batch_size]
                self._evaluate(sequence, held, chunk, wants_logits=len(held) + len(chunk) == len(tokens))
        finally:
            self._set_abort(None)
        interrupt.reraise()
        return PrefillResult(cached, len(held) - cached, is_complete=len(held) == len(tokens))

    def append(self, sequence: int, tokens: Sequence[int]) -> None:
        self._book.check_append(sequence, tokens)
        held = self._book.held(sequence)
        start = len(held)
        try:
            for first in range(0, len(tokens), self._batch_size):
                chunk = tokens[first : first + self._batch_size]
                self._evaluate(sequence, held, chunk, wants_logits=first + len(chunk) == len(tokens))
        except BackendError:
            self._forget(sequence, start)
            raise

    def _evaluate(self, sequence: int, held: list[int], chunk: Sequence[int], *, wants_logits: bool) -> None:
        """Evaluate ``chunk``, at most one batch, behind ``held``, or leave cache and book as they were."""
        count, start = len(chunk), len(held)
        if self._logits_owner is not None and self._logits_owner != sequence:
            self._set_aside[self._logits_owner] = self._buffer_view().copy()
        self._logits_owner = None
        self._set_aside.pop(sequence, None)
        self._tokens[:count] = chunk
        self._positions[:count] = range(start, start + count)
        self._batch_sequence.value = sequence
        self._wants_logits[count - 1] = wants_logits
        self._batch.n_tokens = count
        try:
            code = self._decode_batch(self._context, self._batch)
            if code == 0:
                held.extend(chunk)
                self._logits_owner = sequence if wants_logits else None
        finally:  # also after Ctrl-C between the two lines above
            self._wants_logits[count - 1] = 0
            if len(held) == start:
                self._forget(sequence, start)
        if code not in (0, ABORTED):
            raise _decode_error(code, self.context_size)

    def _forget(self, sequence: int, length: int) -> None:
        """Make the cache and the book hold the first ``length`` tokens, or none where the memory cannot be cut."""
        held = self._book.held(sequence)
        if not self._library.llama_memory_seq_rm(self._memory, sequence, length, -1):
            self._library.llama_memory_seq_rm(self._memory, sequence, -1, -1)
            length = 0
        del held[length:]
        self._drop_logits(sequence)

    def _drop_logits(self, sequence: int) -> None:
        self._set_aside.pop(sequence, None)
        if self._logits_owner == sequence:
            self._logits_owner = None

    def logits(self, sequence: int) -> NDArray[np.float32]:
        if self._logits_owner == sequence:
            return self._buffer_view()
        self._book.held(sequence)
        if sequence not in self._set_aside:
            raise BackendError(f"Sequence {sequence} has no logits; evaluate a token first.")
        return self._set_aside[sequence]

    def _buffer_view(self) -> NDArray[np.float32]:
        """llama.cpp's own buffer as an array; the view is made anew only when the buffer has moved."""
        address = self._logits_address(self._context, -1)
        if address != self._view_address:
            if not address:
                raise BackendError(f"llama.cpp has no logits ({last_complaint()}); evaluate a token first.")
            buffer = (ctypes.c_float * self.vocab_size).from_address(address)
            self._view_address, self._view = address, np.frombuffer(buffer, np.float32)
        return self._view

    def length(self, sequence: int) -> int:
        return len(self._book.held(sequence))

    def cut(self, sequence: int, length: int) -> None:
        self._book.check_cut(sequence, length)
        tokens = self._book.held(sequence)[:length]
        self._forget(sequence, length)
        if self.length(sequence) < length:  # a recurrent memory was emptied instead: compute it again
            self.append(sequence, tokens)
        self._drop_logits(sequence)

    def save(self, sequence: int) -> bytes:
        tokens = self._book.held(sequence)
        size = self._library.llama_state_seq_get_size(self._context, sequence)
        buffer = (ctypes.c_uint8 * size)()
        written = self._library.llama_state_seq_get_data(self._context, buffer, size, sequence)
        return pack_state(self._fingerprint(), tokens, bytes(memoryview(buffer)[:written]))

    def restore(self, sequence: int, state: bytes) -> None:
        tokens, cache = unpack_state(self._fingerprint(), state)
        if tokens:
            self._book.check_prefill(sequence, tokens)
        self._forget(sequence, 0)
        buffer = (ctypes.c_uint8 * len(cache)).from_buffer_copy(cache)
        if self._library.llama_state_seq_set_data(self._context, buffer, len(cache), sequence) == 0:
            self._forget(sequence, 0)
            raise BackendError(f"llama.cpp refuses the saved state ({last_complaint()}); prefill instead.")
        self._book.held(sequence)[:] = tokens

    def _fingerprint(self) -> str:
        """Tells models and library versions apart: a cache means nothing to another one."""
        with self._path.open("rb") as file:
            first = file.read(FINGERPRINT_BYTES)
            file.seek(-min(FINGERPRINT_BYTES, self._path.stat().st_size), os.SEEK_END)
            last = file.read()
        return f"{self._library.llama_version().decode()} {len(first)} {hash_of(first + last)}"

    def set_threads(self, num_threads: int) -> None:
        """Use ``num_threads`` from the next call on. Raises UsageError below 1."""
        if num_threads < 1:
            raise UsageError(f"The number of threads is {num_threads}; use 1 or more.")
        self._book.check_open()
        self._library.llama_set_n_threads(self._context, num_threads, num_threads)
        self.num_threads = num_threads

    def tokenizer(self, control_texts: Sequence[str]) -> LlamaCppTokenizer:
        """llama.cpp's own tokenizer of this model, usable while the backend is open."""
        from edge.backends.llama_cpp_tokenizer import LlamaCppTokenizer

        return LlamaCppTokenizer(self._model, control_texts)

    def close(self) -> None:
        if self._context:
            self._book.close()
            self._library.llama_free(self._context)
        if self._model:
            self._library.llama_model_free(self._model)
        self._context = self._model = 0

    def _set_abort(self, callback: Any) -> None:
        library = self._library
        library.llama_set_abort_callback(self._context, callback or library.ggml_abort_callback(), None)
