"""``edge models`` and ``edge-chat --model org/name`` as processes, against a hub on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packed_checkpoints import write_packed_checkpoint
from small_hub import COMMIT, Hub, serve_hub
from tiny_checkpoints import write_tiny_checkpoint

import edge
from models.bundle import verify_bundle
from models.errors import BundleError

CHAT = "from edge.cli import chat_main; chat_main()"
EDGE = "from edge.cli import main; main()"
NAME = "tiny/Model-1.8B"
FEW = ("--max-tokens", "6", "--temperature", "0", "--threads", "1", "--think", "off")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub that the processes started here talk to."""
    with serve_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hub-home"))
        yield hub


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command, run to its end."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
        encoding="utf-8",
    )


def succeed(code: str, *arguments: str) -> str:
    """The standard output of a command that must succeed."""
    result = run(code, *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def answer_of(model: str, code: str = CHAT) -> dict[str, Any]:
    """A short answer as JSON. Random weights may well say nothing that is an answer, so the exit code is not asked."""
    result = run(code, "--model", model, "2+3=?", "--json", *FEW)
    assert result.stdout, result.stderr
    value: dict[str, Any] = json.loads(result.stdout)
    return value


def complaint(code: str, *arguments: str, exit_code: int = 1) -> str:
    """The last line on standard error of a command that must fail in one sentence, without a traceback."""
    result = run(code, *arguments)
    assert result.returncode == exit_code, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    line = result.stderr.splitlines()[-1]
    assert line.endswith((".", "`"))
    return line


def visible(folder: Path) -> list[str]:
    """What is in ``folder``, hidden leftovers included."""
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


@pytest.mark.parametrize(
    ("kind", "recipe"),
    [
        ("awq", {"imported": "AutoAWQ GEMM"}),
        ("symmetric", {"imported": "compressed-tensors pack-quantized", "symmetric": True}),
        ("asymmetric", {"imported": "compressed-tensors pack-quantized", "symmetric": False}),
        ("float", {"method": "awq", "refine": "gptq"}),
    ],
)
def test_one_line_from_a_name_to_an_answer(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, recipe: dict[str, Any]
) -> None:
    """The second run must not need the network, nor make the bundle again."""
    if kind == "float":
        hub.add_folder(NAME, write_tiny_checkpoint(tmp_path / "source", dtype="bfloat16", num_shards=2))
    else:
        hub.add_folder(NAME, write_packed_checkpoint(tmp_path / "source", kind).folder)
    first = answer_of(NAME)
    assert (first["model"], first["usage"]["answer_tokens"] > 0) == ("Model-1.8B", True)
    assert visible(tmp_path / "pulled") == ["tiny--Model-1.8B"]
    bundle = verify_bundle(tmp_path / "pulled" / "tiny--Model-1.8B")
    assert bundle.manifest.source == f"{NAME} at {COMMIT}"
    assert bundle.manifest.recipe.items() >= recipe.items()
    made_at = bundle.gguf_path.stat().st_mtime_ns
    hub.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    second = answer_of(NAME)
    assert second["raw"] == first["raw"]
    assert (hub.requests, bundle.gguf_path.stat().st_mtime_ns) == ([], made_at)


def test_a_broken_connection_ends_in_an_answer_too(hub: Hub, tmp_path: Path) -> None:
    """The same line again, where the client does not go on by itself, asks for the rest of the bytes only."""
    hub.add_folder(NAME, write_packed_checkpoint(tmp_path / "source", "awq").folder)
    hub.breaks["model.safetensors"] = [5000]
    small_chunks = f"import huggingface_hub.constants as c; c.DOWNLOAD_CHUNK_SIZE = 1000\n{CHAT}"
    if "The connection broke" in run(small_chunks, "--model", NAME, "2+3=?", "--json", *FEW).stderr:
        answer_of(NAME, small_chunks)
    assert answer_of(NAME)["usage"]["answer_tokens"] > 0
    ranges = [asked for method, path, asked in hub.requests if method == "GET" and path.endswith("/model.safetensors")]
    assert ranges == [None, "bytes=5000-"]


def test_embedded_models_are_known_by_name() -> None:
    lines = succeed(EDGE, "models", "list").splitlines()
    assert [line.split("MB  ")[1] for line in lines[:2]] == [
        "spark (embedded, the default)",
        "spark-hunyuan (embedded)",
    ]
    assert "dialect: hunyuan" in succeed(EDGE, "models", "inspect", "spark-hunyuan")
    assert "files are as they were written" in succeed(EDGE, "models", "verify", "spark-hunyuan")
    assert answer_of("spark-hunyuan")["model"] == "spark-hunyuan"


def test_pull_list_inspect_verify_remove(hub: Hub, tmp_path: Path) -> None:
    hub.add_folder(NAME, write_tiny_checkpoint(tmp_path / "source", dtype="bfloat16"))
    assert "is ready" in succeed(EDGE, "models", "pull", NAME)
    hub.requests.clear()
    assert "is ready" in succeed(EDGE, "models", "pull", NAME)
    assert hub.requests == []
    listed = succeed(EDGE, "models", "list")
    assert listed.splitlines()[-1].endswith(f"MB  {NAME}")
    assert "dialect: hipo" in succeed(EDGE, "models", "inspect", NAME)
    assert "files are as they were written" in succeed(EDGE, "models", "verify", NAME)
    (tmp_path / "pulled" / ".tiny--old.0.removed").mkdir()  # of a run that was killed
    succeed(EDGE, "models", "remove", NAME)
    assert visible(tmp_path / "pulled") == []
    assert NAME not in succeed(EDGE, "models", "list")
    assert "was not pulled" in complaint(EDGE, "models", "remove", NAME)


def test_gguf_is_used_as_it_is(hub: Hub, tmp_path: Path) -> None:
    """A copy of gigabytes would be waste; a link whose file was cleaned up must be noticed and made again."""
    hub.add_folder(NAME, write_tiny_checkpoint(tmp_path / "source"))
    succeed(EDGE, "models", "pull", NAME)
    gguf = (tmp_path / "pulled" / "tiny--Model-1.8B" / "model.gguf").read_bytes()
    hub.repositories["tiny/two-GGUF"] = {"m-Q4_0.gguf": gguf, "m-Q8_0.gguf": b"GGUF"}
    named = "tiny/two-GGUF/m-Q4_0.gguf"
    answer = answer_of(named)
    assert answer["model"] == "m-Q4_0"
    link = tmp_path / "pulled" / "tiny--two-GGUF--m-Q4_0.gguf"
    assert link.is_symlink()
    assert succeed(EDGE, "models", "list").splitlines()[-1].endswith(f"MB  {named}")
    assert "only bundles hold" in complaint(EDGE, "models", "verify", named)
    link.readlink().resolve().unlink()
    assert succeed(EDGE, "models", "list").splitlines()[-1].split() == ["gone", named]
    assert "is ready" in succeed(EDGE, "models", "pull", named)
    assert link.read_bytes() == gguf
    succeed(EDGE, "models", "remove", named)
    assert visible(tmp_path / "pulled") == ["tiny--Model-1.8B"]
    assert "name one, as in tiny/two-GGUF/m-Q4_0.gguf" in complaint(CHAT, "--model", "tiny/two-GGUF", "hi")


def test_a_program_is_told_what_to_run() -> None:
    """A library that fetches gigabytes when it is asked to load a model would surprise its caller."""
    with pytest.raises(BundleError, match=r"no model at 'tiny/Model'.* run `edge models pull tiny/Model`"):
        edge.load("tiny/Model")


@pytest.mark.parametrize("signal_name", ["SIGKILL", "SIGINT"])
def test_a_run_that_ends_early_leaves_no_entry(hub: Hub, tmp_path: Path, signal_name: str) -> None:
    """Half a bundle that is found by the next run would be taken for a whole one."""
    hub.add_folder(NAME, write_packed_checkpoint(tmp_path / "source", "symmetric").folder)
    dying = f"""
import os, signal, quantize.rounding as rounding
read, seen = rounding.read_packed_rows, []
def stop(checkpoint, place):
    seen.append(place)
    if len(seen) == 5:
        os.kill(os.getpid(), signal.{signal_name})
    return read(checkpoint, place)
rounding.read_packed_rows = stop
{EDGE}
"""
    result = run(dying, "models", "pull", NAME)
    assert result.returncode != 0
    assert [name for name in visible(tmp_path / "pulled") if not name.startswith(".")] == []
    assert NAME not in succeed(EDGE, "models", "list")
    if signal_name == "SIGINT":
        assert result.stderr.splitlines()[-1] == "Interrupted."
        assert visible(tmp_path / "pulled") == []
    hub.requests.clear()
    succeed(EDGE, "models", "pull", NAME)
    assert visible(tmp_path / "pulled") == ["tiny--Model-1.8B"]
    assert hub.fetched() == []  # what was fetched before is kept
    verify_bundle(tmp_path / "pulled" / "tiny--Model-1.8B")


def test_a_damaged_entry_is_named_and_can_be_replaced(hub: Hub, tmp_path: Path) -> None:
    hub.add_folder(NAME, write_tiny_checkpoint(tmp_path / "source"))
    succeed(EDGE, "models", "pull", NAME)
    weights = tmp_path / "pulled" / "tiny--Model-1.8B" / "model.gguf"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    assert "it is damaged" in complaint(CHAT, "--model", NAME, "hi")
    assert "it is damaged" in complaint(EDGE, "models", "pull", NAME)
    assert NAME in succeed(EDGE, "models", "list")
    succeed(EDGE, "models", "pull", NAME, "--replace")
    assert weights.read_bytes() == whole


def test_what_fails_is_one_sentence_and_leaves_nothing(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "There is no model 'tiny/nothing'" in complaint(CHAT, "--model", "tiny/nothing", "hi")
    assert "is not the name of a model" in complaint(EDGE, "models", "pull", "../x", exit_code=2)
    assert "lacks the tensor" in complaint(EDGE, "models", "pull", _broken_repository(hub, tmp_path))
    (tmp_path / "a-file").write_text("")
    monkeypatch.setenv("EDGE_MODELS", str(tmp_path / "a-file"))
    hub.add_folder(NAME, write_tiny_checkpoint(tmp_path / "source"))
    assert "a-file" in complaint(EDGE, "models", "pull", NAME)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "cannot be reached" in complaint(CHAT, "--model", "tiny/other", "hi")
    assert visible(tmp_path / "pulled") == []


def _broken_repository(hub: Hub, tmp_path: Path) -> str:
    source = write_packed_checkpoint(tmp_path / "broken", "awq")
    source.rewrite(**{"model.layers.1.mlp.down_proj.qzeros": None})
    hub.add_folder("tiny/broken", source.folder)
    return "tiny/broken"


def test_wrong_options_are_told_before_anything_is_fetched(hub: Hub, tmp_path: Path) -> None:
    hub.add_folder(NAME, write_tiny_checkpoint(tmp_path / "source"))
    complaint(CHAT, "--model", NAME, "hi", "--json", "--show-thinking", exit_code=2)
    assert hub.requests == []


def test_quantize_takes_a_name(hub: Hub, tmp_path: Path) -> None:
    hub.add_folder(NAME, write_tiny_checkpoint(tmp_path / "source"))
    succeed(EDGE, "quantize", NAME, str(tmp_path / "out"))
    bundle = verify_bundle(tmp_path / "out")
    assert (bundle.name, bundle.manifest.source) == ("Model-1.8B", f"{NAME} at {COMMIT}")
    hub.repositories["tiny/one-GGUF"] = {"m.gguf": b"GGUF"}
    assert "is GGUF already" in complaint(EDGE, "quantize", "tiny/one-GGUF", str(tmp_path / "other"), exit_code=2)
    assert not (tmp_path / "other").exists()
