"""Bench devices: rivals in turn on the same weights, parity beside a reference that is not the backend's own."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_shapes import tiny_shape
from tiny_checkpoints import write_tiny_checkpoint

from bench_edge import devices, devices_emulated, devices_parity, devices_simulated, devices_speed, shapes
from bench_edge.devices_parity import compare, native_backends, reference_of
from bench_edge.devices_speed import in_turn, measure, ratio, speed_checks
from bench_edge.devices_tables import tables
from bench_edge.kept import KeptRun
from bench_edge.npu_bundle import npu_bundle, read_stored
from bench_edge.quant_quality import open_weights
from edge.backends.base import BackendOptions, open_backend
from edge.backends.npu import NpuBackend
from edge.model_source import find_model
from models.errors import BackendError, UsageError
from quantize.pipeline import quantize_checkpoint
from quantize.recipe import QuantRecipe

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bundle for two backends, with random weights."""
    folder = tmp_path_factory.mktemp("models")
    checkpoint = write_tiny_checkpoint(folder / "checkpoint")
    return str(quantize_checkpoint(checkpoint, folder / "bundle", QuantRecipe(file_formats=("gguf", "onnx"))).path)


@pytest.fixture
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shape, prompts and reads that take no time."""
    monkeypatch.setitem(shapes.SHAPES, "tiny", tiny_shape())
    monkeypatch.setattr(devices_speed, "_tokens", lambda count: list(range(count)))
    monkeypatch.setattr(devices_speed, "PREFILL_TOKENS", 64)
    monkeypatch.setattr(devices_speed, "READ_BYTES", 2**20)
    monkeypatch.setattr(devices_speed, "_in_child", lambda part, **settings: part(**settings))  # knows no such shape


@pytest.mark.usefixtures("_tiny")
def test_every_ratio_is_measured_on_the_same_weights(tmp_path: Path) -> None:
    """Two files of other weights would compare nothing; a ratio upside down would praise the slower one."""
    pytest.importorskip("onnxruntime_genai")
    figures = measure("tiny", tmp_path / "runs", threads=1, processes=2, rounds=2)
    assert (
        len(figures["decode_ms_by_process"]["onnx"]) == len(figures["decode_ms_by_process"]["onnxruntime-genai"]) == 2
    )
    for name in ("decode_over_genai", "prefill_over_llama"):
        low, high = figures[name]["interval_95"]
        assert 0 < low <= figures[name]["value"] <= high
    assert figures["llama_bytes_per_s"] > 0 and figures["read_bytes_per_s"] > 0
    assert [check.id for check in speed_checks(figures)] == ["E.onnx_decode", "E.onnx_prefill", "E.llama_limit"]
    tokens = list(range(40))
    found: list[NDArray[np.float32]] = []
    for name, path in (("llama_cpp", "random-tiny.gguf"), ("onnx", "random-tiny-onnx/model.onnx")):
        backend = open_backend(name, tmp_path / "runs" / path, BackendOptions(context_size=64, num_threads=1))
        backend.prefill(0, tokens)
        found.append(backend.logits(0).copy())
        backend.close()
    assert np.corrcoef(found)[0, 1] > 0.99


def test_rivals_take_turns_and_the_first_round_does_not_count() -> None:
    """Whoever always went second would find the caches warm, and a processor that is already hot."""
    log: list[str] = []

    def rival(name: str) -> float:
        log.append(name)
        return float(len(log))

    found = in_turn({"a": lambda: rival("a"), "b": lambda: rival("b")}, rounds=2)
    assert "".join(log) == "baabba"
    assert found == {"a": [3.0, 6.0], "b": [4.0, 5.0]}


def test_ratio_is_theirs_over_ours() -> None:
    twice = ratio([2.0, 4.0, 2.2], [1.0, 2.0, 1.0])
    assert 2.0 < twice["value"] < 2.1 and twice["interval_95"][0] < 2.05 < twice["interval_95"][1]
    assert ratio([2.0], [1.0]) == {"value": 2.0, "interval_95": None}


def test_parity_counts_what_the_reference_would_have_said(bundle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer is the same only where every one of its tokens is; an error is found wherever it is largest."""
    assert native_backends({"tiny": bundle}) == {"tiny": ["llama_cpp", "onnx"]}
    monkeypatch.setattr(devices_parity, "MOST_TOKENS", 12)
    monkeypatch.setattr(devices_parity, "CONTEXT", 256)
    reference, prompts = reference_of(bundle), ["12+34", "7"]
    for name in ("llama_cpp", "onnx"):
        found = compare(devices_parity._load(bundle, name), reference, prompts)
        assert found["identical"]["total"] == 2 * len(prompts) and found["identical"]["count"] >= 2
        assert 0 < found["largest_logit_error"] < 2 and found["decode_tokens_per_s"] > 0
    shifted = compare(
        devices_parity._load(bundle, "onnx"), lambda tokens: np.roll(reference(tokens), 1, axis=1) + 50, prompts
    )
    assert shifted["identical"]["count"] == 0 and shifted["largest_logit_error"] > 40


def test_shapes_and_packages_are_checked_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no shape 'huge'"):
        devices.main(["--shape", "huge"])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs onnxruntime, onnxruntime_genai, onnx.*--shape none"):
        devices.main([])


def test_a_part_that_fails_ends_the_bench() -> None:
    """Half of the figures would pass for all of them."""
    with pytest.raises(BackendError, match="could not be measured"):
        devices_speed._in_child(devices_speed.decode_s, name="onnx", shape="huge", folder=".", threads=1)


def test_graphs_for_npus_hold_the_shipped_codes(tmp_path: Path) -> None:
    """Another rounding of the same model would make its answers differ for a reason that is not the device's."""
    shipped = find_model("spark")
    assert shipped.bundle is not None
    read = open_weights(shipped.gguf_path)[0]
    for place, rows in read_stored(shipped.gguf_path, list(shipped.bundle.spec.places())).items():
        values = rows if isinstance(rows, np.ndarray) else rows.dequantize()
        assert np.array_equal(values, read(place))
    path = npu_bundle("spark", tmp_path, capacity=64, chunk_size=8)
    assert npu_bundle("spark", tmp_path, capacity=64, chunk_size=8) == path
    found = []
    for name, file in (("llama_cpp", "gguf"), ("npu", "npu_decode"), ("npu", "npu_decode_plain")):
        options = BackendOptions(context_size=64, num_threads=1)
        weights = find_model(path).weights[file]
        backend = open_backend(name, weights, options) if name == "llama_cpp" else NpuBackend(weights, options)
        backend.prefill(0, list(range(40)))
        found.append(backend.logits(0).copy())
        backend.close()
    assert np.corrcoef(found).min() > 0.99


def test_simulated_answers_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Minutes an answer: what an interrupted run has answered is not asked again."""
    opened = devices_simulated.npu_bundle("spark", tmp_path, capacity=256, chunk_size=16)
    asked: list[str] = []

    def answer(model: object, backend: object, prompt: str) -> list[int]:
        asked.append(prompt)
        return [len(asked) // 4]

    source = find_model(opened)
    device = NpuBackend(source.weights["npu_decode"], BackendOptions())
    monkeypatch.setattr("edge.backends.qnn.QnnBackend", NpuBackend)
    monkeypatch.setattr("edge.loaded_model.load_model", lambda *_, **__: SimpleNamespace(backend=device))
    monkeypatch.setattr(devices_simulated, "greedy_answer", answer)
    monkeypatch.setenv("EDGE_STATE", str(tmp_path / "state"))
    kept = KeptRun("test")
    first = devices_simulated.measure("spark", tmp_path, 3, kept)
    device = NpuBackend(source.weights["npu_decode"], BackendOptions())
    assert devices_simulated.measure("spark", tmp_path, 3, kept) == first
    assert len(asked) == 6 and first["same_as_cpu"]["count"] == 2
    assert first["nodes_elsewhere"] == first["placement"]["CPUExecutionProvider"] > 400


def test_what_was_emulated_is_read_whole_or_not(tmp_path: Path) -> None:
    path = tmp_path / "found.jsonl"
    for text in (None, "", "no JSON", '{"cpu": "a76"}', "7"):
        if text is not None:
            path.write_text(text)
        with pytest.raises(UsageError, match="make test-arm"):
            devices_emulated.read_emulated(path)


def proportion(value: float) -> dict[str, Any]:
    return {"value": value, "count": 9, "total": 10, "interval_95": [value - 0.1, value + 0.1]}


def test_report_has_every_promised_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {
        "right": {mode: proportion(0.5) for mode in ("off", "on", "auto")},
        "identical": proportion(0.75),
        "largest_logit_error": 0.125,
        "decode_tokens_per_s": 99.0,
        "evidence": "executed",
    }
    speed = {
        "shape": "tiny",
        "threads": 2,
        "decode_tokens_per_s": {"onnx": 20.0, "onnxruntime-genai": 20.5},
        "prefill_tokens_per_s": {"onnx": 50.0, "llama_cpp": 70.0},
        "decode_over_genai": {"value": 0.975, "interval_95": [0.96, 0.99]},
        "prefill_over_llama": {"value": 0.7, "interval_95": None},
        "llama_bytes_per_s": 14e9,
        "read_bytes_per_s": 15e9,
    }
    on_time = {"on_time": proportion(0.99), "p99_overrun_s": 0.0, "worst_overrun_s": 0.01}
    on_time |= {"counts_from_s": 0.2, "deadlines_s": [0.03, 1.0]}
    simulated = {
        "model": "spark",
        "placement": {"QNNExecutionProvider": 439},
        "nodes_elsewhere": 0,
        "same_as_cpu": proportion(0.96),
    }
    found = tmp_path / "found.jsonl"
    found.write_text(
        '{"cpu": "a76", "backend": "router", "same": 500, "total": 500}\n'
        '{"cpu": "a76", "backend": "tests", "same": 335, "total": 335}\n'
        '{"cpu": "a76", "backend": "onnx", "same": 197, "total": 200}\n'
    )
    monkeypatch.setattr(devices_parity, "with_npu_graphs", lambda models, folder: {model: model for model in models})
    monkeypatch.setattr(devices_parity, "native_backends", lambda bundles: {"spark": ["llama_cpp", "onnx"]})
    monkeypatch.setattr(devices_simulated, "can_simulate", lambda: True)
    monkeypatch.setattr(devices_simulated, "measure", lambda *arguments: simulated)
    monkeypatch.setattr(devices_parity, "measure", lambda *arguments: {"spark": {"onnx": row}})
    monkeypatch.setattr(devices_speed, "check_can_measure", lambda shape: None)
    monkeypatch.setattr(devices_speed, "measure", lambda *arguments: speed)
    monkeypatch.setattr(devices.deadline_real, "measure", lambda course, model, kept, backend: [backend])
    monkeypatch.setattr(devices.deadline_real, "summarize", lambda course, rows: on_time)
    assert devices.main(["--json", "--arm", str(found)]) == 0
    printed = capsys.readouterr().out
    line = json.loads(printed.splitlines()[-1])
    assert {check["id"]: check["holds"] for check in line["checks"]} == {
        "E.onnx_decode": True,
        "E.onnx_prefill": True,
        "E.llama_limit": True,
        "E.deadline": True,
        "E.htp_1": True,
        "E.htp_2": False,
        "E.arm_1": True,
        "E.arm_2": True,
    }
    assert "0 of 439 nodes elsewhere" in printed and "335 of 335 tests passed; 197 of 200 answers with onnx" in printed
    assert all(table in printed for table in tables(line["results"]))
    assert "0.960 to 0.990" in printed and "| 75.0 % (65.0-85.0) | 0.12 " in printed


def test_slower_graphs_get_longer_deadlines() -> None:
    """At the deadlines of the others none of them could be kept, and nothing would be counted."""
    usual, longer = devices.spark_course("onnx", 7), devices.spark_course("openvino", 7)
    assert (usual.longest_s, longer.longest_s, longer.counts_from_s) == (1.0, 5.0, 1.0)
    assert longer.num_requests == 7 and longer.prompts == usual.prompts
