"""bench_edge.shapes: random models are whole models, with the vocabulary of the real ones."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import pytest

from bench_edge.shapes import SHAPES, Shape, main, synthetic_vocabulary, write_random_model
from edge.backends.base import BackendOptions, open_backend
from models.gguf_file import read_gguf_header
from models.gguf_tokenizer import tokenizer_from_gguf
from quantize.vocabulary import TokenKind


def tiny_shape() -> Shape:
    """A Hunyuan of two small blocks, its marks right after a few merges."""
    shape = SHAPES["hunyuan-0.5b"]
    spec = replace(
        shape.spec, hidden_size=64, num_layers=2, num_heads=2, num_kv_heads=1, feed_forward_size=96, vocab_size=340
    )
    return replace(
        shape,
        spec=spec,
        first_mark=320,
        marks={320: "<｜hy_begin▁of▁sentence｜>", 321: "<｜hy_User｜>"},
        tags={330: "<think>"},
        stop_token_ids=(320,),
        bos_token_id=320,
    )


def test_a_random_model_runs_and_says_what_it_is(tmp_path: Path) -> None:
    """Scales too large gave infinite logits, and a bench that measured the sampling of NaN."""
    path = tmp_path / "random.gguf"
    write_random_model(tiny_shape(), "a shape, random weights", path, seed=0)
    assert [file.name for file in tmp_path.iterdir() if file.name != "state"] == ["random.gguf"]
    header = read_gguf_header(path)
    assert header.metadata["general.name"] == "a shape, random weights"
    tokenizer = tokenizer_from_gguf(header, ("<think>",))
    assert tokenizer is not None
    assert (tokenizer.vocab_size, tokenizer.token_id("<think>")) == (340, 330)
    ids = tokenizer.encode_user("What is 38*47? 你好")
    assert b"".join(tokenizer.token_bytes(token) for token in ids) == "What is 38*47? 你好".encode()
    backend = open_backend("llama_cpp", path, BackendOptions(context_size=64, num_threads=1))
    try:
        backend.prefill(0, ids)
        assert 0.1 < np.std(backend.logits(0)) < 10
    finally:
        backend.close()


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_random_model(tiny_shape(), "random", tmp_path / name, seed)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


@pytest.mark.parametrize(
    ("name", "parameters", "mark"),
    [
        ("hunyuan-0.5b", 0.54e9, "<｜hy_Assistant｜>"),
        ("hunyuan-1.8b", 1.79e9, "<｜hy_Assistant｜>"),
        ("qwen3-8b", 8.19e9, "<|im_start|>"),
    ],
)
def test_shapes_have_the_size_and_vocabulary_of_the_real_models(name: str, parameters: float, mark: str) -> None:
    shape = SHAPES[name]
    assert sum(prod(place.shape) for place in shape.spec.places()) == pytest.approx(parameters, rel=0.01)
    vocabulary = synthetic_vocabulary(shape)
    assert len(vocabulary.tokens) == len(set(vocabulary.tokens)) == len(vocabulary.kinds) == shape.spec.vocab_size
    token = vocabulary.tokens.index(mark)
    assert (shape.marks[token], vocabulary.kinds[token]) == (mark, TokenKind.CONTROL)
    assert vocabulary.kinds[vocabulary.tokens.index("<think>")] == TokenKind.USER_DEFINED
    assert 256 + len(vocabulary.merges) == shape.first_mark


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hunyuan-0.5b", str(tmp_path / "gone" / "x.gguf")]) == 1
    assert "could not be written" in capsys.readouterr().err
