"""The embedded models' network, against transformers' Qwen3 and Hunyuan and against itself."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity  # what needs torch runs where torch is installed

from models.spark import rounding, samples  # noqa: E402
from models.spark.bodies import BODIES, Body  # noqa: E402
from models.spark.kinds import SPARK, SPARK_HUNYUAN  # noqa: E402
from models.spark.network import SparkConfig, SparkNetwork, load_folder, save_folder  # noqa: E402
from models.spark.optimizer import make_optimizers, orthogonalize, rate  # noqa: E402
from models.spark.sampler import generate  # noqa: E402
from models.spark.tokenizer import adopt_tokenizer, train_tokenizer  # noqa: E402
from models.spark.transplant import transplant  # noqa: E402

SMALL = SparkConfig(
    vocab_size=96, hidden_size=64, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=32, intermediate_size=96
)


def make_network(config: SparkConfig = SMALL, seed: int = 0) -> SparkNetwork:
    """A random network whose norms are not all one."""
    torch.manual_seed(seed)
    network = SparkNetwork(config).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim == 1:
                parameter.uniform_(0.5, 1.5)
            elif "embed" not in name:
                parameter.mul_(4)
    return network


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_logits_equal_transformers(tmp_path: Path, body: Body) -> None:
    """The saved folder read by the stock model gives the same logits in float32."""
    transformers = pytest.importorskip("transformers")
    network = make_network(replace(SMALL, body=body))
    save_folder(network, tmp_path, eos_id=2, pad_id=0)
    mine = load_folder(tmp_path)
    stock = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert type(stock).__name__ == body.architecture
    ids = torch.randint(0, SMALL.vocab_size, (2, 33))
    with torch.no_grad():
        got, wanted = mine(ids), stock(ids).logits
    assert torch.allclose(got, wanted, rtol=1e-4, atol=1e-4 * wanted.abs().max().item())


def test_a_transplanted_network_reads_text_as_before(tmp_path: Path) -> None:
    """A norm behind the rotation is the norm before it, where pairs have one weight; text keeps its rows."""
    tokenizer = train_tokenizer(samples.tokenizer_texts(num_problems=300), SPARK)
    network = make_network(replace(SMALL, vocab_size=tokenizer.vocab_size))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "_norm." in name:
                parameter.copy_(parameter[: len(parameter) // 2].repeat(2))
    tokenizer.save(tmp_path, SPARK)
    save_folder(network, tmp_path, eos_id=2, pad_id=0)
    new_tokenizer = adopt_tokenizer(tmp_path, SPARK_HUNYUAN)
    same_epsilon = replace(SPARK_HUNYUAN.body, rms_norm_eps=SPARK.body.rms_norm_eps)
    moved = transplant(tmp_path, new_tokenizer, replace(SPARK_HUNYUAN, body=same_epsilon))
    ids = torch.tensor([tokenizer.encode_user("Ann has 12 apples. 小明有3个苹果。")])
    num_text = min(new_tokenizer.token_id(token) for token in SPARK_HUNYUAN.added)
    with torch.no_grad():
        got, wanted = moved(ids)[..., :num_text], load_folder(tmp_path)(ids)[..., :num_text]
    assert torch.allclose(got, wanted, atol=1e-5 * wanted.abs().max().item())
    rows, old_rows = moved.embed_tokens.weight, network.embed_tokens.weight.bfloat16().float()
    for token in ("<think>", "</answer>"):
        assert torch.equal(rows[new_tokenizer.token_id(token)], old_rows[tokenizer.token_id(token)])
    end = rows[new_tokenizer.token_id(SPARK_HUNYUAN.end)]
    assert torch.equal(end, old_rows[tokenizer.token_id(SPARK.end)])


def test_loss_equals_the_plain_loss() -> None:
    """Finishing only the learned positions in the last block changes nothing."""
    network = make_network()
    ids = torch.randint(0, SMALL.vocab_size, (3, 20))
    weights = torch.rand(3, 20) * (torch.rand(3, 20) < 0.4)
    logits = network(ids)[:, :-1].flatten(0, 1)
    losses = torch.nn.functional.cross_entropy(logits, ids[:, 1:].flatten(), reduction="none")
    learned = weights[:, 1:].flatten()
    assert torch.allclose(network.loss(ids, weights), (losses * learned).sum() / learned.sum(), rtol=1e-5)


def test_generate_in_a_batch_equals_one_by_one() -> None:
    """Left padding, the cache and dropping finished rows do not change greedy answers."""
    network = make_network(seed=3)
    prompts = [[5, 6, 7], [9], [11, 12, 13, 14, 15, 16], [3, 3]]

    def plain(prompt: list[int]) -> list[int]:
        ids = list(prompt)
        for _ in range(12):
            chosen = int(network(torch.tensor([ids]))[0, -1].argmax())
            if chosen == 40:
                break
            ids.append(chosen)
        return ids[len(prompt) :]

    with torch.no_grad():
        wanted = [plain(prompt) for prompt in prompts]
    assert generate(network, prompts, max_tokens=12, stop_id=40) == wanted


def test_generate_stops_at_the_stop_id() -> None:
    """A row ends before its stop id, the others go on."""
    network = make_network(seed=3)
    free = generate(network, [[5, 6, 7], [9]], max_tokens=12, stop_id=-1)
    stop = free[0][2]
    ended = generate(network, [[5, 6, 7], [9]], max_tokens=12, stop_id=stop)
    assert ended[0] == free[0][: free[0].index(stop)]


def test_sampling_is_seeded() -> None:
    """The same generator seed gives the same samples."""
    network = make_network()
    runs = [
        generate(network, [[1, 2]] * 4, 8, -1, temperature=1.0, generator=torch.Generator().manual_seed(5))
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert len({tuple(row) for row in runs[0]}) > 1


def test_shipped_shapes_suit_every_4_bit_format() -> None:
    """All widths are multiples of 256."""
    network = SparkNetwork(SparkConfig())
    for name, parameter in network.named_parameters():
        if parameter.ndim == 2:
            assert parameter.shape[0] % 256 == 0, name
            assert parameter.shape[1] % 256 == 0, name


def test_rounding_keeps_the_weights() -> None:
    """Inside the block matrices have 16 levels a group, behind it they are what they were."""
    network = make_network()
    before = {name: value.clone() for name, value in network.named_parameters()}
    with rounding.rounded(network):
        weight = network.layers[0].mlp.up_proj.weight
        assert len(weight[0, : rounding.GROUP].unique()) <= 16
        assert not torch.equal(weight, before["layers.0.mlp.up_proj.weight"])
        assert torch.equal(network.embed_tokens.weight, before["embed_tokens.weight"])
    assert all(torch.equal(value, before[name]) for name, value in network.named_parameters())


def test_rounding_equals_gguf() -> None:
    """The training's shadow of Q4_0 equals the gguf package's, value for value."""
    gguf = pytest.importorskip("gguf")
    weight = torch.randn(8, 256, generator=torch.Generator().manual_seed(1))
    kind = gguf.GGMLQuantizationType.Q4_0
    wanted = gguf.quants.dequantize(gguf.quants.quantize(weight.numpy(), kind), kind)
    assert torch.allclose(rounding.round_to_q4_0(weight), torch.from_numpy(wanted), atol=2e-3)


def test_muon_update_is_close_to_orthogonal() -> None:
    """Five Newton-Schulz steps bring all singular values near one."""
    values = torch.linalg.svdvals(orthogonalize(torch.randn(2, 64, 128, generator=torch.Generator().manual_seed(2))))
    assert values.min() > 0.5
    assert values.max() < 1.5


@pytest.mark.parametrize("use_muon", [True, False])
def test_training_lowers_the_loss(use_muon: bool) -> None:
    """A few steps on one batch learn it."""
    network = make_network()
    optimizers = make_optimizers(network, 3e-3, use_muon)
    ids, weights = torch.randint(0, SMALL.vocab_size, (4, 16)), torch.ones(4, 16)
    first = network.loss(ids, weights).item()
    for _ in range(20):
        network.loss(ids, weights).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert network.loss(ids, weights).item() < 0.7 * first


def test_rate_warms_up_holds_and_falls() -> None:
    """Up over the warm-up, constant to 40 %, then down to 1 %."""
    rates = [rate(step, 1000, 100) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[100:400] == [1.0] * 300
    assert rates[999] == pytest.approx(0.01, abs=0.002)
    assert all(one >= other for one, other in pairwise(rates[400:]))
