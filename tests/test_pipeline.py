"""quantize.pipeline, quantize.rounding and quantize.recipe: from a checkpoint folder to a bundle that can be opened."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_checkpoints import tiny_tokens, tiny_weights, write_json, write_tensors, write_tiny_checkpoint

from models.bundle import verify_bundle
from models.checkpoint import open_checkpoint
from models.dialect import DIALECTS, Sampling
from models.errors import BundleError, CheckpointError, UnknownFamilyError, UsageError
from models.spec import TensorPlace
from models.tokenizer import BpeChatTokenizer
from quantize import pipeline
from quantize.calibrate import read_calibration_text
from quantize.pipeline import quantize_checkpoint
from quantize.progress import Progress
from quantize.quality import measure_quality
from quantize.recipe import QuantRecipe


@pytest.mark.parametrize(
    ("family", "dialect", "stops"),
    [
        ("qwen3", "hipo", ["<|im_end|>", "<|endoftext|>"]),
        ("hunyuan_v1_dense", "hunyuan", ["<｜hy_place▁holder▁no▁2｜>", "<｜hy_place▁holder▁no▁8｜>"]),
    ],
)
def test_a_checkpoint_becomes_a_bundle(tmp_path: Path, family: str, dialect: str, stops: list[str]) -> None:
    source = write_tiny_checkpoint(tmp_path / "tiny-source", family)
    bundle = quantize_checkpoint(source, tmp_path / "out")
    assert verify_bundle(tmp_path / "out") == bundle
    assert (bundle.name, bundle.dialect_name) == ("tiny-source", dialect)
    assert [tiny_tokens(family)[token] for token in bundle.stop_token_ids] == stops
    assert bundle.bos_token_id == (
        None if family == "qwen3" else tiny_tokens(family).index("<｜hy_begin▁of▁sentence｜>")
    )
    assert bundle.manifest.recipe == {
        "bits": 4,
        "group_size": 32,
        "scale": "search",
        "wide": ["embedding", "head"],
        "asymmetric": False,
        "method": "rtn",
        "file_formats": ["gguf"],
    }
    assert str(tmp_path) not in (tmp_path / "out" / "bundle.json").read_text()
    assert bundle.tokenizer_path.read_bytes() == (source / "tokenizer.json").read_bytes()


QUICK = QuantRecipe(method="awq", windows=3, window_tokens=32, held_out=1, grid=3)


def write_rough_checkpoint(folder: Path, family: str = "qwen3") -> Path:
    """A tiny checkpoint whose linear weights do not lie on a grid."""
    source = write_tiny_checkpoint(folder, family)
    random = np.random.default_rng(5)
    weights = {
        name: array if array.ndim == 1 else random.standard_normal(array.shape).astype(np.float32) / 8
        for name, array in tiny_weights(family).items()
    }
    write_tensors(source / "model.safetensors", weights)
    return source


@pytest.mark.parametrize("family", ["qwen3", "hunyuan_v1_dense"])
def test_calibration_beats_plain_rounding_and_is_reported(tmp_path: Path, family: str) -> None:
    source = write_rough_checkpoint(tmp_path / "source", family)
    bundle = quantize_checkpoint(source, tmp_path / "out", QUICK)
    report = bundle.manifest.report
    linear = [place.gguf_name for place in bundle.spec.places() if place.kind == "linear"]
    assert sorted(layer["tensor"] for layer in report["layers"]) == sorted(linear)
    assert all(layer["error"] < layer["plain_error"] for layer in report["layers"])
    assert len(report["scale_groups"]) == 4 * bundle.spec.num_layers
    assert report["calibration"] == {"text": "built-in", "distinct_tokens": 96}
    assert 0 < report["quality"]["divergence"] < 1
    assert bundle.manifest.recipe["method"] == "awq"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


def test_the_divergence_is_that_of_the_written_file(tmp_path: Path) -> None:
    """What the report says is measured again, from the GGUF file and the float checkpoint."""
    source = write_rough_checkpoint(tmp_path / "source")
    bundle = quantize_checkpoint(source, tmp_path / "out", QUICK)
    checkpoint = open_checkpoint(source)
    read = {tensor.name: tensor for tensor in gguf.GGUFReader(bundle.gguf_path).tensors}

    def chunks(place: TensorPlace) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        tensor = read[place.gguf_name]
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(place.shape).astype(np.float32)
        yield checkpoint.read(place), values

    dialect = DIALECTS["hipo"]
    tokenizer = BpeChatTokenizer.from_file(source / "tokenizer.json", dialect.control_texts)
    text = read_calibration_text(None, dialect, tokenizer, QUICK)
    quality = measure_quality(bundle.spec, chunks, text.held_out)
    assert quality.divergence == pytest.approx(bundle.manifest.report["quality"]["divergence"], rel=1e-4)


@pytest.mark.parametrize("num_saved", [1, 2])
def test_a_killed_run_goes_on_and_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_saved: int
) -> None:
    """Killed between two files of a block too; nothing is ever seen at the target before it is whole."""
    source = write_rough_checkpoint(tmp_path / "source")
    whole = quantize_checkpoint(source, tmp_path / "whole", QUICK, name="m")
    saved: list[Path] = []
    rename = os.replace

    def stop(old: Path, new: Path) -> None:
        saved.append(new)
        if len(saved) > num_saved + 1:  # the first is the file that names the run
            raise KeyboardInterrupt
        rename(old, new)

    with monkeypatch.context() as context, pytest.raises(KeyboardInterrupt):
        context.setattr(os, "replace", stop)
        quantize_checkpoint(source, tmp_path / "out", QUICK, name="m")
    assert not (tmp_path / "out").exists()
    assert (tmp_path / ".out.work").is_dir()
    seen: list[Progress] = []
    again = quantize_checkpoint(source, tmp_path / "out", QUICK, name="m", progress=seen.append)
    assert seen[0].step == f"block {num_saved // 2}"
    for name in ("bundle.json", *whole.manifest.files):
        assert (again.path / name).read_bytes() == (whole.path / name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source", "whole"]


def test_another_recipe_does_not_go_on_with_old_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_rough_checkpoint(tmp_path / "source")
    with monkeypatch.context() as context, pytest.raises(BundleError, match="No space left"):
        context.setattr(pipeline, "write_bundle", _full_disk)
        quantize_checkpoint(source, tmp_path / "out", QUICK)
    seen: list[Progress] = []
    quantize_checkpoint(source, tmp_path / "out", replace(QUICK, refine="none"), progress=seen.append)
    assert seen[0].step == "block 0"


def _full_disk(*_arguments: object, **_options: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_one_error_and_leaves_no_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_rough_checkpoint(tmp_path / "source")
    monkeypatch.setattr(np, "savez", _full_disk)
    with pytest.raises(BundleError, match="out cannot be made: No space left on device"):
        quantize_checkpoint(source, tmp_path / "out", QUICK)
    assert not (tmp_path / "out").exists()


def test_a_target_in_the_way_is_told_before_the_work(tmp_path: Path) -> None:
    source = write_rough_checkpoint(tmp_path / "source")
    quantize_checkpoint(source, tmp_path / "out")
    seen: list[Progress] = []
    with pytest.raises(BundleError, match="exists already"):
        quantize_checkpoint(source, tmp_path / "out", QUICK, progress=seen.append)
    assert seen == []


def test_a_block_that_computes_no_numbers_is_named(tmp_path: Path) -> None:
    """Every weight is finite, but not what comes out; rounding that would end in nonsense."""
    source = write_tiny_checkpoint(tmp_path / "source")
    weights = tiny_weights()
    weights["model.layers.1.mlp.up_proj.weight"] = weights["model.layers.1.mlp.up_proj.weight"] * np.float32(1e37)
    write_tensors(source / "model.safetensors", weights)
    with pytest.raises(CheckpointError, match=r"Block 1 of .* computes a NaN or an infinity"):
        quantize_checkpoint(source, tmp_path / "out", QUICK)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("method", ["rtn", "awq"])
def test_asymmetric_groups_become_q4_1(tmp_path: Path, method: str) -> None:
    source = write_rough_checkpoint(tmp_path / "source")
    bundle = quantize_checkpoint(source, tmp_path / "out", replace(QUICK, method=method, asymmetric=True))
    types = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(bundle.gguf_path).tensors}
    assert types["blk.1.ffn_down.weight"] == "Q4_1"
    assert max(error for name, error in bundle.manifest.tensor_errors.items() if "blk" in name) < 0.2


def test_two_runs_give_the_same_bytes(tmp_path: Path) -> None:
    """A time or a path in a file would make every bundle a new one, and its hash worthless."""
    source = write_tiny_checkpoint(tmp_path / "source")
    first, second = (quantize_checkpoint(source, tmp_path / name) for name in ("a", "b"))
    for name in ("bundle.json", *first.manifest.files):
        assert (first.path / name).read_bytes() == (second.path / name).read_bytes()


def test_the_errors_are_those_of_the_file(tmp_path: Path) -> None:
    """Measured again from what lies on the disk."""
    source = write_tiny_checkpoint(tmp_path / "source")
    random = np.random.default_rng(5)
    weights = {
        name: array if array.ndim == 1 else random.standard_normal(array.shape).astype(np.float32)
        for name, array in tiny_weights().items()
    }
    write_tensors(source / "model.safetensors", weights)
    bundle = quantize_checkpoint(source, tmp_path / "out")
    read = {tensor.name: tensor for tensor in gguf.GGUFReader(bundle.gguf_path).tensors}
    rounded = {place.gguf_name: place for place in bundle.spec.places() if place.kind != "norm"}
    assert bundle.manifest.tensor_errors.keys() == rounded.keys()
    for name, place in rounded.items():
        expected = weights[place.checkpoint_name]
        values = gguf.quants.dequantize(read[name].data, read[name].tensor_type).reshape(place.shape)
        error = np.linalg.norm(values - expected) / np.linalg.norm(expected)
        assert bundle.manifest.tensor_errors[name] == pytest.approx(error, rel=2e-3)
        assert error < (0.01 if place.kind == "table" else 0.1)


def test_a_recipe_decides_group_and_width(tmp_path: Path) -> None:
    source = write_tiny_checkpoint(tmp_path / "source")
    narrow = quantize_checkpoint(source, tmp_path / "narrow", QuantRecipe(wide=()))
    wide = quantize_checkpoint(source, tmp_path / "wide", QuantRecipe(wide=("embedding", "down"), scale="largest"))

    def types(path: Path) -> dict[str, str]:
        return {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}

    assert types(narrow.gguf_path)["token_embd.weight"] == "Q4_0"
    assert types(wide.gguf_path)["blk.1.ffn_down.weight"] == "Q8_0"
    assert types(wide.gguf_path)["blk.1.ffn_up.weight"] == "Q4_0"
    with pytest.raises(UsageError, match=r"group_size is 64.*down_proj.* has 96 weights"):
        quantize_checkpoint(source, tmp_path / "out", QuantRecipe(group_size=64))


def test_32_bits_keep_every_weight(tmp_path: Path) -> None:
    """The reference for an int4 bundle must be exact, or the comparison says nothing."""
    bundle = quantize_checkpoint(write_tiny_checkpoint(tmp_path / "source"), tmp_path / "out", QuantRecipe(bits=32))
    read = {tensor.name: tensor.data for tensor in gguf.GGUFReader(bundle.gguf_path).tensors}
    weights = tiny_weights()
    for place in bundle.spec.places():
        np.testing.assert_array_equal(read[place.gguf_name].reshape(place.shape), weights[place.checkpoint_name])
    assert bundle.manifest.tensor_errors == {}


@pytest.mark.parametrize(
    ("generation", "sampling"),
    [
        ({}, DIALECTS["hipo"].sampling),
        ({"do_sample": False}, Sampling(0.0, 0, 1.0)),
        ({"do_sample": True, "temperature": 0.3, "top_k": 7}, Sampling(0.3, 7, DIALECTS["hipo"].sampling.top_p)),
    ],
)
def test_sampling_is_the_checkpoints_own(tmp_path: Path, generation: dict[str, object], sampling: Sampling) -> None:
    """A model meant for greedy decoding must not be sampled at its family's temperature."""
    source = write_tiny_checkpoint(tmp_path / "source")
    write_json(source / "generation_config.json", generation)
    assert quantize_checkpoint(source, tmp_path / "out").manifest.sampling == sampling


def test_a_wrong_sampling_value_is_named(tmp_path: Path) -> None:
    source = write_tiny_checkpoint(tmp_path / "source")
    write_json(source / "generation_config.json", {"do_sample": True, "temperature": "hot"})
    with pytest.raises(CheckpointError, match="temperature = 'hot'"):
        quantize_checkpoint(source, tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"bits": 4.2, "method": "awq"}, "bits is 4.2"),
        ({"bits": 4.6}, "ask for method awq"),
        ({"method": "best"}, "method is 'best'"),
        ({"refine": "yes"}, "refine is 'yes'"),
        ({"windows": 0}, "windows is 0"),
        ({"group_size": 48}, "group_size is 48"),
        ({"group_size": 0}, "group_size is 0"),
        ({"scale": "best"}, "scale is 'best'"),
        ({"file_formats": ("pickle",)}, "format 'pickle' is unknown"),
        ({"file_formats": ()}, "name one or more"),
        ({"file_formats": ("gguf", "gguf")}, "each once"),
        ({"wide": ("attention",)}, "role 'attention'"),
        ({"wide": ("final_norm",)}, "role 'final_norm'"),
    ],
)
def test_a_recipe_that_cannot_be_honoured_is_refused(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        QuantRecipe(**options)


def test_progress_names_every_tensor_once(tmp_path: Path) -> None:
    seen: list[Progress] = []
    bundle = quantize_checkpoint(write_tiny_checkpoint(tmp_path / "source"), tmp_path / "out", progress=seen.append)
    names = [place.checkpoint_name for place in bundle.spec.places()]
    assert [(step.done, step.total, step.step) for step in seen] == [(i, 24, name) for i, name in enumerate(names)]


def test_the_dialect_can_be_set(tmp_path: Path) -> None:
    source = write_tiny_checkpoint(tmp_path / "source")
    bundle = quantize_checkpoint(source, tmp_path / "out", dialect_name="plain")
    assert (bundle.dialect_name, bundle.manifest.dialect_reason) == ("plain", "it was asked for")
    with pytest.raises(UnknownFamilyError, match="'klingon'"):
        quantize_checkpoint(source, tmp_path / "other", dialect_name="klingon")


def test_a_nan_in_the_last_tensor_leaves_nothing(tmp_path: Path) -> None:
    source = write_tiny_checkpoint(tmp_path / "source")
    weights = tiny_weights()
    weights["model.norm.weight"][7] = np.nan
    write_tensors(source / "model.safetensors", weights)
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight"):
        quantize_checkpoint(source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir() if path.name != "state"] == ["source"]


def test_a_model_that_could_never_stop_is_refused(tmp_path: Path) -> None:
    """Without a stop id every answer runs into the token limit; an ordinary token named as one is not believed."""
    source = write_tiny_checkpoint(tmp_path / "source", "hunyuan_v1_dense")
    (source / "tokenizer_config.json").unlink()
    write_json(source / "generation_config.json", {"eos_token_id": 5})
    with pytest.raises(CheckpointError, match="names no token that ends an answer"):
        quantize_checkpoint(source, tmp_path / "out", dialect_name="plain")
