"""OpenVINO's provider on this machine's CPU: whole, as exact as the CPU's own code, and the contract kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from backend_contract import CONTEXT, TOKENS, BackendContract
from tiny_checkpoints import SPECIAL, write_tiny_checkpoint

from edge.backends import openvino, self_test
from edge.backends.base import BackendOptions, find_backend
from edge.backends.npu import NpuBackend
from edge.backends.openvino import OpenVinoBackend
from models.errors import BackendError, BundleError, UsageError
from quantize.pipeline import quantize_checkpoint
from quantize.recipe import QuantRecipe

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
PROVIDER = "OpenVINOExecutionProvider"


@pytest.fixture(scope="session", params=list(SPECIAL))
def plain_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The step graph of a bundle of each family, with its norms spelled out."""
    folder = tmp_path_factory.mktemp("openvino")
    checkpoint = write_tiny_checkpoint(folder / "source", request.param)
    return quantize_checkpoint(checkpoint, folder / "out", QuantRecipe(file_formats=("npu",))).file("npu_decode_plain")


@pytest.fixture(scope="session")
def _offered() -> None:
    """Skips where the plugin is not installed, or finds no device, as on a processor of another maker."""
    pytest.importorskip("onnxruntime_ep_openvino")
    try:
        openvino.OPENVINO.session_options(1)
    except BackendError as exc:
        pytest.skip(str(exc))


@pytest.mark.usefixtures("_offered")
class TestContract(BackendContract):
    tolerance = 1e-4  # one token and many are summed in another order; a mistake in the books is far above

    @pytest.fixture
    def backend(self, plain_path: Path) -> Iterator[OpenVinoBackend]:
        backend = OpenVinoBackend(plain_path, BackendOptions(CONTEXT, num_threads=1, num_sequences=2))
        yield backend
        backend.close()


@pytest.mark.usefixtures("_offered")
def test_every_node_runs_there_in_the_precision_that_was_asked_for(plain_path: Path) -> None:
    """Its own choice of precision is 0.4 % off, and a node left to the CPU would be copied to and fro."""
    host = NpuBackend(plain_path, BackendOptions())
    device = OpenVinoBackend(plain_path, BackendOptions(num_threads=1))
    assert device.placement.keys() == {PROVIDER}
    assert device.placement[PROVIDER] > 200
    for backend in (host, device):
        backend.prefill(0, TOKENS[:-1])
        backend.append(0, TOKENS[-1:])
    ours, theirs = device.logits(0), host.logits(0)
    assert np.linalg.norm(ours - theirs) <= 1e-5 * np.linalg.norm(theirs)
    host.close()
    device.close()


@pytest.mark.usefixtures("_offered")
def test_threads_are_the_cpus(plain_path: Path) -> None:
    """A number that was asked for and not used would make the speed that was learned with it a lie."""
    device = OpenVinoBackend(plain_path, BackendOptions(num_threads=1))
    device.prefill(0, TOKENS[:9])
    before = device.logits(0).copy()
    assert not device.changes_threads_freely
    device.set_threads(2)
    device.prefill(0, TOKENS[:9])
    assert device.num_threads == 2 and np.allclose(device.logits(0), before, atol=1e-4)
    device.close()


@pytest.mark.usefixtures("_offered")
def test_a_device_that_is_not_there_is_one_sentence(plain_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU in place of an NPU would be another speed under the same name."""
    monkeypatch.setenv(openvino.DEVICE_VARIABLE, "NPU.7")
    with pytest.raises(BackendError, match="finds no device of the kind asked for here; use another backend"):
        OpenVinoBackend(plain_path, BackendOptions())


@pytest.mark.usefixtures("_offered")
def test_norms_of_the_other_spelling_are_refused(plain_path: Path) -> None:
    """It knows no RMSNormalization, and would leave all of them to the CPU."""
    with pytest.raises(BundleError, match=r"cannot load .*npu_decode\.onnx whole"):
        OpenVinoBackend(plain_path.with_name("npu_decode.onnx"), BackendOptions())


@pytest.mark.usefixtures("_offered")
def test_the_trial_runs_in_a_process_of_its_own(plain_path: Path, tmp_path: Path) -> None:
    assert self_test.run_child(plain_path, "normal", "openvino") == self_test.PASSED
    damaged = tmp_path / plain_path.name
    damaged.write_bytes(b"no graph")
    assert self_test.run_child(damaged, "normal", "openvino") == self_test.NOT_LOADED


def test_a_missing_plugin_names_the_command(plain_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BackendError, match=r"onnxruntime_ep_openvino is not installed; run: pip install 'onnxruntime"):
        openvino.OPENVINO.package_folder()
    assert find_backend("openvino").weights_role == "npu_decode_plain"


@pytest.mark.parametrize(
    ("named", "offered", "is_chosen"),
    [("", "CPU", True), ("", "GPU", False), ("GPU", "GPU.0", True), ("GPU.1", "GPU.0", False), ("NPU", "NPU", True)],
)
def test_devices_are_told_apart_by_name(
    named: str, offered: str, is_chosen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(openvino.DEVICE_VARIABLE, named)
    assert openvino.OPENVINO.is_chosen({"ov_device": offered}) is is_chosen


def test_every_device_is_told_its_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a CPU has threads of ours; an unknown device must not fall back to another."""
    for name, settings in (
        ("CPU", '"INFERENCE_PRECISION_HINT": "f32"'),
        ("GPU.1", '{"GPU.1": {"INFERENCE_PRECISION_HINT": "f16"}}'),
        ("NPU", '{"NPU": {"INFERENCE_PRECISION_HINT": "f16"}}'),
    ):
        monkeypatch.setenv(openvino.DEVICE_VARIABLE, name)
        assert settings in openvino.OPENVINO.options(3)["load_config"]
    monkeypatch.setenv(openvino.DEVICE_VARIABLE, "TPU")
    with pytest.raises(UsageError, match="'TPU'; use one of CPU, GPU, NPU"):
        openvino.named_device()
