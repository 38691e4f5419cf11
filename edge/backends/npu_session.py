"""The two graphs for NPUs in ONNX Runtime, and the cache of one sequence between their calls.

Knows: the names and dimensions of the graphs' inputs and outputs. Does not know: devices, or which tokens a sequence
holds. Every shape is fixed: a call takes ``chunk_size`` tokens or one, and what is not there is masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.backends.npu_device import NpuDevice, placement, plain_options
from edge.backends.onnx_session import CPU_PROVIDER, first_line, load_runtime, runtime_errors
from models.errors import BundleError

DECODE, PREFILL = "npu_decode", "npu_prefill"
MASKED = -10_000.0  # float16 holds it, and no score outweighs it
Floats = NDArray[np.float32]


class NpuModel:
    """Both graphs, the one at ``decode_path`` and the one beside it, on ``device``; None: ONNX Runtime's own CPU code.

    ``capacity`` and ``chunk_size`` are in tokens, ``placement`` counts nodes by provider over both graphs.
    Raises BackendError where a package is missing, BundleError for graphs that the device does not take whole.
    """

    def __init__(self, decode_path: Path, device: NpuDevice | None, num_threads: int) -> None:
        self._decode = _open(decode_path, device, num_threads)
        self._prefill = _open(prefill_path(decode_path), device, num_threads)
        shapes = {value.name: value.shape for value in self._prefill.get_inputs()}
        outputs = {value.name: value.shape for value in self._prefill.get_outputs()}
        try:
            self.cache_shapes: dict[str, tuple[int, ...]] = {
                name: tuple(map(int, shape)) for name, shape in shapes.items() if name.startswith("past_")
            }
            self.capacity: int = int(shapes["past_value.0"][2])
            self.chunk_size: int = int(shapes["tokens"][1])
            self.vocab_size: int = int(outputs["logits"][2])
        except (KeyError, IndexError, TypeError, ValueError) as exc:
            raise BundleError(
                f"The graphs beside {decode_path} are not those for NPUs; make the bundle again."
            ) from exc
        self.placement: dict[str, int] = {}
        for session in (self._decode, self._prefill):
            for provider, count in placement(session).items():
                self.placement[provider] = self.placement.get(provider, 0) + count

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of cache that one token takes: float32 keys and values of every head in every block."""
        return sum(4 * int(np.prod(shape)) for shape in self.cache_shapes.values()) // self.capacity

    def run(self, cache: NpuCache, tokens: Sequence[int], start: int) -> Floats:
        """Logits (vocab_size,) after the last of ``tokens``, at most ``chunk_size``, which stand from ``start`` on.

        The cache holds them afterwards. Raises what ``runtime_errors`` names.
        """
        count, is_step = len(tokens), len(tokens) == 1
        length = 1 if is_step else self.chunk_size
        feeds: dict[str, Any] = {
            "tokens": np.array([[*tokens, *[0] * (length - count)]], np.int32),
            "positions": np.minimum(np.arange(start, start + length), self.capacity - 1).astype(np.int32),
            "mask": self._mask(start, length),
            **cache.arrays,
        }
        if not is_step:
            feeds["last"] = np.array([count - 1], np.int32)
        session = self._decode if is_step else self._prefill
        names = ["logits", *(name.replace("past_", "new_", 1) for name in cache.arrays)]
        logits, *new = session.run(names, feeds)
        cache.put(new, start, count)
        return np.asarray(logits[0, 0], np.float32)

    def _mask(self, start: int, length: int) -> Floats:
        """What every token sees: the cache up to ``start``, of this call itself and those before it."""
        mask = np.full((1, 1, length, self.capacity + length), MASKED, np.float32)
        mask[..., :start] = 0
        mask[0, 0, :, self.capacity :] = np.triu(np.full((length, length), MASKED, np.float32), 1)
        return mask


class NpuCache:
    """Keys (1, key heads, head_dim, capacity) and values (1, key heads, capacity, head_dim) of one sequence."""

    def __init__(self, model: NpuModel) -> None:
        self.arrays: dict[str, Floats] = {
            name: np.zeros(shape, np.float32) for name, shape in model.cache_shapes.items()
        }

    def put(self, new: Sequence[Floats], start: int, count: int) -> None:
        """Write the first ``count`` tokens of ``new``, one array for each of the cache, from ``start`` on."""
        for (name, array), fresh in zip(self.arrays.items(), new, strict=True):
            _tokens_first(name, array)[start : start + count] = _tokens_first(name, fresh)[:count]

    def save(self, length: int) -> bytes:
        """The first ``length`` tokens of all arrays, one array after the other."""
        return b"".join(array[:length].tobytes() for array in self._by_token())

    def restore(self, saved: bytes, length: int) -> bool:
        """Bring back what ``save`` gave; False, and nothing is changed, where it has another size."""
        parts = [array[:length] for array in self._by_token()]
        if len(saved) != sum(part.nbytes for part in parts):
            return False
        first = 0
        for part in parts:
            part[...] = np.frombuffer(saved, np.float32, part.size, first).reshape(part.shape)
            first += part.nbytes
        return True

    def _by_token(self) -> list[Floats]:
        """Views of the arrays (capacity, key heads, head_dim)."""
        return [_tokens_first(name, array) for name, array in self.arrays.items()]


def prefill_path(decode_path: Path) -> Path:
    """The graph of a chunk, which lies beside that of a step under the same name but for one word."""
    return decode_path.with_name(decode_path.name.replace(DECODE, PREFILL, 1))


def data_path(decode_path: Path) -> Path:
    """The weights of both graphs; they are inside the graphs where these were compiled ahead of time."""
    return decode_path.with_name("npu.onnx.data")


def try_out(decode_path: Path, device: NpuDevice | None) -> bool:
    """Load both graphs and evaluate one token; False where the results are no numbers. Raises what NpuModel raises."""
    model = NpuModel(decode_path, device, num_threads=1)
    return bool(np.isfinite(model.run(NpuCache(model), [0], 0)).all())


def _open(path: Path, device: NpuDevice | None, num_threads: int) -> Any:
    options = plain_options(num_threads) if device is None else device.session_options(num_threads)
    providers = {"providers": [CPU_PROVIDER]} if device is None else {}
    try:
        return load_runtime().InferenceSession(str(path), options, **providers)
    except runtime_errors() as exc:
        where = "ONNX Runtime" if device is None else device.provider
        raise BundleError(
            f"{where} cannot load {path} whole ({first_line(exc)}): it may be damaged, or compiled for another chip; "
            "make the bundle again."
        ) from exc


def _tokens_first(name: str, array: Floats) -> Floats:
    """A view (tokens, heads, head_dim) of keys (1, heads, head_dim, tokens) or values (1, heads, tokens, head_dim)."""
    view: Floats = array[0].transpose((2, 0, 1) if "_key." in name else (1, 0, 2))
    return view
