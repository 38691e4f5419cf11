"""The door to llama.cpp: loads its bindings lightly, keeps its log silent, opens models and contexts.

Knows: the low-level API of llama-cpp-python and its parameters. Does not know: sequences, caches, tokens.

``import llama_cpp`` brings a chat server's worth of modules along; only its plain bindings are loaded here, which takes
a third of the time. A later ``import llama_cpp`` elsewhere works as always and shares the loaded library.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections import deque
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from edge.backends.base import BACKENDS
from models.errors import BackendError, BundleError

REBUILD = (
    """CMAKE_ARGS='-DCMAKE_CXX_FLAGS="-fno-tree-dse -fno-dse"' pip install --force-reinstall --no-cache-dir """
    "--no-deps --no-binary llama-cpp-python llama-cpp-python"
)
LOG_LEVEL_WARNING, LOG_LEVEL_ERROR = 3, 4

_last_complaints: deque[str] = deque(maxlen=4)


def package_folder() -> Path:
    """Where llama-cpp-python is installed, found without loading it. Raises BackendError where it is not."""
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or not spec.submodule_search_locations:
        raise BackendError(f"llama-cpp-python is not installed; run: {BACKENDS['llama_cpp'][2]}")
    return Path(next(iter(spec.submodule_search_locations)))


@cache
def load_library() -> ModuleType:
    """The module ``llama_cpp.llama_cpp``, loaded once, with the log silenced.

    Raises BackendError where the package is missing or its library cannot be loaded.
    """
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")  # a failed assertion must not start a debugger
    folder = package_folder()
    try:
        bindings = _import_bindings(folder)
    except (ImportError, OSError, RuntimeError) as exc:
        raise BackendError(f"llama-cpp-python cannot be loaded ({exc}); rebuild it with: {REBUILD}") from exc
    bindings.silent_log = bindings.llama_log_callback(_keep_complaint)  # type: ignore[attr-defined]  # kept alive here
    bindings.llama_log_set(bindings.silent_log, None)
    bindings.llama_backend_init()
    return bindings


def _import_bindings(folder: Path) -> ModuleType:
    if "llama_cpp" in sys.modules:
        return import_module("llama_cpp.llama_cpp")
    package = ModuleType("llama_cpp")
    package.__path__ = [str(folder)]
    sys.modules["llama_cpp"] = package
    try:
        return import_module("llama_cpp.llama_cpp")
    finally:
        del sys.modules["llama_cpp"]


def _keep_complaint(level: int, text: bytes, _user_data: int | None) -> None:
    if level in (LOG_LEVEL_WARNING, LOG_LEVEL_ERROR) and (line := text.decode(errors="replace").strip()):
        _last_complaints.append(line)


def last_complaint() -> str:
    """The newest line that llama.cpp logged as a warning or an error, for an error message; then forgotten."""
    line = _last_complaints[-1] if _last_complaints else "it does not say why"
    _last_complaints.clear()
    return line


def open_model(path: Path, *, is_safe: bool) -> int:
    """Load a GGUF file; the handle is freed with ``llama_model_free``.

    ``is_safe`` keeps llama.cpp from repacking weights for this CPU, and so from its fastest and touchiest kernels.
    Raises BundleError, with llama.cpp's own last word, for a file it cannot read.
    """
    library = load_library()
    _last_complaints.clear()
    parameters = library.llama_model_default_params()
    parameters.use_extra_bufts = not is_safe
    model = library.llama_model_load_from_file(os.fsencode(path), parameters)
    if not model:
        complaint = _first_complaint()
        raise BundleError(f"llama.cpp cannot load {path} ({complaint}); fetch the file again or use another model.")
    return int(model)


def _first_complaint() -> str:
    """The first of the kept lines: when a load fails, the later ones only say that it failed."""
    line = _last_complaints[0] if _last_complaints else "it does not say why"
    _last_complaints.clear()
    return line


def open_context(
    model: int, *, context_size: int, batch_size: int, num_threads: int, num_sequences: int
) -> int:
    """A context for ``model`` with one F16 cache that all sequences share; freed with ``llama_free``.

    Raises BackendError where the memory does not suffice.
    """
    library = load_library()
    parameters: Any = library.llama_context_default_params()
    parameters.n_ctx = context_size
    parameters.n_batch = parameters.n_ubatch = batch_size  # one piece a decode: an abort then leaves the cache as it was
    parameters.n_seq_max = num_sequences
    parameters.n_outputs_max = num_sequences  # logits of one token each, not of a whole batch: saves vocabulary x batch
    parameters.kv_unified = True
    parameters.n_threads = parameters.n_threads_batch = num_threads
    context = library.llama_init_from_model(model, parameters)
    if not context:
        raise BackendError(
            f"llama.cpp cannot open a context of {context_size} tokens ({last_complaint()}); try a smaller one."
        )
    return int(context)
