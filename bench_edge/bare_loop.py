"""The least a program can do to decode with llama.cpp: the yardstick for the runtime's own loop.

Knows: llama_decode, one token at a time, logits read and the best token taken. Does not know: text, tags, events.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from edge.backends.llama_library import load_library
from models.errors import BackendError


class BareLoop:
    """A model file opened with llama.cpp's defaults and ``num_threads`` threads; a context manager."""

    def __init__(self, model_path: Path, num_threads: int, context_size: int = 2048) -> None:
        self._llama: Any = load_library()
        self._model = self._llama.llama_model_load_from_file(
            str(model_path).encode(), self._llama.llama_model_default_params()
        )
        if not self._model:
            raise BackendError(f"llama.cpp cannot load {model_path}.")
        parameters = self._llama.llama_context_default_params()
        parameters.n_ctx = context_size
        parameters.n_threads = parameters.n_threads_batch = num_threads
        self._context = self._llama.llama_init_from_model(self._model, parameters)
        self._vocab_size = self._llama.llama_vocab_n_tokens(self._llama.llama_model_get_vocab(self._model))
        self._batch = self._llama.llama_batch_init(512, 0, 1)

    def __enter__(self) -> BareLoop:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._llama.llama_batch_free(self._batch)
        self._llama.llama_free(self._context)
        self._llama.llama_model_free(self._model)

    def prefill(self, tokens: Sequence[int], behind: Sequence[int] = ()) -> float:
        """Evaluate up to 512 ``tokens`` in a cache that holds ``behind`` alone; returns the seconds they took."""
        self._llama.llama_memory_clear(self._llama.llama_get_memory(self._context), True)
        if behind:
            self._decode(behind, 0)
        start = time.perf_counter()
        self._decode(tokens, len(behind))
        return time.perf_counter() - start

    def decode(self, tokens: Sequence[int], num_tokens: int) -> float:
        """Prefill ``tokens``, then take the best token ``num_tokens`` times; returns seconds of the latter."""
        self.prefill(tokens)
        start = time.perf_counter()
        for position in range(len(tokens), len(tokens) + num_tokens):
            self._decode((self._best_token(),), position)
        self._best_token()
        return time.perf_counter() - start

    def _best_token(self) -> int:
        pointer = self._llama.llama_get_logits_ith(self._context, -1)
        return int(np.ctypeslib.as_array(pointer, (self._vocab_size,)).argmax())

    def _decode(self, tokens: Sequence[int], position: int) -> None:
        batch = self._batch
        batch.n_tokens = len(tokens)
        for index, token in enumerate(tokens):
            batch.token[index] = token
            batch.pos[index] = position + index
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = 0
            batch.logits[index] = index == len(tokens) - 1
        if code := self._llama.llama_decode(self._context, batch):
            raise BackendError(f"llama_decode returned {code}.")
