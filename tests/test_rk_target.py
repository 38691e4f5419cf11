"""The way to the NPU of an RK3588: the converter's folder, its script with a recording toolkit, what comes back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import rkllm_stand_in
from packed_checkpoints import write_packed_checkpoint
from tiny_checkpoints import SPECIAL, write_tiny_checkpoint

from edge.cli import app, run
from edge.doctor import model_facts
from edge.model_source import find_model
from models.attachment import attach_file
from models.bundle import open_bundle, verify_bundle
from models.errors import BundleError, CheckpointError, UsageError
from quantize.rk_target import write_rk3588_folder

TOOLKIT = """
import json, os
class RKLLM:
    def _told(self, call, **options):
        with open(os.environ["RECORD"], "a") as record:
            record.write(json.dumps([call, options]) + "\\n")
        return int(os.environ.get("FAILS") == call)
    def load_huggingface(self, **options):
        return self._told("load_huggingface", **options)
    def build(self, **options):
        with open(options["dataset"]) as file:
            assert all(set(sample) == {"input", "target"} for sample in json.load(file))
        return self._told("build", **options)
    def export_rkllm(self, path):
        open(path, "w").write("weights")
        return self._told("export_rkllm", path=path)
"""


@pytest.fixture(params=list(SPECIAL))
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write_tiny_checkpoint(tmp_path / "source", request.param)


def convert(folder: Path, source: Path, tmp_path: Path, *options: str, fails: str = "") -> tuple[int, str, list[Any]]:
    """Run the folder's script as its README says; exit code, complaint, and what the toolkit was told."""
    package = tmp_path / "toolkit" / "rkllm"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    (package / "api.py").write_text(TOOLKIT)
    record = tmp_path / "record.jsonl"
    record.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, folder / "convert.py", source, tmp_path / "model.rkllm", *options],
        env={"PYTHONPATH": str(package.parent), "RECORD": str(record), "FAILS": fails, "PATH": os.environ["PATH"]},
        capture_output=True,
        check=False,
        encoding="utf-8",
    )
    told = record.read_text().splitlines() if record.exists() else []
    return done.returncode, done.stderr, [json.loads(line) for line in told]


def test_the_script_tells_the_toolkit_8_bits_and_all_cores(source: Path, tmp_path: Path) -> None:
    folder = write_rk3588_folder(source, tmp_path / "out").path
    code, complaint, told = convert(folder, source, tmp_path, "--context", "2048")
    assert (code, complaint) == (0, "")
    (load, loaded), (build, built), (export, _) = told
    assert (load, build, export) == ("load_huggingface", "build", "export_rkllm")
    assert loaded["model"] == str(source) and loaded["device"] == "cpu"
    assert (built["quantized_dtype"], built["target_platform"], built["num_npu_core"]) == ("w8a8", "rk3588", 3)
    assert (built["do_quantization"], built["max_context"]) == (True, 2048)
    is_custom = (folder / "custom_config.json").exists()
    assert loaded["custom_config"] == (str(folder / "custom_config.json") if is_custom else None)
    assert is_custom == ("custom_config.json" in (folder / "README.md").read_text(encoding="utf-8"))
    assert "$" not in (folder / "README.md").read_text(encoding="utf-8")


def test_the_script_says_which_step_failed(tmp_path: Path) -> None:
    """The toolkit answers with a code and goes on; an export after a failed build would be a broken model."""
    source = write_tiny_checkpoint(tmp_path / "source")
    folder = write_rk3588_folder(source, tmp_path / "out").path
    code, complaint, told = convert(folder, source, tmp_path, fails="build")
    assert code == 1 and "failed in build (code 1)" in complaint and len(told) == 2
    for options, words in ((["--context", "100"], "multiple of 32"), (["--context", "32768"], "up to 16384")):
        code, complaint, told = convert(folder, source, tmp_path, *options)
        assert code == 2 and words in complaint and not told
    code, complaint, _ = convert(folder, tmp_path / "nowhere", tmp_path)
    assert code == 2 and "holds no config.json" in complaint


def test_the_calibration_is_what_the_model_reads_and_says(source: Path, tmp_path: Path) -> None:
    """Both modes, in the dialect's own tags and with its stop mark: bare text would not show the tags."""
    talk = {"role": "assistant", "content": "3", "reasoning_content": "one and two"}
    lines = [{"messages": [{"role": "user", "content": "1+2?"}, talk]}, {"text": "plain words"}]
    text = tmp_path / "text.jsonl"
    text.write_text("".join(json.dumps(line) + "\n" for line in lines))
    bundle = write_rk3588_folder(source, tmp_path / "out", calibration=text)
    on, off, plain = json.loads((bundle.path / "calibration.json").read_text(encoding="utf-8"))
    assert plain == {"input": "plain words", "target": ""}
    assert "1+2?" in on["input"] and on["input"].endswith("<think>\n")
    assert on["target"].startswith("one and two\n</think>") and "3\n</answer>" in on["target"]
    assert "one and two" not in off["target"] and "3\n</answer>" in off["target"]
    assert all(sample["target"].endswith(("<|im_end|>", "<｜hy_place▁holder▁no▁2｜>")) for sample in (on, off))


def test_a_custom_config_names_tensors_that_are_there(tmp_path: Path) -> None:
    """It is not tried against the toolkit, so at least every name in it must be one of the checkpoint's."""
    folder = write_rk3588_folder(write_tiny_checkpoint(tmp_path / "source", "hunyuan_v1_dense"), tmp_path / "out").path
    config = json.loads((folder / "custom_config.json").read_text())
    places = open_bundle(folder).spec.places()
    names = {place.checkpoint_name.removeprefix("model.").removesuffix(".weight") for place in places} | {"lm_head"}
    settings = {"BLOCKNAME": "HunYuanDenseV1DecoderLayer", "KV_CONTINUOUS": "false", "ACT_TYPE": "silu"}
    assert settings.items() <= config.items()
    for key in config.keys() - settings.keys():
        assert not config[key] or {config[key], f"layers.0.{config[key]}"} & names, key


def test_what_cannot_go_to_the_chip_is_refused(tmp_path: Path) -> None:
    packed = write_packed_checkpoint(tmp_path / "packed", "awq").folder
    with pytest.raises(CheckpointError, match="no int4 on an RK3588"):
        write_rk3588_folder(packed, tmp_path / "out")
    source = write_tiny_checkpoint(tmp_path / "source")
    with pytest.raises(UsageError, match="chat template of its own"):
        write_rk3588_folder(source, tmp_path / "out", dialect_name="plain")
    (tmp_path / "empty.txt").touch()
    with pytest.raises(UsageError, match="is empty"):
        write_rk3588_folder(source, tmp_path / "out", calibration=tmp_path / "empty.txt")
    assert not (tmp_path / "out").exists()


def test_the_commands_as_a_person_types_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From a checkpoint to a bundle that the backend for the chip finds its weights in."""
    source, out = str(write_tiny_checkpoint(tmp_path / "source")), str(tmp_path / "out")
    assert run(app, "edge", ["quantize", "--target", "rk3588", "--bits", "4", source, out]) == 2
    assert "--bits has no effect with --target" in capsys.readouterr().err
    assert run(app, "edge", ["quantize", "--target", "rk3577", source, out]) == 2
    assert "There is no target 'rk3577'" in capsys.readouterr().err
    assert run(app, "edge", ["quantize", "--target", "rk3588", source, out]) == 0
    assert "README.md says how to go on" in capsys.readouterr().out
    with pytest.raises(BundleError, match="edge models attach"):
        find_model(out)
    weights = rkllm_stand_in.write_model(tmp_path / "model.rkllm", {(1,): (2,)}, vocab_size=300)
    assert run(app, "edge", ["models", "attach", out, str(weights)]) == 0
    assert run(app, "edge", ["models", "verify", out]) == 0
    assert find_model(out).weights_path("rkllm").read_bytes() == weights.read_bytes()
    assert model_facts(find_model(out))["architecture"] == "qwen3"
    assert run(app, "edge", ["models", "inspect", out]) == 0
    assert "quantized dtype: w8a8" in capsys.readouterr().out
    assert run(app, "edge", ["models", "attach", out, source]) == 2
    assert "ends with .rkllm" in capsys.readouterr().err


def test_an_attached_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the new file and the new manifest a run may be killed: the old model must still open."""
    folder = write_rk3588_folder(write_tiny_checkpoint(tmp_path / "source"), tmp_path / "out").path
    first, second = tmp_path / "first.rkllm", tmp_path / "second.rkllm"
    first.write_bytes(b"first")
    second.write_bytes(b"second one")
    held = attach_file(folder, first, "rkllm").file("rkllm")
    with pytest.raises(BundleError, match="ask for it to be replaced"):
        attach_file(folder, second, "rkllm")

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("models.attachment.write_bytes_atomically", full_disk)
        with pytest.raises(BundleError, match="No space left"):
            attach_file(folder, second, "rkllm", replace=True)
    assert verify_bundle(folder).file("rkllm") == held
    assert len(list(folder.glob("*.rkllm"))) == 1
    again = attach_file(folder, second, "rkllm", replace=True).file("rkllm")
    assert again.read_bytes() == b"second one" and list(folder.glob("*.rkllm")) == [again]
    assert attach_file(folder, second, "rkllm", replace=True).file("rkllm") == again
    verify_bundle(folder)


def test_nothing_joins_a_bundle_by_mistake(tmp_path: Path) -> None:
    folder = write_rk3588_folder(write_tiny_checkpoint(tmp_path / "source"), tmp_path / "out").path
    empty = tmp_path / "empty.rkllm"
    empty.touch()
    before = sorted(folder.iterdir())
    for given, words in ((empty, "is empty"), (tmp_path / "nowhere.rkllm", "No such file"), (folder, "directory")):
        with pytest.raises(BundleError, match=words):
            attach_file(folder, given, "rkllm")
    with pytest.raises(BundleError, match="no bundle folder"):
        attach_file(tmp_path / "nowhere", empty, "rkllm")
    assert sorted(folder.iterdir()) == before
