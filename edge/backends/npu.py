"""Graphs of fixed shapes behind the token-level contract, on whatever device takes them whole.

Knows: what the contract asks, and that a call holds a chunk or one token. Does not know: text, or any device; ``qnn``,
``openvino`` and ``onnx_cuda`` are the same class with theirs.

The cache lies in our memory, so that cutting back is a smaller number and nothing else. A chunk that has begun cannot
be stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge.backends import self_test
from edge.backends.base import Backend, BackendOptions, PrefillResult
from edge.backends.memory_plan import plan_context
from edge.backends.npu_device import NpuDevice
from edge.backends.npu_session import NpuCache, NpuModel, data_path, prefill_path
from edge.backends.onnx_session import first_line, load_runtime, runtime_errors
from edge.backends.option_check import check_options, check_threads
from edge.backends.sequence_book import SequenceBook
from edge.backends.sequence_state import file_fingerprint, pack_state, unpack_state
from edge.machine import describe_machine
from models.errors import BackendError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class NpuBackend(Backend):
    """The graphs of a bundle's ``npu_decode`` file and the one beside it; see ``Backend`` for the contract.

    ``placement`` says how many nodes run on which provider. A subclass names its ``device`` and its ``trial``; without
    them the graphs run on ONNX Runtime's own CPU code, which is how they are tested.
    Raises BundleError for graphs that the device does not take whole, UsageError or BackendError for options that
    cannot be met, BackendError for a missing or dying package.
    """

    name = "npu"
    device: NpuDevice | None = None
    trial: self_test.Trial | None = None

    def __init__(self, decode_path: Path, options: BackendOptions) -> None:
        decode_path = self.choose_file(decode_path)
        files = _files(decode_path)
        check_options(files, options)
        machine = describe_machine()  # before the model takes its share of the memory
        self.notes = () if self.trial is None else self_test.choose_mode(decode_path, trial=self.trial).notes
        self.num_sequences = options.num_sequences
        weight_bytes = sum(path.stat().st_size for path in files)
        self.num_threads = options.num_threads or (machine.threads_for(weight_bytes) if self.has_threads else 1)
        self.changes_threads_freely = not self.has_threads
        self._decode_path = decode_path
        self._fingerprint = f"{self.name} {load_runtime().__version__} " + " ".join(map(file_fingerprint, files))
        self._model = model = NpuModel(decode_path, self.device, self.num_threads)
        self.placement = model.placement
        self.vocab_size, self.kv_bytes_per_token = model.vocab_size, model.kv_bytes_per_token
        plan = plan_context(
            options.context_size,
            trained=model.capacity,
            kv_bytes_per_token=0,  # the whole capacity is there from the start, whatever is asked for
            weight_bytes=weight_bytes + model.capacity * self.kv_bytes_per_token * self.num_sequences,
            available_bytes=machine.memory_available_bytes,
        )
        self.context_size = plan.size
        self._caches = [NpuCache(model) for _ in range(self.num_sequences)]
        self._book = SequenceBook(self.num_sequences, self.context_size, self.vocab_size)
        self._logits: list[NDArray[np.float32] | None] = [None] * self.num_sequences

    @property
    def has_threads(self) -> bool:
        """Whether the device is a CPU, whose threads are ours to choose."""
        return False

    def choose_file(self, decode_path: Path) -> Path:
        """The file to load for this device: ``decode_path``, or one beside it that was compiled ahead of time."""
        return decode_path

    def prefill(
        self, sequence: int, tokens: Sequence[int], *, should_stop: Callable[[], bool] | None = None
    ) -> PrefillResult:
        self._book.check_prefill(sequence, tokens)
        held = self._book.held(sequence)
        cached = self._book.kept_prefix(sequence, tokens)
        self._forget(sequence, cached)
        while len(held) < len(tokens):
            if should_stop and should_stop():
                self._logits[sequence] = None
                return PrefillResult(cached, len(held) - cached, is_complete=False)
            self._evaluate(sequence, tokens[len(held) : len(held) + self._model.chunk_size])
        return PrefillResult(cached, len(held) - cached, is_complete=True)

    def append(self, sequence: int, tokens: Sequence[int]) -> None:
        self._book.check_append(sequence, tokens)
        start, size = self.length(sequence), self._model.chunk_size
        try:
            for first in range(0, len(tokens), size):
                self._evaluate(sequence, tokens[first : first + size])
        except BackendError:
            self._forget(sequence, start)
            raise

    def _evaluate(self, sequence: int, chunk: Sequence[int]) -> None:
        """Evaluate ``chunk`` behind what is held."""
        held = self._book.held(sequence)
        self._logits[sequence] = None
        try:
            self._logits[sequence] = self._model.run(self._caches[sequence], chunk, len(held))
        except runtime_errors() as exc:
            raise BackendError(f"The device could not evaluate the tokens ({first_line(exc)}); load again.") from exc
        held.extend(chunk)

    def _forget(self, sequence: int, length: int) -> None:
        """What lies behind ``length`` in the cache is masked until it is overwritten."""
        del self._book.held(sequence)[length:]
        self._logits[sequence] = None

    def logits(self, sequence: int, banned: Sequence[int] = ()) -> NDArray[np.float32]:
        self._book.held(sequence)
        logits = self._logits[sequence]
        if logits is None:
            raise BackendError(f"Sequence {sequence} has no logits; evaluate a token first.")
        return logits

    def length(self, sequence: int) -> int:
        return len(self._book.held(sequence))

    def cut(self, sequence: int, length: int) -> None:
        self._book.check_cut(sequence, length)
        self._forget(sequence, length)

    def save(self, sequence: int) -> bytes:
        held = self._book.held(sequence)
        return pack_state(self._fingerprint, held, self._caches[sequence].save(len(held)))

    def restore(self, sequence: int, state: bytes) -> None:
        self._book.held(sequence)
        tokens, saved = unpack_state(self._fingerprint, state)
        if tokens:
            self._book.check_prefill(sequence, tokens)
        if not self._caches[sequence].restore(saved, len(tokens)):
            raise BackendError(f"A saved state of {len(saved)} bytes has not this model's size; prefill instead.")
        self._book.held(sequence)[:] = tokens
        self._logits[sequence] = None

    def set_threads(self, num_threads: int) -> None:
        """See ``Backend``; an NPU has no threads of ours, so that the number is kept and changes nothing there.

        A device with threads opens the model once more, which takes as long as the first time.
        """
        check_threads(num_threads)
        self._book.check_open()
        if self.has_threads and num_threads != self.num_threads:
            del self._model  # goes before the new one takes its memory
            try:
                self._model = NpuModel(self._decode_path, self.device, num_threads)
            except BaseException:
                self.close()
                raise
        self.num_threads = num_threads

    def close(self) -> None:
        self._book.close()
        self._caches.clear()
        self.__dict__.pop("_model", None)


def _files(decode_path: Path) -> list[Path]:
    """Both graphs, and their data where it is not inside them."""
    data = data_path(decode_path)
    return [decode_path, prefill_path(decode_path), *([data] if data.is_file() else [])]
