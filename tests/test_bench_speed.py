"""``edge bench speed`` and its bare loop, on a tiny model and with few repeats."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tiny_checkpoints import write_tiny_checkpoint

from bench_edge import speed
from bench_edge.bare_loop import BareLoop
from edge.backends import self_test
from edge.backends.self_test import PASSED, SelfTest
from edge.chat_types import AnswerOptions
from edge.engine import load
from models.errors import BackendError, UsageError
from quantize.pipeline import quantize_checkpoint

FIGURES = {
    *("model", "threads", "load_s", "ttft_s", "prefill_tokens_per_s", "decode_tokens_per_s"),
    *("bare_decode_tokens_per_s", "decode_ratio", "decode_ratio_min_max", "peak_memory_mib"),
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speed")
    return quantize_checkpoint(write_tiny_checkpoint(folder / "source"), folder / "bundle", name="tiny").path


@pytest.fixture
def _self_test_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_test, "choose_mode", lambda path: SelfTest("normal", PASSED, is_remembered=True, notes=()))


@pytest.mark.usefixtures("_self_test_passed")
def test_every_figure_is_measured(bundle: Path) -> None:
    figures = speed.measure(str(bundle), repeats=7, tokens=24, threads=1)
    assert set(figures) == FIGURES
    assert (figures["model"], figures["threads"]) == ("tiny", 1)
    numbers = [figures[name] for name in FIGURES - {"model", "decode_ratio_min_max"}]
    assert all(number > 0 for number in numbers)
    low, high = figures["decode_ratio_min_max"]
    assert low <= figures["decode_ratio"] <= high


@pytest.mark.usefixtures("_self_test_passed")
def test_the_bare_loop_takes_the_best_token_as_the_runtime_does(bundle: Path) -> None:
    """A yardstick that reads the wrong row of logits would still be fast."""
    with load(str(bundle), num_threads=1, context_size=256) as engine:
        options = AnswerOptions(think="on", temperature=0.0, max_tokens=1)
        raw = engine.answer(speed.PROMPT, options).raw
        prompt = speed._prompt_tokens(engine)
        with BareLoop(engine.model.path, 1, context_size=256) as bare:
            assert bare.prefill(prompt) > 0
            assert engine.model.tokenizer.token_bytes(bare._best_token()).decode(errors="replace") in raw
            assert bare.decode(prompt, 3) > 0


def test_the_bare_loop_refuses_a_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "no.gguf"
    path.write_bytes(b"GGUF and nothing more")
    with pytest.raises(BackendError, match="cannot load"):
        BareLoop(path, 1)


def test_a_model_is_measured_in_a_process_of_its_own(bundle: Path) -> None:
    """The peak memory was inherited over fork and exec: that of whoever had asked."""
    ballast = b"x" * (600 * 2**20)
    figures = speed.measure_in_child(bundle, repeats=1, tokens=2, threads=1)
    assert 10 < figures["peak_memory_mib"] < 400 < speed.peak_memory_mib()
    del ballast


def test_a_child_that_fails_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="could not be measured"):
        speed.measure_in_child(tmp_path / "gone", repeats=1, tokens=2, threads=1)


def figures(ratio: float) -> dict[str, Any]:
    """What ``measure`` returns, made up."""
    made_up: dict[str, Any] = dict.fromkeys(FIGURES, 1.0)
    return {**made_up, "model": "m", "decode_ratio": ratio}


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bench without its measurements: spark at 0.95 of the bare loop, the shape at 0.96."""
    monkeypatch.setattr(speed, "measure_in_child", lambda path, **settings: figures(0.96 if path else 0.95))
    monkeypatch.setattr(speed, "start_times", lambda count: [0.5] * count)
    monkeypatch.setattr(speed, "shape_file", lambda shape, folder: folder / shape)


@pytest.mark.usefixtures("made_up")
def test_promised_figures_are_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "speed.json"
    assert speed.main(["--shape", "hunyuan-1.8b", "--store", str(path), "--json"]) == 0
    line = json.loads(path.read_text("utf-8"))
    assert {check["id"]: check["holds"] for check in line["checks"]} == {
        "A.loop_1": False,
        "A.loop_2": True,
        "A.start": True,
    }
    printed = capsys.readouterr().out
    assert json.loads(printed.splitlines()[-1]) == line
    assert "0.960" in printed


@pytest.mark.usefixtures("made_up")
def test_a_place_that_cannot_be_stored_in_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        speed.main(["--store", str(tmp_path / "file" / "speed.json")])


@pytest.mark.parametrize("arguments", [["--starts", "0"], ["--threads", "none"], ["--fast"]])
def test_bad_arguments_are_one_sentence(arguments: list[str]) -> None:
    with pytest.raises(UsageError, match=r"see edge bench speed --help\.$"):
        speed.main(arguments)


def test_an_unknown_shape_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no shape 'x'"):
        speed.shape_file("x", tmp_path)


def test_a_start_that_fails_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies at once is the fastest of all."""
    died = subprocess.CompletedProcess([], 1, stdout="", stderr="No model.")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: died)
    with pytest.raises(BackendError, match="No model"):
        speed.start_times(1)
