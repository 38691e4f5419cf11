"""models.modelscope, through the real package, against a small ModelScope on this machine."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packed_checkpoints import write_packed_checkpoint
from small_modelscope import ModelScope, serve_modelscope
from tiny_checkpoints import tiny_config, write_json, write_tiny_checkpoint

from edge.model_cache import list_entries
from models.bundle import verify_bundle
from models.checkpoint import open_checkpoint
from models.errors import HubError, UnknownFamilyError
from models.hub import HubName, fetch_model

modelscope_hub = pytest.importorskip("modelscope_hub")

NAME = HubName("tiny/Model-1.8B", is_on_modelscope=True)
CHAT = "from edge.cli import chat_main; chat_main()"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModelScope]:
    """A hub that this process, and those started here, talk to."""
    with serve_modelscope() as hub:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.url)
        monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setenv("MODELSCOPE_HOME", str(tmp_path / "hub-home"))
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the client's own attempts
        monkeypatch.setattr("modelscope_hub._download_control._DownloadControl.sleep", lambda self, seconds: None)
        yield hub


@pytest.fixture
def source(hub: ModelScope, tmp_path: Path) -> Path:
    """A checkpoint that the hub serves, beside files that nobody needs."""
    folder = write_tiny_checkpoint(tmp_path / "source", num_shards=2)
    (folder / "README.md").write_bytes(b"not needed")
    hub.add_folder(NAME.repository, folder)
    return folder


def test_the_needed_files_are_fetched_once(hub: ModelScope, source: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fetched = fetch_model(NAME)
    assert (fetched.revision, fetched.is_gguf) == ("master", False)
    assert open_checkpoint(fetched.path).spec == open_checkpoint(source).spec
    assert sorted(hub.fetched()) == sorted({path.name for path in source.iterdir()} - {"README.md"})
    hub.requests.clear()
    assert fetch_model(NAME) == fetched
    assert hub.fetched() == []
    assert capfd.readouterr() == ("", "")


def test_a_broken_connection_is_gone_on_with(hub: ModelScope, source: Path) -> None:
    """Gigabytes must not be fetched twice: the second request asks for the rest only."""
    weights = "model-00000.safetensors"
    hub.breaks[weights] = [5000]
    fetched = fetch_model(NAME)
    assert (fetched.path / weights).read_bytes() == (source / weights).read_bytes()
    ranges = [asked for file, asked in hub.requests if file == weights]
    assert ranges[0] is None
    assert (ranges[1] or "").startswith("bytes=")


@pytest.mark.parametrize("is_offline", [True, False])
def test_without_a_network_what_is_here_serves(
    hub: ModelScope, source: Path, is_offline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = fetch_model(NAME)
    hub.repositories["a/one"] = {"README.md": b"", "m.gguf": b"GGUF one"}
    one = HubName("a/one", is_on_modelscope=True)
    whole = fetch_model(one)
    assert (whole.path.read_bytes(), whole.is_gguf) == (b"GGUF one", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1" if is_offline else "0")
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "http://127.0.0.1:9")
    hub.requests.clear()
    assert fetch_model(NAME) == fetched
    assert fetch_model(one) == whole
    assert fetch_model(HubName("a/one", "m.gguf", is_on_modelscope=True)) == whole
    reason = "HF_HUB_OFFLINE is set" if is_offline else "ModelScope cannot be reached"
    for missing in (HubName("other/model", None, True), HubName("a/one", "x.gguf", True)):
        with pytest.raises(HubError, match=rf"modelscope:{missing.repository}.* is not .*{reason}"):
            fetch_model(missing)
    (fetched.path / "model-00001.safetensors").unlink()
    with pytest.raises(HubError, match=r"not \(wholly\) on this machine"):
        fetch_model(NAME)
    assert hub.requests == []


def test_what_fails_is_one_sentence(hub: ModelScope, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HubError, match="There is no model 'a/nothing', neither here nor on ModelScope"):
        fetch_model(HubName("a/nothing", is_on_modelscope=True))
    hub.closed.add("a/closed")
    with pytest.raises(HubError, match=r"a/closed is closed; .* MODELSCOPE_API_TOKEN"):
        fetch_model(HubName("a/closed", is_on_modelscope=True))
    hub.breaks["model-00000.safetensors"] = [10] * 50
    with pytest.raises(HubError, match=r"The connection broke .* run it again to go on"):
        fetch_model(NAME)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 10**6))
    with pytest.raises(HubError, match=r"GB more, but .* or set MODELSCOPE_CACHE to another disk"):
        fetch_model(NAME)


def test_a_family_is_refused_before_its_weights(hub: ModelScope, source: Path) -> None:
    write_json(source / "config.json", tiny_config() | {"model_type": "mamba"})
    hub.add_folder(NAME.repository, source)
    with pytest.raises(UnknownFamilyError, match="mamba"):
        fetch_model(NAME)
    assert not any(name.startswith("model-") for name in hub.fetched())


def test_a_disk_that_fills_up_is_one_sentence(hub: ModelScope, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(modelscope_hub.HubApi, "download_repo", fail)
    with pytest.raises(HubError, match="The disk is full"):
        fetch_model(NAME)


def test_a_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    monkeypatch.setitem(sys.modules, "modelscope_hub", None)
    with pytest.raises(HubError, match=r"modelscope:tiny/Model-1\.8B needs .* pip install '(.*)'\.") as raised:
        fetch_model(NAME)
    requirement = str(raised.value).split("'")[1]
    assert f'modelscope = ["{requirement}"]' in (repository / "pyproject.toml").read_text(encoding="utf-8")


def test_one_line_from_a_name_to_an_answer(hub: ModelScope, tmp_path: Path) -> None:
    hub.add_folder(NAME.repository, write_packed_checkpoint(tmp_path / "source", "awq").folder)
    asked = ("--model", str(NAME), "2+3=?", "--json", "--max-tokens", "6", "--temperature", "0", "--think", "off")
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHAT, *asked], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert json.loads(result.stdout)["usage"]["answer_tokens"] > 0, result.stderr
    bundle = verify_bundle(tmp_path / "pulled" / "modelscope:tiny--Model-1.8B")
    assert bundle.manifest.source == f"{NAME} at master"
    assert list_entries() == [NAME]
    assert b"Fetching modelscope:tiny/Model-1.8B" in result.stderr
