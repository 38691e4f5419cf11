"""ONNX Runtime behind the token-level contract.

Knows: what the contract asks, and that a call is interrupted from another thread. Does not know: text, buffers and
bindings (``onnx_session``), or how a crash of the library becomes a sentence (``self_test``).

The cache lies in place, so that cutting back is a smaller number and nothing else. One token and many are rounded
differently: a single query goes through another product in the attention, and the rounding of activations to 8 bits
makes of that a hundredth of a logit. Two prefills of the same tokens, in whatever pieces of two and more, are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from edge.backends import self_test
from edge.backends.base import Backend, BackendOptions, PrefillResult
from edge.backends.huge_pages import on_huge_pages
from edge.backends.memory_plan import plan_context
from edge.backends.onnx_session import (
    OnnxCache,
    OnnxSession,
    first_line,
    load_runtime,
    run_options,
    runtime_errors,
)
from edge.backends.option_check import check_options, check_threads
from edge.backends.sequence_book import SequenceBook
from edge.backends.sequence_state import file_fingerprint, pack_state, unpack_state
from edge.machine import describe_machine
from models.errors import BackendError, BundleError
from models.files import read_json_object

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHUNK_SIZE = 128  # tokens; more at once is no faster, and its attention scores take more memory
POLL_S = 0.005  # how often a running chunk asks whether it should stop
GENAI_NAME = "genai_config.json"


class OnnxRuntimeBackend(Backend):
    """One ONNX graph with its data file and genai_config.json beside it; see ``Backend`` for the contract.

    ``context_reason`` says why the context is as large as it is, ``self_test`` how the library was tried out.
    Raises BundleError for files that ONNX Runtime cannot read, UsageError or BackendError for options that cannot be
    met, BackendError for a missing or dying package.
    """

    name = "onnx"
    changes_threads_freely = False  # a session keeps its threads, and a second one would hold the weights once more

    def __init__(self, model_path: Path, options: BackendOptions) -> None:
        check_options(_files(model_path), options)
        machine = describe_machine()  # before the model takes its share of the memory
        trained = _num_positions(model_path)
        weight_bytes = sum(path.stat().st_size for path in _files(model_path))
        self.self_test = self_test.choose_mode(model_path, trial=self_test.ONNX)
        self.num_sequences = options.num_sequences
        self.num_threads = options.num_threads or machine.threads_for(weight_bytes)
        self._path = model_path
        with on_huge_pages():
            session = OnnxSession(model_path, self.num_threads)
        self.vocab_size, self.kv_bytes_per_token = session.vocab_size, session.kv_bytes_per_token
        plan = plan_context(
            options.context_size,
            trained=trained,
            kv_bytes_per_token=self.kv_bytes_per_token * self.num_sequences,  # each may come to fill the context alone
            weight_bytes=weight_bytes,
            available_bytes=machine.memory_available_bytes,
        )
        self.context_size, self.context_reason = plan.size, plan.reason
        self.notes = self.self_test.notes + ((f"The context is {plan.reason}.",) if plan.is_cut_short else ())
        self._caches = [OnnxCache(session.cache_shapes, plan.size) for _ in range(self.num_sequences)]
        self._sequences = [session.bind(cache) for cache in self._caches]
        self._book = SequenceBook(self.num_sequences, self.context_size, self.vocab_size)
        self._has_logits = [False] * self.num_sequences

    def prefill(
        self, sequence: int, tokens: Sequence[int], *, should_stop: Callable[[], bool] | None = None
    ) -> PrefillResult:
        self._book.check_prefill(sequence, tokens)
        held = self._book.held(sequence)
        cached = self._book.kept_prefix(sequence, tokens)
        self._forget(sequence, cached)
        while len(held) < len(tokens):
            chunk = tokens[len(held) : len(held) + CHUNK_SIZE]
            if (should_stop and should_stop()) or not self._evaluate(sequence, chunk, len(tokens), should_stop):
                return PrefillResult(cached, len(held) - cached, is_complete=False)
        return PrefillResult(cached, len(held) - cached, is_complete=True)

    def append(self, sequence: int, tokens: Sequence[int]) -> None:
        self._book.check_append(sequence, tokens)
        start = self.length(sequence)
        try:
            for first in range(0, len(tokens), CHUNK_SIZE):
                self._evaluate(sequence, tokens[first : first + CHUNK_SIZE], start + len(tokens), None)
        except BackendError:
            self._forget(sequence, start)
            raise

    def _evaluate(self, sequence: int, chunk: Sequence[int], aim: int, should_stop: Callable[[], bool] | None) -> bool:
        """Evaluate ``chunk`` behind what is held; False where it was stopped, and nothing is held more than before.

        Logits are computed where the chunk reaches the length ``aim``.
        """
        held, options = self._book.held(sequence), run_options()
        start, wants_logits = len(held), len(held) + len(chunk) == aim
        self._has_logits[sequence] = False

        def run() -> None:
            self._sequences[sequence].run(chunk, start, wants_logits=wants_logits, options=options)

        try:
            if should_stop is None:
                run()
            else:
                _run_watched(run, should_stop, options)
        except runtime_errors() as exc:
            if options.terminate:
                return False
            raise BackendError(
                f"ONNX Runtime could not evaluate the tokens ({first_line(exc)}); load the model again."
            ) from exc
        held.extend(chunk)
        self._has_logits[sequence] = wants_logits
        return True

    def _forget(self, sequence: int, length: int) -> None:
        """What lies behind ``length`` in the cache is overwritten by what comes next."""
        del self._book.held(sequence)[length:]
        self._has_logits[sequence] = False

    def logits(self, sequence: int, banned: Sequence[int] = ()) -> NDArray[np.float32]:
        self._book.held(sequence)
        if not self._has_logits[sequence]:
            raise BackendError(f"Sequence {sequence} has no logits; evaluate a token first.")
        return self._sequences[sequence].logits

    def length(self, sequence: int) -> int:
        return len(self._book.held(sequence))

    def cut(self, sequence: int, length: int) -> None:
        self._book.check_cut(sequence, length)
        self._forget(sequence, length)

    def save(self, sequence: int) -> bytes:
        held = self._book.held(sequence)
        return pack_state(self._fingerprint(), held, self._caches[sequence].save(len(held)))

    def restore(self, sequence: int, state: bytes) -> None:
        self._book.held(sequence)
        tokens, saved = unpack_state(self._fingerprint(), state)
        if tokens:
            self._book.check_prefill(sequence, tokens)
        if not self._caches[sequence].restore(saved, len(tokens)):
            raise BackendError(f"A saved state of {len(saved)} bytes has not this model's size; prefill instead.")
        self._book.held(sequence)[:] = tokens
        self._has_logits[sequence] = False

    def _fingerprint(self) -> str:
        return f"onnx {load_runtime().__version__} " + " ".join(map(file_fingerprint, _files(self._path)))

    def set_threads(self, num_threads: int) -> None:
        """See ``Backend``; opens the model once more, which takes as long as the first time."""
        check_threads(num_threads)
        self._book.check_open()
        if num_threads == self.num_threads:
            return
        logits = [sequence.logits for sequence in self._sequences]
        self._sequences.clear()  # the old session goes before the new one takes its memory
        try:
            with on_huge_pages():
                session = OnnxSession(self._path, num_threads)
        except BaseException:
            self.close()
            raise
        self._sequences = [session.bind(cache) for cache in self._caches]
        for sequence, kept in zip(self._sequences, logits, strict=True):
            sequence.logits[:] = kept
        self.num_threads = num_threads

    def close(self) -> None:
        self._book.close()
        self._sequences.clear()
        self._caches.clear()


def _run_watched(run: Callable[[], None], should_stop: Callable[[], bool], options: Any) -> None:
    """Run in a thread of its own, while this one asks ``should_stop`` and hears Ctrl-C; raises what either raises."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            run()
        except BaseException as exc:  # handed to the waiting thread
            errors.append(exc)

    worker = Thread(target=work, name="onnx prefill")
    worker.start()
    try:
        worker.join(POLL_S)
        while worker.is_alive() and not should_stop():
            worker.join(POLL_S)
    finally:
        options.terminate = worker.is_alive()
        worker.join()
    if errors:
        raise errors[0]


def _files(model_path: Path) -> list[Path]:
    """The graph and its data file."""
    return [model_path, model_path.with_name(f"{model_path.name}.data")]


def _num_positions(model_path: Path) -> int:
    """Tokens that the graph was made for. Raises BundleError where the file beside it does not say."""
    path = model_path.with_name(GENAI_NAME)
    try:
        return int(read_json_object(path, BundleError)["model"]["context_length"])
    except (KeyError, TypeError, ValueError) as exc:
        raise BundleError(f"{path} has no model.context_length; make the bundle again.") from exc
