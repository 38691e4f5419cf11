"""The fastest backend that works is chosen, once, with its reason; one that does not work is passed over, in words."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_checkpoints import write_tiny_checkpoint

import edge
from edge import backend_choice, doctor
from edge.backend_choice import Candidate, open_best, rank_backends
from edge.backends import onnx_session
from edge.backends.base import BACKENDS, BackendOptions, open_backend
from edge.model_source import ModelSource, find_model
from edge.state import read_state, write_state
from models.errors import BackendError, UsageError
from quantize.pipeline import quantize_checkpoint
from quantize.recipe import QuantRecipe

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
OPTIONS = BackendOptions(num_threads=1)


@pytest.fixture(scope="module")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for two backends."""
    folder = tmp_path_factory.mktemp("models")
    checkpoint = write_tiny_checkpoint(folder / "checkpoint")
    return quantize_checkpoint(checkpoint, folder / "bundle", QuantRecipe(file_formats=("gguf", "onnx"))).path


@pytest.fixture
def source(bundle_path: Path) -> ModelSource:
    return find_model(bundle_path)


class Stopwatch:
    """Stands in for ``request_seconds``: what each backend takes or how it fails, and which were asked."""

    def __init__(self, **results: float | str) -> None:
        self.results: Mapping[str, float | str] = results
        self.asked: list[str] = []

    def __call__(self, name: str, weights_path: Path, options: BackendOptions) -> float:
        self.asked.append(name)
        assert weights_path.exists() and options.num_threads == 1
        result = self.results[name]
        if isinstance(result, str):
            raise BackendError(result)
        return result


def ranked(source: ModelSource, watch: Stopwatch, *, times_all: bool = False) -> list[Candidate]:
    return list(rank_backends(source, OPTIONS, times_all=times_all, time_backend=watch))


def test_the_fastest_is_first_and_is_timed_once(source: ModelSource) -> None:
    watch = Stopwatch(llama_cpp=0.03, onnx=0.02)
    for _ in range(2):
        best, other = ranked(source, watch)
        assert (best.name, best.reason) == ("onnx", "20 ms for a short request, the fastest here")
        assert (other.name, other.reason) == ("llama_cpp", "30 ms for a short request, onnx takes less")
    assert watch.asked == ["llama_cpp", "onnx"]
    assert ranked(source, Stopwatch(llama_cpp=0.01, onnx=0.02), times_all=True)[0].name == "llama_cpp"
    assert ranked(source, watch)[0].name == "llama_cpp"  # the doctor's times are newer


def test_noise_does_not_change_the_backend(source: ModelSource) -> None:
    """Two that are as good as equal would otherwise take turns from machine to machine."""
    assert ranked(source, Stopwatch(llama_cpp=0.0205, onnx=0.020))[0].name == "llama_cpp"


def test_one_that_fails_is_last_and_says_why(source: ModelSource) -> None:
    best, failed = ranked(source, Stopwatch(llama_cpp="It dies.", onnx=0.02))
    assert (best.name, best.is_usable) == ("onnx", True)
    assert failed == Candidate("llama_cpp", "It dies.", is_usable=False)


def test_models_for_one_backend_are_not_timed(source: ModelSource) -> None:
    alone = replace(source, weights={"gguf": source.gguf_path})
    (only,) = ranked(alone, Stopwatch())
    assert (only.name, only.reason) == ("llama_cpp", "the only one that this model has weights for")


def test_large_models_do_not_keep_their_first_answer_waiting(
    source: ModelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_choice, "LARGEST_TIMED_BYTES", 1000)
    watch = Stopwatch(llama_cpp=0.03, onnx=0.02)
    first, _ = ranked(source, watch)
    assert (first.name, watch.asked) == ("llama_cpp", []) and "edge doctor" in first.reason
    assert ranked(source, watch, times_all=True)[0].name == "onnx"
    assert ranked(source, watch)[0].name == "onnx"


def test_new_weights_threads_machine_or_package_are_timed_anew(
    source: ModelSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found out about one package must not outlive it: a new one may be faster, or work at all."""
    watch = Stopwatch(llama_cpp=0.03, onnx=0.02)
    ranked(source, watch)
    other = tmp_path / "other.onnx"
    other.write_bytes(b"")
    ranked(replace(source, weights={**source.weights, "onnx": other}), watch)
    with monkeypatch.context() as patch:
        patch.setattr(backend_choice, "machine_key", lambda: "another")
        ranked(source, watch)
    with monkeypatch.context() as patch:
        patch.setattr(backend_choice, "_installed_at", lambda package: 7)
        ranked(source, watch)
    ranked(source, watch)
    assert len(watch.asked) == 2 * 4


@pytest.mark.parametrize("kept", [3, {}, {"onnx": None}, ["onnx"]])
def test_damaged_memory_is_timed_again(source: ModelSource, kept: object) -> None:
    ranked(source, Stopwatch(llama_cpp=0.03, onnx=0.02))
    (key,) = read_state(backend_choice.FILE)
    write_state(backend_choice.FILE, {key: kept})
    assert ranked(source, Stopwatch(llama_cpp=0.01, onnx=0.02))[0].name == "llama_cpp"


def test_memory_is_bounded(source: ModelSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_choice, "MAX_REMEMBERED", 3)
    for number in range(5):
        monkeypatch.setattr(backend_choice, "machine_key", lambda number=number: str(number))
        ranked(source, Stopwatch(llama_cpp=0.03, onnx=0.02))
    assert len(read_state(backend_choice.FILE)) == 3


def test_auto_goes_on_to_the_next_that_opens(source: ModelSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is taken away after it was chosen must not end every chat."""
    with monkeypatch.context() as patch:
        patch.setattr(backend_choice, "request_seconds", Stopwatch(llama_cpp=0.03, onnx=0.02))
        rank_backends(source, OPTIONS)

    def gone() -> Path:
        raise BackendError("onnxruntime is not installed; run: pip install it")

    monkeypatch.setattr(onnx_session, "package_folder", gone)
    backend, candidate, notes = open_best(source, OPTIONS)
    backend.close()
    assert candidate.name == backend.name == "llama_cpp"
    assert notes == ("The backend onnx was passed over: onnxruntime is not installed; run: pip install it",)
    with pytest.raises(BackendError, match="not installed"):  # of the best, where none opens
        open_best(source, replace(OPTIONS, context_size=10**9))


def test_real_backends_are_timed_and_both_answer(bundle_path: Path) -> None:
    """The whole way, self-tests in child processes included."""
    start_s = time.monotonic()
    with edge.load(bundle_path, num_threads=1, context_size=200) as engine:
        assert engine.model.backend.name in ("llama_cpp", "onnx") and engine.notes == ()
        assert "for a short request" in engine.model.backend_reason
    assert time.monotonic() - start_s < 60
    answers = set()
    for name in ("llama_cpp", "onnx"):
        with edge.load(bundle_path, backend=name, num_threads=1, context_size=200) as engine:
            answer = engine.answer("12+34", edge.AnswerOptions(think="off", temperature=0, max_tokens=8))
            answers.add(answer.usage.prompt_tokens)
            assert engine.model.backend_reason == "it was asked for"
    assert len(answers) == 1


def test_doctor_lists_all_backends_with_why_not(bundle_path: Path) -> None:
    findings = doctor.examine(str(bundle_path), options=replace(OPTIONS, context_size=200))
    facts = findings.parts["backends"]
    assert findings.is_healthy and list(facts) == list(BACKENDS)
    assert "ms for a short request" in str(facts["onnx"]) and "ms for a short request" in str(facts["llama_cpp"])
    assert facts["rkllm"] == "not used: the model has no rkllm weights"
    assert "the fastest here" in str(findings.parts["chat"]["backend"])


def test_doctor_tells_a_simulator_from_a_model_without_its_weights(
    source: ModelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model with graphs for the simulator was said to have none."""
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(doctor, "rank_backends", lambda *arguments, **options: ())
    with_graphs = replace(source, weights={**source.weights, "npu_decode": source.weights["onnx"]})
    assert (
        doctor._backends(with_graphs, OPTIONS)["qnn"]
        == "not used: it is a simulator here, which runs where it is named"
    )
    assert doctor._backends(source, OPTIONS)["qnn"] == "not used: the model has no npu_decode weights"


def test_doctor_tells_a_model_without_gguf_weights(bundle_path: Path) -> None:
    source = find_model(bundle_path)
    facts = doctor.model_facts(replace(source, weights={"onnx": source.weights["onnx"]}))
    assert facts["architecture"] == "qwen3" and "model.onnx" in str(facts["weights_onnx"])


def test_options_that_a_backend_does_not_take_are_refused(source: ModelSource) -> None:
    with pytest.raises(UsageError, match="onnx moves no layers"):
        open_backend("onnx", source.weights["onnx"], BackendOptions(gpu_layers=3))
