"""quantize.pipeline, quantize.rounding and quantize.recipe: from a checkpoint folder to a bundle that can be opened."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from tiny_checkpoints import tiny_tokens, tiny_weights, write_json, write_tensors, write_tiny_checkpoint

from models.bundle import verify_bundle
from models.dialect import DIALECTS, Sampling
from models.errors import CheckpointError, UnknownFamilyError, UsageError
from quantize.pipeline import quantize_checkpoint
from quantize.progress import Progress
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
    }
    assert str(tmp_path) not in (tmp_path / "out" / "bundle.json").read_text()
    assert bundle.tokenizer_path.read_bytes() == (source / "tokenizer.json").read_bytes()


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
        ({"bits": 5}, "bits is 5"),
        ({"group_size": 48}, "group_size is 48"),
        ({"group_size": 0}, "group_size is 0"),
        ({"scale": "best"}, "scale is 'best'"),
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
