"""Qualcomm's NPU (Hexagon, HTP) through the plugin provider of ONNX Runtime; on x86-64 it is Qualcomm's simulator.

Knows: what the provider wants to be told, and which compiled files are for which chip. Does not know: graphs or tokens.

``EDGE_QNN_ARCH`` names the NPU's generation, as in v73 or v75: graphs compiled for it are then used where the bundle
has them, and the simulator simulates it (v75 where nothing is said). On a device nothing need be said.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

from edge.backends import self_test
from edge.backends.base import BACKENDS
from edge.backends.npu import NpuBackend
from edge.backends.npu_device import NpuDevice
from models.errors import UsageError
from models.qnn_chips import QNN_MODULE, QNN_PROVIDER, SOC_MODELS, compiled_name, htp_options

ARCH_VARIABLE = "EDGE_QNN_ARCH"
SIMULATED_ARCH = "v75"


def named_arch() -> str | None:
    """The generation to compile for, None: the device's own. Raises UsageError for one that is not known."""
    arch = os.environ.get(ARCH_VARIABLE) or (SIMULATED_ARCH if platform.machine() == "x86_64" else None)
    if arch is not None and arch not in SOC_MODELS:
        raise UsageError(f"{ARCH_VARIABLE} is {arch!r}; use one of {', '.join(SOC_MODELS)}.")
    return arch


HTP = NpuDevice(
    provider=QNN_PROVIDER,
    module=QNN_MODULE,
    install=BACKENDS["qnn"].install,
    is_chosen=lambda _metadata: True,
    options=lambda _num_threads: htp_options(named_arch()),
)


class QnnBackend(NpuBackend):
    """See NpuBackend; graphs that were compiled for the generation that is named are taken where they are there."""

    name = "qnn"
    device = HTP
    trial = self_test.QNN

    def choose_file(self, decode_path: Path) -> Path:
        """See NpuBackend."""
        arch = named_arch()
        if arch is None:
            return decode_path
        compiled = decode_path.with_name(compiled_name(decode_path.name, arch))
        return compiled if compiled.is_file() else decode_path
