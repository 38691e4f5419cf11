"""edge.cli_quantize: flags become a recipe, and one that could only be ignored is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from deep_checkpoints import write_deep_checkpoint

from edge.cli_quantize import progress_text, recipe_options
from models.bundle import verify_bundle
from models.errors import UsageError
from quantize.recipe import QuantRecipe


@pytest.mark.parametrize(
    ("given", "is_float", "method"),
    [
        ({}, True, "awq"),
        ({}, False, "rtn"),
        ({"bits": 32.0}, True, "rtn"),
        ({"bits": 4.6}, True, "awq"),
        ({"method": "rtn"}, True, "rtn"),
        ({"refine": "none", "windows": 3}, True, "awq"),
    ],
)
def test_floats_are_calibrated_unless_asked_otherwise(given: dict[str, Any], is_float: bool, method: str) -> None:
    options = recipe_options(given | {"group_size": None}, wide=None, calibration=None, is_float=is_float)
    assert QuantRecipe(**options).method == method
    assert "group_size" not in options


@pytest.mark.parametrize(
    ("given", "calibration", "flag"),
    [
        ({"method": "rtn", "refine": "none"}, None, "--refine"),
        ({"bits": 32, "window_tokens": 64}, None, "--window-tokens"),
        ({"method": "rtn"}, Path("text.txt"), "--calibration"),
    ],
)
def test_what_would_be_ignored_is_refused(given: dict[str, Any], calibration: Path | None, flag: str) -> None:
    with pytest.raises(UsageError, match=f"{flag} has no effect"):
        recipe_options(given, wide=None, calibration=calibration, is_float=True)


@pytest.mark.parametrize(("wide", "roles"), [("none", ()), ("embedding,down", ("embedding", "down"))])
def test_wide_roles_are_a_list(wide: str, roles: tuple[str, ...]) -> None:
    assert recipe_options({}, wide=wide, calibration=None, is_float=True)["wide"] == roles


def test_formats_may_be_several() -> None:
    options = recipe_options({"file_formats": ["gguf"]}, wide=None, calibration=None, is_float=True)
    assert QuantRecipe(**options).file_formats == ("gguf",)


def test_a_target_brings_its_format() -> None:
    """What is compiled for a chip is the format npu; a target beside other formats only would do nothing."""
    options = recipe_options({"targets": ["qnn-v75"]}, wide=None, calibration=None, is_float=True)
    assert QuantRecipe(**options).file_formats == ("gguf", "npu")
    given: dict[str, Any] = {"targets": ["qnn-v75"], "file_formats": ["gguf"]}
    with pytest.raises(UsageError, match="beside the format npu"):
        QuantRecipe(**recipe_options(given, wide=None, calibration=None, is_float=True))
    with pytest.raises(UsageError, match="no target 'qnn-v1'; use qnn-v73, qnn-v75 or rk3588"):
        QuantRecipe(file_formats=("npu",), targets=("qnn-v1",))  # type: ignore[arg-type]


def test_progress_says_what_is_left() -> None:
    assert progress_text(0, 32, "block 0", None) == "1/32 block 0"
    assert progress_text(2, 32, "block 2", 300.0) == "3/32 block 2, about 5 minutes left"
    assert progress_text(31, 32, "block 31", 20.4) == "32/32 block 31, about 20 s left"


def test_the_command_as_a_person_types_it(tmp_path: Path) -> None:
    """Every step and the time left on standard error, what came of it on standard output, all of it in the bundle."""
    source, out = write_deep_checkpoint(tmp_path / "source", 8), tmp_path / "out"
    reply = {"role": "assistant", "content": "3", "reasoning_content": "one and two"}
    talk = {"messages": [{"role": "user", "content": "What is 1+2? " * 20}, reply]}
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(talk) + "\n" for _ in range(12)), encoding="utf-8")
    options = ["--bits", "4.6", "--windows", "3", "--window-tokens", "64", "--held-out", "1", "--calibration"]
    command = [sys.executable, "-W", "error", "-c", "from edge.cli import main; main()"]
    result = subprocess.run(
        [*command, "quantize", str(source), str(out), *options, str(tmp_path / "chats.jsonl")],
        capture_output=True,
        check=False,
        encoding="utf-8",
    )
    assert result.returncode == 0, result.stderr
    lines = result.stderr.splitlines()
    assert [line.split(",")[0] for line in lines[:8]] == [f"{number + 1}/8 block {number}" for number in range(8)]
    assert all(line.endswith(" left") for line in lines[1:8])
    assert lines[8].startswith("1/")
    assert "On held-out text: perplexity" in result.stdout
    manifest = verify_bundle(out).manifest
    assert manifest.report["calibration"]["text"] == "chats.jsonl"
    assert (manifest.recipe["bits"], manifest.recipe["windows"], manifest.recipe["window_tokens"]) == (4.6, 3, 64)
    told = subprocess.run([*command, "models", "inspect", str(out)], capture_output=True, check=False, encoding="utf-8")
    assert "bits: 4.6" in told.stdout and "calibrated on: chats.jsonl" in told.stdout
