"""The state folder: where it is, and that nothing in it can fail an answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.chat_history import kept_prompts
from edge.state import read_state, state_folder, write_state


def test_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EDGE_STATE", "~/mine")
    assert state_folder() == tmp_path / "home/mine"
    monkeypatch.setenv("EDGE_STATE", "")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert state_folder() == tmp_path / "xdg/edge-think"
    monkeypatch.delenv("XDG_STATE_HOME")
    assert state_folder() == tmp_path / "home/.local/state/edge-think"


def test_what_is_written_is_read(state_path: Path) -> None:
    assert read_state("a.json") == {}
    assert write_state("a.json", {"x": [1, "é"]}) is None
    assert read_state("a.json") == {"x": [1, "é"]}
    assert [path.name for path in state_path.iterdir()] == ["a.json"]
    assert state_path.stat().st_mode & 0o077 == 0  # what a user asks is nobody else's business


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60) | st.sampled_from([b"[1]", b"null", b"[" * 100_000, b'{"x":']))
def test_damaged_files_are_empty(state_path: Path, content: bytes) -> None:
    state_path.mkdir(exist_ok=True)
    (state_path / "a.json").write_bytes(content)
    assert isinstance(read_state("a.json"), dict)


def test_unwritable_folder_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGE_STATE", str(tmp_path / "file"))
    warning = write_state("a.json", {})
    assert warning is not None and "set EDGE_STATE" in warning and str(tmp_path) in warning
    assert read_state("a.json") == {}


def test_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some services run as users that have no home folder at all."""

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("EDGE_STATE")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert read_state("a.json") == {}
    assert "home directory" in (write_state("a.json", {}) or "")
    assert kept_prompts() == []
