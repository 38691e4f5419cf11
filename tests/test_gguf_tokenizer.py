"""Tokenizers rebuilt from GGUF files, against llama.cpp's own tokenizer and its vectors."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFWriter, TokenType
from qwen_vocabulary import SPECIAL_TOKENS, needs_qwen, vectors, vocabulary_and_merges
from small_vocabularies import many_token_tags
from tiny_gguf import MARKS, finish, write_model

from models.dialect import DIALECTS
from models.gguf_file import GgufHeader, read_gguf_header
from models.gguf_tokenizer import tokenizer_from_gguf, why_not_rebuilt

CONTROL_TEXTS = DIALECTS["hipo"].control_texts
PRE_TYPES = ["gpt-2", "qwen2", "llama-bpe", "hunyuan-dense"]
FRAGMENTS = [
    *(
        "hello",
        " world",
        "It's",
        "'LL",
        "123",
        "4567",
        " ",
        "  ",
        "\n",
        "\n\n",
        "\t",
        "\r\n",
        ".",
        "!!",
        "<",
        "</",
        "$",
        "=",
    ),
    *(
        "think",
        "_x",
        "a1b2",
        "时间",
        "です",
        "你好",
        "，",
        "é",
        "e\u0301",
        "😀",
        "\u3000",
        "\u00a0",
        "٣٤",
        "ภาษา",
        "नमस्ते",
        "한국어",
    ),
    *MARKS,
]


def test_the_tokenizer_is_rebuilt(tmp_path: Path) -> None:
    header = read_gguf_header(write_model(tmp_path / "model.gguf"))
    chat = tokenizer_from_gguf(header, CONTROL_TEXTS)
    assert chat is not None
    first = len(header.tokens) - len(MARKS)
    assert chat.encode_control("<|im_start|>hello world<think>") == [
        first,
        *many_token_tags().encode("hello world").ids,
        first + 2,
    ]
    assert not {first, first + 1, first + 2} & set(chat.encode_user("<|im_start|><|im_end|><think>"))
    assert header.stop_token_ids == {first + 1}
    assert header.added_tokens == {text: first + index for index, text in enumerate(MARKS)}
    assert header.token_text("bos") == "<|im_start|>"


@pytest.mark.parametrize(
    ("pre", "extra", "has_bos"),
    [
        ("gpt-2", {}, False),
        ("gpt-2", {"tokenizer.ggml.add_bos_token": True}, True),
        ("llama-bpe", {}, True),
        ("llama-bpe", {"tokenizer.ggml.add_bos_token": False}, False),
    ],
)
def test_who_wants_a_bos(tmp_path: Path, pre: str, extra: dict[str, Any], has_bos: bool) -> None:
    """llama.cpp adds a BOS for llama-bpe even where the file does not say so."""
    header = read_gguf_header(write_model(tmp_path / "model.gguf", pre=pre, extra=extra))
    assert (header.bos_token_id is not None) == has_bos
    chat = tokenizer_from_gguf(header, CONTROL_TEXTS)
    assert chat is not None and chat.bos_token_id == header.bos_token_id


@pytest.mark.parametrize(("kind", "pre", "reason"), [("gpt2", "klingon", "'klingon'"), ("llama", "gpt-2", "'llama'")])
def test_an_unknown_vocabulary_is_not_guessed(tmp_path: Path, kind: str, pre: str, reason: str) -> None:
    """A wrong split gives other tokens than the model was trained on, and no error."""
    header = read_gguf_header(write_model(tmp_path / "model.gguf", kind=kind, pre=pre))
    assert tokenizer_from_gguf(header, CONTROL_TEXTS) is None
    assert reason in (why_not_rebuilt(header) or "")


@pytest.mark.parametrize(
    ("pre", "text", "pieces"),
    [
        ("qwen2", "It's 123  x", ["It", "'s", " ", "1", "2", "3", " ", " x"]),
        ("llama-bpe", "It's 1234  x", ["It", "'s", " ", "123", "4", " ", " x"]),
        ("gpt-2", "It's 1234  x", ["It", "'s", " 1234", " ", " x"]),
        ("hunyuan-dense", "x=1234 时间です.\n\ny", ["x", "=", "123", "4", " ", "时间です", ".\n\n", "y"]),
    ],
)
def test_how_each_type_splits(tmp_path: Path, pre: str, text: str, pieces: Sequence[str]) -> None:
    """Digits are where the types differ most: Qwen reads them one by one, Llama and Hunyuan in threes."""
    chat = tokenizer_from_gguf(read_gguf_header(write_model(tmp_path / "model.gguf", pre=pre)), ())
    assert chat is not None
    split = chat._plain.pre_tokenizer.pre_tokenize_str(text)
    assert [text[begin:end] for _, (begin, end) in split] == list(pieces)


@contextmanager
def llama_cpp_encoder(path: Path) -> Iterator[Callable[[str], list[int]]]:
    """llama.cpp's tokenizer of a model file, marks parsed."""
    llama_cpp = pytest.importorskip("llama_cpp")
    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
    vocabulary = llama_cpp.llama_model_get_vocab(model)

    def encode(text: str) -> list[int]:
        data, ids = text.encode(), (llama_cpp.llama_token * (4 * len(text) + 8))()
        count = llama_cpp.llama_tokenize(vocabulary, data, len(data), ids, len(ids), False, True)
        return list(ids[:count])

    yield encode
    llama_cpp.llama_model_free(model)


@pytest.mark.parametrize("pre", PRE_TYPES)
def test_the_ids_are_llama_cpps(tmp_path: Path, pre: str) -> None:
    """Parity with an independent implementation on texts where splitting patterns differ."""
    path = write_model(tmp_path / "model.gguf", pre=pre)
    chat = tokenizer_from_gguf(read_gguf_header(path), CONTROL_TEXTS)
    assert chat is not None
    rng = random.Random(0)
    texts = ["".join(rng.choices(FRAGMENTS, k=rng.randint(1, 12))) for _ in range(500)]
    with llama_cpp_encoder(path) as encode:
        assert [text for text in texts if chat.encode_control(text) != encode(text)] == []


@pytest.fixture(scope="module")
def qwen_header(tmp_path_factory: pytest.TempPathFactory) -> GgufHeader:
    vocabulary, merges = vocabulary_and_merges()
    words = [*sorted(vocabulary, key=vocabulary.__getitem__), *SPECIAL_TOKENS]
    path = tmp_path_factory.mktemp("qwen") / "qwen.gguf"
    writer = GGUFWriter(path, "qwen3")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(words)
    writer.add_token_types([TokenType.NORMAL] * len(vocabulary) + [TokenType.CONTROL] * len(SPECIAL_TOKENS))
    writer.add_token_merges([" ".join(merge) for merge in merges])
    finish(writer)
    return read_gguf_header(path)


@needs_qwen
def test_a_real_vocabulary_is_rebuilt_exactly(qwen_header: GgufHeader) -> None:
    """llama.cpp's own texts and ids, through the file."""
    chat = tokenizer_from_gguf(qwen_header, CONTROL_TEXTS)
    assert chat is not None
    assert all(chat.encode_user(text) == expected for text, expected in vectors())
    assert chat.encode_control("<|im_end|>") == [151645]


@needs_qwen
def test_a_real_vocabulary_opens_quickly(qwen_header: GgufHeader) -> None:
    start = time.perf_counter()
    tokenizer_from_gguf(read_gguf_header(qwen_header.path), CONTROL_TEXTS)
    assert time.perf_counter() - start < 3
