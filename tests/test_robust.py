"""Quantizing under bad luck: killed anywhere, on a full disk, from a broken checkpoint, with little memory."""

from __future__ import annotations

import re
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from deep_checkpoints import write_deep_checkpoint
from safetensors.numpy import load_file
from test_pipeline import QUICK, write_rough_checkpoint
from tiny_checkpoints import tiny_weights, write_tensors, write_tiny_checkpoint

from models.errors import CheckpointError
from quantize.pipeline import quantize_checkpoint
from quantize.recipe import QuantRecipe

EDGE = "from edge.cli import main; main()"
NUM_POINTS = 7  # at which a run is killed
RECIPES = {"rtn": QuantRecipe(), "awq": QUICK}


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden leftovers included, but for the state that tests keep there."""
    return sorted(path.name for path in folder.iterdir() if path.name not in ("state", "pulled"))


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("method", ["rtn", "awq", "formats"])
def test_killed_anywhere_and_run_again_it_is_the_same_bundle(tmp_path: Path, repository: Path, method: str) -> None:
    """SIGKILL at points spread over everything that is done to files, the renames at the end included."""
    source = write_rough_checkpoint(tmp_path / "source")
    program = repository / "tests" / "killed_runs.py"
    result = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            str(program),
            str(source),
            str(tmp_path / "runs" / "out"),
            method,
            str(NUM_POINTS),
        ],
        env={"PATH": "", "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr.decode()
    assert int(result.stdout) > NUM_POINTS
    whole = contents(tmp_path / "runs" / "whole")
    assert {"bundle.json", "model.gguf", "report.html", "tokenizer.json"} <= set(whole)
    assert ("model.onnx" in whole) == (method == "formats")
    expected = sorted(["whole", "out-clock-0", "out-clock-1", *(f"out-{number}" for number in range(NUM_POINTS))])
    assert [name for name in names(tmp_path / "runs") if not name.startswith(".")] == expected
    for name in expected:
        assert contents(tmp_path / "runs" / name) == whole, name


@pytest.mark.parametrize(("method", "limit_bytes"), [("rtn", 20_000), ("awq", 1_000), ("awq", 60_000)])
def test_a_disk_that_is_full_is_one_sentence(tmp_path: Path, method: str, limit_bytes: int) -> None:
    """The system refuses to write on: in the work folder, in the weights; the same command goes on afterwards."""
    source, out = write_rough_checkpoint(tmp_path / "source"), tmp_path / "out"
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit_bytes}, {limit_bytes}))\n"
    few = ["--windows", "3", "--window-tokens", "32", "--held-out", "1"] if method == "awq" else []
    command = ["quantize", str(source), str(out), "--method", method, *few]
    full = subprocess.run(
        [sys.executable, "-W", "error", "-c", limit + EDGE, *command],
        capture_output=True,
        check=False,
        encoding="utf-8",
    )
    assert full.returncode == 1
    assert "Traceback" not in full.stderr
    sentence = full.stderr.splitlines()[-1]
    assert re.search(rf"{out} cannot be .*(File too large|is it full\?); nothing was changed there\.$", sentence)
    assert set(names(tmp_path)) <= {"source", ".out.work"}
    again = subprocess.run([sys.executable, "-c", EDGE, *command], capture_output=True, check=False, encoding="utf-8")
    assert again.returncode == 0, again.stderr
    assert names(tmp_path) == ["out", "source"]


def truncate(folder: Path) -> None:
    """Cut the end off the last shard."""
    path = folder / "model-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def lose_shard(folder: Path) -> None:
    (folder / "model-00001.safetensors").unlink()


def change(name: str, new: Callable[[np.ndarray], np.ndarray | None]) -> Callable[[Path], None]:
    """Write the shard of a tensor again, with another tensor of that name or, for None, without it."""

    def damage(folder: Path) -> None:
        path = next(path for path in folder.glob("*.safetensors") if name in load_file(path))
        tensors = load_file(path)
        changed = new(tensors.pop(name))
        write_tensors(path, tensors | ({} if changed is None else {name: changed}))

    return damage


def store_as(folder: Path, dtype: bytes) -> None:
    """Call every float32 something else of the same size."""
    path = folder / "model-00002.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"F32"', dtype))


def with_one(value: float) -> Callable[[np.ndarray], np.ndarray]:
    """The same tensor with ``value`` at its end."""
    return lambda array: np.concatenate([array.reshape(-1)[:-1], [np.float32(value)]]).reshape(array.shape)


LAST_LAYER = "model.layers.1.mlp.down_proj.weight"


@pytest.mark.parametrize("method", ["rtn", "awq"])
@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (truncate, r"model-00002\.safetensors is truncated"),
        (lose_shard, r"lacks the shard model-00001\.safetensors"),
        (change(LAST_LAYER, lambda array: None), f"lacks the tensor {LAST_LAYER}"),
        (change(LAST_LAYER, lambda array: array.T.copy()), rf"{LAST_LAYER} has shape \(96, 64\)"),
        (change(LAST_LAYER, with_one(np.nan)), f"{LAST_LAYER}.* holds a NaN"),
        (change(LAST_LAYER, with_one(np.inf)), f"{LAST_LAYER}.* holds a NaN or an infinity"),
        (change("model.norm.weight", with_one(-np.inf)), "model.norm.weight.* holds a NaN or an infinity"),
        (lambda folder: store_as(folder, b'"I32"'), "is stored as I32"),
        (lambda folder: store_as(folder, b'"F8X"'), "is stored as F8X"),
    ],
)
def test_a_broken_checkpoint_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, method: str, damage: Callable[[Path], None], sentence: str
) -> None:
    """Found at the start or in the last tensor, after all the work: nothing stays, the finished blocks included."""
    source = write_tiny_checkpoint(tmp_path / "source", num_shards=3)
    damage(source)
    with pytest.raises(CheckpointError, match=sentence) as raised:
        quantize_checkpoint(source, tmp_path / "out", RECIPES[method])
    assert "\n" not in str(raised.value)
    assert names(tmp_path) == ["source"]


@pytest.mark.parametrize("method", ["rtn", "awq"])
def test_memory_does_not_grow_with_depth(tmp_path: Path, method: str) -> None:
    """A model is as large as the disk allows: memory holds one block, and what is said of every block."""
    recipe = replace(RECIPES[method], grid=1, windows=1)
    depths, peaks = (2, 8), []
    for num_layers in depths:
        source = write_deep_checkpoint(tmp_path / str(num_layers), num_layers, hidden=128, feed_forward=256)
        tracemalloc.start()
        try:
            quantize_checkpoint(source, tmp_path / f"out-{num_layers}", recipe)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    tensors = load_file(source / "model.safetensors")
    block_bytes = sum(array.nbytes for name, array in tensors.items() if ".layers.0." in name)
    assert peaks[1] - peaks[0] < (depths[1] - depths[0]) * block_bytes / 4  # what files say of tensors


def test_the_checkpoint_is_left_as_it_was(tmp_path: Path) -> None:
    source = write_tiny_checkpoint(tmp_path / "source")
    before = contents(source)
    quantize_checkpoint(source, tmp_path / "out", QUICK)
    assert contents(source) == before
    assert tiny_weights().keys() == load_file(source / "model.safetensors").keys()
