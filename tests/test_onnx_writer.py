"""quantize.onnx_writer: the onnx package reads what was rounded or carried over, and half a file is never left."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx_models import OnnxModel, onnx, read_weights
from packed_checkpoints import write_packed_checkpoint
from tiny_checkpoints import SPECIAL, tiny_weights, write_tiny_checkpoint

from models.checkpoint import open_checkpoint
from models.errors import UsageError
from models.spec import TensorPlace
from quantize import onnx_data, onnx_writer
from quantize.int4 import Int4Tensor
from quantize.onnx_writer import OnnxWriter
from quantize.pipeline import quantize_checkpoint
from quantize.recipe import QuantRecipe
from quantize.rounding import plan_formats, stored_chunks
from quantize.stored import ModelFacts, Stored
from quantize.vocabulary import read_vocabulary

ONNX = QuantRecipe(file_formats=("onnx",))
FAMILIES = list(SPECIAL)
TOKENS = [int(token) for token in np.random.default_rng(0).integers(0, 256, 24)]


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Each family in turn."""
    return str(request.param)


@pytest.mark.parametrize("tied", [True, False])
def test_every_weight_comes_back(tmp_path: Path, family: str, tied: bool) -> None:
    """Read by the onnx package; rounding is exact for weights on the grid, so nothing may differ."""
    source = write_tiny_checkpoint(tmp_path / "source", family, tied=tied, num_shards=2)
    bundle = quantize_checkpoint(source, tmp_path / "out", ONNX)
    onnx.checker.check_model(str(bundle.file("onnx")))
    weights, norms = read_weights(bundle.file("onnx"))
    expected = tiny_weights(family, tied=tied)
    assert weights.keys() | norms.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(norms[name] if name in norms else weights[name].values, array)


def test_a_tied_table_is_stored_once(tmp_path: Path) -> None:
    """Embedding and head want other dimensions of the same bytes; two copies of a vocabulary are the half of a file."""
    bundle = quantize_checkpoint(write_tiny_checkpoint(tmp_path / "source"), tmp_path / "out", ONNX)
    model = onnx.load(str(bundle.file("onnx")), load_external_data=False)
    places = {
        array.name: {entry.key: entry.value for entry in array.external_data}
        for array in model.graph.initializer
        if array.name.startswith("model.embed_tokens.weight.codes")
    }
    assert len(places) == 2
    assert len({tuple(place.values()) for place in places.values()}) == 1
    gguf_bytes = quantize_checkpoint(tmp_path / "source", tmp_path / "gguf").gguf_path.stat().st_size
    assert bundle.file("onnx_data").stat().st_size < 1.2 * gguf_bytes  # scales are float32 here


@pytest.mark.parametrize(
    ("kind", "group_size", "feed_forward"),
    [("awq", 32, 96), ("awq", 64, 128), ("awq", -1, 96), ("symmetric", -1, 96), ("asymmetric", 64, 128)],
)
def test_int4_sources_keep_their_codes(
    tmp_path: Path, family: str, kind: str, group_size: int, feed_forward: int
) -> None:
    source = write_packed_checkpoint(tmp_path / "s", kind, family, group_size=group_size, feed_forward=feed_forward)
    bundle = quantize_checkpoint(source.folder, tmp_path / "out", ONNX)
    weights, _ = read_weights(bundle.file("onnx"))
    for name, layer in source.layers.items():
        repeats = weights[name].scales.shape[1] // layer.scales.shape[1]
        np.testing.assert_array_equal(weights[name].codes, layer.codes)
        np.testing.assert_array_equal(weights[name].scales, layer.scales.repeat(repeats, axis=1))
        np.testing.assert_array_equal(weights[name].zeros, layer.zeros.repeat(repeats, axis=1))


def test_a_data_file_may_be_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every array begins at a multiple of a gigabyte (the file has holes): a 32-bit offset would wrap around."""
    monkeypatch.setattr(onnx_data, "_ALIGNMENT", 1 << 30)
    folder = write_small_model(tmp_path)
    assert (folder / "model.onnx.data").stat().st_size > 16 << 30
    model = OnnxModel(folder / "model.onnx")
    logits, _ = model.run([TOKENS], [[1] * len(TOKENS)], model.cache())
    monkeypatch.undo()
    small = OnnxModel(write_small_model(tmp_path / "small") / "model.onnx")
    expected, _ = small.run([TOKENS], [[1] * len(TOKENS)], small.cache())
    np.testing.assert_array_equal(logits, expected)


def begin_small_model(tmp_path: Path) -> tuple[OnnxWriter, Iterator[tuple[TensorPlace, Stored]]]:
    """A writer that has nothing yet, and what it should get."""
    folder = write_tiny_checkpoint(tmp_path / "source")
    checkpoint = open_checkpoint(folder)
    formats = plan_formats(checkpoint.spec, ONNX)
    facts = ModelFacts("tiny", checkpoint.spec, read_vocabulary(folder, checkpoint.spec, checkpoint.config), (261,))
    chunks = (
        (place, rows)
        for place, tensor_format in formats.items()
        for rows, _ in stored_chunks(checkpoint, place, tensor_format, ONNX)
    )
    return OnnxWriter(tmp_path, facts, formats), chunks


def write_small_model(tmp_path: Path) -> Path:
    """A tiny model without a bundle around it."""
    tmp_path.mkdir(exist_ok=True)
    writer, chunks = begin_small_model(tmp_path)
    with closing(writer):
        for place, rows in chunks:
            writer.add(place, rows)
        writer.finish()
    return tmp_path


def test_rows_that_are_not_the_announced_ones_are_refused(tmp_path: Path) -> None:
    """Too few rows left holes in the data file; rows of another tensor went where nobody would look for them."""
    writer, chunks = begin_small_model(tmp_path)
    first, second = next(chunks), next(chunks)
    with closing(writer):
        with pytest.raises(ValueError, match=r"embed_tokens.* announced.*input_layernorm"):
            writer.add(*second)
        writer.add(*first)
        with pytest.raises(ValueError, match=r"input_layernorm.* announced.*280 rows Q8_0 of model.embed"):
            writer.add(*first)
        with pytest.raises(ValueError, match=r"input_layernorm.* did not get all"):
            writer.finish()


def test_groups_may_not_change_within_a_tensor(tmp_path: Path) -> None:
    """The attribute of the operator holds one block size."""
    writer, chunks = begin_small_model(tmp_path)
    with closing(writer):
        for place, rows in chunks:
            if isinstance(rows, Int4Tensor):
                break
            writer.add(place, rows)
        half = len(rows.codes) // 2
        writer.add(place, Int4Tensor(rows.codes[:half], rows.scales[:half], None, 32))
        with pytest.raises(ValueError, match="changes its groups"):
            writer.add(place, Int4Tensor(rows.codes[half:], rows.scales[half:, :1], None, 64))


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    """What is buffered must not fail in silence when the file is closed."""
    (tmp_path / "model.onnx.data").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_small_model(tmp_path)


def test_floats_are_refused_before_the_work(tmp_path: Path) -> None:
    source = write_tiny_checkpoint(tmp_path / "source")
    with pytest.raises(UsageError, match="would stay in floats"):
        quantize_checkpoint(source, tmp_path / "out", replace(ONNX, bits=32))
    assert not (tmp_path / "out").exists()


def test_a_bundle_of_both_formats_says_so(tmp_path: Path) -> None:
    source = write_tiny_checkpoint(tmp_path / "source")
    both = quantize_checkpoint(source, tmp_path / "both", QuantRecipe(file_formats=("gguf", "onnx")), name="m")
    written = {"genai_config.json", "model.gguf", "model.onnx", "model.onnx.data", "tokenizer_config.json"}
    assert written < both.manifest.files.keys()
    assert [both.file(role).name for role in ("onnx", "onnx_data")] == ["model.onnx", "model.onnx.data"]
    assert both.manifest.recipe["file_formats"] == ["gguf", "onnx"]
    for file_format in ("gguf", "onnx"):
        alone = quantize_checkpoint(source, tmp_path / file_format, QuantRecipe(file_formats=(file_format,)), name="m")
        for name in written & alone.manifest.files.keys():
            assert (alone.path / name).read_bytes() == (both.path / name).read_bytes()


def test_a_run_killed_while_it_writes_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed with half of a graph on the disk; nothing may be seen at the target, and the next run gives the same."""
    source = write_tiny_checkpoint(tmp_path / "source")
    recipe = QuantRecipe(method="awq", windows=2, window_tokens=16, held_out=0, grid=2, file_formats=("gguf", "onnx"))
    whole = quantize_checkpoint(source, tmp_path / "whole", recipe, name="m")

    def killed(_folder: object, *_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as context, pytest.raises(KeyboardInterrupt):
        context.setattr(onnx_writer, "tokenizer_config", killed)
        quantize_checkpoint(source, tmp_path / "out", recipe, name="m")
    assert sorted(os.listdir(tmp_path)) == [".out.work", "source", "whole"]
    again = quantize_checkpoint(source, tmp_path / "out", recipe, name="m")
    for name in ("bundle.json", *whole.manifest.files):
        assert (again.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_the_settings_are_those_of_the_model(tmp_path: Path) -> None:
    """The stop ids of the dialect, not those of config.json, and no more room than the model has positions."""
    source = write_tiny_checkpoint(tmp_path / "source", "hunyuan_v1_dense")
    bundle = quantize_checkpoint(source, tmp_path / "out", ONNX)
    config = json.loads(bundle.file("genai_config").read_text("utf-8"))
    assert config["model"]["eos_token_id"] == list(bundle.stop_token_ids)
    assert config["model"]["bos_token_id"] == bundle.bos_token_id
    assert config["model"]["context_length"] == config["search"]["max_length"] == 4096
    assert config["search"]["do_sample"] is (bundle.manifest.sampling.temperature > 0)
    assert config["search"]["top_k"] == bundle.manifest.sampling.top_k
