"""Tiny checkpoints of any depth and width, whose weights do not lie on a grid.

Knows: how the constants of tiny_checkpoints are put aside for a moment. Does not know: our own readers and writers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_checkpoints
from tiny_checkpoints import tiny_weights, write_tensors, write_tiny_checkpoint


def write_deep_checkpoint(folder: Path, num_layers: int, *, hidden: int = 64, feed_forward: int = 96) -> Path:
    """A whole checkpoint folder of a Qwen3 body; normally distributed weights."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("LAYERS", num_layers), ("HIDDEN", hidden), ("FEED_FORWARD", feed_forward)):
            patch.setattr(tiny_checkpoints, name, value)
        write_tiny_checkpoint(folder)
        random = np.random.default_rng(8)
        weights: dict[str, Any] = {
            name: array if array.ndim == 1 else random.standard_normal(array.shape, np.float32) / 8
            for name, array in tiny_weights().items()
        }
    write_tensors(folder / "model.safetensors", weights)
    return folder
