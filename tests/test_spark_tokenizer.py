"""The embedded model's tokenizer, as trained here and as shipped."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from models.dialect import DIALECTS, Message, Think
from models.spark import samples, tasks
from models.spark.samples import JUDGE_OFF, JUDGE_ON, OFF_PREFILL, ON_PREFILL, Mix, Renderer
from models.spark.tokenizer import SPECIAL, TAGS, SparkTokenizer, train_tokenizer
from models.tokenizer import BpeChatTokenizer

SHIPPED = Path(samples.__file__).parent / "checkpoint"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> SparkTokenizer:
    """The shipped tokenizer; before one is shipped, a freshly trained one."""
    if (SHIPPED / "tokenizer.json").exists():
        return SparkTokenizer.load(SHIPPED)
    return train_tokenizer(samples.tokenizer_texts(num_problems=3000))


def test_training_is_deterministic() -> None:
    """Two trainings on the same texts give the same vocabulary."""
    one, other = (train_tokenizer(samples.tokenizer_texts(num_problems=300)) for _ in range(2))
    text = "Ann has 12 apples. 小明有3个苹果。"
    assert one.encode_user(text) == other.encode_user(text)


def test_vocabulary(tokenizer: SparkTokenizer) -> None:
    """1024 entries; tags and marks are single tokens with fixed ids at the end."""
    assert tokenizer.vocab_size == 1024
    assert [tokenizer.token_id(token) for token in SPECIAL + TAGS] == list(range(1013, 1024))
    for token in SPECIAL + TAGS:
        assert tokenizer.encode_control(token) == [tokenizer.token_id(token)]


def test_digits_stand_alone(tokenizer: SparkTokenizer) -> None:
    """A number is as many tokens as digits."""
    assert len(tokenizer.encode_user("90817")) == 5
    assert len(tokenizer.encode_control("1520+266=1786")) == 13


@pytest.mark.parametrize("text", ["\n", "\n\n", *JUDGE_OFF.values()])
def test_frequent_texts_are_one_token(tokenizer: SparkTokenizer, text: str) -> None:
    """Line ends and the judge's short texts."""
    assert len(tokenizer.encode_control(text)) == 1


def test_judge_and_marker_are_at_most_six_tokens(tokenizer: SparkTokenizer) -> None:
    """They are paid on every prompt."""
    for judge, marker in ((JUDGE_OFF, "<think_off>"), (JUDGE_ON, "<think_on>")):
        for text in judge.values():
            assert len(tokenizer.encode_control(f"{text}\n</judge>\n\n{marker}")) <= 6


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "  two  spaces\t",
        "数学\u3000题",
        "naïve café",
        "Ωμέγα",
        "🙂👍🏽",
        "a\r\nb\n\n\nc",
        "\x00\x07",
        "<think>",
        "<|im_end|>",
    ],
)
def test_every_text_survives(tokenizer: SparkTokenizer, text: str) -> None:
    """All bytes are in the vocabulary, so any text comes back."""
    assert tokenizer.decode(tokenizer.encode_user(text)) == text
    assert tokenizer.decode(tokenizer.encode_control(text)) == text


def test_user_text_cannot_forge_control(tokenizer: SparkTokenizer) -> None:
    """Written by a person, no tag and no mark becomes a control token."""
    control = {tokenizer.token_id(token) for token in SPECIAL + TAGS}
    for token in SPECIAL + TAGS:
        ids = tokenizer.encode_user(f"a{token}b {token}")
        assert not control & set(ids)
        assert tokenizer.decode(ids) == f"a{token}b {token}"


def test_same_split_as_qwen(tokenizer: SparkTokenizer) -> None:
    """The split pattern is Qwen2's, which llama.cpp knows as `qwen2`."""
    state = json.loads(tokenizer._control.to_str())
    split = state["pre_tokenizer"]["pretokenizers"][0]
    assert split["pattern"]["Regex"].startswith("(?i:'s|'t|'re|'ve|'m|'ll|'d)|")
    assert state["pre_tokenizer"]["pretokenizers"][1]["use_regex"] is False


def test_auto_tokenizer_renders_the_dialect(tokenizer: SparkTokenizer, tmp_path: Path) -> None:
    """The stock AutoTokenizer loads the folder; its chat template gives the HiPO prompt and keeps only answers."""
    transformers = pytest.importorskip("transformers")
    tokenizer.save(tmp_path)
    stock = transformers.AutoTokenizer.from_pretrained(tmp_path)
    one = [{"role": "user", "content": "Hi"}]
    head = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    wanted = head + "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<judge>\n"
    assert stock.apply_chat_template(one, tokenize=False, add_generation_prompt=True) == wanted
    answer = "easy\n</judge>\n\n<think_on>\n<think>\nx\n</think>\n\n<answer>\n4\n</answer>"
    more = [{"role": "system", "content": "S"}, *one, {"role": "assistant", "content": answer}, *one]
    rendered = stock.apply_chat_template(more, tokenize=False, add_generation_prompt=True)
    assert rendered == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n4<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<judge>\n"
    )
    assert stock(wanted, add_special_tokens=True)["input_ids"] == tokenizer.encode_control(wanted)
    assert stock.eos_token == "<|im_end|>"
    assert stock.decode(tokenizer.encode_control("4\n</answer><|im_end|>"), skip_special_tokens=True) == "4\n</answer>"


@pytest.mark.parametrize(("think", "prefill"), [("auto", ""), ("off", OFF_PREFILL), ("on", ON_PREFILL)])
def test_training_ids_equal_the_runtimes(tokenizer: SparkTokenizer, tmp_path: Path, think: Think, prefill: str) -> None:
    """A prompt that the runtime spells in other tokens than the training is one the model never saw."""
    renderer = Renderer(tokenizer)
    problem = tasks.draw_problem(Random(1), 1, "story", "en", "train")
    trained = renderer.system() + renderer.past(problem) + renderer.turn("2+3=?", prefill)
    talk = [Message("user", problem.prompt), Message("assistant", problem.answer), Message("user", "2+3=?")]
    tokenizer.save(tmp_path)
    hipo = DIALECTS["hipo"]
    runtime = BpeChatTokenizer.from_file(tmp_path / "tokenizer.json", hipo.control_texts)
    prompt, forced = runtime.encode_prompt(hipo.render(talk, think))
    assert trained == [*prompt, *forced]


def test_rows_are_packed_and_only_completions_learned(tokenizer: SparkTokenizer) -> None:
    """Rows start with a system block; learned text is what a model writes, in both modes."""
    renderer = Renderer(tokenizer)
    rng = Random(3)
    pad = tokenizer.token_id("<|endoftext|>")
    ids, weights = samples.pack(rng, renderer, lambda: samples.draw_forced(rng, renderer, Mix()), 60, pad)
    assert ids.shape == weights.shape == (60, samples.ROW_TOKENS)
    assert (ids != pad).mean() > 0.85
    thinking = answers = 0
    for row, learned in zip(ids.tolist(), (weights > 0).tolist(), strict=True):
        assert tokenizer.decode(row).startswith("<|im_start|>system\n")
        text = tokenizer.decode([one if is_learned else pad for one, is_learned in zip(row, learned, strict=True)])
        for part in filter(None, text.split("<|endoftext|>")):
            assert part.endswith("\n</answer><|im_end|>")
            thinking += "\n</think>\n\n<answer>\n" in part
            answers += 1
    assert 0.25 < thinking / answers < 0.7
