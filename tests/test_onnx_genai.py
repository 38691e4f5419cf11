"""onnxruntime-genai, an independent reader: it loads our folders and gives the tokens that our decoder gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_models import copy_at_level, read_weights
from tiny_checkpoints import SPECIAL, write_tiny_checkpoint
from tokenizers import Tokenizer

from models.bundle import Bundle
from quantize.decoder import logits_of
from quantize.pipeline import quantize_checkpoint
from quantize.recipe import QuantRecipe

genai = pytest.importorskip("onnxruntime_genai")

ONNX = QuantRecipe(file_formats=("onnx",))
PROMPTS = {
    "spark": "<|im_start|>user\n12+34=?<|im_end|>\n<|im_start|>assistant\n<judge>\n",
    "spark_hunyuan": "<｜hy_begin▁of▁sentence｜><｜hy_User｜>12+34=?<｜hy_Assistant｜>",
}


@pytest.fixture(scope="module", params=list(PROMPTS))
def embedded(
    request: pytest.FixtureRequest, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Bundle, str]:
    """A bundle of each embedded model, and a prompt in its dialect."""
    checkpoint = repository / "models" / request.param / "checkpoint"
    return quantize_checkpoint(checkpoint, tmp_path_factory.mktemp("bundle") / "out", ONNX), PROMPTS[request.param]


def generate(folder: Path, prompt: list[int], num_tokens: int) -> list[int]:
    """The greedy continuation."""
    model = genai.Model(str(folder))
    parameters = genai.GeneratorParams(model)
    parameters.set_search_options(do_sample=False, max_length=len(prompt) + num_tokens)
    generator = genai.Generator(model, parameters)
    generator.append_tokens(prompt)
    while not generator.is_done():
        generator.generate_next_token()
    return [int(token) for token in generator.get_sequence(0)[len(prompt) :]]


def decode(bundle: Bundle, prompt: list[int], num_tokens: int) -> list[int]:
    """The same by our decoder, which computes everything anew for every token."""
    weights, norms = read_weights(bundle.file("onnx"))
    values = norms | {name: weight.values for name, weight in weights.items()}
    tokens = list(prompt)
    for _ in range(num_tokens):
        logits = logits_of(bundle.spec, lambda place: values[place.checkpoint_name], tokens)
        tokens.append(int(logits[-1].argmax()))
    return tokens[len(prompt) :]


def assert_same(bundle: Bundle, prompt: list[int], num_tokens: int, folder: Path) -> None:
    """Up to the last token: what would stop onnxruntime-genai before is an id that does not come."""
    expected = decode(bundle, prompt, num_tokens)
    absent = next(token for token in range(bundle.spec.vocab_size) if token not in expected)
    copy_at_level(bundle.path, folder, 1, eos_token_id=[absent])
    assert generate(folder, prompt, num_tokens) == expected


def test_embedded_models_say_the_same_for_64_tokens(tmp_path: Path, embedded: tuple[Bundle, str]) -> None:
    bundle, prompt = embedded
    tokens = Tokenizer.from_file(str(bundle.tokenizer_path)).encode(prompt, add_special_tokens=False).ids
    assert_same(bundle, tokens, 64, tmp_path / "exact")


@pytest.mark.parametrize("family", list(SPECIAL))
def test_both_families_load(tmp_path: Path, family: str) -> None:
    bundle = quantize_checkpoint(write_tiny_checkpoint(tmp_path / "source", family), tmp_path / "out", ONNX)
    prompt = [int(token) for token in np.random.default_rng(3).integers(0, 256, 12)]
    assert_same(bundle, prompt, 12, tmp_path / "exact")


def test_a_shipped_folder_needs_nothing_else(embedded: tuple[Bundle, str]) -> None:
    """Its own tokenizer files, its own stop ids, the fast level: a right answer that ends by itself."""
    bundle, prompt = embedded
    theirs, ours = genai.Tokenizer(genai.Model(str(bundle.path))), Tokenizer.from_file(str(bundle.tokenizer_path))
    for text in ("12+34=?", "Wie geht's? 你好", prompt):  # a prompt has its begin mark written out
        tokens = ours.encode(text, add_special_tokens=False).ids
        assert [int(token) for token in theirs.encode(text)] == tokens
    answer = generate(bundle.path, tokens, 400)
    assert 5 < len(answer) < 400
    assert "46" in theirs.decode(answer)
