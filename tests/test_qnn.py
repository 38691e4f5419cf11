"""The static graphs on Qualcomm's HTP simulator: whole, near the CPU's answers, and compiled ahead of time."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest
from tiny_checkpoints import SPECIAL, write_tiny_checkpoint

from edge.backends import qnn, self_test
from edge.backends.base import BackendOptions
from edge.backends.npu import NpuBackend
from edge.backends.qnn import QnnBackend
from edge.backends.self_test import SelfTest
from models.bundle import Bundle
from quantize import npu_writer
from quantize.pipeline import quantize_checkpoint
from quantize.recipe import QuantRecipe

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime_qnn")
if platform.machine() != "x86_64":
    pytest.skip("the simulator is for x86-64", allow_module_level=True)

TOKENS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]


@pytest.fixture(scope="module", params=list(SPECIAL))
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of each family, with graphs small enough for a simulator, compiled for both generations."""
    folder = tmp_path_factory.mktemp("qnn")
    recipe = QuantRecipe(file_formats=("npu",), targets=("qnn-v73", "qnn-v75"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(npu_writer, "CAPACITY", 32)
        patch.setattr(npu_writer, "CHUNK_SIZE", 8)
        return quantize_checkpoint(write_tiny_checkpoint(folder / "source", request.param), folder / "out", recipe)


@pytest.fixture(autouse=True)
def _self_test_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = SelfTest("normal", self_test.PASSED, is_remembered=True, notes=())
    monkeypatch.setattr(self_test, "choose_mode", lambda path, trial: passed)


def assert_near_the_cpu(bundle: Bundle, device: QnnBackend) -> None:
    """A chunk, the rest of it and a step; float16 arithmetic is a thousandth or a few off."""
    host = NpuBackend(bundle.file("npu_decode"), BackendOptions())
    for backend in (host, device):
        backend.prefill(0, TOKENS[:-1])
        backend.append(0, TOKENS[-1:])
    ours, theirs = device.logits(0), host.logits(0)
    assert np.linalg.norm(ours - theirs) <= 0.02 * np.linalg.norm(theirs)
    host.close()
    device.close()


def test_every_node_runs_on_the_npu(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A single node on the CPU would make every step copy to and fro."""
    monkeypatch.setattr(QnnBackend, "choose_file", NpuBackend.choose_file)
    device = QnnBackend(bundle.file("npu_decode"), BackendOptions())
    assert device.placement.keys() == {"QNNExecutionProvider"}
    assert device.placement["QNNExecutionProvider"] > 200
    assert_near_the_cpu(bundle, device)


@pytest.mark.parametrize("arch", ["v73", "v75"])
def test_compiled_graphs_load_and_answer(bundle: Bundle, arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They need nothing but themselves: no data file, no other graph."""
    monkeypatch.setenv(qnn.ARCH_VARIABLE, arch)
    compiled = QnnBackend(bundle.file("npu_decode"), BackendOptions()).choose_file(bundle.file("npu_decode"))
    assert compiled == bundle.file(f"npu_decode_qnn-{arch}")
    hidden = bundle.file("npu_data").rename(bundle.path / "hidden")
    try:
        device = QnnBackend(bundle.file("npu_decode"), BackendOptions())
    finally:
        hidden.rename(bundle.file("npu_data"))
    assert device.placement == {"QNNExecutionProvider": 2}
    assert_near_the_cpu(bundle, device)


def test_the_trial_runs_in_a_process_of_its_own(bundle: Bundle, tmp_path: Path) -> None:
    """A provider that dies when it is loaded must not take the chat with it."""
    assert self_test.run_child(bundle.file("npu_decode"), "normal", "qnn") == self_test.PASSED
    damaged = tmp_path / "npu_decode.onnx"
    damaged.write_bytes(b"no graph")
    assert self_test.run_child(damaged, "normal", "qnn") == self_test.NOT_LOADED
