"""The embedded model's tokenizer, as trained here and as shipped."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from models.dialect import Message, Think
from models.spark import samples, tasks
from models.spark.kinds import KINDS, SPARK, SPARK_HUNYUAN, Kind
from models.spark.rendering import JUDGE_OFF, JUDGE_ON, Renderer
from models.spark.samples import Mix
from models.spark.tokenizer import SparkTokenizer, adopt_tokenizer, train_tokenizer
from models.tokenizer import BpeChatTokenizer

SHIPPED = Path(samples.__file__).parent / "checkpoint"


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
def kind(request: pytest.FixtureRequest) -> Kind:
    chosen: Kind = request.param
    return chosen


@pytest.fixture
def tokenizer(kind: Kind) -> SparkTokenizer:
    """The shipped tokenizer, as each kind has it."""
    return SparkTokenizer.load(SHIPPED) if kind is SPARK else adopt_tokenizer(SHIPPED, kind)


def test_training_is_deterministic() -> None:
    """Two trainings on the same texts give the same vocabulary."""
    one, other = (train_tokenizer(samples.tokenizer_texts(num_problems=300), SPARK) for _ in range(2))
    text = "Ann has 12 apples. 小明有3个苹果。"
    assert one.encode_user(text) == other.encode_user(text)


def test_vocabulary(tokenizer: SparkTokenizer, kind: Kind) -> None:
    """1024 entries; tags and marks are single tokens with fixed ids at the end."""
    assert tokenizer.vocab_size == 1024
    assert [tokenizer.token_id(token) for token in kind.added] == list(range(1024 - len(kind.added), 1024))
    for token in kind.added:
        assert tokenizer.encode_control(token) == [tokenizer.token_id(token)]


def test_an_adopted_vocabulary_keeps_the_ids_of_text() -> None:
    """Weights trained with the one would read other words with the other."""
    old, new = SparkTokenizer.load(SHIPPED), adopt_tokenizer(SHIPPED, SPARK_HUNYUAN)
    for text in ("Ann has 12 apples. How many more?", "小明有3个苹果。", "check: 9-4=5\n", "naïve 🙂"):
        assert old.encode_user(text) == new.encode_user(text)
    assert new.decode(range(1012)) == old.decode(range(1012))


def test_digits_stand_alone(tokenizer: SparkTokenizer) -> None:
    """A number is as many tokens as digits."""
    assert len(tokenizer.encode_user("90817")) == 5
    assert len(tokenizer.encode_control("1520+266=1786")) == 13


@pytest.mark.parametrize("text", ["\n", "\n\n", *JUDGE_OFF.values()])
def test_frequent_texts_are_one_token(tokenizer: SparkTokenizer, text: str) -> None:
    """Line ends and the judge's short texts."""
    assert len(tokenizer.encode_control(text)) == 1


def test_judge_and_marker_are_at_most_six_tokens() -> None:
    """They are paid on every prompt."""
    tokenizer = SparkTokenizer.load(SHIPPED)
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


def test_user_text_cannot_forge_control(tokenizer: SparkTokenizer, kind: Kind) -> None:
    """Written by a person, no tag and no mark becomes a control token."""
    control = {tokenizer.token_id(token) for token in kind.added}
    for token in kind.added:
        ids = tokenizer.encode_user(f"a{token}b {token}")
        assert not control & set(ids)
        assert tokenizer.decode(ids) == f"a{token}b {token}"


def test_same_split_as_qwen(tokenizer: SparkTokenizer) -> None:
    """The split pattern is Qwen2's, which llama.cpp knows as `qwen2`."""
    state = json.loads(tokenizer._control.to_str())
    split = state["pre_tokenizer"]["pretokenizers"][0]
    assert split["pattern"]["Regex"].startswith("(?i:'s|'t|'re|'ve|'m|'ll|'d)|")
    assert state["pre_tokenizer"]["pretokenizers"][1]["use_regex"] is False


def stock_tokenizer(kind: Kind, folder: Path) -> Any:
    """The saved folder as the stock AutoTokenizer reads it."""
    transformers = pytest.importorskip("transformers")
    (SparkTokenizer.load(SHIPPED) if kind is SPARK else adopt_tokenizer(SHIPPED, kind)).save(folder, kind)
    return transformers.AutoTokenizer.from_pretrained(folder)


def test_auto_tokenizer_renders_the_dialect_of_spark(tmp_path: Path) -> None:
    """The stock AutoTokenizer loads the folder; its chat template gives the HiPO prompt and keeps only answers."""
    stock, tokenizer = stock_tokenizer(SPARK, tmp_path), SparkTokenizer.load(SHIPPED)
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


def test_auto_tokenizer_renders_the_dialect_of_hunyuan(tmp_path: Path) -> None:
    """As models of this family are prompted by others: one start, the empty thought on request, answers only."""
    stock = stock_tokenizer(SPARK_HUNYUAN, tmp_path)
    one = [{"role": "user", "content": "/no_think Hi"}]
    wanted = "<｜hy_begin▁of▁sentence｜><｜hy_User｜>/no_think Hi<｜hy_Assistant｜>"
    assert stock.apply_chat_template(one, tokenize=False, add_generation_prompt=True) == wanted
    direct = stock.apply_chat_template(one, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    assert direct == wanted + "<think>\n\n</think>\n"
    answer = "<think>\nx\n</think>\n<answer>\nwe are swans\n</answer>"
    more = [{"role": "system", "content": "S"}, *one, {"role": "assistant", "content": answer}, *one]
    assert stock.apply_chat_template(more, tokenize=False, add_generation_prompt=True) == (
        "<｜hy_begin▁of▁sentence｜>S<｜hy_place▁holder▁no▁3｜><｜hy_User｜>/no_think Hi<｜hy_Assistant｜>we are swans"
        "<｜hy_place▁holder▁no▁2｜><｜hy_User｜>/no_think Hi<｜hy_Assistant｜>"
    )
    ids = stock.apply_chat_template(one, add_generation_prompt=True, return_dict=True)["input_ids"]
    start, switch = stock.convert_tokens_to_ids(["<｜hy_begin▁of▁sentence｜>", "/no_think"])
    assert (ids[0], ids.count(start), ids.count(switch)) == (start, 1, 1)
    assert stock("Hi")["input_ids"][0] == start  # the tokenizer adds its start to bare text, the template to a chat
    assert (stock.bos_token, stock.eos_token) == (SPARK_HUNYUAN.start, SPARK_HUNYUAN.end)


@pytest.mark.parametrize("think", ["auto", "off", "on"])
def test_training_ids_equal_the_runtimes(tokenizer: SparkTokenizer, kind: Kind, tmp_path: Path, think: Think) -> None:
    """A prompt that the runtime spells in other tokens than the training is one the model never saw."""
    dialect = kind.dialect
    prefill = {"auto": "", "off": dialect.forced_off, "on": dialect.forced_on}[think]
    renderer = Renderer(tokenizer, kind)
    problem = tasks.draw_problem(Random(1), 1, "story", "en", "train")
    start = renderer.system(dialect.default_system)
    trained = start + renderer.past(problem) + renderer.turn("2+3=?", prefill)
    talk = [Message("user", problem.prompt), Message("assistant", problem.answer), Message("user", "2+3=?")]
    tokenizer.save(tmp_path, kind)
    bos = tokenizer.token_id(kind.start) if kind.start else None
    runtime = BpeChatTokenizer.from_file(tmp_path / "tokenizer.json", dialect.control_texts, bos)
    prompt, forced = runtime.encode_prompt(dialect.render(talk, think))
    assert trained == [*prompt, *forced]
    told = renderer.system("Be short.") + renderer.turn("2+3=?", prefill)
    prompt, forced = runtime.encode_prompt(dialect.render([Message("system", "Be short."), talk[-1]], think))
    assert told == [*prompt, *forced]


def test_what_a_habit_writes_is_what_is_forced(tokenizer: SparkTokenizer, kind: Kind) -> None:
    """The start of a mode is spelled the same whether the model writes it or the runtime does."""
    renderer = Renderer(tokenizer, kind)
    problem = tasks.draw_problem(Random(1), 2, "sum", "zh", "train")
    for think in (False, True):
        forced = kind.dialect.forced_on if think else kind.dialect.forced_off
        text = renderer.on_text(problem.thinking, problem.answer) if think else renderer.off_text(problem.answer)
        written = tokenizer.encode_control(forced + text)
        assert written == tokenizer.encode_control(forced) + tokenizer.encode_control(text)


def test_a_switch_in_the_prompt_leaves_the_start_of_the_mode_to_the_model() -> None:
    """Behind `/no_think` the model writes the empty thought by itself; without it only where it is forced to."""
    renderer = Renderer(adopt_tokenizer(SHIPPED, SPARK_HUNYUAN), SPARK_HUNYUAN)
    problem = tasks.Problem("sum", "en", 1, "2+3=?", "5", "2+3=5", "sum:[+2,+3]", "number")
    direct, thought = "<answer>\n5\n</answer>", "<think>\n2+3=5\n</think>\n<answer>\n5\n</answer>"
    end = SPARK_HUNYUAN.end
    for think, is_switched, asked, learned in (
        (False, False, "2+3=?<｜hy_Assistant｜><think>\n\n</think>\n", direct),
        (False, True, "/no_think2+3=?<｜hy_Assistant｜>", f"<think>\n\n</think>\n{direct}"),
        (True, False, "2+3=?<｜hy_Assistant｜>", thought),
        (True, True, "/think2+3=?<｜hy_Assistant｜>", thought),
    ):
        sample = renderer.forced_sample(problem, think, 2.0, [], is_switched)
        parts = [
            renderer.tokenizer.decode(
                [token for token, weight in zip(sample.ids, sample.weights, strict=True) if weight == wanted]
            )
            for wanted in (0.0, 2.0)
        ]
        assert parts == [f"<｜hy_User｜>{asked}", learned + end]


def test_rows_are_packed_and_only_completions_learned(tokenizer: SparkTokenizer, kind: Kind) -> None:
    """Rows start with the system text; learned text is what a model writes, in both modes."""
    renderer = Renderer(tokenizer, kind)
    rng = Random(3)
    pad = tokenizer.token_id(kind.pad)
    ids, weights = samples.pack(rng, renderer, lambda: samples.draw_forced(rng, renderer, Mix()), 60)
    assert ids.shape == weights.shape == (60, samples.ROW_TOKENS)
    assert (ids != pad).mean() > 0.85
    thinking = answers = 0
    for row, learned in zip(ids.tolist(), (weights > 0).tolist(), strict=True):
        assert tokenizer.decode(row).startswith(kind.start or "<|im_start|>system\n")
        text = tokenizer.decode([one if is_learned else pad for one, is_learned in zip(row, learned, strict=True)])
        for part in filter(None, text.split(kind.pad)):
            assert part.endswith(f"\n</answer>{kind.end}")
            thinking += kind.dialect.closings["thinking"] in part and "</think>" in part.replace("\n\n</think>", "")
            answers += 1
    assert 0.25 < thinking / answers < 0.7
