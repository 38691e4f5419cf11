"""Layers on a GPU: as many as were asked for, or as fit; this machine's own devices are told apart from a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import write_tiny_qwen3

from edge.backends import gpu_layers
from edge.backends.gpu_layers import GpuPlan, fit_layers, free_gpu_bytes, plan_gpu
from models.errors import UsageError

GIBIBYTE = 2**30


@pytest.fixture(scope="module")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF file of two blocks."""
    return write_tiny_qwen3(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def test_what_fits_goes_there() -> None:
    """Where not all fit, llama.cpp's own choice of all would end in a failed allocation."""
    assert fit_layers(32, GIBIBYTE, 8 * GIBIBYTE) == GpuPlan(None, "all layers")
    assert fit_layers(31, 4 * GIBIBYTE, 2 * GIBIBYTE) == GpuPlan(13, "13 of 32 layers, which fit into 2048 MiB")
    assert fit_layers(31, 4 * GIBIBYTE, 0).layers == 0


def test_a_cpu_is_no_gpu() -> None:
    assert free_gpu_bytes() is None


def test_free_memory_decides_where_nothing_is_asked(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_layers, "has_gpu", lambda: True)
    monkeypatch.setattr(gpu_layers, "free_gpu_bytes", lambda: tiny_path.stat().st_size // 2)
    plan = plan_gpu(tiny_path, None)
    assert plan.layers == 1 and "1 of 3 layers, which fit into 0 MiB" in plan.words
    assert plan_gpu(tiny_path, 2) == GpuPlan(2, "2 layers, as asked for")
    monkeypatch.setattr(gpu_layers, "free_gpu_bytes", lambda: None)
    assert plan_gpu(tiny_path, None) == GpuPlan(None, "all layers")


def test_a_library_without_a_gpu_takes_no_layers(tiny_path: Path) -> None:
    assert plan_gpu(tiny_path, None).layers is None and plan_gpu(tiny_path, 0).layers == 0
    with pytest.raises(UsageError, match=r"9 layers are to be on a GPU.*GGML_CUDA=on"):
        plan_gpu(tiny_path, 9)
