"""One open RKLLM model: runs of tokens through its callback, and what its cache holds.

Knows: the calls of the library and their order. Does not know: the backend contract, or where tokens come from.
A run in step mode evaluates tokens and gives the logits after the last. A run that goes ahead generates by itself, in
a thread of its own; at each token its callback waits for the word to go on or to pause. Whether a token at which it
pauses is in the cache is not documented, so the cache is asked for its size afterwards.
"""

from __future__ import annotations

import ctypes
import queue
import threading
from collections.abc import Sequence
from ctypes import byref, c_int, c_int32, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.backends import rkllm_library as rk
from models.errors import BackendError

WAIT_S = 60.0  # for one token, after which the device is taken for dead
MAX_NEW_TOKENS = 2**20


class RkllmDevice:
    """The model file ``path`` on the library at ``library_path``, with room for ``context_size`` tokens.

    ``held`` are the tokens in the device's cache, as far as they are known. Raises BackendError.
    """

    def __init__(self, path: Path, library_path: Path, context_size: int) -> None:
        self.held: list[int] = []
        self._library = rk.load_library(library_path)
        self._kinds = rk.structures(rk.LAYOUTS[rk.VERSION])
        self._offers: queue.SimpleQueue[int | None] = queue.SimpleQueue()  # None: the run is over
        self._verdicts: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._offered: int | None = None
        self._rows: list[NDArray[np.float32]] = []  # logits that the step under way has given
        self._is_stepping = False
        self._failure = ""
        prototype = ctypes.CFUNCTYPE(c_int, ctypes.POINTER(self._kinds["Result"]), c_void_p, c_int)
        self._callback = prototype(self._on_result)  # the library keeps only its address
        self._handle = c_void_p()
        self._open(path, context_size)

    @property
    def is_ahead(self) -> bool:
        """Whether a run is generating by itself."""
        return self._thread is not None

    def step(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Evaluate ``tokens`` behind what is held; ``(vocab_size,) float32`` logits after the last."""
        self._rows.clear()
        self._is_stepping = True
        try:
            self._run(tokens, rk.MODE_LOGITS)
        finally:
            self._is_stepping = False
        if not self._rows:
            raise BackendError("RKLLM gave no logits; the model was converted without them, or the device failed.")
        self.held += tokens
        return self._rows[-1]

    def go_ahead(self, tokens: Sequence[int]) -> None:
        """Evaluate ``tokens`` and generate from there on, until ``pause``."""
        self.held += tokens
        self._offered = None

        def run() -> None:
            try:
                self._run(tokens, rk.MODE_GENERATE)
            except BackendError as exc:
                self._failure = str(exc)
            self._offers.put(None)

        self._thread = threading.Thread(target=run, name="rkllm run", daemon=True)
        self._thread.start()

    def offered(self) -> int:
        """The token that the run has generated and waits with. Raises BackendError when it ended or hangs."""
        if self._offered is None:
            try:
                self._offered = self._offers.get(timeout=WAIT_S)
            except queue.Empty:
                raise BackendError(f"RKLLM has given no token for {WAIT_S:.0f} s; start the board anew.") from None
        if self._offered is None:
            self._join()
            raise BackendError(f"RKLLM ended by itself ({self._failure or 'no reason given'}); run `edge doctor`.")
        return self._offered

    def take(self) -> None:
        """Let the run go on behind the token it has offered."""
        self.held.append(self.offered())
        self._offered = None
        self._verdicts.put(rk.GO_ON)

    def pause(self) -> None:
        """End the run, if there is one, at the token it offers; afterwards ``held`` is what the cache holds."""
        if self._thread is None:
            return
        believed = [*self.held, self.offered()]
        self._verdicts.put(rk.PAUSE)
        self._join()
        size = self._cache_size()
        self.held = believed[:size]
        if size > len(believed):
            self._clear(len(believed), size)

    def cut(self, length: int) -> None:
        """Forget what is held from position ``length`` on."""
        if length < len(self.held):
            self._clear(length, len(self.held))
            del self.held[length:]

    def close(self) -> None:
        """Free the device; safe to call twice."""
        if not self._handle:
            return
        if self._thread is not None:
            self._verdicts.put(rk.RELEASE)
            self._library.rkllm_abort(self._handle)
            self._thread.join(WAIT_S)
        self._library.rkllm_destroy(self._handle)
        self._handle = c_void_p()

    def _open(self, path: Path, context_size: int) -> None:
        create = self._library.rkllm_createDefaultParam
        create.restype = self._kinds["Param"]
        param: Any = create()
        param.model_path, param.max_context_len = str(path).encode(), context_size
        param.max_new_tokens, param.top_k = MAX_NEW_TOKENS, 1
        param.repeat_penalty, param.frequency_penalty, param.presence_penalty = 1.0, 0.0, 0.0
        param.skip_special_token, param.ignore_eos_token, param.is_async = False, True, False  # the loop sees the end
        callback: Any = self._kinds["Callback"]()
        callback.result_callback = ctypes.cast(self._callback, c_void_p)
        if code := self._library.rkllm_init(byref(self._handle), byref(param), byref(callback)):
            self._handle = c_void_p()
            raise BackendError(
                f"RKLLM cannot open {path} with a context of {context_size} tokens (code {code}); it must be a model "
                f"converted for this chip by the toolkit of version {rk.VERSION}."
            )

    def _run(self, tokens: Sequence[int], mode: int) -> None:
        ids = (c_int32 * len(tokens))(*tokens)
        given: Any = self._kinds["Input"]()
        given.role, given.input_type, given.num_tokens = b"user", rk.INPUT_TOKENS, len(tokens)
        given.input_ids = ctypes.cast(ids, ctypes.POINTER(c_int32))
        infer: Any = self._kinds["InferParam"]()
        infer.mode, infer.keep_history, infer.max_new_tokens = mode, 1, MAX_NEW_TOKENS
        if code := self._library.rkllm_run(self._handle, byref(given), byref(infer), None):
            raise BackendError(f"RKLLM failed to evaluate {len(tokens)} tokens (code {code}); run `edge doctor`.")

    def _on_result(self, result: Any, _userdata: int | None, state: int) -> int:
        if state == rk.STATE_ERROR:
            self._failure = "the device reported an error"
            return rk.GO_ON
        if state not in (rk.STATE_NORMAL, rk.STATE_WAITING):
            return rk.GO_ON
        told = result.contents
        if self._is_stepping:
            if told.logits:
                rows = np.ctypeslib.as_array(told.logits, (told.logits_tokens, told.vocab_size))
                self._rows.append(rows[-1].astype(np.float32, copy=True))
            return rk.GO_ON
        self._offers.put(int(told.token_id))
        return self._verdicts.get()

    def _join(self) -> None:
        assert self._thread is not None
        self._thread.join(WAIT_S)
        while not self._offers.empty():
            self._offers.get()
        self._thread, self._offered = None, None

    def _cache_size(self) -> int:
        sizes = (c_int * 1)()
        if code := self._library.rkllm_get_kv_cache_size(self._handle, sizes):
            raise BackendError(f"RKLLM does not tell the size of its cache (code {code}); run `edge doctor`.")
        return int(sizes[0])

    def _clear(self, start: int, end: int) -> None:
        if code := self._library.rkllm_clear_kv_cache(self._handle, 0, (c_int * 1)(start), (c_int * 1)(end)):
            raise BackendError(f"RKLLM cannot clear positions {start} to {end} of its cache (code {code}).")
