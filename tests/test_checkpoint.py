"""models.checkpoint and models.safetensors_file against files that the safetensors package wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_checkpoints import tiny_config, tiny_weights, write_json, write_tensors, write_tiny_checkpoint

from models.checkpoint import open_checkpoint
from models.errors import CheckpointError
from models.safetensors_file import read_safetensors_header


@pytest.mark.parametrize("family", ["qwen3", "hunyuan_v1_dense"])
@pytest.mark.parametrize(("dtype", "tied", "num_shards"), [("float32", True, 1), ("float16", False, 3)])
def test_tensors_come_back_by_place(tmp_path: Path, family: str, dtype: str, tied: bool, num_shards: int) -> None:
    folder = write_tiny_checkpoint(tmp_path, family, tied=tied, dtype=dtype, num_shards=num_shards)
    weights = tiny_weights(family, tied=tied)
    checkpoint = open_checkpoint(folder)
    for place in checkpoint.spec.places():
        expected = weights[place.checkpoint_name].astype(dtype).astype(np.float32)
        np.testing.assert_array_equal(checkpoint.read(place), expected)
        chunks = list(checkpoint.read_rows(place, chunk_bytes=1000))
        assert len(chunks) > 1 or expected.nbytes <= 1000
        np.testing.assert_array_equal(np.concatenate(chunks), expected)


def test_bfloat16_is_widened_without_torch(tmp_path: Path) -> None:
    folder = write_tiny_checkpoint(tmp_path, dtype="bfloat16")
    checkpoint = open_checkpoint(folder)
    place = checkpoint.spec.places()[0]
    full = tiny_weights()[place.checkpoint_name]
    values = checkpoint.read(place)
    assert np.all(values.view(np.uint32) & 0xFFFF == 0)
    np.testing.assert_allclose(values, full, rtol=2**-7)


@pytest.mark.parity
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_torch_reads_the_same_values(tmp_path: Path, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "model.safetensors"
    values = np.random.default_rng(0).standard_normal((7, 32)).astype(np.float32)
    from safetensors.torch import save_file

    save_file({"w": torch.from_numpy(values).to(getattr(torch, dtype))}, str(path))
    expected = torch.from_numpy(values).to(getattr(torch, dtype)).float().numpy()
    np.testing.assert_array_equal(read_safetensors_header(path)["w"].read_rows(0, 7), expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_nan_or_an_infinity_is_named(tmp_path: Path, bad: float, dtype: str) -> None:
    """One NaN makes every logit NaN, and rounding hides where it came from."""
    folder = write_tiny_checkpoint(tmp_path)
    weights = tiny_weights()
    weights["model.layers.1.mlp.up_proj.weight"][3, 5] = bad
    write_tensors(folder / "model.safetensors", weights, dtype)
    checkpoint = open_checkpoint(folder)
    place = next(p for p in checkpoint.spec.places() if p.role == "up" and p.layer == 1)
    with pytest.raises(CheckpointError, match=r"layers\.1\.mlp\.up_proj"):
        checkpoint.read(place)


def _without(folder: Path, name: str) -> None:
    weights = tiny_weights()
    del weights[name]
    write_tensors(folder / "model.safetensors", weights)


def _with(folder: Path, name: str, shape: tuple[int, ...]) -> None:
    write_tensors(folder / "model.safetensors", tiny_weights() | {name: np.zeros(shape, np.float32)})


def _truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def _as_integers(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"F32"', b'"I32"'))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: _without(folder, "model.norm.weight"), r"lacks the tensor model\.norm\.weight"),
        (lambda folder: _with(folder, "model.norm.weight", (65,)), r"model\.norm\.weight has shape \(65,\)"),
        (lambda folder: _with(folder, "model.layers.0.self_attn.q_proj.bias", (128,)), r"q_proj\.bias, a tensor that"),
        (_truncate, "is truncated: model"),
        (_as_integers, "stored as I32"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"hello"), "not a safetensors file"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b""), "not a safetensors file"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"holds no \.safetensors file"),
        (lambda folder: (folder / "config.json").unlink(), r"config\.json does not exist"),
        (lambda folder: (folder / "config.json").write_text("[1]"), "JSON list, not an object"),
        (lambda folder: (folder / "config.json").write_text("{"), "not valid JSON"),
        (
            lambda folder: write_json(folder / "config.json", tiny_config(quantization_config={"quant_method": "hqq"})),
            "is quantized with hqq",
        ),
        (
            lambda folder: write_json(folder / "model.safetensors.index.json", {"weight_map": {"w": "gone"}}),
            "lacks the shard gone",
        ),
        (
            lambda folder: write_json(folder / "model.safetensors.index.json", {"weight_map": {"w": "../x"}}),
            "points outside its folder",
        ),
        (lambda folder: write_json(folder / "model.safetensors.index.json", {}), "has no weight_map"),
    ],
)
def test_a_damaged_folder_gives_one_sentence(tmp_path: Path, damage: Any, sentence: str) -> None:
    folder = write_tiny_checkpoint(tmp_path)
    damage(folder)
    with pytest.raises(CheckpointError, match=sentence):
        open_checkpoint(folder)


def test_a_tied_head_written_a_second_time_is_no_leftover(tmp_path: Path) -> None:
    """Some exporters write lm_head.weight although it is the embedding."""
    folder = write_tiny_checkpoint(tmp_path)
    weights = tiny_weights()
    write_tensors(folder / "model.safetensors", weights | {"lm_head.weight": weights["model.embed_tokens.weight"]})
    assert open_checkpoint(folder).spec.has_tied_head


def test_a_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    """A folder with an old and a new export would give a mixture of both."""
    folder = write_tiny_checkpoint(tmp_path)
    write_tensors(folder / "other.safetensors", {"model.norm.weight": np.ones(64, np.float32)})
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight in two files"):
        open_checkpoint(folder)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**40) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["dtype", "shape"]), inner, max_size=3),
    max_leaves=8,
)


@given(entry=_JSON | st.fixed_dictionaries({"dtype": _JSON, "shape": _JSON, "data_offsets": _JSON}))
def test_any_header_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, entry: Any) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "x.safetensors"
    header = json.dumps({"w": entry}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(64))
    try:
        tensors = read_safetensors_header(path)
    except CheckpointError as exc:
        assert "x.safetensors" in str(exc)
    else:
        assert tensors["w"].start >= 8


@given(data=st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "x.safetensors"
    path.write_bytes(data)
    try:
        read_safetensors_header(path)
    except CheckpointError as exc:
        assert str(path) in str(exc)
