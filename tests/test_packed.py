"""Int4 checkpoints from an independent packer: their codes reach the GGUF file, or a sentence says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packed_checkpoints import (
    AWQ_ORDER,
    awq_config,
    pack,
    pack_quantized_config,
    write_packed_checkpoint,
)
from tiny_checkpoints import tiny_config, tiny_weights, write_json, write_tiny_checkpoint

from models.bundle import Bundle, verify_bundle
from models.checkpoint import open_checkpoint
from models.errors import CheckpointError, UsageError
from models.packing import packing_from_config
from quantize.packed import read_packed_rows, unpack_words
from quantize.pipeline import quantize_checkpoint
from quantize.recipe import QuantRecipe

FIRST = "model.layers.0.self_attn.q_proj"


def read_blocks(bundle: Bundle) -> dict[str, Any]:
    """The tensors of a bundle by name, through the gguf package."""
    return {tensor.name: tensor for tensor in gguf.GGUFReader(bundle.gguf_path).tensors}


def codes_of(tensor: Any, num_columns: int) -> np.ndarray[Any, Any]:
    """The 4-bit codes of Q4_0 or Q4_1 rows, taken apart here: low nibbles are the first half of a block."""
    head = 2 if tensor.tensor_type.name == "Q4_0" else 4
    blocks = tensor.data.reshape(-1, head + 16)[:, head:]
    return np.concatenate([blocks & 15, blocks >> 4], axis=1).reshape(-1, num_columns)


@pytest.mark.parametrize("family", ["qwen3", "hunyuan_v1_dense"])
@pytest.mark.parametrize(
    ("kind", "group_size", "feed_forward"),
    [
        ("awq", 32, 96),
        ("awq", 64, 128),
        ("awq", -1, 96),
        ("symmetric", 32, 96),
        ("symmetric", -1, 96),
        ("asymmetric", 32, 96),
        ("asymmetric", 64, 128),
    ],
)
def test_codes_are_carried_over(tmp_path: Path, family: str, kind: str, group_size: int, feed_forward: int) -> None:
    """The query width (128) differs from hidden_size (64), so a layer read the wrong way round would not even fit."""
    source = write_packed_checkpoint(
        tmp_path / "source", kind, family, group_size=group_size, feed_forward=feed_forward
    )
    bundle = quantize_checkpoint(source.folder, tmp_path / "out")
    assert verify_bundle(tmp_path / "out") == bundle
    read = read_blocks(bundle)
    assert len(source.layers) == 14
    for place in bundle.spec.places():
        if place.checkpoint_name not in source.layers:
            continue
        layer, tensor = source.layers[place.checkpoint_name], read[place.gguf_name]
        assert tensor.tensor_type.name == ("Q4_0" if kind == "symmetric" else "Q4_1")
        np.testing.assert_array_equal(codes_of(tensor, place.shape[1]), layer.codes)
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(place.shape)
        if kind == "symmetric":
            np.testing.assert_array_equal(values, layer.values)
            assert bundle.manifest.tensor_errors[place.gguf_name] == 0
        else:
            group = place.shape[1] // layer.scales.shape[1]
            steps = np.abs(values - layer.values) / layer.scales.repeat(group, axis=1)
            assert 0 < steps.max() < 0.0074
            error = np.linalg.norm(values - layer.values) / np.linalg.norm(layer.values)
            assert bundle.manifest.tensor_errors[place.gguf_name] == pytest.approx(error, rel=2e-3)
    file_type = gguf.GGUFReader(bundle.gguf_path).fields["general.file_type"].contents()
    assert file_type == (gguf.LlamaFileType.MOSTLY_Q4_0 if kind == "symmetric" else gguf.LlamaFileType.MOSTLY_Q4_1)


def test_the_bundle_says_that_it_was_imported(tmp_path: Path) -> None:
    source = write_packed_checkpoint(tmp_path / "source", "awq", group_size=64, feed_forward=128)
    assert quantize_checkpoint(source.folder, tmp_path / "out").manifest.recipe == {
        "imported": "AutoAWQ GEMM",
        "bits": 4,
        "group_size": 64,
        "symmetric": False,
        "wide": ["embedding", "head"],
        "file_formats": ["gguf"],
    }


def test_floats_beside_packed_layers_are_rounded_to_8_bits(tmp_path: Path) -> None:
    """What the makers of a checkpoint kept out of 4 bits (the embedding, the head, a layer) must not end there."""
    kept = "model.layers.1.mlp.down_proj.weight"
    source = write_packed_checkpoint(tmp_path / "source", "symmetric", "qwen3", tied=False, float_layers=(kept,))
    bundle = quantize_checkpoint(source.folder, tmp_path / "out")
    read = read_blocks(bundle)
    for place in bundle.spec.places():
        if place.kind == "table" or place.checkpoint_name == kept:
            assert read[place.gguf_name].tensor_type.name == "Q8_0"
            values = gguf.quants.dequantize(read[place.gguf_name].data, read[place.gguf_name].tensor_type)
            expected = tiny_weights("qwen3", tied=False)[place.checkpoint_name]
            np.testing.assert_allclose(values.reshape(place.shape), expected, atol=0.01)


def test_chunks_of_any_size_are_the_whole(tmp_path: Path) -> None:
    """A chunk that ends inside a word would repeat or lose rows."""
    for kind in ("awq", "asymmetric"):
        source = write_packed_checkpoint(tmp_path / kind, kind)
        checkpoint = open_checkpoint(source.folder)
        for place, layer in ((place, source.layers[place.checkpoint_name]) for place in checkpoint.packed):
            chunks = [rows.tensor for rows in read_packed_rows(checkpoint, place, chunk_weights=1000)]
            assert len(chunks) > 1
            np.testing.assert_array_equal(np.concatenate([chunk.codes for chunk in chunks]), layer.codes)
            np.testing.assert_array_equal(np.concatenate([chunk.scales for chunk in chunks]), layer.scales)
            np.testing.assert_array_equal(np.concatenate([c.zeros for c in chunks if c.zeros is not None]), layer.zeros)


@given(codes=st.lists(st.lists(st.integers(0, 15), min_size=16, max_size=16), min_size=1, max_size=4))
def test_any_codes_come_out_of_their_words(codes: list[list[int]]) -> None:
    """Words are signed: a shift that keeps the sign gives codes above 15."""
    expected = np.array(codes)
    np.testing.assert_array_equal(unpack_words(pack(expected), (0, 1, 2, 3, 4, 5, 6, 7)), expected)
    np.testing.assert_array_equal(unpack_words(pack(expected, AWQ_ORDER), (0, 4, 1, 5, 2, 6, 3, 7)), expected)


def test_a_published_word_of_awq() -> None:
    """One word by hand, so that packer and reader cannot be wrong together: from the lowest, 0 2 4 6 1 3 5 7."""
    word = np.array([[0x7531_6420]], np.int32)
    np.testing.assert_array_equal(unpack_words(word, (0, 4, 1, 5, 2, 6, 3, 7)), [[0, 1, 2, 3, 4, 5, 6, 7]])


def test_scales_of_bfloat16_are_rounded_and_counted(tmp_path: Path) -> None:
    """A scale of 2**-20 has fewer bits in float16 than in bfloat16; the error must be in the report."""
    source = write_packed_checkpoint(tmp_path / "source", "symmetric")
    scale = source.tensors[f"{FIRST}.weight_scale"].astype(np.float32)
    scale[0] = 2.0**-20 * 1.4140625
    source.rewrite(**{f"{FIRST}.weight_scale": scale})
    error = quantize_checkpoint(source.folder, tmp_path / "out").manifest.tensor_errors["blk.0.attn_q.weight"]
    assert 0 < error < 1e-3


def _replaced(folder: Path, kind: str, name: str, change: Any) -> None:
    source = write_packed_checkpoint(folder, kind)
    array = source.tensors[f"{FIRST}.{name}"]
    source.rewrite(**{f"{FIRST}.{name}": change(array)})


def _with_one(array: Any, value: float) -> Any:
    changed = array.astype(np.float32)
    changed[0, 0] = value
    return changed


@pytest.mark.parametrize(
    ("kind", "name", "change", "sentence"),
    [
        ("awq", "qweight", lambda _: None, "lacks the tensor .*q_proj.qweight"),
        ("awq", "qzeros", lambda _: None, "lacks the tensor .*q_proj.qzeros"),
        ("awq", "scales", lambda _: None, "lacks the tensor .*q_proj.scales"),
        ("awq", "qzeros", lambda array: array[:, :-1].copy(), r"qzeros has shape \(2, 15\)"),
        ("awq", "scales", lambda array: array.T.copy(), r"scales has shape \(128, 2\)"),
        ("awq", "qweight", lambda array: array.T.copy(), r"qweight has shape \(16, 64\)"),
        ("awq", "qweight", lambda array: array.astype(np.int64), "qweight is stored as I64; only I32"),
        ("awq", "scales", lambda array: _with_one(array, np.nan), "scales .* holds a NaN"),
        ("awq", "scales", lambda array: _with_one(array, np.inf), "scales .* holds a NaN or an infinity"),
        ("awq", "scales", lambda array: _with_one(array, 70000), "70000.* too large for a float16 scale"),
        ("awq", "scales", lambda array: np.full_like(array, 60000), "too large for a float16 minimum"),
        ("asymmetric", "weight_zero_point", lambda _: None, "lacks the tensor .*weight_zero_point"),
        ("asymmetric", "weight_zero_point", lambda array: array.T.copy(), r"zero_point has shape \(2, 16\)"),
        ("symmetric", "weight_scale", lambda array: array[:, :1].copy(), r"weight_scale has shape \(128, 1\)"),
        ("symmetric", "weight_scale", lambda array: _with_one(array, np.nan), "weight_scale .* holds a NaN"),
        ("symmetric", "weight_shape", lambda array: array[::-1].copy(), r"weight_shape says \[64, 128\]"),
        ("symmetric", "weight_shape", lambda _: None, "lacks the tensor .*weight_shape"),
    ],
)
def test_a_damaged_layer_gives_one_sentence(tmp_path: Path, kind: str, name: str, change: Any, sentence: str) -> None:
    _replaced(tmp_path / "source", kind, name, change)
    with pytest.raises(CheckpointError, match=sentence):
        quantize_checkpoint(tmp_path / "source", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir() if path.name != "state"] == ["source"]


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    source = write_packed_checkpoint(tmp_path / "source", "awq")
    path = source.folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="is truncated"):
        quantize_checkpoint(source.folder, tmp_path / "out")


@pytest.mark.parametrize("name", ["bias", "weight_g_idx", "weight"])
def test_a_tensor_beside_the_codes_is_refused(tmp_path: Path, name: str) -> None:
    """A bias or an order of the columns, ignored, gives another model; codes beside floats are one too many."""
    source = write_packed_checkpoint(tmp_path / "source", "symmetric")
    source.rewrite(**{f"{FIRST}.{name}": np.zeros(128, np.float16)})
    with pytest.raises(CheckpointError, match=f"holds {FIRST}.{name}, a tensor that"):
        open_checkpoint(source.folder)


def test_a_group_that_does_not_divide_a_row_is_named(tmp_path: Path) -> None:
    source = write_packed_checkpoint(tmp_path / "source", "awq")
    write_json(source.folder / "config.json", tiny_config("hunyuan_v1_dense", quantization_config=awq_config(128)))
    with pytest.raises(CheckpointError, match=r"row of .*q_proj has 64 weights, which groups of 128 do not divide"):
        open_checkpoint(source.folder)


def test_a_float_checkpoint_that_says_int4_is_refused(tmp_path: Path) -> None:
    """A config copied from another repository: rounding it would look like an exact import."""
    write_tiny_checkpoint(tmp_path / "source")
    write_json(tmp_path / "source" / "config.json", tiny_config(quantization_config=awq_config()))
    with pytest.raises(CheckpointError, match="announces AutoAWQ GEMM, but no layer is packed"):
        open_checkpoint(tmp_path / "source")


@pytest.mark.parametrize("recipe", [{"bits": 32}, {"group_size": 64}, {"scale": "largest"}])
def test_a_recipe_that_rounds_again_is_refused(tmp_path: Path, recipe: dict[str, Any]) -> None:
    source = write_packed_checkpoint(tmp_path / "source", "awq")
    with pytest.raises(UsageError, match=f"{next(iter(recipe))} is .* int4 already"):
        quantize_checkpoint(source.folder, tmp_path / "out", QuantRecipe(**recipe))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"quant_method": "gptq", "bits": 4, "desc_act": True}, r"gptq \(bits 4, desc_act True\)"),
        ({"quant_method": "fp8", "fmt": "e4m3"}, r"fp8 \(fmt e4m3\)"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
        ({"bits": 4}, "None"),
        (awq_config(bits=8), r"awq \(8 bits\)"),
        (awq_config(version="gemv"), "version gemv"),
        (awq_config(backend="llm-awq"), "backend llm-awq"),
        (awq_config(zero_point=False), "zero_point False"),
        (awq_config(group_size=16), "group_size = 16"),
        (awq_config(group_size="128"), "group_size = '128'"),
        (pack_quantized_config(num_bits=8), "8-bit int"),
        (pack_quantized_config(type="float"), "4-bit float"),
        (pack_quantized_config(actorder="group"), "actorder group"),
        (pack_quantized_config(strategy="tensor"), "strategy tensor"),
        (pack_quantized_config() | {"format": "float-quantized"}, "format float-quantized"),
        (pack_quantized_config() | {"sparsity_config": {"format": "sparse-24-bitmask"}}, "sparsity sparse-24"),
        (pack_quantized_config() | {"transform_config": {"config_groups": {"R1": {}}}}, "transform_config"),
        (pack_quantized_config() | {"config_groups": {}}, "no config_groups"),
        (pack_quantized_config() | {"config_groups": {"group_0": {"weights": 4}}}, "weights = 4"),
        ("awq", "must be an object"),
    ],
)
def test_what_cannot_be_imported_is_named(settings: Any, words: str) -> None:
    with pytest.raises(CheckpointError, match=words) as raised:
        packing_from_config({"quantization_config": settings})
    assert str(raised.value).endswith(".")


def test_activations_and_differing_groups_are_refused() -> None:
    config = pack_quantized_config()
    other = pack_quantized_config(64)["config_groups"]["group_0"]
    with pytest.raises(CheckpointError, match="config_groups that differ"):
        packing_from_config(
            {"quantization_config": config | {"config_groups": {"a": other, **config["config_groups"]}}}
        )
    with pytest.raises(CheckpointError, match="with input_activations"):
        quantized = {**other, "input_activations": {"num_bits": 8}}
        packing_from_config({"quantization_config": config | {"config_groups": {"a": quantized}}})
    assert packing_from_config({}) is None
