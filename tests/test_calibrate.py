"""quantize.calibrate and quantize.quality: windows of text in the model's own dialect, sums, and what is measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_checkpoints import tiny_tokenizer, tiny_tokens, write_json, write_tiny_checkpoint

from models.checkpoint import open_checkpoint
from models.dialect import DIALECTS
from models.errors import UsageError
from models.spec import TensorPlace
from models.tokenizer import BpeChatTokenizer
from quantize.calibrate import CalibrationText, InputSums, Windows, read_calibration_text
from quantize.decoder import logits_of
from quantize.quality import measure_quality
from quantize.recipe import QuantRecipe

RECIPE = QuantRecipe(method="awq", windows=3, window_tokens=64, held_out=1)
FAMILY_OF_DIALECT = {"hipo": "qwen3", "plain": "qwen3", "hunyuan": "hunyuan_v1_dense"}
CHAT = {
    "messages": [
        {"role": "user", "content": "1+2?"},
        {"role": "assistant", "content": "3", "reasoning_content": "one and two"},
    ]
}


def read(
    tmp_path: Path, lines: list[Any] | str | None, dialect: str = "hipo", recipe: QuantRecipe = RECIPE
) -> tuple[CalibrationText, list[str]]:
    """The windows of a file with ``lines`` (JSON values, or one plain text; None is the built-in text), and tokens."""
    family = FAMILY_OF_DIALECT[dialect]
    write_json(tmp_path / "tokenizer.json", tiny_tokenizer(family))
    row = DIALECTS[dialect]
    bos = tiny_tokens(family).index("<｜hy_begin▁of▁sentence｜>") if dialect == "hunyuan" else None
    tokenizer = BpeChatTokenizer.from_file(tmp_path / "tokenizer.json", row.control_texts, bos)
    path = None
    if isinstance(lines, str):
        path = tmp_path / "text.txt"
        path.write_text(lines, encoding="utf-8")
    elif lines is not None:
        path = tmp_path / "text.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return read_calibration_text(path, row, tokenizer, recipe), tiny_tokens(family)


def text_of(tokens: NDArray[np.int32], vocabulary: list[str]) -> str:
    """The text of tokens, in the letters of the vocabulary."""
    return "".join(vocabulary[token] for token in tokens).replace("Ġ", " ").replace("Ċ", "\n")


@pytest.mark.parametrize(
    ("dialect", "thought", "direct"),
    [
        (
            "hipo",
            "<think_on>\n<think>\none and two\n</think>\n\n<answer>\n3\n</answer><|im_end|>",
            "<think_off>\n<answer>\n3\n</answer><|im_end|>",
        ),
        (
            "hunyuan",
            "<think>\none and two\n</think>\n<answer>\n3\n</answer><｜hy_place▁holder▁no▁2｜>",
            "<think>\n\n</think>\n<answer>\n3\n</answer><｜hy_place▁holder▁no▁2｜>",
        ),
    ],
)
def test_a_conversation_is_rendered_with_thinking_on_and_off(
    tmp_path: Path, dialect: str, thought: str, direct: str
) -> None:
    """Calibrated on text that the model never sees, the channels that its own tags use would look idle."""
    recipe = replace(RECIPE, windows=1, window_tokens=500, held_out=0)
    text, vocabulary = read(tmp_path, [CHAT], dialect, recipe)
    rendered = text_of(text.calibration.tokens[0], vocabulary)
    assert thought in rendered and direct in rendered
    assert rendered.index(thought) < rendered.index(direct)
    reply = text_of(text.calibration.tokens[0][text.calibration.is_reply[0]], vocabulary)
    assert "1+2?" not in reply
    assert "one and two" in reply and "3" in reply


def test_every_hunyuan_document_begins_with_one_bos(tmp_path: Path) -> None:
    recipe = replace(RECIPE, windows=1, window_tokens=60, held_out=0)
    text, vocabulary = read(tmp_path, [CHAT], "hunyuan", recipe)
    begin = vocabulary.index("<｜hy_begin▁of▁sentence｜>")
    assert text.calibration.tokens[0][0] == begin
    assert (text.calibration.tokens[0][1:3] != begin).all()


def test_a_model_without_thinking_gets_the_answer_alone(tmp_path: Path) -> None:
    recipe = replace(RECIPE, windows=1, window_tokens=40, held_out=0)
    text, vocabulary = read(tmp_path, [CHAT], "plain", recipe)
    rendered = text_of(text.calibration.tokens[0], vocabulary)
    assert "<|im_start|>assistant\n3<|im_end|>" in rendered
    assert "one and two" not in rendered


def test_a_plain_text_fills_windows_and_is_repeated_when_short(tmp_path: Path) -> None:
    text, vocabulary = read(tmp_path, "hello world, " * 20)
    assert text.calibration.tokens.shape == (3, 64)
    assert text.calibration.is_reply.all()
    assert text_of(text.calibration.tokens[0], vocabulary).startswith("hello world, hello")
    assert text.num_distinct_tokens <= 3 * 64
    again, _ = read(tmp_path, "hello world, " * 20)
    np.testing.assert_array_equal(text.calibration.tokens, again.calibration.tokens)


def test_what_is_measured_on_was_not_calibrated_on(tmp_path: Path) -> None:
    lines = [{"text": f"{number:03d} " * 16} for number in range(24)]
    text, vocabulary = read(tmp_path, lines, recipe=replace(RECIPE, windows=6, held_out=2))
    used, spared = (
        {text_of(window, vocabulary)[:3] for window in windows.tokens} for windows in (text.calibration, text.held_out)
    )
    assert len(text.held_out) == 2
    assert not used & spared


@pytest.mark.parametrize("dialect", ["hipo", "hunyuan", "plain"])
def test_the_built_in_text_is_enough_for_the_default(tmp_path: Path, dialect: str) -> None:
    text, _ = read(tmp_path, None, dialect, QuantRecipe(method="awq"))
    assert text.calibration.tokens.shape == (16, 512)
    assert len(text.held_out) == 2
    assert text.num_distinct_tokens == 16 * 512
    assert 0.3 < text.calibration.is_reply.mean() <= 1


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([], "holds no text"),
        ("", "holds no text"),
        ([{"prompt": "hello"}], "Line 1 of .* is neither"),
        ([CHAT, {"messages": [{"role": "user", "content": "hello"}]}], "Line 2 of .* last role is 'user'"),
        ([{"messages": []}], "Line 1"),
        ([["a"]], "Line 1"),
        ([{"text": 5}], "Line 1"),
    ],
)
def test_a_file_of_another_form_is_named(tmp_path: Path, lines: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        read(tmp_path, lines)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    tokenizer = BpeChatTokenizer.from_file(write_tiny_checkpoint(tmp_path / "source") / "tokenizer.json", ())
    with pytest.raises(UsageError, match=r"missing\.txt cannot be read"):
        read_calibration_text(tmp_path / "missing.txt", DIALECTS["plain"], tokenizer, RECIPE)


@pytest.mark.parametrize("width", [5, 1024, 1500, 2100])
def test_the_sums_are_those_of_all_inputs(width: int) -> None:
    """Only tiles above the diagonal are summed; the rest is a mirror image."""
    random = np.random.default_rng(1)
    inputs = [random.standard_normal((7, width), np.float32) for _ in range(2)]
    sums = InputSums()
    for some in inputs:
        sums("up", some)
    gram, magnitudes = sums.take("up")
    everything = np.concatenate(inputs)
    np.testing.assert_allclose(gram, everything.T @ everything / 14, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(magnitudes, np.abs(everything).mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize("tied", [True, False])
def test_quality_is_what_the_logits_say(tmp_path: Path, tied: bool) -> None:
    """Against a plain computation on whole logits; the head is really read in pieces."""
    checkpoint = open_checkpoint(write_tiny_checkpoint(tmp_path / "source", tied=tied))
    spec = checkpoint.spec
    random = np.random.default_rng(3)
    noise = {place: random.standard_normal(place.shape, np.float32) * 0.01 for place in spec.places()}

    def ours(place: TensorPlace) -> NDArray[np.float32]:
        return checkpoint.read(place) + noise[place]

    def chunks(place: TensorPlace) -> Any:
        pieces = np.array_split(np.arange(place.shape[0]), 3)
        return iter([(checkpoint.read(place)[rows], ours(place)[rows]) for rows in pieces])

    windows = Windows(random.integers(0, 256, (2, 12), np.int32), random.random((2, 12)) < 0.5)
    quality = measure_quality(spec, chunks, windows)
    left, right = (
        np.concatenate([logits_of(spec, read, window)[:-1] for window in windows.tokens]).astype(np.float64)
        for read in (checkpoint.read, ours)
    )
    left, right = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)) for logits in (left, right))
    divergence = (np.exp(left) * (left - right)).sum(axis=1)
    targets = windows.tokens[:, 1:].reshape(-1)
    is_reply = windows.is_reply[:, 1:].reshape(-1)
    left_surprise, right_surprise = (-side[np.arange(len(targets)), targets][is_reply].mean() for side in (left, right))
    assert quality.num_tokens == 22
    assert quality.divergence == pytest.approx(divergence.mean(), rel=1e-3)
    assert quality.reply_divergence == pytest.approx(divergence[is_reply].mean(), rel=1e-3)
    assert quality.perplexity_float == pytest.approx(np.exp(left_surprise), rel=1e-4)
    assert quality.perplexity == pytest.approx(np.exp(right_surprise), rel=1e-4)
    assert quality.same_top == pytest.approx((left.argmax(axis=1) == right.argmax(axis=1)).mean())


def test_a_model_does_not_differ_from_itself(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_tiny_checkpoint(tmp_path / "source"))
    windows = Windows(np.arange(16, dtype=np.int32)[None], np.zeros((1, 16), np.bool_))
    quality = measure_quality(
        checkpoint.spec, lambda place: iter([(checkpoint.read(place), checkpoint.read(place))]), windows
    )
    assert quality.divergence == pytest.approx(0, abs=1e-6)
    assert quality.perplexity == quality.perplexity_float
    assert (quality.same_top, quality.reply_divergence) == (1, None)
