"""CUDA through ONNX Runtime: what the provider is told, and the sentence where there is none. No GPU runs here."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_checkpoints import write_tiny_checkpoint

from edge.backends import npu_device, self_test
from edge.backends.base import BackendOptions, open_backend
from edge.backends.onnx_cuda import CUDA
from models.errors import BackendError
from quantize.pipeline import quantize_checkpoint
from quantize.recipe import QuantRecipe

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
PROVIDER = "CUDAExecutionProvider"
needs_no_cuda = pytest.mark.skipif(PROVIDER in onnxruntime.get_available_providers(), reason="this one has CUDA")


@pytest.fixture(scope="module")
def plain_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The step graph of a bundle, with its norms spelled out."""
    folder = tmp_path_factory.mktemp("cuda")
    checkpoint = write_tiny_checkpoint(folder / "source", "qwen3")
    return quantize_checkpoint(checkpoint, folder / "out", QuantRecipe(file_formats=("npu",))).file("npu_decode_plain")


@needs_no_cuda
def test_a_runtime_without_cuda_names_the_command(plain_path: Path) -> None:
    """The CPU in its place would be another speed under the same name."""
    with pytest.raises(BackendError, match=r"has no CUDAExecutionProvider; run: pip uninstall onnxruntime && pip inst"):
        open_backend("onnx_cuda", plain_path, BackendOptions())


@needs_no_cuda
def test_the_trial_is_in_a_process_of_its_own(plain_path: Path) -> None:
    assert self_test.run_child(plain_path, "normal", "onnx_cuda") != self_test.PASSED


class Runtime:
    """ONNX Runtime with CUDA, as far as options go; ``devices`` are the names of their providers."""

    def __init__(self, *devices: str) -> None:
        self.devices, self.told = devices, []

    def get_available_providers(self) -> list[str]:
        return [PROVIDER]

    def get_ep_devices(self) -> list[Any]:
        return [SimpleNamespace(ep_name=name, ep_metadata={}) for name in self.devices]

    def SessionOptions(self) -> Any:  # the library's name
        def add(devices: list[Any], options: dict[str, str]) -> None:
            self.told.append(([device.ep_name for device in devices], options))

        def configure(key: str, value: str) -> None:
            self.told.append((key, value))

        return SimpleNamespace(add_provider_for_devices=add, add_session_config_entry=configure)


def test_the_first_gpu_is_taken_and_nothing_runs_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Runtime("CPUExecutionProvider", PROVIDER, PROVIDER)
    monkeypatch.setattr(npu_device, "load_runtime", lambda: runtime)
    CUDA.session_options(1)
    assert ("session.disable_cpu_ep_fallback", "1") in runtime.told
    assert ([PROVIDER], {"use_tf32": "0"}) in runtime.told


def test_cuda_without_a_gpu_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npu_device, "load_runtime", lambda: Runtime("CPUExecutionProvider"))
    with pytest.raises(BackendError, match=r"^CUDAExecutionProvider finds no device of the kind asked for here; use"):
        CUDA.session_options(1)
