"""The doctor tells what would be chosen, keeps going where something is broken, and betrays no chat."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_checkpoints import write_tiny_checkpoint

from edge import doctor
from edge.backends.base import BackendOptions
from edge.inspection import describe_model
from models.errors import UsageError
from quantize.pipeline import quantize_checkpoint

ONE_THREAD = BackendOptions(num_threads=1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with random weights."""
    folder = tmp_path_factory.mktemp("models")
    return quantize_checkpoint(write_tiny_checkpoint(folder / "checkpoint"), folder / "bundle", name="tiny").path


def test_a_healthy_machine(bundle: Path, state_path: Path) -> None:
    findings = doctor.examine(str(bundle), options=ONE_THREAD)
    assert findings.is_healthy
    assert findings.parts["model"]["dialect"] == "hipo (its chat template has <judge>)"
    chat = findings.parts["chat"]
    assert chat["threads"] == "1 (asked for)"
    assert chat["kv_bytes_per_token"] == 2 * 2 * 2 * 32 * 2  # layers, keys and values, heads, head width, F16
    assert chat["context_because"]
    assert str(chat["self_test"]).startswith("passed")
    assert str(chat["layers_on_a_gpu"]).startswith("none")
    assert findings.parts["state folder"]["folder"] == str(state_path)
    assert findings.to_text().endswith("All is well.")


def test_a_broken_model_is_one_finding_among_others() -> None:
    """A doctor that dies of the illness is of no use."""
    findings = doctor.examine("no-such.gguf")
    assert not findings.is_healthy
    assert "no-such.gguf" in str(findings.parts["model"]["problem"])
    assert "processor" in findings.parts["machine"]
    assert "llama-cpp-python" in findings.parts["packages"]


def test_the_state_folder_is_left_as_it_was(bundle: Path, state_path: Path) -> None:
    doctor.examine(str(bundle), options=ONE_THREAD)
    assert [path.name for path in state_path.iterdir()] == ["self_test.json"]


@pytest.mark.parametrize("has_home", [True, False])
def test_a_state_folder_that_cannot_be_written_is_told(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_home: bool
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGE_STATE", str(tmp_path / "file" / "state") if has_home else "~nosuch/state")
    findings = doctor.examine(str(bundle), options=ONE_THREAD)
    assert "EDGE_STATE" in str(findings.parts["state folder"]["note"])
    assert findings.is_healthy


def test_report_is_json_without_chats(bundle: Path, state_path: Path, tmp_path: Path) -> None:
    """A report is sent to strangers."""
    state_path.mkdir()
    (state_path / "history.jsonl").write_text('{"prompt": "my secret", "answer": "42"}\n')
    report = tmp_path / "report.json"
    doctor.write_report(doctor.examine(str(bundle), options=ONE_THREAD), report)
    assert json.loads(report.read_text(encoding="utf-8"))["is_healthy"] is True
    assert "my secret" not in report.read_text(encoding="utf-8")


def test_report_that_cannot_be_written(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no-such/report\.json"):
        doctor.write_report(doctor.Findings({}), tmp_path / "no-such" / "report.json")


def test_a_bare_file_and_its_bundle_are_described(bundle: Path) -> None:
    assert "Recipe" in describe_model(bundle)
    assert "architecture: qwen3" in describe_model(bundle / "model.gguf")
