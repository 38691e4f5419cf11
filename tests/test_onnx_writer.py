"""quantize.onnx_writer: ONNX Runtime computes what our decoder does, and the onnx package reads what was rounded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx_models import OnnxModel, copy_at_level
from tiny_checkpoints import SPECIAL, write_tiny_checkpoint

from models.bundle import Bundle
from models.checkpoint import open_checkpoint
from quantize.decoder import logits_of
from quantize.pipeline import quantize_checkpoint
from quantize.recipe import QuantRecipe

BOTH = QuantRecipe(file_formats=("gguf", "onnx"))
FAMILIES = list(SPECIAL)
TOKENS = [int(token) for token in np.random.default_rng(0).integers(0, 256, 24)]


def make_bundle(folder: Path, family: str, *, tied: bool = True) -> Bundle:
    """A tiny checkpoint as GGUF and ONNX."""
    return quantize_checkpoint(write_tiny_checkpoint(folder / "source", family, tied=tied), folder / "out", BOTH)


def decoder_logits(source: Path) -> NDArray[np.float32]:
    """Logits (T, vocabulary) of our decoder after each of TOKENS; the tiny weights lie on the grid."""
    checkpoint = open_checkpoint(source)
    return logits_of(checkpoint.spec, checkpoint.read, TOKENS)


def relative_error(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """The length of the difference as a share of the length."""
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_onnx_runtime_computes_what_our_decoder_does(tmp_path: Path, family: str, tied: bool) -> None:
    """Norm order, rotation, head grouping, the tied head: at once, in pieces, and token by token with the cache."""
    bundle = make_bundle(tmp_path, family, tied=tied)
    model = OnnxModel(copy_at_level(bundle.path, tmp_path / "exact", 1) / "model.onnx")
    expected = decoder_logits(tmp_path / "source")
    for pieces in ([24], [10, 1, 13], [1] * 24):
        cache, seen = model.empty_cache(), 0
        for length in pieces:
            piece = TOKENS[seen : seen + length]
            seen += length
            logits, cache = model.run([piece], [[1] * seen], cache)
            assert relative_error(logits[0], expected[seen - 1]) <= 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_the_onnx_package_finds_no_fault(tmp_path: Path, family: str) -> None:
    bundle = make_bundle(tmp_path, family)
    onnx.checker.check_model(str(bundle.file("onnx")))
