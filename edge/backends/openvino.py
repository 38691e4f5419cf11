"""OpenVINO, for Intel's CPUs, GPUs and NPUs, through the plugin provider of ONNX Runtime.

Knows: what the provider calls its devices, and in which precision each computes. Does not know: graphs or tokens.

``EDGE_OPENVINO_DEVICE`` names the device: CPU where nothing is said, GPU (the first, or as in GPU.1) or NPU.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from edge.backends import self_test
from edge.backends.base import BACKENDS
from edge.backends.npu import NpuBackend
from edge.backends.npu_device import NpuDevice
from models.errors import UsageError

DEVICE_VARIABLE = "EDGE_OPENVINO_DEVICE"
# Never the provider's own choice, which on a CPU is bfloat16 and activations of 8 bits: 0.4 % off.
SETTINGS = {
    "CPU": {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"},
    "GPU": {"INFERENCE_PRECISION_HINT": "f16"},
    "NPU": {"INFERENCE_PRECISION_HINT": "f16"},
}


def named_device() -> str:
    """What the variable says, CPU where it says nothing. Raises UsageError for another kind of device."""
    name = os.environ.get(DEVICE_VARIABLE) or "CPU"
    if _kind(name) not in SETTINGS:
        raise UsageError(f"{DEVICE_VARIABLE} is {name!r}; use one of {', '.join(SETTINGS)}.")
    return name


def _is_named(metadata: Mapping[str, str]) -> bool:
    """A kind stands for the first device of its kind."""
    name, offered = named_device(), metadata.get("ov_device", "")
    return offered == name or _kind(offered) == name


def _options(num_threads: int) -> dict[str, str]:
    name = named_device()
    threads = {"INFERENCE_NUM_THREADS": str(num_threads)} if name == "CPU" else {}
    return {"load_config": json.dumps({name: SETTINGS[_kind(name)] | threads})}


def _kind(name: str) -> str:
    """GPU of GPU.1."""
    return name.partition(".")[0]


OPENVINO = NpuDevice(
    provider="OpenVINOExecutionProvider",
    module="onnxruntime_ep_openvino",
    install=BACKENDS["openvino"].install,
    is_chosen=_is_named,
    options=_options,
)


class OpenVinoBackend(NpuBackend):
    """See NpuBackend. It takes the graphs whose norms are spelled out."""

    name = "openvino"
    device = OPENVINO
    trial = self_test.OPENVINO

    @property
    def has_threads(self) -> bool:
        """Whether the device is the CPU."""
        return named_device() == "CPU"
