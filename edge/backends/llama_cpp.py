"""llama.cpp behind the token-level contract.

Knows: what the contract asks, and what llama.cpp does not forgive and is kept from it here: a token outside the
vocabulary, a full context, a batch above its limit, a handle that was freed.
Does not know: text (``llama_cpp_tokenizer``), pointers (``llama_context``), or how the library is loaded
(``llama_library``) and tried out (``self_test``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.backends import self_test
from edge.backends.base import Backend, BackendOptions, PrefillResult
from edge.backends.gpu_layers import plan_gpu
from edge.backends.huge_pages import on_huge_pages
from edge.backends.llama_context import LlamaContext
from edge.backends.llama_library import (
    kv_bytes_per_token,
    load_library,
    open_context,
    open_model,
    take_complaint,
)
from edge.backends.memory_plan import plan_context
from edge.backends.option_check import check_options, check_threads
from edge.backends.sequence_book import SequenceBook
from edge.backends.sequence_state import file_fingerprint, pack_state, unpack_state
from edge.machine import describe_machine
from models.errors import BackendError, ContextFullError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge.backends.llama_cpp_tokenizer import LlamaCppTokenizer

# Bytes of weights times tokens, some tens of milliseconds: a shorter prefill is not asked in its midst whether to stop,
# since a question for every node of the graph costs a small model 3 % of its time.
WORK_ASKED_INSIDE = 10**9
BATCH_SIZE = 128  # tokens; as fast as 512 on a CPU, with a quarter of the attention scores in memory
DECODED, NO_ROOM, ABORTED = 0, 1, 2  # what a decode returns


class LlamaCppBackend(Backend):
    """One GGUF file, one context; see ``Backend`` for the contract.

    ``is_safe_mode`` tells that the fast kernels are not used, ``self_test`` how that was found out, and
    ``context_reason`` why the context is as large as it is, ``gpu`` which layers a GPU has.
    Raises BundleError for a file llama.cpp cannot read, UsageError or BackendError for options that cannot be met.
    """

    name = "llama_cpp"

    def __init__(self, model_path: Path, options: BackendOptions) -> None:
        _check(model_path, options)
        machine = describe_machine()  # before the model takes its share of the memory
        self.self_test = self_test.choose_mode(model_path)
        self.is_safe_mode = self.self_test.mode == "safe"
        self.num_sequences = options.num_sequences
        self._path = model_path
        self._library: Any = load_library()
        gpu = plan_gpu(model_path, options.gpu_layers)
        self.gpu = gpu.words
        with on_huge_pages():
            self._model = open_model(model_path, is_safe=self.is_safe_mode, gpu_layers=gpu.layers)
        weight_bytes = int(self._library.llama_model_size(self._model))
        self.num_threads = options.num_threads or machine.threads_for(weight_bytes)
        try:
            self._open_context(options.context_size, machine.memory_available_bytes)
        except BaseException:
            self._library.llama_model_free(self._model)
            raise
        self._book = SequenceBook(self.num_sequences, self.context_size, self.vocab_size)
        self._logits_owner: int | None = None  # the sequence whose logits lie in llama.cpp's buffer
        self._set_aside: dict[int, NDArray[np.float32]] = {}  # logits of other sequences, copied before they go
        self._looks_at: int | None = None  # a position whose logits are wanted beside the last one's
        self._seen: NDArray[np.float32] | None = None  # those logits

    def _open_context(self, asked_size: int | None, memory_available_bytes: int | None) -> None:
        library, model = self._library, self._model
        self.vocab_size = int(library.llama_vocab_n_tokens(library.llama_model_get_vocab(model)))
        self.kv_bytes_per_token = kv_bytes_per_token(model)
        self._can_cut = not (library.llama_model_is_recurrent(model) or library.llama_model_is_hybrid(model))
        plan = plan_context(
            asked_size,
            trained=library.llama_model_n_ctx_train(model),
            kv_bytes_per_token=self.kv_bytes_per_token,
            weight_bytes=library.llama_model_size(model),
            available_bytes=memory_available_bytes,
        )
        self._tokens_asked_inside = WORK_ASKED_INSIDE // max(1, library.llama_model_size(model))
        self.context_size, self.context_reason = plan.size, plan.reason
        self.notes = self.self_test.notes + ((f"The context is {plan.reason}.",) if plan.is_cut_short else ())
        handle = open_context(
            model,
            context_size=plan.size,
            batch_size=min(BATCH_SIZE, plan.size),
            num_threads=self.num_threads,
            num_sequences=self.num_sequences,
        )
        self._context: LlamaContext | None = LlamaContext(handle, self.vocab_size)

    def prefill(
        self, sequence: int, tokens: Sequence[int], *, should_stop: Callable[[], bool] | None = None
    ) -> PrefillResult:
        self._book.check_prefill(sequence, tokens)
        held = self._book.held(sequence)
        self._forget(sequence, self._book.kept_prefix(sequence, tokens))
        cached = len(held)
        interrupt = _Interrupt(should_stop)
        is_long = len(tokens) - cached >= self._tokens_asked_inside
        asks_inside = should_stop is not None and self._can_cut and is_long
        if asks_inside:
            self._open.ask_while_computing(interrupt.asked)
        try:
            while len(held) < len(tokens) and not interrupt.asked():
                self._evaluate(sequence, tokens[len(held) : len(held) + self._open.batch_size], of=len(tokens))
        finally:
            if asks_inside:
                self._open.ask_while_computing(None)
        interrupt.reraise()
        return PrefillResult(cached, len(held) - cached, is_complete=len(held) == len(tokens))

    def prefill_seeing(
        self,
        sequence: int,
        tokens: Sequence[int],
        length: int,
        *,
        should_stop: Callable[[], bool] | None = None,
    ) -> tuple[PrefillResult, NDArray[np.float32] | None]:
        """See ``Backend``: any token of a batch may have its logits computed."""
        self._book.check_prefill(sequence, tokens)
        self._forget(sequence, min(self._book.kept_prefix(sequence, tokens), length - 1))
        self._looks_at = length - 1
        try:
            result = self.prefill(sequence, tokens, should_stop=should_stop)
            return result, self._seen if result.is_complete else None
        finally:
            self._looks_at = self._seen = None

    def append(self, sequence: int, tokens: Sequence[int]) -> None:
        self._book.check_append(sequence, tokens)
        held, batch_size = self._book.held(sequence), self._open.batch_size
        start = len(held)
        try:
            for first in range(0, len(tokens), batch_size):
                self._evaluate(sequence, tokens[first : first + batch_size], of=start + len(tokens))
        except BackendError:
            self._forget(sequence, start)
            raise

    def _evaluate(self, sequence: int, chunk: Sequence[int], *, of: int) -> None:
        """Evaluate ``chunk``, at most one batch, behind what is held, or leave cache and book as they were.

        Logits are computed where the chunk reaches ``of``, the length that is aimed at.
        """
        held, context = self._book.held(sequence), self._open
        start = len(held)
        if self._logits_owner not in (None, sequence):
            self._set_aside[self._logits_owner] = context.logits().copy()
        self._drop_logits(sequence)
        self._logits_owner = None
        wants_logits = start + len(chunk) == of
        also = None
        if self._looks_at is not None and start <= self._looks_at < start + len(chunk):
            also = self._looks_at - start
        try:
            code = context.decode(sequence, start, chunk, wants_logits=wants_logits, also=also)
            if code == DECODED:
                held.extend(chunk)
                if also is not None:
                    self._seen = context.logits_after(also)
                self._logits_owner = sequence if wants_logits else None
        finally:  # also after Ctrl-C between the two lines above
            if len(held) == start:
                self._forget(sequence, start)
        if code not in (DECODED, ABORTED):
            raise _decode_error(code, self.context_size)

    def _forget(self, sequence: int, length: int) -> None:
        """Make the cache and the book hold the first ``length`` tokens, or none where the memory cannot be cut."""
        held = self._book.held(sequence)
        if not self._open.forget(sequence, length):
            self._open.clear(sequence)
            length = 0
        del held[length:]
        self._drop_logits(sequence)

    def _drop_logits(self, sequence: int) -> None:
        self._set_aside.pop(sequence, None)
        if self._logits_owner == sequence:
            self._logits_owner = None

    def logits(self, sequence: int, banned: Sequence[int] = ()) -> NDArray[np.float32]:
        if self._logits_owner == sequence:
            return self._open.logits()
        self._book.held(sequence)
        if sequence not in self._set_aside:
            raise BackendError(f"Sequence {sequence} has no logits; evaluate a token first.")
        return self._set_aside[sequence]

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
        return pack_state(self._fingerprint(), tokens, self._open.save(sequence))

    def restore(self, sequence: int, state: bytes) -> None:
        self._book.held(sequence)
        tokens, cache = unpack_state(self._fingerprint(), state)
        if tokens:
            self._book.check_prefill(sequence, tokens)
        self._forget(sequence, 0)
        if not self._open.restore(sequence, cache):
            self._open.clear(sequence)
            raise BackendError(f"llama.cpp refuses the saved state ({take_complaint()}); prefill instead.")
        self._book.held(sequence)[:] = tokens

    def _fingerprint(self) -> str:
        return f"{self._library.llama_version().decode()} {file_fingerprint(self._path)}"

    def set_threads(self, num_threads: int) -> None:
        check_threads(num_threads)
        self._open.set_threads(num_threads)
        self.num_threads = num_threads

    def tokenizer(self, control_texts: Sequence[str]) -> LlamaCppTokenizer:
        """llama.cpp's own tokenizer of this model, usable while the backend is open."""
        from edge.backends.llama_cpp_tokenizer import LlamaCppTokenizer

        self._book.check_open()
        return LlamaCppTokenizer(self._model, control_texts)

    @property
    def _open(self) -> LlamaContext:
        if self._context is None:
            raise BackendError("The backend is closed; open the model again.")
        return self._context

    def close(self) -> None:
        if self._context is None:
            return
        self._book.close()
        context, self._context = self._context, None
        context.close()
        self._library.llama_model_free(self._model)


class _Interrupt:
    """``should_stop`` as llama.cpp's compute loop can ask it: once yes, always yes, and never an exception.

    Ctrl-C lands in it when it comes during a decode; it is kept, stops the decode, and is raised afterwards.
    """

    def __init__(self, should_stop: Callable[[], bool] | None) -> None:
        self._should_stop = should_stop
        self._is_asked = False
        self._error: BaseException | None = None

    def asked(self) -> bool:
        if self._should_stop is None or self._is_asked:
            return self._is_asked
        try:
            self._is_asked = bool(self._should_stop())
        except BaseException as exc:  # C code cannot pass it on
            self._error, self._is_asked = exc, True
        return self._is_asked

    def reraise(self) -> None:
        if self._error is not None:
            raise self._error


def _check(model_path: Path, options: BackendOptions) -> None:
    check_options((model_path,), options)
    if options.gpu_layers is not None and options.gpu_layers < 0:
        raise UsageError(f"gpu_layers is {options.gpu_layers}; use 0 or more.")


def _decode_error(code: int, context_size: int) -> BackendError:
    if code == NO_ROOM:
        return ContextFullError(f"llama.cpp finds no room in its context of {context_size} tokens; use a larger one.")
    return BackendError(
        f"llama.cpp could not evaluate the tokens (code {code}: {take_complaint()}); load the model again."
    )
