"""Our packer of test checkpoints against the packages that people pack with, where those are installed."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import numpy as np
import pytest
from packed_checkpoints import Layer, awq_tensors, pack_quantized_config, pack_quantized_tensors, random_layer

pytestmark = pytest.mark.parity


def layer_of(group_size: int, *, symmetric: bool = False) -> Layer:
    """Random codes of 32 outputs and 128 inputs."""
    return random_layer(np.random.default_rng(3), 32, 128, group_size, symmetric=symmetric)


@pytest.mark.parametrize("group_size", [32, 128, -1])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.filterwarnings("ignore")
def test_compressed_tensors_packs_the_same_words(group_size: int, symmetric: bool) -> None:
    """What we import exactly must be what llm-compressor writes, not only what we believe that it writes."""
    torch = pytest.importorskip("torch")
    compressors = pytest.importorskip("compressed_tensors.compressors")
    scheme_type = import_module("compressed_tensors.quantization").QuantizationScheme
    layer = layer_of(group_size, symmetric=symmetric)
    scheme = scheme_type(**pack_quantized_config(group_size, symmetric=symmetric)["config_groups"]["group_0"])
    given = {
        "weight": torch.from_numpy(layer.values.astype(np.float32)),
        "weight_scale": torch.from_numpy(layer.scales.astype(np.float32)),
        "weight_zero_point": torch.from_numpy((layer.zeros - 8).astype(np.int8)),
    }
    written = compressors.PackedQuantizationCompressor.compress(given, scheme)
    ours = pack_quantized_tensors("x", layer, symmetric=symmetric)
    assert {f"x.{name}" for name in written} == ours.keys()
    for name, tensor in written.items():
        np.testing.assert_array_equal(tensor.numpy(), ours[f"x.{name}"])


@pytest.mark.parametrize("group_size", [32, 128])
@pytest.mark.filterwarnings("ignore")
def test_autoawq_packs_the_same_words(monkeypatch: pytest.MonkeyPatch, group_size: int) -> None:
    """AutoAWQ is retired, so only its packing is imported: the rest needs packages that are gone."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("accelerate")
    spec = find_spec("awq")
    if spec is None or spec.submodule_search_locations is None:
        pytest.skip("autoawq is not installed")
    package = ModuleType("awq")
    package.__path__ = list(spec.submodule_search_locations)
    monkeypatch.setitem(sys.modules, "awq", package)
    linear_type = import_module("awq.modules.linear.gemm").WQLinear_GEMM
    layer = layer_of(group_size)
    linear = torch.nn.Linear(128, 32, bias=False)
    linear.weight.data = torch.from_numpy(layer.values.astype(np.float32))
    scales, zeros = (torch.from_numpy(array.T.copy()) for array in (layer.scales, layer.zeros))
    packed = linear_type.from_linear(linear, 4, group_size, scales=scales, zeros=zeros)
    for name, array in awq_tensors("x", layer).items():
        np.testing.assert_array_equal(getattr(packed, name.removeprefix("x.")).numpy(), array)
