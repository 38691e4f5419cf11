"""Qualcomm's NPU generations as ONNX Runtime's QNN provider is told of them, when it compiles and when it runs.

Knows: names and numbers. Does not know: graphs, or how a provider is loaded.
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType

QNN_PROVIDER, QNN_MODULE = "QNNExecutionProvider", "onnxruntime_qnn"
QNN_REQUIREMENT = "onnxruntime-qnn>=2.7,<3"
# A chip of each generation, in the provider's own numbering: SM8550 and SM8650.
SOC_MODELS = MappingProxyType({"v73": "43", "v75": "57"})


def htp_options(arch: str | None) -> dict[str, str]:
    """What the provider is told for a generation, one of ``SOC_MODELS``; None: that of the device it runs on.

    Raises ImportError where the package of the provider is missing.
    """
    chip = {} if arch is None else {"htp_arch": arch.removeprefix("v"), "soc_model": SOC_MODELS[arch]}
    return {"backend_path": str(import_module(QNN_MODULE).get_qnn_htp_path()), **chip}


def compiled_name(graph_name: str, arch: str) -> str:
    """The file that the graph ``npu_decode.onnx`` becomes when it is compiled: ``npu_decode.qnn-v75.onnx``."""
    return f"{graph_name.removesuffix('.onnx')}.qnn-{arch}.onnx"
