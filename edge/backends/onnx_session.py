"""One open ONNX Runtime session, and the buffers that a sequence of tokens is bound to.

Knows: the names of the graph's inputs and outputs, and how one buffer is both the past and the present of a call.
Does not know: which tokens a sequence holds, or what may be asked of it: a full buffer, a token outside the vocabulary.
"""

from __future__ import annotations

import importlib.util
import mmap
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.backends.base import BACKENDS, ONNX_REQUIREMENT
from models.errors import BackendError, BundleError

REINSTALL = f"pip install --force-reinstall '{ONNX_REQUIREMENT}'"
CPU_PROVIDER = "CPUExecutionProvider"
PAST_NAME, PRESENT_NAME = "past_key_values", "present"
SILENT = 4  # its log would come between a user and the answer


def package_folder() -> Path:
    """Where onnxruntime is installed, found without loading it. Raises BackendError where it is not."""
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or not spec.submodule_search_locations:
        raise BackendError(f"onnxruntime is not installed; run: {BACKENDS['onnx'].install}")
    return Path(next(iter(spec.submodule_search_locations)))


@cache
def load_runtime() -> Any:
    """The module ``onnxruntime``. Raises BackendError where it is missing, half installed or cannot be loaded."""
    package_folder()
    try:
        runtime = import_module("onnxruntime")
        runtime.set_default_logger_severity(SILENT)  # a folder without its library can be imported, but has nothing
    except (ImportError, AttributeError, OSError) as exc:
        raise BackendError(f"onnxruntime cannot be loaded ({exc}); install it again with: {REINSTALL}") from exc
    return runtime


@cache
def runtime_errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises; its exceptions have no common ancestor of their own."""
    load_runtime()
    state = vars(import_module("onnxruntime.capi.onnxruntime_pybind11_state"))
    own = {kind for kind in state.values() if isinstance(kind, type) and issubclass(kind, Exception)}
    return (*own, RuntimeError, MemoryError)


class OnnxSession:
    """The graph at ``path``, opened on the CPU with ``num_threads``, which stay as they are.

    ``vocab_size`` is the number of logits, ``kv_bytes_per_token`` what a token takes in all caches.
    Raises BackendError where ONNX Runtime is missing, BundleError for a file that it cannot load.
    """

    def __init__(self, path: Path, num_threads: int) -> None:
        runtime = load_runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.log_severity_level = SILENT
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=[CPU_PROVIDER])
        except runtime_errors() as exc:
            raise BundleError(
                f"ONNX Runtime cannot load {path} ({first_line(exc)}); fetch the file again or use another model."
            ) from exc
        inputs = {value.name: value.shape for value in self._session.get_inputs()}
        caches = {name: (shape[1], shape[3]) for name, shape in inputs.items() if name.startswith(PAST_NAME)}
        sizes = [value.shape[-1] for value in self._session.get_outputs() if value.name == "logits"]
        if not caches or not all(isinstance(size, int) for size in (*sizes, *chain(*caches.values()))) or not sizes:
            raise BundleError(f"The graph {path} has no cache or no logits that this runtime knows; make it again.")
        self.cache_shapes: dict[str, tuple[int, int]] = caches
        self.vocab_size: int = sizes[0]

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of cache that one token takes: float32 keys and values of every head in every block."""
        return sum(4 * heads * head_size for heads, head_size in self.cache_shapes.values())

    def bind(self, sequence_cache: OnnxCache) -> OnnxSequence:
        """Calls on this session that read and write ``sequence_cache``."""
        return OnnxSequence(self._session, sequence_cache, self.vocab_size)


class OnnxCache:
    """Keys and values of one sequence: for each name of ``shapes`` (key heads, head_dim) a buffer
    ``(1, key heads, capacity, head_dim) float32``, zero at first.

    Memory is taken as tokens come: the pages of a buffer exist once they are written.
    """

    def __init__(self, shapes: dict[str, tuple[int, int]], capacity: int) -> None:
        self.capacity = capacity
        sizes = [heads * capacity * head_size for heads, head_size in shapes.values()]
        # not numpy's own memory, which asks for huge pages: one token would then touch 2 MiB of every head
        memory = np.frombuffer(mmap.mmap(-1, 4 * sum(sizes)), np.float32)
        ends = np.cumsum(sizes)
        self.arrays: dict[str, NDArray[np.float32]] = {
            name: memory[end - size : end].reshape(1, heads, capacity, head_size)
            for (name, (heads, head_size)), size, end in zip(shapes.items(), sizes, ends, strict=True)
        }

    def save(self, length: int) -> bytes:
        """The first ``length`` tokens of all buffers, one buffer after the other."""
        return b"".join(array[:, :, :length].tobytes() for array in self.arrays.values())

    def restore(self, saved: bytes, length: int) -> bool:
        """Bring back what ``save`` gave; False, and nothing is changed, where it has another size."""
        values = np.frombuffer(saved, np.uint8)
        parts = [array[:, :, :length] for array in self.arrays.values()]
        if values.nbytes != sum(part.nbytes for part in parts):
            return False
        first = 0
        for part in parts:
            part[...] = values[first : first + part.nbytes].view(np.float32).reshape(part.shape)
            first += part.nbytes
        return True


class OnnxSequence:
    """One sequence on one session: its cache is bound in place, ``logits`` (vocab_size,) is where they are written."""

    def __init__(self, session: Any, sequence_cache: OnnxCache, vocab_size: int) -> None:
        runtime = load_runtime()
        self._session = session
        self._ones = np.ones((1, sequence_cache.capacity), np.int64)
        self._caches = {
            name: runtime.OrtValue.ortvalue_from_numpy(array) for name, array in sequence_cache.arrays.items()
        }
        buffer = np.zeros((1, 1, vocab_size), np.float32)
        self.logits: NDArray[np.float32] = buffer[0, 0]
        self._full = self._new_binding()
        self._full.bind_ortvalue_output("logits", runtime.OrtValue.ortvalue_from_numpy(buffer))
        self._headless = self._new_binding()

    def _new_binding(self) -> Any:
        binding = self._session.io_binding()
        for name, value in self._caches.items():
            binding.bind_ortvalue_input(name, value)
            binding.bind_ortvalue_output(name.replace(PAST_NAME, PRESENT_NAME), value)
        return binding

    def run(self, tokens: Sequence[int], start: int, *, wants_logits: bool, options: Any) -> None:
        """Evaluate ``tokens`` at the positions from ``start`` on; ``options`` are new ``run_options()``.

        Raises what ``runtime_errors`` names, also where ``options.terminate`` was set meanwhile.
        """
        binding = self._full if wants_logits else self._headless
        options.only_execute_path_to_fetches = not wants_logits  # the head is left out
        binding.bind_cpu_input("input_ids", np.array([tokens], np.int64))
        binding.bind_cpu_input("attention_mask", self._ones[:, : start + len(tokens)])
        self._session.run_with_iobinding(binding, options)


def run_options() -> Any:
    """Options of one run; setting their ``terminate`` in another thread ends it after the operator it is in."""
    options = load_runtime().RunOptions()
    options.log_severity_level = SILENT
    return options


def try_out(path: Path, num_prefill_tokens: int) -> bool:
    """Load the graph, prefill and decode; False where the results are no numbers. Raises what OnnxSession raises."""
    session = OnnxSession(path, num_threads=1)
    sequence = session.bind(OnnxCache(session.cache_shapes, num_prefill_tokens + 1))
    tokens = [index % session.vocab_size for index in range(num_prefill_tokens)]
    sequence.run(tokens, 0, wants_logits=False, options=run_options())
    sequence.run([0], num_prefill_tokens, wants_logits=True, options=run_options())
    return bool(np.isfinite(sequence.logits).all())


def first_line(error: BaseException) -> str:
    """What ONNX Runtime says, without the trace and the length of it."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
