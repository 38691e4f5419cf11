"""quantize.gguf_writer and quantize.vocabulary, read back by the gguf package and by llama.cpp itself."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray
from record_logit_vectors import LAST, TOKENS, VECTORS, transformers_logits
from tiny_checkpoints import (
    PADDING,
    SPECIAL,
    TAGS,
    TEMPLATES,
    tiny_tokenizer,
    tiny_tokens,
    tiny_weights,
    write_json,
    write_tiny_checkpoint,
)

import models.families
from edge.backends.base import BackendOptions, open_backend
from models.checkpoint import open_checkpoint
from models.errors import CheckpointError
from models.spec import TensorPlace
from quantize.gguf_writer import GgufWriter
from quantize.pipeline import quantize_checkpoint
from quantize.recipe import QuantRecipe
from quantize.stored import ModelFacts, TensorFormat
from quantize.vocabulary import TokenKind, Vocabulary, read_vocabulary

FAMILIES = list(SPECIAL)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Each family in turn."""
    return str(request.param)


def write_model(tmp_path: Path, family: str, **options: Any) -> Path:
    """The GGUF file of a tiny checkpoint."""
    source = write_tiny_checkpoint(tmp_path / "source", family, **options)
    return quantize_checkpoint(source, tmp_path / "bundle", name="tiny").gguf_path


def fields_of(path: Path) -> dict[str, Any]:
    """All metadata as plain values."""
    return {name: field.contents() for name, field in gguf.GGUFReader(path).fields.items()}


def llama_cpp_logits(path: Path) -> NDArray[np.float32]:
    """Logits (LAST, vocabulary) after the last of TOKENS."""
    backend = open_backend("llama_cpp", path, BackendOptions(context_size=64, num_threads=1))
    try:
        backend.append(0, TOKENS[:-LAST])
        rows = []
        for token in TOKENS[-LAST:]:
            backend.append(0, [token])
            rows.append(backend.logits(0).copy())
        return np.stack(rows)
    finally:
        backend.close()


def cosines(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """The cosine of each pair of rows."""
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    result: NDArray[np.float32] = (left * right).sum(axis=1) / norms
    return result


def test_llama_cpp_computes_what_transformers_does(tmp_path: Path, family: str) -> None:
    """Norm order, rotation base, head grouping and the tied head: a mistake in any is far below this bar."""
    recorded = np.load(VECTORS / f"logits_{family}.npy").astype(np.float32)
    assert cosines(llama_cpp_logits(write_model(tmp_path, family)), recorded).min() >= 0.999


def test_a_swapped_norm_would_be_noticed(tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar of the test above means something: norm and rotation in the other order fall far below it."""
    other = next(name for name in FAMILIES if name != family)
    swapped = replace(
        models.families.FAMILIES[family], gguf_architecture=models.families.FAMILIES[other].gguf_architecture
    )
    monkeypatch.setitem(models.families.FAMILIES, family, swapped)
    recorded = np.load(VECTORS / f"logits_{family}.npy").astype(np.float32)
    assert cosines(llama_cpp_logits(write_model(tmp_path, family)), recorded).min() < 0.995


@pytest.mark.parity
def test_llama_cpp_agrees_with_transformers_alive(tmp_path: Path, family: str) -> None:
    """The same against the installed transformers, with a head of its own, on other weights than the recorded ones."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    path = write_model(tmp_path, family, tied=False, seed=7)
    assert cosines(llama_cpp_logits(path), transformers_logits(tmp_path / "source")).min() >= 0.999


@pytest.mark.parametrize("tied", [True, False])
def test_every_tensor_comes_back_bit_for_bit(tmp_path: Path, family: str, tied: bool) -> None:
    path = write_model(tmp_path, family, tied=tied, num_shards=3)
    weights = tiny_weights(family, tied=tied)
    places = open_checkpoint(tmp_path / "source").spec.places()
    read = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    assert list(read) == [place.gguf_name for place in places]
    for place in places:
        tensor = read[place.gguf_name]
        expected_type = {"norm": "F32", "table": "Q8_0", "linear": "Q4_0"}[place.kind]
        assert tensor.tensor_type.name == expected_type
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(place.shape)
        np.testing.assert_array_equal(values, weights[place.checkpoint_name])


def test_file_type_follows_the_weights(tmp_path: Path) -> None:
    """Tools show it as the quantization of the file: a float reference must not look like an int4 bundle."""
    source = write_tiny_checkpoint(tmp_path / "source", "qwen3")
    whole = quantize_checkpoint(source, tmp_path / "whole", QuantRecipe(bits=32), name="tiny").gguf_path
    assert fields_of(whole)["general.file_type"] == gguf.LlamaFileType.ALL_F32


def test_metadata_says_what_the_config_says(tmp_path: Path) -> None:
    fields = fields_of(write_model(tmp_path, "hunyuan_v1_dense"))
    expected = {
        "general.architecture": "hunyuan-dense",
        "general.name": "tiny",
        "general.file_type": 2,
        "hunyuan-dense.block_count": 2,
        "hunyuan-dense.context_length": 4096,
        "hunyuan-dense.embedding_length": 64,
        "hunyuan-dense.feed_forward_length": 96,
        "hunyuan-dense.attention.head_count": 4,
        "hunyuan-dense.attention.head_count_kv": 2,
        "hunyuan-dense.attention.key_length": 32,
        "hunyuan-dense.attention.value_length": 32,
        "hunyuan-dense.rope.dimension_count": 32,
        "tokenizer.ggml.model": "gpt2",
    }
    assert {name: fields[name] for name in expected} == expected
    assert fields["hunyuan-dense.rope.freq_base"] == pytest.approx(10000 * 1000 ** (32 / 30))


def test_the_vocabulary_keeps_ids_kinds_and_marks(tmp_path: Path, family: str) -> None:
    """Rows of padding without a token: llama.cpp counts fewer tokens than rows and refuses the file."""
    fields = fields_of(write_model(tmp_path, family))
    tokens, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    names = tiny_tokens(family)
    assert tokens[: len(names)] == names
    assert len(tokens) == len(names) + PADDING == len(set(tokens))
    assert {tokens[i] for i, kind in enumerate(kinds) if kind == TokenKind.CONTROL} == set(SPECIAL[family])
    assert {tokens[i] for i, kind in enumerate(kinds) if kind == TokenKind.USER_DEFINED} == set(TAGS[family])
    assert kinds[-PADDING:] == [TokenKind.UNUSED] * PADDING
    assert fields["tokenizer.ggml.merges"][:2] == ["h e", "l l"]
    assert fields["tokenizer.ggml.pre"] == "qwen2"
    assert fields["tokenizer.chat_template"] == TEMPLATES[family]


def test_stop_and_begin_ids(tmp_path: Path) -> None:
    """config.json says bos_token_id 1, an ordinary letter; starting every prompt with it would spoil the answers."""
    qwen = fields_of(write_model(tmp_path / "a", "qwen3"))
    names = tiny_tokens("qwen3")
    assert names[qwen["tokenizer.ggml.eos_token_id"]] == "<|im_end|>"
    assert names[qwen["tokenizer.ggml.eot_token_id"]] == "<|endoftext|>"
    assert qwen["tokenizer.ggml.add_bos_token"] is False
    assert "tokenizer.ggml.bos_token_id" not in qwen
    hunyuan = fields_of(write_model(tmp_path / "b", "hunyuan_v1_dense"))
    names = tiny_tokens("hunyuan_v1_dense")
    assert names[hunyuan["tokenizer.ggml.bos_token_id"]] == "<｜hy_begin▁of▁sentence｜>"
    assert hunyuan["tokenizer.ggml.add_bos_token"] is True


def vocabulary_of(folder: Path) -> Vocabulary:
    """The vocabulary of a tiny checkpoint folder."""
    checkpoint = open_checkpoint(folder)
    return read_vocabulary(folder, checkpoint.spec, checkpoint.config)


def test_older_and_newer_tokenizer_files_are_the_same(tmp_path: Path) -> None:
    """Merges as texts or pairs, a template in a list or a file, BOS by a flag or by a post-processor."""
    folder = write_tiny_checkpoint(tmp_path, "hunyuan_v1_dense")
    expected = vocabulary_of(folder)
    tokenizer = tiny_tokenizer("hunyuan_v1_dense")
    tokenizer["model"]["merges"] = [" ".join(pair) for pair in tokenizer["model"]["merges"]]
    bos = {"SpecialToken": {"id": SPECIAL["hunyuan_v1_dense"][0], "type_id": 0}}
    template = {"type": "TemplateProcessing", "single": [bos, {"Sequence": {"id": "A", "type_id": 0}}]}
    tokenizer["post_processor"] = {"type": "Sequence", "processors": [{"type": "ByteLevel"}, template]}
    write_json(folder / "tokenizer.json", tokenizer)
    settings = {
        "bos_token": {"content": SPECIAL["hunyuan_v1_dense"][0]},
        "chat_template": [{"name": "tools", "template": "x"}, {"name": "default", "template": expected.chat_template}],
    }
    write_json(folder / "tokenizer_config.json", settings)
    assert vocabulary_of(folder) == expected
    (folder / "chat_template.jinja").write_text("newer", encoding="utf-8")
    assert vocabulary_of(folder).chat_template == "newer"
    (folder / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(CheckpointError, match=r"chat_template\.jinja cannot be read"):
        vocabulary_of(folder)
    (folder / "chat_template.jinja").unlink()
    (folder / "tokenizer_config.json").unlink()
    bare = vocabulary_of(folder)
    assert (bare.chat_template, bare.bos_token_id, bare.adds_bos) == (None, None, False)


@pytest.mark.parametrize(
    ("split", "pre_tokenizer"), [(r"\p{N}{1,3}", "hunyuan-dense"), ("something else", "hunyuan-dense")]
)
def test_the_pre_tokenizer_is_named_by_its_rule_or_its_family(tmp_path: Path, split: str, pre_tokenizer: str) -> None:
    folder = write_tiny_checkpoint(tmp_path, "hunyuan_v1_dense")
    tokenizer = tiny_tokenizer("hunyuan_v1_dense")
    tokenizer["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = split
    write_json(folder / "tokenizer.json", tokenizer)
    assert vocabulary_of(folder).pre_tokenizer == pre_tokenizer


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (("model", "type"), "Unigram", "its model is Unigram"),
        (("model", "vocab"), None, "not the tokenizer.json of a BPE"),
        (("model", "vocab"), {"a": 5000}, "has the id 5000, but the model only 280 rows"),
        (("model", "merges"), [1], "not the tokenizer.json of a BPE"),
        (("added_tokens",), [{}], "not the tokenizer.json of a BPE"),
        (("pre_tokenizer",), None, "not the tokenizer.json of a BPE"),
    ],
)
def test_a_foreign_tokenizer_is_one_sentence(tmp_path: Path, path: tuple[str, ...], value: Any, sentence: str) -> None:
    folder = write_tiny_checkpoint(tmp_path)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    holder = tokenizer
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    write_json(folder / "tokenizer.json", tokenizer)
    with pytest.raises(CheckpointError, match=sentence):
        vocabulary_of(folder)


def test_the_writer_refuses_rows_that_are_not_the_announced_ones(tmp_path: Path) -> None:
    """Too few rows left the end of a tensor as whatever was in memory."""
    folder = write_tiny_checkpoint(tmp_path)
    checkpoint = open_checkpoint(folder)
    facts = ModelFacts("tiny", checkpoint.spec, vocabulary_of(folder), (261,))
    norm = next(place for place in checkpoint.spec.places() if place.kind == "norm")
    formats: dict[TensorPlace, TensorFormat] = {norm: "F32"}
    for rows in (np.ones(32, np.float32), np.ones(65, np.float32)):
        with (
            closing(GgufWriter(tmp_path / "x.gguf", facts, formats)) as writer,
            pytest.raises(ValueError, match="attn"),
        ):
            writer.add(norm, rows)
            writer.finish()
    formats = {norm: "Q8_0"}
    with closing(GgufWriter(tmp_path / "x.gguf", facts, formats)) as writer, pytest.raises(ValueError, match="announ"):
        writer.add(norm, np.ones(64, np.float32))
