"""llama.cpp's own quantizer, as its users run it: the yardstick for ours.

Knows: ``llama_model_quantize`` of its library, and the importance matrix that guides it. Does not know: how good what
comes out is.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.backends.llama_library import load_library, take_complaint
from models.checkpoint import Checkpoint
from models.errors import BackendError
from models.families import family_of
from quantize.calibrate import Windows
from quantize.calibrated import embed
from quantize.decoder import rotation_of, run_block, split_places

Floats = NDArray[np.float32]
Q8_0 = 8  # the number of the type in ggml, which the bindings do not name


def importance_of(checkpoint: Checkpoint, windows: Windows) -> dict[str, Floats]:
    """The mean squared input (K,) of every linear layer on ``windows``, by GGUF name: llama.cpp's importance matrix."""
    spec = checkpoint.spec
    outside, blocks = split_places(spec)
    hidden = embed(checkpoint, outside["embedding"], windows.tokens)
    rotation = rotation_of(spec, windows.tokens.shape[1])
    importance: dict[str, Floats] = {}
    for places in blocks:
        weights = {role: checkpoint.read(place) for role, place in places.items()}
        squares: dict[str, Floats] = {}

        def add(producer: str, values: Floats, squares: dict[str, Floats] = squares) -> None:
            squares[producer] = squares.get(producer, np.float32(0)) + np.square(values).sum(axis=0)

        for window in hidden:
            window[:] = run_block(spec, weights, window, rotation, add)
        for group in family_of(spec.family).scale_groups:
            for role in group.consumers:
                importance[places[role].gguf_name] = squares[group.producer] / np.float32(windows.tokens.size)
    return importance


def quantize_with_llama(source: Path, target: Path, file_type: str, importance: Mapping[str, Floats]) -> None:
    """Quantize the float GGUF ``source`` to ``file_type``, such as Q4_K_M, guided by ``importance``.

    Embedding and head become Q8_0, as ours are; which other tensors get more bits is llama.cpp's choice.
    Raises BackendError with llama.cpp's own last word.
    """
    library: Any = load_library()
    parameters = library.llama_model_quantize_default_params()
    parameters.ftype = getattr(library, f"LLAMA_FTYPE_MOSTLY_{file_type}")
    parameters.token_embedding_type = parameters.output_tensor_type = Q8_0
    parameters.nthread = 1
    entries = (library.llama_model_imatrix_data * (len(importance) + 1))()  # the last one stays empty: the end
    for entry, (name, values) in zip(entries, importance.items(), strict=False):
        entry.name, entry.size = name.encode(), values.size
        entry.data = np.ascontiguousarray(values, np.float32).ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    parameters.imatrix = ctypes.cast(entries, ctypes.POINTER(library.llama_model_imatrix_data))
    if library.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(parameters)):
        raise BackendError(f"llama.cpp cannot quantize {source} to {file_type} ({take_complaint()}).")
