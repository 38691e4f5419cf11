"""The door to llama.cpp: loads its bindings lightly, keeps its log silent, opens models and contexts.

Knows: the low-level API of llama-cpp-python and its parameters. Does not know: sequences, caches, tokens.

``import llama_cpp`` brings a chat server's worth of modules along; only its plain bindings are loaded here, which takes
a third of the time. A later ``import llama_cpp`` elsewhere works as always and shares the loaded library.
"""

from __future__ import annotations

import ctypes
import importlib.util
import math
import os
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from edge.backends.base import BACKENDS, LLAMA_CPP_REQUIREMENT
from models.errors import BackendError, BundleError

REBUILD = (
    """CMAKE_ARGS='-DCMAKE_CXX_FLAGS="-fno-tree-dse -fno-dse"' pip install --force-reinstall --no-cache-dir """
    f"--no-deps --no-binary llama-cpp-python '{LLAMA_CPP_REQUIREMENT}' (in a checkout: make rebuild-llama)"
)
GPU_REBUILD = "make rebuild-llama CMAKE_ARGS=-DGGML_CUDA=on"
LOG_LEVEL_ERROR = 4
MAX_COMPLAINTS = 16
BF16 = 30  # the number of the type in ggml, which the bindings do not name
CACHE_BYTES_PER_VALUE = 2  # F16 keys, BF16 values; see open_context

_complaints: list[str] = []
# Rows of logits that a context has room for. One of each sequence is read, but with fewer than 32 llama.cpp 0.3.36
# takes 1.5 times as long for a batch of 16 tokens and more where it computes with AMX.
LEAST_OUTPUTS = 32


def package_folder() -> Path:
    """Where llama-cpp-python is installed, found without loading it. Raises BackendError where it is not."""
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or not spec.submodule_search_locations:
        raise BackendError(f"llama-cpp-python is not installed; run: {BACKENDS['llama_cpp'].install}")
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
    if (
        level == LOG_LEVEL_ERROR
        and len(_complaints) < MAX_COMPLAINTS
        and (line := text.decode(errors="replace").strip())
    ):
        _complaints.append(line)


def take_complaint() -> str:
    """The first error that llama.cpp logged since the last call; the ones after it only say that something failed."""
    line = _complaints[0] if _complaints else "it does not say why"
    _complaints.clear()
    return line


def has_gpu() -> bool:
    """Whether this llama.cpp was built for a GPU, and sees one."""
    return bool(load_library().llama_supports_gpu_offload())


def open_model(path: Path, *, is_safe: bool, gpu_layers: int | None = None) -> int:
    """Load a GGUF file; the handle is freed with ``llama_model_free``.

    ``is_safe`` keeps llama.cpp from repacking weights for this CPU, and so from its fastest and touchiest kernels.
    ``gpu_layers`` are kept on a GPU, None: all of them, where there is one.
    Raises BundleError, with llama.cpp's own last word, for a file it cannot read.
    """
    library = load_library()
    _complaints.clear()
    parameters = library.llama_model_default_params()
    parameters.use_extra_bufts = not is_safe
    if gpu_layers is not None:
        parameters.n_gpu_layers = gpu_layers
    model = library.llama_model_load_from_file(os.fsencode(path), parameters)
    if not model:
        raise BundleError(
            f"llama.cpp cannot load {path} ({take_complaint()}); fetch the file again or use another model."
        )
    return int(model)


def open_context(model: int, *, context_size: int, batch_size: int, num_threads: int, num_sequences: int) -> int:
    """A context for ``model`` with one 16-bit cache that all sequences share; freed with ``llama_free``.

    Raises BackendError where the memory does not suffice.
    """
    library = load_library()
    parameters: Any = library.llama_context_default_params()
    parameters.n_ctx = context_size
    parameters.n_batch = parameters.n_ubatch = (
        batch_size  # one piece a decode: an abort then leaves the cache as it was
    )
    parameters.n_seq_max = num_sequences
    parameters.n_outputs_max = max(num_sequences, LEAST_OUTPUTS)  # not a whole batch's logits: saves vocabulary x batch
    parameters.kv_unified = True
    # With F16 values llama.cpp computes the attention of one token in another precision and order than that of many, so
    # that a kept prefix changes the answer. With BF16 values each token's is summed up in float32, in one order always.
    parameters.flash_attn_type = library.LLAMA_FLASH_ATTN_TYPE_ENABLED
    parameters.type_v = BF16
    parameters.n_threads = parameters.n_threads_batch = num_threads
    context = library.llama_init_from_model(model, parameters)
    if not context:
        raise BackendError(
            f"llama.cpp cannot open a context of {context_size} tokens ({take_complaint()}); try a smaller one."
        )
    return int(context)


def try_out(path: Path, num_prefill_tokens: int, *, is_safe: bool) -> bool:
    """Load the model, prefill and decode; False where the results are no numbers. Raises what ``open_model`` raises."""
    library = load_library()
    model = open_model(path, is_safe=is_safe)
    context = open_context(
        model, context_size=2 * num_prefill_tokens, batch_size=num_prefill_tokens, num_threads=1, num_sequences=1
    )
    vocab_size = library.llama_vocab_n_tokens(library.llama_model_get_vocab(model))
    for count in (num_prefill_tokens, 1):
        tokens = (library.llama_token * count)(*(index % vocab_size for index in range(count)))
        if library.llama_decode(context, library.llama_batch_get_one(tokens, count)) != 0:
            return False
    logits = library.llama_get_logits_ith(context, -1)
    return all(math.isfinite(logits[token]) for token in range(vocab_size))


def kv_bytes_per_token(model: int) -> int:
    """Bytes of cache that one token takes in all layers: keys and values of every KV head."""
    library = load_library()
    num_heads = max(1, library.llama_model_n_head(model))
    default_size = library.llama_model_n_embd(model) // num_heads
    architecture = _metadata(model, "general.architecture")
    sizes = (_metadata(model, f"{architecture}.attention.{kind}_length") for kind in ("key", "value"))
    values_per_head = sum(int(size) if size.isdigit() else default_size for size in sizes)
    num_kv_heads = library.llama_model_n_layer(model) * library.llama_model_n_head_kv(model)
    return int(num_kv_heads * values_per_head * CACHE_BYTES_PER_VALUE)


def _metadata(model: int, key: str) -> str:
    text = ctypes.create_string_buffer(128)
    load_library().llama_model_meta_val_str(model, key.encode(), text, len(text))
    return text.value.decode(errors="replace")
