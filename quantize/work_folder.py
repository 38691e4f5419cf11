"""The hidden folder beside a bundle where a long run keeps its finished blocks, so that a killed run goes on.

Knows: files, locking, which run a folder belongs to, when a block counts as finished. Does not know: how blocks are
computed. A run that ends well removes the folder; the bundle does not depend on how often it was resumed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from models.checkpoint import Checkpoint
from models.errors import BundleError, CheckpointError
from models.files import sync_file, write_bytes_atomically
from quantize.block import GroupReport, LayerReport, QuantizedBlock
from quantize.calibrate import Windows
from quantize.int4 import Int4Tensor
from quantize.recipe import QuantRecipe

Floats = NDArray[np.float32]
_RUN_NAME = "run.txt"


@dataclass(frozen=True, slots=True)
class FinishedBlock:
    """What a block's file holds of a QuantizedBlock: everything that the checkpoint does not."""

    stored: dict[str, Int4Tensor]
    scales: dict[str, Floats]
    groups: list[GroupReport]
    layers: list[LayerReport]
    harms: dict[str, float]


def run_fingerprint(checkpoint: Checkpoint, recipe: QuantRecipe, windows: Windows, program: str) -> str:
    """What two runs must have in common for one to go on with what the other left, as a hash."""
    files = {stored.path for stored in checkpoint.tensors.values()}
    facts = {
        "program": program,
        "recipe": asdict(recipe),
        "spec": asdict(checkpoint.spec),
        "files": sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files),
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    digest.update(windows.tokens.tobytes())
    return digest.hexdigest()


class WorkFolder:
    """The folder of one run, locked until it is closed; a context manager that leaves what is finished,
    unless the checkpoint turned out to be broken.

    A block is finished when the hidden states after it lie on the disk; those before it are deleted then.
    Raises BundleError where another process works in the folder.
    """

    def __init__(self, out: Path, fingerprint: str) -> None:
        self.path = out.parent / f".{out.name}.work"
        self.path.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(self._handle)
            raise BundleError(f"Another process is making {out}; wait for it to end.") from exc
        if self._run() != fingerprint:
            for leftover in self.path.iterdir():
                leftover.unlink()
            write_bytes_atomically(self.path / _RUN_NAME, fingerprint.encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(value, CheckpointError):  # to be fetched again, and then it is another run
            self.remove()
        os.close(self._handle)

    def remove(self) -> None:
        """Delete everything: the run has ended well, or cannot."""
        shutil.rmtree(self.path, ignore_errors=True)

    @property
    def num_finished(self) -> int:
        """How many blocks need not be computed again."""
        return max((int(path.stem.removeprefix("hidden-")) for path in self.path.glob("hidden-*.npy")), default=0)

    def read_hidden(self) -> Floats:
        """The hidden states (W, T, hidden_size) after the last finished block. Raises BundleError when damaged."""
        path = self._hidden_path(self.num_finished)
        try:
            hidden: Floats = np.load(path)
        except (OSError, ValueError, EOFError) as exc:
            raise self._damaged(path, exc) from exc
        return hidden

    def save_block(self, layer: int, block: QuantizedBlock, hidden: Floats) -> None:
        """Keep a block and the hidden states after it. Raises OSError when the disk is full."""
        arrays = _arrays_of(block)
        self._save(self._block_path(layer), lambda path: np.savez(path, **arrays))
        self._save(self._hidden_path(layer + 1), lambda path: np.save(path, hidden))
        self._hidden_path(layer).unlink(missing_ok=True)

    def read_block(self, layer: int) -> FinishedBlock:
        """A finished block. Raises BundleError when its file is damaged."""
        path = self._block_path(layer)
        try:
            with np.load(path) as file:
                return _block_from({name: file[name] for name in file.files})
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as exc:
            raise self._damaged(path, exc) from exc

    def _run(self) -> str | None:
        path = self.path / _RUN_NAME
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def _block_path(self, layer: int) -> Path:
        return self.path / f"block-{layer:05d}.npz"

    def _hidden_path(self, num_finished: int) -> Path:
        return self.path / f"hidden-{num_finished:05d}.npy"

    def _save(self, path: Path, write: Callable[[Path], None]) -> None:
        """Write under another name, then rename: the name is there only with all of the content."""
        partial = path.with_name(f"partial-{path.name}")
        write(partial)
        sync_file(partial)
        os.replace(partial, path)

    def _damaged(self, path: Path, exc: Exception) -> BundleError:
        return BundleError(f"{path} cannot be read ({exc}); delete {self.path} and start again.")


def _arrays_of(block: QuantizedBlock) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for role, tensor in block.stored.items():
        arrays[f"codes {role}"] = tensor.codes[:, ::2] | tensor.codes[:, 1::2] << np.uint8(4)
        arrays[f"scales {role}"] = tensor.scales
        if tensor.zeros is not None:
            arrays[f"zeros {role}"] = tensor.zeros
    arrays |= {f"folded {producer}": scale for producer, scale in block.scales.items()}
    reports = {
        "groups": [asdict(report) for report in block.groups],
        "layers": [asdict(report) for report in block.layers],
        "harms": block.harms,
    }
    arrays["reports"] = np.frombuffer(json.dumps(reports).encode(), np.uint8)
    return arrays


def _block_from(arrays: Mapping[str, NDArray[Any]]) -> FinishedBlock:
    def named(kind: str) -> dict[str, NDArray[Any]]:
        return {name.partition(" ")[2]: array for name, array in arrays.items() if name.startswith(f"{kind} ")}

    stored = {}
    zeros = named("zeros")
    for role, scales in named("scales").items():
        packed = arrays[f"codes {role}"]
        codes = np.stack([packed & np.uint8(15), packed >> np.uint8(4)], axis=2).reshape(len(packed), -1)
        stored[role] = Int4Tensor(codes, scales, zeros.get(role), codes.shape[1] // scales.shape[1])
    reports = json.loads(arrays["reports"].tobytes())
    groups = [GroupReport(**report) for report in reports["groups"]]
    layers = [LayerReport(**report) for report in reports["layers"]]
    return FinishedBlock(stored, named("folded"), groups, layers, reports["harms"])
