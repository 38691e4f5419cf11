"""How many layers of a model a GPU gets: as many as were asked for, or as its free memory holds.

Knows: llama.cpp's list of devices, and what a layer takes. Does not know: how layers get there.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path

from edge.backends.llama_library import GPU_REBUILD, has_gpu, load_library, package_folder
from models.errors import UsageError
from models.gguf_file import read_gguf_header

GPU, INTEGRATED_GPU = 1, 2  # of ggml_backend_dev_type
SHARE = 0.85  # of the free memory; the rest is for the context and what a prefill works in
MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class GpuPlan:
    """``layers`` to be put on a GPU (None: llama.cpp's own choice, which is all), and ``words`` for people."""

    layers: int | None
    words: str


def plan_gpu(model_path: Path, asked: int | None) -> GpuPlan:
    """Raises UsageError where there is no GPU for the layers that are ``asked`` for."""
    if not has_gpu():
        if asked:
            raise UsageError(
                f"{asked} layers are to be on a GPU, but this llama.cpp finds none or was built without; leave "
                f"--gpu-layers out, or build it anew with: {GPU_REBUILD}"
            )
        return GpuPlan(asked, "none (not built for one, or none found)")
    if asked is not None:
        return GpuPlan(asked, f"{asked} layers, as asked for")
    header, free_bytes = read_gguf_header(model_path), free_gpu_bytes()
    num_blocks = header.metadata.get(f"{header.architecture}.block_count")
    if free_bytes is None or not isinstance(num_blocks, int):
        return GpuPlan(None, "all layers")
    return fit_layers(num_blocks, model_path.stat().st_size, free_bytes)


def fit_layers(num_blocks: int, weight_bytes: int, free_bytes: int) -> GpuPlan:
    """As many of the blocks, and the head as one more, as the free memory holds; all layers are taken as equal."""
    num_layers = num_blocks + 1
    fitting = int(SHARE * free_bytes * num_layers / weight_bytes)
    if fitting >= num_layers:
        return GpuPlan(None, "all layers")
    return GpuPlan(fitting, f"{fitting} of {num_layers} layers, which fit into {free_bytes // MEBIBYTE} MiB")


def free_gpu_bytes() -> int | None:
    """Free memory of all GPUs that llama.cpp will use, together; None where its library does not tell.

    It uses integrated ones where there are no others.
    """
    load_library()  # registers its devices
    folder = package_folder() / "lib"
    try:
        registry, base = (ctypes.CDLL(str(folder / name)) for name in ("libggml.so", "libggml-base.so"))
        count, get = registry.ggml_backend_dev_count, registry.ggml_backend_dev_get
        kind, memory = base.ggml_backend_dev_type, base.ggml_backend_dev_memory
    except (OSError, AttributeError):  # another library in its place, or one without these
        return None
    count.restype, get.argtypes, get.restype = ctypes.c_size_t, [ctypes.c_size_t], ctypes.c_void_p
    kind.argtypes, memory.argtypes = [ctypes.c_void_p], [ctypes.c_void_p, *[ctypes.POINTER(ctypes.c_size_t)] * 2]
    found: dict[int, int] = {}
    for index in range(count()):
        device, free, total = get(index), ctypes.c_size_t(), ctypes.c_size_t()
        memory(device, ctypes.byref(free), ctypes.byref(total))
        found[kind(device)] = found.get(kind(device), 0) + free.value
    return found.get(GPU, found.get(INTEGRATED_GPU))
