"""A crash of llama.cpp happens in a child, is remembered, and leads to safe mode or to one sentence."""

from __future__ import annotations

import math
import os
import signal
import struct
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_models import write_tiny_qwen3

from edge.backends import self_test
from edge.backends.base import BackendOptions
from edge.backends.llama_cpp import LlamaCppBackend
from edge.backends.self_test import NOT_LOADED, PASSED, Mode, choose_mode, describe_exit, run_child
from edge.state import read_state
from models.errors import BackendError, BundleError


@pytest.fixture(autouse=True)
def _no_embedded_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests do not depend on the model that ships; those that need a good one say which it is."""
    monkeypatch.setattr(self_test, "embedded_file", lambda role: None)


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_qwen3(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


class Child:
    """Stands in for ``run_child``: how each mode dies, and which modes were tried."""

    def __init__(self, normal: str = PASSED, safe: str = PASSED) -> None:
        self._deaths = {"normal": normal, "safe": safe}
        self.tried: list[Mode] = []

    def __call__(self, model_path: Path, mode: Mode) -> str:
        self.tried.append(mode)
        return self._deaths[mode]


@pytest.fixture
def crashing_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python whose children die of an illegal instruction in normal mode; returns the log of its calls."""
    log, script = tmp_path / "calls", tmp_path / "python"
    script.write_text(
        f'#!/bin/sh\necho "$*" >> {log}\ncase "$*" in *normal) kill -ILL $$;; *) exec {sys.executable} "$@";; esac\n'
    )
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    return log


def test_healthy_machine_runs_in_normal_mode_and_is_asked_once(model_path: Path) -> None:
    child = Child()
    first, second = choose_mode(model_path, child), choose_mode(model_path, child)
    assert (first.mode, first.is_remembered, first.notes) == ("normal", False, ())
    assert (second.mode, second.is_remembered, second.notes) == ("normal", True, ())
    assert child.tried == ["normal"]


def test_crash_leads_to_safe_mode_and_says_what_a_rebuild_gains(model_path: Path) -> None:
    child = Child(normal="SIGILL")
    for is_remembered in (False, True):
        outcome = choose_mode(model_path, child)
        assert (outcome.mode, outcome.death, outcome.is_remembered) == ("safe", "SIGILL", is_remembered)
        assert len(outcome.notes) == 1 and "SIGILL" in outcome.notes[0] and "-fno-tree-dse" in outcome.notes[0]
    assert child.tried == ["normal", "safe"]


def test_both_modes_dying_is_one_sentence_with_the_remedy(model_path: Path) -> None:
    child = Child(normal="SIGILL", safe="SIGSEGV")
    for _ in range(2):
        with pytest.raises(BackendError, match=r"SIGILL; in safe mode SIGSEGV.*rebuild it with: CMAKE_ARGS"):
            choose_mode(model_path, child)
    assert child.tried == ["normal", "safe"] * 2  # a rebuild must be noticed, so a dead end is not remembered


def test_a_file_that_llama_cpp_dies_of_is_not_blamed_on_the_machine(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rebuild, which takes minutes, does not help against a damaged file."""
    bad_path = write_tiny_qwen3(tmp_path / "bad.gguf")

    def dies_of_the_bad_one(path: Path, mode: Mode) -> str:
        return "SIGABRT" if path == bad_path else PASSED

    with pytest.raises(BackendError, match="rebuild"):  # nothing to compare it with
        choose_mode(bad_path, dies_of_the_bad_one)
    monkeypatch.setattr(self_test, "embedded_file", lambda role: model_path)
    with pytest.raises(BundleError, match=r"bad\.gguf is damaged or foreign.*SIGABRT; in safe mode SIGABRT"):
        choose_mode(bad_path, dies_of_the_bad_one)
    for path in (bad_path, model_path):
        with pytest.raises(BackendError, match="rebuild"):
            choose_mode(path, Child(normal="SIGILL", safe="SIGILL"))


def test_a_model_that_computes_nonsense_is_a_damaged_file(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way: a well-formed file whose norms divide by NaN, tried by real children."""
    bad_path = tmp_path / "nan.gguf"
    key = b"qwen3.attention.layer_norm_rms_epsilon"
    data = bytearray(model_path.read_bytes())
    at = data.index(key) + len(key) + 4  # behind the key stands its type, 32 bits wide as the value
    data[at : at + 4] = struct.pack("<f", math.nan)
    bad_path.write_bytes(data)
    monkeypatch.setattr(self_test, "embedded_file", lambda role: model_path)
    with pytest.raises(BundleError, match="damaged or foreign"):
        LlamaCppBackend(bad_path, BackendOptions(context_size=64))


@pytest.mark.parametrize("death", ["SIGKILL", "SIGTERM", "no end after 60 s", "signal 99"])
@pytest.mark.parametrize("normal", [None, "SIGSEGV"])
def test_a_trial_ended_from_outside_is_not_remembered(model_path: Path, normal: str | None, death: str) -> None:
    """One moment without memory must not put a healthy machine into the slow mode for ever."""
    for _ in range(2):
        with pytest.raises(BackendError, match=f"{death}.*memory"):
            choose_mode(model_path, Child(normal=normal or death, safe=death))
    assert not choose_mode(model_path, Child()).is_remembered


def test_damaged_model_says_nothing_about_the_machine(model_path: Path) -> None:
    child = Child(normal=NOT_LOADED)
    assert choose_mode(model_path, child).mode == "normal"
    assert choose_mode(model_path, Child(normal="SIGILL")).mode == "safe"


def test_new_model_library_or_machine_is_tried_anew(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A result must not outlive what it was measured on: a rebuild that helps would never be found out."""
    choose_mode(model_path, Child(normal="SIGILL"))
    other = tmp_path / "other.gguf"
    other.write_bytes(model_path.read_bytes())
    assert not choose_mode(other, Child()).is_remembered
    libraries = tmp_path / "lib"
    libraries.mkdir()
    (libraries / "libllama.so").write_bytes(b"rebuilt")
    with monkeypatch.context() as patch:
        patch.setenv("LLAMA_CPP_LIB_PATH", str(libraries))
        assert choose_mode(model_path, Child()).mode == "normal"
    monkeypatch.setattr(self_test, "machine_key", lambda: "another")
    assert choose_mode(model_path, Child()).mode == "normal"


def test_memory_is_bounded(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_test, "MAX_REMEMBERED", 3)
    for number in range(5):
        monkeypatch.setattr(self_test, "machine_key", lambda number=number: str(number))
        choose_mode(model_path, Child())
    assert len(read_state(self_test.STATE_FILE)["normal_mode_deaths"]) == 3
    assert choose_mode(model_path, Child()).is_remembered


@pytest.mark.parametrize("content", ["", "[]", '{"normal_mode_deaths": 3}', "\x00"])
def test_damaged_memory_is_tested_again(model_path: Path, state_path: Path, content: str) -> None:
    state_path.mkdir()
    (state_path / self_test.STATE_FILE).write_text(content)
    assert not choose_mode(model_path, Child()).is_remembered
    assert choose_mode(model_path, Child()).is_remembered


def test_read_only_state_repeats_the_test_and_says_so(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGE_STATE", str(tmp_path / "file" / "state"))
    child = Child()
    for _ in range(2):
        (note,) = choose_mode(model_path, child).notes
        assert "EDGE_STATE" in note and "every start repeats the self-test" in note
    assert child.tried == ["normal", "normal"]


def test_exit_codes_in_words() -> None:
    assert describe_exit(0) == PASSED
    assert describe_exit(-signal.SIGILL) == "SIGILL"
    assert describe_exit(-99) == "signal 99"
    assert describe_exit(self_test.EXIT_NOT_LOADED) == describe_exit(1) == NOT_LOADED
    assert "no sense" in describe_exit(self_test.EXIT_WRONG)


@pytest.mark.parametrize("mode", ["normal", "safe"])
def test_real_child_passes_from_any_folder(
    model_path: Path, mode: Mode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder named like one of our packages, where the user happens to be, must not be imported by the child."""
    (tmp_path / "edge").mkdir()
    (tmp_path / "edge" / "__init__.py").write_text("raise SystemExit(0)")
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run_child(model_path, mode) == PASSED
    assert run_child(Path(os.devnull), mode) == NOT_LOADED


def test_hanging_child_is_ended(model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setitem(self_test.TRIALS, "llama_cpp", replace(self_test.LLAMA_CPP, timeout_s=0.1))
    started_s = time.monotonic()
    assert run_child(model_path, "normal").startswith("no end after")
    assert time.monotonic() - started_s < 30


def test_backend_falls_back_by_itself(model_path: Path, crashing_python: Path) -> None:
    """The whole way: a real child dies of SIGILL, the backend opens in safe mode and works, and knows it next time."""
    for _ in range(2):
        backend = LlamaCppBackend(model_path, BackendOptions(context_size=64))
        assert backend.is_safe_mode and "SIGILL" in backend.notes[0]
        assert backend.prefill(0, [1, 2, 3]).is_complete
        backend.close()
    assert len(crashing_python.read_text().splitlines()) == 2
