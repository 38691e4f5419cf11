"""CUDA through ONNX Runtime: what the provider is told, and the sentence where there is none. No GPU runs here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_checkpoints import write_tiny_checkpoint

from edge.backends import npu_device, npu_session, self_test
from edge.backends.base import BackendOptions, open_backend
from edge.backends.onnx_cuda import CUDA
from models.errors import BackendError
from quantize.pipeline import quantize_checkpoint
from quantize.recipe import QuantRecipe

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
PROVIDER, LIBRARY = "CUDAExecutionProvider", "capi/libonnxruntime_providers_cuda.so"
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


def test_the_trial_is_of_this_device(plain_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first load, which may die, has to be in the child, not in whoever chats."""
    tried: list[Any] = []
    monkeypatch.setattr(npu_session, "try_out", lambda path, device: tried.append((path, device)))
    self_test.TRIALS["onnx_cuda"].evaluate(plain_path, "normal")
    assert tried == [(plain_path, CUDA)]


class Runtime:
    """ONNX Runtime for GPUs, as far as options go: it offers ``devices`` once their provider is registered."""

    def __init__(self, *devices: str) -> None:
        self.devices, self.told = devices, []

    def preload_dlls(self) -> None:
        print("Failed to load libcudnn.so.9")

    def register_execution_provider_library(self, provider: str, path: str) -> None:
        self.told.append((provider, Path(path).name))

    def get_ep_devices(self) -> list[Any]:
        names = self.devices if any(PROVIDER in each for each in self.told) else ()
        return [SimpleNamespace(ep_name=name, ep_metadata={}) for name in ("CPUExecutionProvider", *names)]

    def SessionOptions(self) -> Any:  # the library's name
        def add(devices: list[Any], options: dict[str, str]) -> None:
            self.told.append(([device.ep_name for device in devices], options))

        def configure(key: str, value: str) -> None:
            self.told.append((key, value))

        return SimpleNamespace(add_provider_for_devices=add, add_session_config_entry=configure)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of onnxruntime-gpu in place of the installed one."""
    library = tmp_path / LIBRARY
    library.parent.mkdir()
    library.touch()
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: spec)
    npu_device.register_once.cache_clear()
    yield library
    npu_device.register_once.cache_clear()


def test_the_first_gpu_is_taken_and_nothing_runs_elsewhere(
    package: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The package knows CUDA and offers no GPU before it is told where its own library lies."""
    runtime = Runtime(PROVIDER, PROVIDER)
    monkeypatch.setattr(npu_device, "load_runtime", lambda: runtime)
    for _ in range(2):
        CUDA.session_options(1)
    assert runtime.told.count((PROVIDER, package.name)) == 1
    assert ("session.disable_cpu_ep_fallback", "1") in runtime.told
    assert ([PROVIDER], {"use_tf32": "0"}) in runtime.told
    assert not capsys.readouterr().out


@pytest.mark.usefixtures("package")
def test_cuda_without_a_gpu_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Runtime()
    monkeypatch.setattr(npu_device, "load_runtime", lambda: runtime)
    for _ in range(2):
        with pytest.raises(BackendError, match=r"^CUDAExecutionProvider finds no device of the kind asked for here"):
            CUDA.session_options(1)


@pytest.mark.usefixtures("package")
def test_a_missing_driver_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """What onnxruntime-gpu says where there is no driver."""

    def fail(*_: str) -> None:
        raise RuntimeError("Failed to load library: libcuda.so.1: cannot open shared object file")

    runtime = Runtime()
    monkeypatch.setattr(runtime, "register_execution_provider_library", fail)
    monkeypatch.setattr(npu_device, "load_runtime", lambda: runtime)
    with pytest.raises(BackendError, match=r"cannot be loaded \(.*libcuda.so.1.*\): its driver is missing, or"):
        CUDA.session_options(1)
