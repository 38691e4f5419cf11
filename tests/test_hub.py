"""models.hub against a small hub on this machine: what is fetched, kept, resumed, and said when it fails."""

from __future__ import annotations

import errno
import shutil
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from packed_checkpoints import awq_config, write_packed_checkpoint
from small_hub import COMMIT, Hub, serve_hub
from tiny_checkpoints import tiny_config, write_json, write_tiny_checkpoint

from models.checkpoint import open_checkpoint
from models.errors import CheckpointError, HubError, UnknownFamilyError
from models.hub import HubName, fetch_model, parse_hub_name

NAME = HubName("tiny/Model-1.8B")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serve_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        yield hub


@pytest.fixture
def source(hub: Hub, tmp_path: Path) -> Path:
    """A checkpoint that the hub serves, beside files that nobody needs."""
    folder = write_tiny_checkpoint(tmp_path / "source", num_shards=2)
    for name in ("README.md", "pytorch_model.bin", "consolidated.safetensors", "training_args.json"):
        (folder / name).write_bytes(b"not needed")
    hub.add_folder(NAME.repository, folder)
    return folder


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("tencent/Hunyuan-1.8B-Instruct-AWQ-Int4", HubName("tencent/Hunyuan-1.8B-Instruct-AWQ-Int4")),
        ("org/name/model-Q4_0.gguf", HubName("org/name", "model-Q4_0.gguf")),
        ("org/name/sub/model.gguf", HubName("org/name", "sub/model.gguf")),
        ("modelscope:org/name", HubName("org/name", is_on_modelscope=True)),
        ("modelscope:org/name/m.gguf", HubName("org/name", "m.gguf", is_on_modelscope=True)),
        ("modelscope:name", None),
        ("other:org/name", None),
        ("name", None),
        ("./org/name", None),
        ("/org/name", None),
        ("~/org", None),
        ("org/model.gguf", None),
        ("org/name/model.bin", None),
        ("org/../name", None),
        ("org/na--me", None),
        ("org/name/../../x.gguf", None),
        ("", None),
    ],
)
def test_what_can_be_a_name_on_a_hub(text: str, name: HubName | None) -> None:
    """A path that was mistyped must not be looked for in the network, and a name must not leave the cache's folder."""
    assert parse_hub_name(text) == name
    assert name is None or str(name) == text


def test_only_the_needed_files_are_fetched_and_only_once(hub: Hub, source: Path) -> None:
    fetched = fetch_model(NAME)
    assert (fetched.revision, fetched.is_gguf) == (COMMIT, False)
    (source / "consolidated.safetensors").unlink()
    assert open_checkpoint(fetched.path).spec == open_checkpoint(source).spec
    assert sorted(hub.fetched()) == [
        "config.json",
        "generation_config.json",
        "model-00000.safetensors",
        "model-00001.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    hub.requests.clear()
    assert fetch_model(NAME) == fetched
    assert hub.fetched() == []


def test_a_broken_connection_is_gone_on_with(hub: Hub, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gigabytes must not be fetched twice: the second request asks for the rest only."""
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    weights = "model-00000.safetensors"
    hub.breaks[weights] = [5000]
    try:
        fetched = fetch_model(NAME)  # newer clients go on at once
    except HubError:
        fetched = fetch_model(NAME)
    assert (fetched.path / weights).read_bytes() == (source / weights).read_bytes()
    ranges = [asked for method, path, asked in hub.requests if method == "GET" and path.endswith(weights)]
    assert ranges == [None, "bytes=5000-"]


def test_a_run_that_was_cut_short_keeps_what_it_has(
    hub: Hub, source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the client's own attempts
    weights = "model-00000.safetensors"
    hub.breaks[weights] = [10] * 20
    with pytest.raises(HubError, match=r"The connection broke .* run it again to go on"):
        fetch_model(NAME)
    assert not list((tmp_path / "hub-cache").rglob(weights))
    hub.breaks.clear()
    hub.requests.clear()
    fetched = fetch_model(NAME)
    assert (fetched.path / weights).read_bytes() == (source / weights).read_bytes()
    assert weights in hub.fetched()
    assert {"config.json", "tokenizer.json"}.isdisjoint(hub.fetched())


@pytest.mark.parametrize("is_offline", [True, False])
def test_without_a_network_what_is_here_serves(
    hub: Hub, source: Path, is_offline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = fetch_model(NAME)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", is_offline)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    hub.requests.clear()
    assert fetch_model(NAME) == fetched
    reason = "HF_HUB_OFFLINE is set" if is_offline else "127.0.0.1:9 cannot be reached"
    with pytest.raises(HubError, match=rf"other/model is not .*{reason}"):
        fetch_model(HubName("other/model"))
    (fetched.path / "model-00001.safetensors").unlink()
    with pytest.raises(HubError, match=r"not \(wholly\) on this machine"):
        fetch_model(NAME)
    assert hub.requests == []


def test_what_cannot_be_used_is_refused_before_its_weights(hub: Hub, tmp_path: Path) -> None:
    """Gigabytes fetched only to hear that the family is unknown."""
    folder = write_tiny_checkpoint(tmp_path / "source")
    write_json(folder / "config.json", tiny_config() | {"model_type": "mamba"})
    hub.add_folder("a/family", folder)
    write_json(folder / "config.json", tiny_config(quantization_config={"quant_method": "gptq", "desc_act": True}))
    hub.add_folder("a/method", folder)
    with pytest.raises(UnknownFamilyError, match="mamba"):
        fetch_model(HubName("a/family"))
    with pytest.raises(CheckpointError, match="gptq"):
        fetch_model(HubName("a/method"))
    assert "model.safetensors" not in hub.fetched()


def test_an_int4_checkpoint_is_fetched_whole(hub: Hub, tmp_path: Path) -> None:
    hub.add_folder("a/awq", write_packed_checkpoint(tmp_path / "source", "awq").folder)
    assert open_checkpoint(fetch_model(HubName("a/awq")).path).config["quantization_config"] == awq_config()


def test_gguf_files_are_taken_as_they_are(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repositories["a/one"] = {"README.md": b"", "config.json": b"{}", "model.gguf": b"GGUF one"}
    hub.repositories["a/two"] = {"m-Q4_0.gguf": b"GGUF q4", "sub/m-Q8_0.gguf": b"GGUF q8"}
    one = fetch_model(HubName("a/one"))
    assert (one.path.name, one.path.read_bytes(), one.is_gguf, one.revision) == (
        "model.gguf",
        b"GGUF one",
        True,
        COMMIT,
    )
    with pytest.raises(HubError, match=r"a/two has 2 GGUF files; name one, as in a/two/m-Q4_0\.gguf; it has"):
        fetch_model(HubName("a/two"))
    inner = fetch_model(HubName("a/two", "sub/m-Q8_0.gguf"))
    assert (inner.path.read_bytes(), inner.revision) == (b"GGUF q8", COMMIT)
    with pytest.raises(HubError, match=r"a/two has no file x\.gguf; it has m-Q4_0\.gguf"):
        fetch_model(HubName("a/two", "x.gguf"))
    hub.repositories["a/split"] = {"m-00001-of-00002.gguf": b"GGUF"}
    with pytest.raises(HubError, match="one part of a split model"):
        fetch_model(HubName("a/split"))
    assert hub.fetched() == ["model.gguf", "sub/m-Q8_0.gguf"]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert fetch_model(HubName("a/one")) == one
    assert fetch_model(HubName("a/two", "sub/m-Q8_0.gguf")) == inner


def test_what_the_hub_refuses_is_one_sentence(hub: Hub, source: Path) -> None:
    with pytest.raises(HubError, match="There is no model 'a/nothing'"):
        fetch_model(HubName("a/nothing"))
    with pytest.raises(HubError, match="cannot be the name of a repository"):
        fetch_model(HubName("a/ends-with-a-dot."))
    hub.gated.add(NAME.repository)
    with pytest.raises(HubError, match="is gated; accept its terms"):
        fetch_model(NAME)
    hub.repositories["a/pickle"] = {"config.json": b"{}", "pytorch_model.bin": b""}
    with pytest.raises(HubError, match="neither safetensors"):
        fetch_model(HubName("a/pickle"))


def test_a_disk_without_room_is_told_before_the_weights(
    hub: Hub, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 9 * 10**8, 10**8))
    hub.claimed_bytes = 2 * 10**9
    with pytest.raises(HubError, match=r"needs 4\.0 GB more, but .* has 0\.1 GB free"):
        fetch_model(NAME)
    assert not any(name.startswith("model-") for name in hub.fetched())


def test_a_disk_that_fills_up_is_one_sentence(hub: Hub, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(huggingface_hub.HfApi, "snapshot_download", fail)
    with pytest.raises(HubError, match="The disk is full"):
        fetch_model(NAME)
