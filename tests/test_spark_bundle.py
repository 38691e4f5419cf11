"""The shipped bundles in llama.cpp: the same numbers as our decoder, the same tokens as the tokenizers library."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest
from mixed_texts import mixed_texts
from numpy.typing import NDArray
from test_gguf_tokenizer import llama_cpp_encoder
from tokenizers import Tokenizer

import models
from edge.backends.base import BackendOptions, open_backend
from models.bundle import Bundle, open_bundle
from models.dialect import DIALECTS, Message
from models.gguf_file import read_gguf_header
from models.gguf_tokenizer import tokenizer_from_gguf
from models.spec import TensorPlace
from models.tokenizer import BpeChatTokenizer
from quantize.decoder import logits_of

BUNDLES = sorted(path.parent for path in Path(models.__file__ or "").parent.glob("*/bundle/bundle.json"))
PROMPTS = ("What is 38*47-5+12?", "2+3=?", "你好", "Is 91 a prime number?")
NUM_SPOKEN = 90  # tokens after each prompt, greedily


@pytest.fixture(scope="module", params=BUNDLES, ids=lambda path: path.parent.name)
def bundle(request: pytest.FixtureRequest) -> Bundle:
    """Each shipped bundle in turn."""
    return open_bundle(request.param)


def prompt_tokens(bundle: Bundle, prompt: str) -> list[int]:
    """A prompt in the bundle's dialect; the model decides whether to think."""
    dialect = DIALECTS[bundle.dialect_name]
    tokenizer = BpeChatTokenizer.from_file(bundle.tokenizer_path, dialect.control_texts, bundle.bos_token_id)
    tokens, forced = tokenizer.encode_prompt(dialect.render([Message("user", prompt)], "auto"))
    return [*tokens, *forced]


def spoken(bundle: Bundle) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
    """For each prompt the tokens, and llama.cpp's logits after every one of them, prompt included."""
    backend = open_backend("llama_cpp", bundle.gguf_path, BackendOptions(context_size=512, num_threads=1))
    try:
        for prompt in PROMPTS:
            backend.cut(0, 0)
            tokens, rows = prompt_tokens(bundle, prompt), []
            for position in range(len(tokens) + NUM_SPOKEN):
                backend.append(0, [tokens[position]])
                rows.append(backend.logits(0).copy())
                if position == len(tokens) - 1:
                    tokens.append(int(rows[-1].argmax()))
            yield tokens[:-1], np.stack(rows)
    finally:
        backend.close()


def test_llama_cpp_computes_what_our_decoder_does(bundle: Bundle) -> None:
    """On the weights as the file has them; what differs is that llama.cpp rounds activations to 8 bits."""
    read = {tensor.name: tensor for tensor in gguf.GGUFReader(bundle.gguf_path).tensors}

    def values(place: TensorPlace) -> NDArray[np.float32]:
        tensor = read[place.gguf_name]
        return gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(place.shape).astype(np.float32)

    same_top = []
    for tokens, theirs in spoken(bundle):
        ours = logits_of(bundle.spec, values, np.array(tokens))
        norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
        assert ((ours * theirs).sum(axis=1) / norms).min() >= 0.999
        same_top += (ours.argmax(axis=1) == theirs.argmax(axis=1)).tolist()
    assert len(same_top) > 4 * NUM_SPOKEN
    assert np.mean(same_top) >= 0.99


def test_the_tokens_are_those_of_the_library(bundle: Bundle) -> None:
    """2,000 texts through llama.cpp's tokenizer as our file describes it, and through ours as rebuilt from it."""
    library = Tokenizer.from_file(str(bundle.tokenizer_path))
    texts = mixed_texts(2000)
    expected = [library.encode(text, add_special_tokens=False).ids for text in texts]
    with llama_cpp_encoder(bundle.gguf_path) as encode:
        assert [text for text, ids in zip(texts, expected, strict=True) if encode(text) != ids] == []
    rebuilt = tokenizer_from_gguf(read_gguf_header(bundle.gguf_path), ())
    assert rebuilt is not None
    assert [text for text, ids in zip(texts, expected, strict=True) if rebuilt.encode_control(text) != ids] == []
