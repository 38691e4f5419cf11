"""The static graphs keep the contract, on ONNX Runtime's own CPU code; devices have their own tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from backend_contract import CONTEXT, STEPS, TOKENS, BackendContract, check_any_order_of_calls
from hypothesis import HealthCheck, given, settings
from tiny_checkpoints import SPECIAL, write_tiny_checkpoint

from edge.backend_choice import rank_backends
from edge.backends.base import BackendOptions
from edge.backends.npu import NpuBackend
from edge.backends.npu_device import NpuDevice
from edge.backends.qnn import named_arch
from edge.backends.sequence_state import pack_state, unpack_state
from edge.model_source import ModelSource
from models.errors import BackendError, BundleError, UsageError
from quantize.pipeline import quantize_checkpoint
from quantize.recipe import QuantRecipe

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="session", params=list(SPECIAL))
def npu_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The step graph of a bundle of each family."""
    folder = tmp_path_factory.mktemp("npu")
    checkpoint = write_tiny_checkpoint(folder / "source", request.param)
    return quantize_checkpoint(checkpoint, folder / "out", QuantRecipe(file_formats=("npu",))).file("npu_decode")


@pytest.fixture
def backend(npu_path: Path) -> Iterator[NpuBackend]:
    backend = NpuBackend(npu_path, BackendOptions(CONTEXT, num_sequences=2))
    yield backend
    backend.close()


class TestContract(BackendContract):
    tolerance = 1e-4  # one token and many are summed in another order; a mistake in the books is far above

    @pytest.fixture
    def backend(self, npu_path: Path) -> Iterator[NpuBackend]:
        backend = NpuBackend(npu_path, BackendOptions(CONTEXT, num_sequences=2))
        yield backend
        backend.close()


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_order_of_calls(backend: NpuBackend, steps: list[tuple[str, int, int]]) -> None:
    check_any_order_of_calls(backend, steps, tolerance=1e-4)


def test_the_context_is_that_of_the_graphs(npu_path: Path) -> None:
    backend = NpuBackend(npu_path, BackendOptions())
    assert backend.context_size == 1024
    assert backend.kv_bytes_per_token == 2 * 2 * (32 + 32) * 4  # layers x KV heads x (key + value) x float32
    assert backend.placement.keys() == {"CPUExecutionProvider"}
    with pytest.raises(UsageError, match="takes 1 to 1024"):
        NpuBackend(npu_path, BackendOptions(1025))
    backend.close()


def test_states_know_their_model(backend: NpuBackend) -> None:
    """A cache of another size would be read past its end."""
    backend.prefill(0, TOKENS[:9])
    state = backend.save(0)
    with pytest.raises(BackendError, match="damaged"):
        backend.restore(0, state[:-1])
    tokens, cache = unpack_state(backend._fingerprint, state)
    with pytest.raises(BackendError, match="size; prefill instead"):
        backend.restore(0, pack_state(backend._fingerprint, tokens, cache[:-4]))
    assert backend.length(0) == 9


def test_failing_device_is_one_sentence(backend: NpuBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    backend.prefill(0, TOKENS[:9])

    def fail(*_arguments: object) -> None:
        raise RuntimeError("bad allocation\nwith a trace")

    monkeypatch.setattr(backend._model, "run", fail)
    with pytest.raises(BackendError, match=r"\(bad allocation\); load"):
        backend.append(0, [1])
    assert backend.length(0) == 9


def test_foreign_and_missing_files_are_one_sentence(npu_path: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no model file"):
        NpuBackend(tmp_path / "npu_decode.onnx", BackendOptions())
    for name in ("npu_decode.onnx", "npu_prefill.onnx"):
        (tmp_path / name).write_bytes(b"not a graph" * 9)
    with pytest.raises(BundleError, match=r"cannot load .* whole"):
        NpuBackend(tmp_path / "npu_decode.onnx", BackendOptions())


def test_a_missing_plugin_names_the_command(npu_path: Path) -> None:
    """Without its package a provider must not fall back to the CPU in silence."""

    class Missing(NpuBackend):
        device = NpuDevice("NoExecutionProvider", "no_such_plugin", "pip install it", lambda _: True, lambda _: {})

    with pytest.raises(BackendError, match="no_such_plugin is not installed; run: pip install it"):
        Missing(npu_path, BackendOptions())


def test_an_unknown_generation_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_QNN_ARCH", "v12")
    with pytest.raises(UsageError, match="'v12'; use one of v73, v75"):
        named_arch()


def test_padding_leaves_no_trace(backend: NpuBackend) -> None:
    """A chunk is filled up with tokens that nobody asked for; at the end of the capacity they have no place."""
    backend.prefill(0, TOKENS[:65])
    before = backend._caches[0].arrays["past_value.0"].copy()
    assert np.abs(before[:, :, :65]).min(axis=(0, 1, 3)).max() > 0
    assert not before[:, :, 65:].any()


def test_a_simulator_is_never_chosen(npu_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes minutes for what a CPU does at once, and timing it would keep the first answer waiting."""
    source = ModelSource("m", {"gguf": npu_path, "npu_decode": npu_path}, None)
    for machine, names in (("x86_64", ["llama_cpp"]), ("aarch64", ["llama_cpp", "qnn"])):
        monkeypatch.setattr("platform.machine", lambda machine=machine: machine)
        ranked = rank_backends(source, BackendOptions(), times_all=True, time_backend=lambda *_: 1.0)
        assert [candidate.name for candidate in ranked] == names
