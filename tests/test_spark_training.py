"""The embedded models' recipe: labels, replies, resuming."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity  # what needs torch runs where torch is installed

from models.spark import broken, evaluate, hybrid, samples, shards, tasks, train  # noqa: E402
from models.spark.hybrid import Outcome  # noqa: E402
from models.spark.kinds import KINDS, SPARK, SPARK_HUNYUAN  # noqa: E402
from models.spark.mean import mean  # noqa: E402
from models.spark.network import SparkConfig, SparkNetwork, load_folder  # noqa: E402
from models.spark.optimizer import make_optimizers  # noqa: E402
from models.spark.rendering import Renderer  # noqa: E402
from models.spark.sampler import generate  # noqa: E402
from models.spark.samples import Rows  # noqa: E402
from models.spark.tokenizer import SparkTokenizer, train_tokenizer  # noqa: E402
from models.spark.train import TrainOptions  # noqa: E402

BOTH = Outcome("2+3=?", "en", 1, 1.0, 1.0, "5", "5", "2+3=5\ncheck: 5-3=2")
TINY = {"hidden_size": 32, "num_layers": 1, "num_heads": 2, "num_kv_heads": 2, "head_dim": 16, "intermediate_size": 32}


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(train_tokenizer(samples.tokenizer_texts(num_problems=600), SPARK), SPARK)


@pytest.mark.parametrize(
    ("off_rate", "on_rate", "think"),
    [(1.0, 1.0, False), (0.85, 1.0, False), (0.75, 1.0, True), (0.5, 1.0, True), (0.0, 1.0, True), (1.0, 0.5, False)],
)
def test_the_higher_pass_rate_wins_and_ties_go_to_off(off_rate: float, on_rate: float, think: bool) -> None:
    """A difference below DELTA is a tie."""
    outcome = replace(BOTH, off_rate=off_rate, on_rate=on_rate)
    labels = [hybrid.label(outcome, Random(seed)) for seed in range(40)]
    modes = [found.think for found in labels if found]
    assert sum(mode == think for mode in modes) >= 37


def test_a_random_mode_now_and_then() -> None:
    """About half a hundredth of all labels go against the measurement."""
    rng = Random(0)
    modes = [hybrid.label(BOTH, rng) for _ in range(10000)]
    assert 20 < sum(found.think for found in modes if found) < 90


def test_without_a_correct_answer_there_is_no_label() -> None:
    """Only correct answers are learned."""
    assert hybrid.label(replace(BOTH, off_rate=0.0, on_rate=0.0, off_answer=None, on_answer=None), Random(5)) is None


@pytest.mark.parametrize("think", [False, True])
def test_replies_are_taken_apart(renderer: Renderer, think: bool) -> None:
    """What the judge wrote, the thinking and the answer, with their tokens counted apart."""
    problem = tasks.Problem("sum", "en", 1, "2+3=?", "5", "2+3=5", "sum:[+2,+3]", "number")
    text = renderer.judged_text("en", think, "5", "2+3=5").removesuffix("<|im_end|>")
    reply = evaluate.read_reply(renderer, problem, "auto", renderer.tokenizer.encode_control(text))
    assert (reply.answer, reply.did_think, reply.is_right) == ("5", think, True)
    assert reply.thinking == ("2+3=5" if think else "")
    assert reply.num_judge_tokens <= 6
    forced = renderer.on_text("2+3=5", "5") if think else renderer.off_text("5")
    ids = renderer.tokenizer.encode_control(forced.removesuffix("<|im_end|>"))
    reply = evaluate.read_reply(renderer, problem, "on" if think else "off", ids)
    assert (reply.answer, reply.did_think, reply.num_judge_tokens) == ("5", think, 0)
    assert reply.num_tokens == len(ids) + 1


@pytest.mark.parametrize("think", [False, True])
def test_a_habit_is_told_from_its_thought(think: bool) -> None:
    """Without a judge, auto has thought unless the thought is empty."""
    kind = SPARK_HUNYUAN
    renderer = Renderer(train_tokenizer(samples.tokenizer_texts(num_problems=100), kind), kind)
    problem = tasks.Problem("sum", "en", 1, "2+3=?", "5", "2+3=5", "sum:[+2,+3]", "number")
    forced = kind.dialect.forced_on if think else kind.dialect.forced_off
    text = forced + (renderer.on_text("2+3=5", "5") if think else renderer.off_text("5"))
    ids = renderer.tokenizer.encode_control(text.removesuffix(kind.end))
    reply = evaluate.read_reply(renderer, problem, "auto", ids)
    assert (reply.answer, reply.did_think, reply.is_right) == ("5", think, True)
    assert (reply.thinking, reply.num_judge_tokens, reply.num_tokens) == ("2+3=5" if think else "", 0, len(ids) + 1)


def test_an_unfinished_reply_is_wrong(renderer: Renderer) -> None:
    """Thinking that never ends answers nothing, even where the number stands in it."""
    problem = tasks.Problem("sum", "en", 1, "2+3=?", "5", "2+3=5", "sum:[+2,+3]", "number")
    reply = evaluate.read_reply(renderer, problem, "on", renderer.tokenizer.encode_control("2+3=5\n2+3=5\n"))
    assert not reply.is_right


def test_summary_is_by_steps() -> None:
    """Shares right for all and for each number of steps."""
    problems = [tasks.draw_problem(Random(seed), steps, "sum", "en", "train") for seed, steps in enumerate((1, 1, 3))]
    replies = [
        evaluate.Reply("", "", think, 10, 0, right) for think, right in ((False, True), (False, False), (True, True))
    ]
    found = evaluate.summarise(problems, replies)
    assert (found["right"], found["right_1"], found["right_3"]) == (0.6667, 0.5, 1.0)
    assert (found["thinking_rate"], found["tokens"]) == (0.3333, 10.0)


def test_measuring_resumes(renderer: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes on disk are not measured again."""
    monkeypatch.setattr(evaluate, "MAX_TOKENS", {"off": 3, "on": 3, "auto": 3})
    monkeypatch.setattr(hybrid, "CHUNK", 2)
    network = SparkNetwork(SparkConfig(vocab_size=renderer.tokenizer.vocab_size, **TINY))
    path = tmp_path / "outcomes.jsonl"
    first = hybrid.measure(network, renderer, path, 4, seed=1)
    kept = path.read_text()
    path.write_text("".join(kept.splitlines(keepends=True)[:2]))
    assert hybrid.measure(network, renderer, path, 4, seed=1) == first
    assert path.read_text() == kept


def test_a_resumed_run_ends_like_an_unbroken_one(renderer: Renderer, tmp_path: Path) -> None:
    """Stopped after two steps and started again, training reaches the same weights."""
    rng = np.random.default_rng(0)
    shape = (4 * shards.BATCH_ROWS, 24)
    rows = rng.integers(0, 600, shape).astype(np.uint16), np.ones(shape, dtype=np.float16)

    def run(out: Path, held: Rows) -> SparkNetwork:
        out.mkdir(exist_ok=True)
        torch.manual_seed(0)
        network = SparkNetwork(SparkConfig(vocab_size=renderer.tokenizer.vocab_size, **TINY))
        options = TrainOptions(out, tokens=4 * shards.BATCH_ROWS * samples.ROW_TOKENS, validation_size=0, warm_up=2)
        train.train(network, options, renderer, lambda step: hybrid.batches(held, shards.BATCH_ROWS, step), "stage1")
        return network

    whole = run(tmp_path / "whole", rows)
    run(tmp_path / "broken", (rows[0][: 2 * shards.BATCH_ROWS], rows[1][: 2 * shards.BATCH_ROWS]))
    again = run(tmp_path / "broken", rows)
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_stage_1_rows_are_seeded(renderer: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard depends on its seed and number only."""
    monkeypatch.setattr(shards, "SHARD_ROWS", 8)
    renderer.tokenizer.save(tmp_path, SPARK)
    one, again, other = (shards.make_shard(str(tmp_path), "spark", 1, number) for number in (3, 3, 4))
    assert np.array_equal(one[0], again[0])
    assert not np.array_equal(one[0], other[0])


@pytest.mark.parametrize(
    ("think", "text"), [(True, "<think>\n7+5"), (False, "<think>\n\n</think>\n<answer>\n12\n</answer>")]
)
def test_the_shipped_model_obeys_a_switch_in_the_prompt(repository: Path, think: bool, text: str) -> None:
    """As others prompt this family: the switch is a token before the question, the mode is the model's to write."""
    folder = repository / "models" / "spark_hunyuan" / "checkpoint"
    shipped = Renderer(SparkTokenizer.load(folder), SPARK_HUNYUAN)
    prompt = shipped.system("") + shipped.turn("7+5=?", "", SPARK_HUNYUAN.switches[0 if think else 1])
    stop = shipped.tokenizer.token_id(SPARK_HUNYUAN.end)
    (ids,) = generate(load_folder(folder), [prompt], max_tokens=60, stop_id=stop)
    said = shipped.tokenizer.decode(ids)
    assert said.startswith(text)
    assert said.endswith("<answer>\n12\n</answer>")


def test_a_run_starts_from_the_folder_of_another_kind(renderer: Renderer, tmp_path: Path) -> None:
    """Its tokenizer keeps the text's ids, its network the shapes, with the other body."""
    network = SparkNetwork(SparkConfig(vocab_size=renderer.tokenizer.vocab_size, **TINY))
    train.save_result(network, renderer, tmp_path / "spark")
    options = TrainOptions(tmp_path / "out", kind="spark-hunyuan", weights=tmp_path / "spark")
    started = Renderer(train.open_tokenizer(options), SPARK_HUNYUAN)
    moved = train.new_network(options, started)
    assert moved.config == replace(network.config, body=SPARK_HUNYUAN.body)
    assert started.tokenizer.encode_user("2+3=?") == renderer.tokenizer.encode_user("2+3=?")
    assert torch.equal(moved.embed_tokens.weight[:900], network.embed_tokens.weight[:900].bfloat16().float())


def test_optimizers_cover_every_parameter_once() -> None:
    """Nothing is left out or stepped twice."""
    network = SparkNetwork(SparkConfig(**TINY))
    for use_muon in (True, False):
        groups = [group for one in make_optimizers(network, 1e-3, use_muon) for group in one.param_groups]
        held = [id(parameter) for group in groups for parameter in group["params"]]
        assert sorted(held) == sorted(id(parameter) for parameter in network.parameters())


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_broken_thought_is_closed_as_the_runtime_closes_it(name: str) -> None:
    """Only the answer is learned, and it stands behind a closing, which begins a line of its own exactly once."""
    kind = KINDS[name]
    renderer = Renderer(train_tokenizer(samples.tokenizer_texts(num_problems=200), kind), kind)
    closing, rng, endings = kind.dialect.closings["thinking"], Random(3), set()
    for _ in range(60):
        sample = broken.draw_broken(rng, renderer, replace(samples.Mix(), history=0.0))
        learned = [place for place, weight in enumerate(sample.weights) if weight]
        before = renderer.tokenizer.decode(sample.ids[: learned[0]])
        answer = renderer.tokenizer.decode(sample.ids[place] for place in learned)
        assert before.endswith(closing) and not before.endswith(f"\n{closing}")
        assert answer.endswith(f"\n</answer>{kind.end}") and "<" not in answer.partition("\n")[0]
        said = before.removesuffix(closing)
        endings.add("soft" if said.endswith(("No more time.", "没有时间了。")) else said[-1:])
    assert "soft" in endings and "\n" not in endings and len(endings) > 5


def test_going_on_with_a_model_of_the_same_kind_keeps_every_row(tmp_path: Path) -> None:
    """Its marks once got the rows that a model of another kind would have lent them."""
    for kind in KINDS.values():
        tokenizer = train_tokenizer(samples.tokenizer_texts(num_problems=100), kind)
        network = SparkNetwork(SparkConfig(vocab_size=tokenizer.vocab_size, body=kind.body, **TINY))
        options = TrainOptions(tmp_path / kind.name, kind=kind.name, weights=tmp_path / kind.name / "stage1")
        train.save_result(network, Renderer(tokenizer, kind), options.weights)
        again = train.new_network(options, Renderer(train.open_tokenizer(options), kind))
        for one, other in zip(network.parameters(), again.parameters(), strict=True):
            assert torch.equal(one.bfloat16(), other.bfloat16())


def test_the_mean_of_two_folders(tmp_path: Path) -> None:
    """Every weight lies between both, and folders with other tokens are refused."""
    tokenizer = train_tokenizer(samples.tokenizer_texts(num_problems=100), SPARK)
    networks = [SparkNetwork(SparkConfig(vocab_size=tokenizer.vocab_size, **TINY)) for _ in range(2)]
    folders = [tmp_path / "first", tmp_path / "second"]
    for network, folder in zip(networks, folders, strict=True):
        train.save_result(network, Renderer(tokenizer, SPARK), folder)
    mean(tmp_path / "mean", *folders, share=0.25)
    first, second, found = (load_folder(folder).norm.weight for folder in (*folders, tmp_path / "mean"))
    assert torch.allclose(found, 0.75 * first + 0.25 * second, atol=1e-2)
    table = [load_folder(folder).embed_tokens.weight for folder in (*folders, tmp_path / "mean")]
    assert torch.allclose(table[2], 0.75 * table[0] + 0.25 * table[1], atol=1e-3)
    (folders[1] / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match="different tokenizers"):
        mean(tmp_path / "other", *folders, share=0.5)
