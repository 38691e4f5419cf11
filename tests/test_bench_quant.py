"""``edge bench quant``: random checkpoints, what a command costs, both quantizers, on tiny models and short texts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from safetensors import safe_open
from tiny_checkpoints import write_tiny_checkpoint

from bench_edge import quant, quant_accuracy, quant_autoawq, quant_cost, quant_quality, random_checkpoint
from bench_edge.child_cost import measure_child
from bench_edge.kept import KeptRun
from bench_edge.llama_quantizer import importance_of, quantize_with_llama
from bench_edge.quant_tables import tables
from bench_edge.random_checkpoint import write_random_checkpoint
from bench_edge.shapes import SHAPES, Shape
from bench_edge.think_run import MODES, Outcome
from models.checkpoint import open_checkpoint
from models.errors import BackendError, UsageError
from models.families import family_of
from quantize.awq import candidate_scale
from quantize.calibrate import InputSums, Windows
from quantize.decoder import logits_of, rotation_of, run_block, split_places
from quantize.pipeline import quantize_checkpoint
from quantize.recipe import QuantRecipe

SIZES = quant_quality.Sizes(
    conversations=20, held_out_conversations=20, windows=2, held_out_windows=2, window_tokens=32
)


def tiny_shape(family: str = "hunyuan-0.5b", *, tied: bool = True) -> Shape:
    """Two small blocks whose widths groups of 128 divide, marks right after a few merges."""
    shape = SHAPES[family]
    spec = replace(
        shape.spec,
        hidden_size=128,
        num_layers=2,
        num_heads=2,
        num_kv_heads=1,
        feed_forward_size=256,
        vocab_size=340,
        has_tied_head=tied,
    )
    tags = dict.fromkeys((*shape.tags.values(), "/think", "/no_think"))  # in a small vocabulary only a tag is one token
    marks = {320 + number: text for number, text in enumerate(shape.marks.values())}
    return replace(
        shape,
        spec=spec,
        first_mark=320,
        marks=marks,
        tags=dict(enumerate(tags, 330)),
        stop_token_ids=tuple(list(marks)[-2:]),
        bos_token_id=None if shape.bos_token_id is None else 320,
    )


# --- random checkpoints ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["hunyuan-0.5b", "qwen3-8b"])
@pytest.mark.parametrize("kind", ["float", "awq"])
def test_a_random_checkpoint_is_quantized_as_a_real_one(tmp_path: Path, family: str, kind: Any) -> None:
    """A vocabulary or a config that the pipeline refuses would be found after the 16 GB were written."""
    shape = tiny_shape(family, tied=family.startswith("hunyuan"))
    write_random_checkpoint(shape, kind, tmp_path / "source")
    assert [path.name for path in tmp_path.iterdir() if path.name != "state"] == ["source"]
    checkpoint = open_checkpoint(tmp_path / "source")
    assert checkpoint.spec == shape.spec
    assert (checkpoint.packing is None) == (kind == "float")
    recipe = QuantRecipe(method="awq", windows=2, window_tokens=32) if kind == "float" else QuantRecipe()
    bundle = quantize_checkpoint(tmp_path / "source", tmp_path / "bundle", recipe)
    assert bundle.dialect_name == ("hunyuan" if family.startswith("hunyuan") else "qwen3")
    assert 0.05 < bundle.manifest.tensor_errors["blk.1.ffn_down.weight"] < 0.2 or kind == "awq"


def test_random_floats_keep_activations_near_one(tmp_path: Path) -> None:
    """Weights that blow up or die out would end the calibration of a deep shape, or make it the same for all layers."""
    write_random_checkpoint(tiny_shape(), "float", tmp_path / "source")
    checkpoint = open_checkpoint(tmp_path / "source")
    assert 0.1 < logits_of(checkpoint.spec, checkpoint.read, range(20)).std() < 10


def test_shards_hold_the_same_as_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shards are written by hand; another reader must find every tensor where the index says."""
    write_random_checkpoint(tiny_shape(), "float", tmp_path / "one")
    monkeypatch.setattr(random_checkpoint, "SHARD_BYTES", 200_000)
    monkeypatch.setattr(random_checkpoint, "CHUNK_ITEMS", 1 << 24)
    write_random_checkpoint(tiny_shape(), "float", tmp_path / "many")
    index = json.loads((tmp_path / "many" / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 2
    for name, shard in index["weight_map"].items():
        with safe_open(str(tmp_path / "many" / shard), "numpy") as file:
            assert name in file.keys()  # noqa: SIM118
    one, many = open_checkpoint(tmp_path / "one"), open_checkpoint(tmp_path / "many")
    for place in one.spec.places():
        np.testing.assert_array_equal(one.read(place), many.read(place))


# --- cost -----------------------------------------------------------------------------------------------------------


def test_a_command_is_charged_for_what_it_held() -> None:
    hold = "import time; x = bytearray(150 << 20); x[::4096] = b'1' * len(x[::4096]); time.sleep(0.2)"
    cost = measure_child([sys.executable, "-S", "-c", hold], num_cores=1)
    assert cost.cores == 1
    assert 0.2 < cost.seconds < 60
    assert cost.peak_mib > 150
    assert 150 < cost.anonymous_mib < 400


def test_a_command_that_fails_is_not_measured() -> None:
    with pytest.raises(BackendError, match="ended with 3"):
        measure_child([sys.executable, "-S", "-c", "raise SystemExit(3)"], num_cores=1)


@pytest.fixture
def tiny_cases(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two cases of a tiny shape."""
    cases = {
        "rtn": quant_cost.Case("floats", "tiny", "float", ("--method", "rtn"), "B.m1", 3.0),
        "import": quant_cost.Case("codes", "tiny", "awq", (), "B.m2", 0.001, "B.t2", 90.0),
    }
    monkeypatch.setitem(SHAPES, "tiny", tiny_shape())
    monkeypatch.setattr(quant_cost, "CASES", cases)
    yield


@pytest.mark.usefixtures("tiny_cases")
def test_cases_are_measured_once_and_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was interrupted after the long case must not repeat it."""
    figures = quant_cost.measure(tmp_path / "work", KeptRun("t"), keep_checkpoints=False, names=["rtn", "import"])
    assert not list((tmp_path / "work").iterdir())
    assert figures["rtn"]["made_bytes"] > 100_000
    checks = {check.id: check for check in quant_cost.cost_checks(figures)}
    assert checks["B.m1"].holds and checks["B.t2"].holds and not checks["B.m2"].holds
    assert len(tables({"cost": figures})[0].splitlines()) == 4

    monkeypatch.setattr(quant_cost, "run_case", lambda *_: pytest.fail("measured again"))
    again = quant_cost.measure(tmp_path / "work", KeptRun("t"), keep_checkpoints=False, names=["rtn", "import"])
    assert again == figures


@pytest.mark.usefixtures("tiny_cases")
def test_checkpoints_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quant_cost, "run_case", lambda *_: {})
    for _ in range(2):
        quant_cost.measure(tmp_path, KeptRun("u"), keep_checkpoints=True, names=["rtn"])
        assert (tmp_path / "random-tiny-float" / "config.json").exists()


# --- quality --------------------------------------------------------------------------------------------------------


def test_importance_is_the_diagonal_of_our_sums(tmp_path: Path) -> None:
    """Both quantizers must be told the same about the same text."""
    checkpoint = open_checkpoint(write_tiny_checkpoint(tmp_path / "source"))
    tokens = np.random.default_rng(3).integers(0, checkpoint.spec.vocab_size, (2, 16), np.int32)
    windows = Windows(tokens, np.ones_like(tokens, np.bool_))
    importance = importance_of(checkpoint, windows)
    outside, blocks = split_places(checkpoint.spec)
    hidden = checkpoint.read(outside["embedding"])[tokens]
    sums = InputSums()
    weights = {role: checkpoint.read(place) for role, place in blocks[0].items()}
    for window in hidden:
        run_block(checkpoint.spec, weights, window, rotation_of(checkpoint.spec, 16), sums)
    for producer, layer in (("attention_norm", "attn_k"), ("value", "attn_output"), ("up", "ffn_down")):
        gram, _ = sums.take(producer)
        np.testing.assert_allclose(importance[f"blk.0.{layer}.weight"], gram.diagonal(), rtol=1e-4)
    assert len(importance) == 7 * checkpoint.spec.num_layers


def test_llama_quantizes_with_the_importance_it_is_given(tmp_path: Path) -> None:
    """A matrix that never arrives is silent: the result is plain Q4_0."""
    source = write_tiny_checkpoint(tmp_path / "source")
    random = np.random.default_rng(5)
    checkpoint = open_checkpoint(source)
    bundle = quantize_checkpoint(source, tmp_path / "float", QuantRecipe(bits=32))
    linear = [place for place in checkpoint.spec.places() if place.kind == "linear"]
    importance = {place.gguf_name: random.random(place.shape[1]).astype(np.float32) for place in linear}
    first = importance["blk.0.attn_q.weight"]
    importance["blk.0.attn_q.weight"] = np.where(np.arange(len(first)) % 32 == 3, 1e4, 1e-4).astype(np.float32)
    quantize_with_llama(bundle.gguf_path, tmp_path / "guided.gguf", "Q4_0", importance)
    quantize_with_llama(bundle.gguf_path, tmp_path / "plain.gguf", "Q4_0", {})
    guided, plain = (
        {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / name).tensors}
        for name in ("guided.gguf", "plain.gguf")
    )
    assert guided["blk.0.attn_q.weight"].tensor_type.name == "Q4_0"
    assert guided["token_embd.weight"].tensor_type.name == "Q8_0"
    assert any((guided[name].data != plain[name].data).any() for name in guided)
    with pytest.raises(BackendError, match="cannot quantize"):
        quantize_with_llama(tmp_path / "gone.gguf", tmp_path / "x.gguf", "Q4_0", importance)


@pytest.fixture(scope="module")
def quality(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All ways of rounding a tiny model whose weights are not on any grid."""
    folder = tmp_path_factory.mktemp("quality")
    write_random_checkpoint(tiny_shape("qwen3-8b"), "float", folder / "tiny" / "checkpoint")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_STATE", str(folder / "state"))
        first = quant_quality.measure(folder / "tiny" / "checkpoint", KeptRun("v"), SIZES)
        patch.setattr(quant_quality, "compare", lambda *_: pytest.fail("measured again"))
        assert quant_quality.measure(folder / "tiny" / "checkpoint", KeptRun("v"), SIZES) == first
    return first


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> quant_quality.Subject:
    """A tiny model and its texts."""
    folder = tmp_path_factory.mktemp("subject")
    write_random_checkpoint(tiny_shape("qwen3-8b"), "float", folder / "checkpoint")
    return quant_quality.prepare(folder / "checkpoint", folder, SIZES)


def test_both_ways_of_reading_a_file_agree(quality: dict[str, Any]) -> None:
    """A tensor read by a wrong name, or logits off by one position, would show as divergence in one of them only."""
    rows = quality["rows"]
    assert list(rows) == [*quant_quality.OURS, *(f"llama.cpp {name}" for name in quant_quality.THEIRS)]
    for row in rows.values():
        assert row["divergence"] == pytest.approx(row["divergence_in_llama_cpp"], rel=0.15)
        assert 1e-4 < row["divergence"] < 0.1
    ours, theirs = rows[quant_quality.REFINED], rows["llama.cpp Q4_0"]
    assert ours["layer_bits"] == theirs["layer_bits"] == 4.5
    assert ours["file_bits"] == theirs["file_bits"]


def test_divergence_is_that_of_the_distributions() -> None:
    first, second = np.log([[[0.5, 0.5]], [[0.25, 0.75]]])
    both = [np.repeat(logits, 2, axis=0) + 3 for logits in (first, second)]  # the last position is left out
    expected = 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)
    assert quant_quality.mean_divergence(iter([(both[0], both[1])])) == pytest.approx(expected)


def test_the_worst_model_decides(quality: dict[str, Any]) -> None:
    def figure(refined: float) -> dict[str, Any]:
        rows = {name: dict(row) for name, row in quality["rows"].items()}
        for name in rows:
            rows[name]["divergence"] = refined if name == quant_quality.REFINED else 1.0
        return {"rows": rows}

    checks = quant_quality.quality_checks({"a": figure(0.2), "b": figure(0.3)})
    assert {check.id: (check.value, check.holds) for check in checks} == {
        "B.kl_awq": (1.0, False),
        "B.kl_gptq": (0.3, False),
        **{f"B.kl_peer_{number}": (0.3, True) for number in (1, 2, 3)},
    }
    assert len(tables({"quality": {"a": quality, "b": quality}})[0].splitlines()) == 2 + 12


# --- AutoAWQ --------------------------------------------------------------------------------------------------------


def test_without_autoawq_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its absence must not look like agreement."""
    monkeypatch.delenv(quant_autoawq.INTERPRETER, raising=False)
    figures = quant_autoawq.measure(tmp_path, KeptRun("w"))
    assert tables({"autoawq": figures}) == [
        "AutoAWQ's own AWQ was not compared: AUTOAWQ_PYTHON names no interpreter that has it."
    ]


def test_an_environment_that_fails_says_why(subject: quant_quality.Subject, tmp_path: Path) -> None:
    """Ours has no autoawq, as most have not."""
    figures = quant_autoawq.compare_with(sys.executable, subject, tmp_path)
    assert figures["compared"] is False
    assert figures["why"].startswith("ModuleNotFoundError: No module named")  # awq, or torch where that is missing, too


def test_scales_are_told_by_their_exponent(subject: quant_quality.Subject) -> None:
    """Groups out of order would still give plausible numbers."""
    groups = family_of(subject.checkpoint.spec.family).scale_groups
    scales = {}
    for layer, (_, sums) in enumerate(quant_autoawq._float_blocks(subject)):
        for place, group in enumerate(groups):
            _, magnitudes = sums.take(group.producer)
            scales[f"{layer * len(groups) + place} x"] = candidate_scale(magnitudes, (place + 1) / 20)
    compared = quant_autoawq.compare_scales(subject, scales)
    assert [row.their_ratio for row in compared] == [0.05, 0.1, 0.15, 0.2] * 2
    assert all(row.error_quotient >= 0.999 for row in compared)
    summary = quant_autoawq.summarize_scales(compared)
    row = {"divergence": 0.1, "divergence_in_llama_cpp": 0.1, "same_top": 0.9}
    shown = tables({"autoawq": {"compared": True, "scales": summary, "rows": {"AutoAWQ 0.2.9": row}}})[0]
    assert "Of 8 scale groups" in shown and "90.00 %" in shown


# --- the whole ------------------------------------------------------------------------------------------------------


def test_accuracy_is_that_of_the_worst_mode() -> None:
    row = {"interval_95": [-1.0, 1.0], "float_right": {"count": 1, "total": 2}}
    figures = {"a": {"off": {"value": 0.5, **row}, "on": {"value": -0.8, **row}}, "b": {"off": {"value": 0.1, **row}}}
    (check,) = quant_accuracy.accuracy_checks(figures)
    assert (check.id, check.value, check.bar, check.holds) == ("B.acc", -0.8, -0.7, False)
    assert "-0.80" in tables({"accuracy": figures})[0]


def test_a_bundle_is_compared_with_its_own_floats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every mode of the bundle beside the same problems on the checkpoint in the same folder."""
    asked: list[tuple[str, int]] = []

    def outcomes(where: str, problems: list[Any], is_right: bool) -> dict[Any, list[Outcome]]:
        asked.append((where, len(problems)))
        rows = [Outcome("off", index, is_right or index > 0, False, 0, 0, 1) for index in range(len(problems))]
        return {mode: rows for mode in MODES}

    class Run:
        def measure(self, model: str, problems: list[Any]) -> dict[Any, list[Outcome]]:
            return outcomes(model, problems, False)

    monkeypatch.setattr(quant_accuracy, "measure_float", lambda _, path, problems: outcomes(str(path), problems, True))
    figures = quant_accuracy.measure(tmp_path, 4, Run())  # type: ignore[arg-type]
    assert asked == [(str(tmp_path / "bundle"), 4), (str(tmp_path / "checkpoint"), 4)]
    assert {mode: row["value"] for mode, row in figures.items()} == {"off": -25, "on": -25, "auto": -25}


def test_spark_is_among_the_shipped_models() -> None:
    sparks = quant_accuracy.shipped_sparks()
    assert (sparks["spark"] / "checkpoint" / "config.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["cost", "quality", "autoawq", "accuracy"]),
        (["--quality"], ["quality"]),
        (["--accuracy", "--cost"], ["cost", "accuracy"]),
    ],
)
def test_parts_can_be_named(
    arguments: list[str], parts: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quant, "PARTS", {name: lambda *_: ({}, []) for name in quant.PARTS})
    monkeypatch.setattr(quant, "tables", lambda _: [])
    assert quant.main([*arguments, "--json"]) == 0
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (line["bench"], list(line["results"])) == ("quant", parts)


def test_an_unknown_case_is_one_sentence() -> None:
    with pytest.raises(UsageError, match="no case 'awk' of --cost; use some of awq"):
        quant.main(["--cost", "--cases", "awk"])
