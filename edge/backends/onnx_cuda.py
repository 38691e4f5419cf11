"""NVIDIA's GPUs through ONNX Runtime's own CUDA provider. Written by its documentation, and never run on a GPU.

Knows: what the provider wants to be told. Does not know: graphs or tokens.

It takes the graphs for NPUs, norms spelled out: the graph for CPUs has a float32 cache, and CUDA's GroupQueryAttention
takes none.
"""

from __future__ import annotations

from edge.backends import self_test
from edge.backends.base import BACKENDS
from edge.backends.npu import NpuBackend
from edge.backends.npu_device import NpuDevice

CUDA = NpuDevice(
    provider="CUDAExecutionProvider",
    module="onnxruntime",
    library="capi/libonnxruntime_providers_cuda.so",  # built into onnxruntime-gpu, which does not register it
    install=BACKENDS["onnx_cuda"].install,
    is_chosen=lambda _metadata: True,
    options=lambda _num_threads: {"use_tf32": "0"},  # 10 bits of mantissa would be another model
)


class OnnxCudaBackend(NpuBackend):
    """See NpuBackend. The first GPU that the provider offers."""

    name = "onnx_cuda"
    device = CUDA
    trial = self_test.CUDA
