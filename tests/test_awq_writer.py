"""quantize.awq_writer: what it writes, read by an independent unpacker, by safetensors, and by our own importer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from packed_checkpoints import AWQ_ORDER, pack, write_packed_checkpoint
from safetensors.numpy import load_file
from tiny_checkpoints import write_tiny_checkpoint

from models.bundle import Bundle
from models.checkpoint import open_checkpoint
from models.errors import CheckpointError, UsageError
from quantize.awq_writer import AwqWriter, awq_config, pack_words
from quantize.packed import read_packed_rows
from quantize.pipeline import quantize_checkpoint
from quantize.recipe import QuantRecipe
from quantize.safetensors_writer import SafetensorsWriter

NIBBLES = (0, 4, 1, 5, 2, 6, 3, 7)  # which nibble of a word holds output 0, 1, ... of its eight
SHORT = {"windows": 2, "window_tokens": 32, "held_out": 0}


def unpack(words: NDArray[np.int32]) -> NDArray[np.int64]:
    """Words (K, N / 8) as codes (N, K), with Python's integers, from the published layout."""
    rows = [[(word >> 4 * nibble) & 15 for word in row for nibble in NIBBLES] for row in words.tolist()]
    return np.array(rows).T


def gguf_codes(bundle: Bundle) -> dict[str, NDArray[np.uint8]]:
    """The codes of every int4 tensor of the bundle's GGUF file, by name, as the bytes have them."""
    codes = {}
    for tensor in gguf.GGUFReader(bundle.gguf_path).tensors:
        header = {"Q4_0": 2, "Q4_1": 4}.get(tensor.tensor_type.name)
        if header:
            nibbles = tensor.data.reshape(len(tensor.data), -1, header + 16)[:, :, header:]
            codes[tensor.name] = np.concatenate([nibbles & 15, nibbles >> 4], axis=2).reshape(len(tensor.data), -1)
    return codes


@given(arrays(np.uint8, st.tuples(st.sampled_from((8, 16, 24)), st.integers(1, 9)), elements=st.integers(0, 15)))
def test_any_codes_are_packed_as_the_layout_says(codes: NDArray[np.uint8]) -> None:
    words = pack_words(codes)
    np.testing.assert_array_equal(words, pack(codes.T.astype(np.int64), AWQ_ORDER))
    np.testing.assert_array_equal(unpack(words), codes)


def test_a_word_by_hand() -> None:
    """Outputs 0 to 7 of one input; the highest nibble, the sign bit of a word, holds output 7."""
    words = pack_words(np.arange(8, 16, dtype=np.uint8)[:, None])
    assert (int(words[0, 0]) & 0xFFFFFFFF) == 0xFDB9ECA8


@pytest.mark.parametrize("kind", ["awq", "asymmetric", "symmetric"])
@pytest.mark.parametrize("group_size", [32, -1])
def test_int4_checkpoints_are_carried_over_bit_for_bit(tmp_path: Path, kind: str, group_size: int) -> None:
    """A second rounding would hide in a small error; identical words cannot."""
    source = write_packed_checkpoint(tmp_path / "source", kind, group_size=group_size)
    bundle = quantize_checkpoint(source.folder, tmp_path / "out", QuantRecipe(file_formats=("awq",)))
    written = load_file(bundle.file("awq"))
    for name, layer in source.layers.items():
        stem = name.removesuffix(".weight")
        np.testing.assert_array_equal(unpack(written[f"{stem}.qweight"]), layer.codes)
        np.testing.assert_array_equal(unpack(written[f"{stem}.qzeros"]), layer.zeros)
        np.testing.assert_array_equal(written[f"{stem}.scales"].T, layer.scales)
        if kind == "awq":
            for part in ("qweight", "qzeros", "scales"):
                np.testing.assert_array_equal(written[f"{stem}.{part}"], source.tensors[f"{stem}.{part}"])
    assert written["model.norm.weight"].dtype == np.float32
    assert written["model.embed_tokens.weight"].dtype == np.float16


@pytest.mark.parametrize("family", ["qwen3", "hunyuan_v1_dense"])
@pytest.mark.parametrize("fields", [{"method": "awq", **SHORT}, {"asymmetric": True}])
def test_a_detour_through_the_folder_changes_no_code(tmp_path: Path, family: str, fields: dict[str, Any]) -> None:
    """Floats to GGUF, and floats to an AutoAWQ folder to GGUF: the same model, so the same codes and tables."""
    source = write_tiny_checkpoint(tmp_path / "source", family)
    both = quantize_checkpoint(source, tmp_path / "both", QuantRecipe(file_formats=("gguf", "awq"), **fields))
    again = quantize_checkpoint(both.path, tmp_path / "again")
    direct, detour = gguf_codes(both), gguf_codes(again)
    assert len(direct) == 14
    for name, codes in direct.items():
        np.testing.assert_array_equal(detour[name], codes)
    assert (again.spec, again.dialect_name, again.stop_token_ids) == (both.spec, both.dialect_name, both.stop_token_ids)
    assert (again.bos_token_id, again.manifest.sampling) == (both.bos_token_id, both.manifest.sampling)
    first, second = (
        {tensor.name: tensor for tensor in gguf.GGUFReader(bundle.gguf_path).tensors} for bundle in (both, again)
    )
    tables = [place.gguf_name for place in both.spec.places() if place.kind == "table"]
    for name in tables:
        left, right = (blocks[name].data.reshape(-1, 34)[:, 2:] for blocks in (first, second))
        np.testing.assert_array_equal(left, right)
    for name in (name for name in first if "norm" in name):
        np.testing.assert_array_equal(first[name].data, second[name].data)


def test_our_importer_reads_what_was_written(tmp_path: Path) -> None:
    source = write_tiny_checkpoint(tmp_path / "source")
    recipe = QuantRecipe(file_formats=("awq",), asymmetric=True)
    bundle = quantize_checkpoint(source, tmp_path / "out", recipe)
    checkpoint = open_checkpoint(bundle.path)
    assert checkpoint.packing is not None and checkpoint.packing.group_size == 32
    written = load_file(bundle.file("awq"))
    for place in checkpoint.packed:
        codes = np.concatenate([rows.tensor.codes for rows in read_packed_rows(checkpoint, place)])
        stem = place.checkpoint_name.removesuffix(".weight")
        np.testing.assert_array_equal(codes, unpack(written[f"{stem}.qweight"]))


def test_the_folder_says_what_loaders_look_for(tmp_path: Path) -> None:
    source = write_tiny_checkpoint(tmp_path / "source", "hunyuan_v1_dense")
    bundle = quantize_checkpoint(source, tmp_path / "out", QuantRecipe(file_formats=("awq",)))
    files = {path.name: json.loads(path.read_text()) for path in bundle.path.glob("*.json")}
    original = json.loads((source / "config.json").read_text())
    config = files["config.json"]
    assert config.pop("quantization_config") == {
        "quant_method": "awq",
        "bits": 4,
        "group_size": 32,
        "version": "gemm",
        "zero_point": True,
        "modules_to_not_convert": None,
    }
    assert config == {**original, "torch_dtype": "float16"}
    assert files["tokenizer_config.json"]["eos_token"] == "<｜hy_place▁holder▁no▁2｜>"
    assert files["generation_config.json"]["eos_token_id"] == list(bundle.stop_token_ids)
    assert (bundle.path / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"wide": ("embedding", "head", "down")},
            "down_proj.weight would be Q8_0, but the format awq holds every linear",
        ),
        ({"bits": 32}, "q_proj.weight would be F32, but the format awq holds every linear"),
        ({"wide": ()}, "embed_tokens.weight would be Q4_0, but the format awq holds embedding and head in floats"),
    ],
)
def test_what_the_format_cannot_hold_is_refused_before_the_work(
    tmp_path: Path, fields: dict[str, Any], words: str
) -> None:
    source = write_tiny_checkpoint(tmp_path / "source")
    with pytest.raises(UsageError, match=words):
        quantize_checkpoint(source, tmp_path / "out", QuantRecipe(file_formats=("gguf", "awq"), **fields))
    assert not (tmp_path / "out").exists()


def test_a_config_of_another_int4_format_is_replaced() -> None:
    config = {"quantization_config": {"bits": 8}, "compression_config": {}, "dtype": "bfloat16", "hidden_size": 8}
    made = awq_config(config, -1)
    assert made.keys() == {"quantization_config", "torch_dtype", "dtype", "hidden_size"}
    assert (made["dtype"], made["quantization_config"]["group_size"]) == ("float16", -1)


def test_a_table_beyond_float16_is_named(tmp_path: Path) -> None:
    """It would become infinite, and the model silent."""
    source = write_tiny_checkpoint(tmp_path / "source")
    checkpoint = open_checkpoint(source)
    table = next(place for place in checkpoint.spec.places() if place.kind == "table")
    writer = AwqWriter(tmp_path, None, {table: "F32"})  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=r"embed_tokens.weight holds 70000"):
        writer.add(table, np.full(table.shape, 70000, np.float32))
    with pytest.raises(ValueError, match="were not announced"):
        writer.add(table, np.zeros((table.shape[0] + 1, table.shape[1]), np.float32))
    writer.close()


def test_a_tensor_that_is_not_whole_is_noticed(tmp_path: Path) -> None:
    writer = SafetensorsWriter(tmp_path / "x.safetensors", 2)
    writer.begin("a", "F16", (2, 3))
    writer.write(np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="a lacks 6 bytes"):
        writer.begin("b", "F16", (1,))
    with pytest.raises(ValueError, match="a gets 2 bytes more"):
        writer.write(np.zeros(4, np.float32))
    writer.close()
