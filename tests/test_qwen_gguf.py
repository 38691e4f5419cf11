"""The real Qwen vocabulary through `edge quantize`: the tokens of the GGUF file are those of its tokenizer.json."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from mixed_texts import mixed_texts
from qwen_vocabulary import needs_qwen, qwen_tokenizer, vectors
from safetensors.numpy import load_file
from test_gguf_tokenizer import llama_cpp_encoder
from tiny_checkpoints import HIDDEN, tiny_config, write_json, write_tensors, write_tiny_checkpoint
from tokenizers import Tokenizer

from models.gguf_file import read_gguf_header
from models.gguf_tokenizer import tokenizer_from_gguf
from quantize.pipeline import quantize_checkpoint

VOCAB_SIZE = 151_936  # rows of the real model, 290 more than there are tokens


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny checkpoint with the whole vocabulary, and its GGUF file."""
    source = write_tiny_checkpoint(tmp_path_factory.mktemp("qwen") / "source")
    qwen_tokenizer().save(str(source / "tokenizer.json"))
    write_json(source / "config.json", tiny_config(vocab_size=VOCAB_SIZE))
    write_json(source / "generation_config.json", {"eos_token_id": [151645, 151643]})
    weights = load_file(source / "model.safetensors")
    rows = np.random.default_rng(0).standard_normal((VOCAB_SIZE, HIDDEN), np.float32)
    write_tensors(source / "model.safetensors", weights | {"model.embed_tokens.weight": rows})
    return source, quantize_checkpoint(source, source.parent / "bundle").gguf_path


@needs_qwen
def test_the_tokens_are_those_of_the_library(folders: tuple[Path, Path]) -> None:
    """2,000 mixed texts and llama.cpp's own 47, through llama.cpp's tokenizer as our file describes it, and through
    ours as rebuilt from it."""
    source, gguf_path = folders
    library = Tokenizer.from_file(str(source / "tokenizer.json"))
    expected = [(text, library.encode(text, add_special_tokens=False).ids) for text in mixed_texts(2000)]
    assert len(vectors()) == 47
    expected += vectors()
    with llama_cpp_encoder(gguf_path) as encode:
        assert [text for text, ids in expected if encode(text) != ids] == []
    rebuilt = tokenizer_from_gguf(read_gguf_header(gguf_path), ())
    assert rebuilt is not None
    assert [text for text, ids in expected if rebuilt.encode_control(text) != ids] == []


@needs_qwen
def test_marks_keep_their_ids(folders: tuple[Path, Path]) -> None:
    source, gguf_path = folders
    header = read_gguf_header(gguf_path)
    assert len(header.tokens) == VOCAB_SIZE
    assert header.stop_token_ids == {151643, 151645}
    added = {
        token["content"]: token["id"] for token in json.loads((source / "tokenizer.json").read_text())["added_tokens"]
    }
    assert added.items() <= dict(header.added_tokens).items()
