"""Graphs compiled ahead of time for one NPU, so that a device need not do it: EPContext files of ONNX Runtime.

Knows: targets, and how the provider is asked. Does not know: what is in the graphs. Compiling for Qualcomm's NPUs runs
on any x86-64 machine with Linux.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from models.errors import ModelError
from models.qnn_chips import QNN_MODULE, QNN_PROVIDER, QNN_REQUIREMENT, compiled_name, htp_options
from quantize.npu_writer import DECODE_NAME, PREFILL_NAME
from quantize.recipe import Target

_SILENT = 4
_GRAPHS = {PREFILL_NAME: "npu_prefill", DECODE_NAME: "npu_decode"}


def compiled_roles(targets: Sequence[Target]) -> dict[str, str]:
    """The role of every file that ``compile_graphs`` writes, by name."""
    return {
        compiled_name(name, target.removeprefix("qnn-")): f"{role}_{target}"
        for target in targets
        for name, role in _GRAPHS.items()
    }


def compile_graphs(folder: Path, targets: Sequence[Target]) -> None:
    """Write beside the NPU graphs in ``folder`` what they become for each of ``targets``, with the weights inside.

    Raises ModelError where the provider is missing, or does not take a graph whole.
    """
    for target in targets:
        runtime, arch = _load(), target.removeprefix("qnn-")
        for name in _GRAPHS:
            try:
                compiler = runtime.ModelCompiler(
                    _options(runtime, arch), str(folder / name), embed_compiled_data_into_model=True
                )
                compiler.compile_to_file(str(folder / compiled_name(name, arch)))
            except Exception as exc:  # what ONNX Runtime raises has no ancestor of its own
                raise ModelError(
                    f"{name} cannot be compiled for {target} ({str(exc)[:200]}); leave the target out."
                ) from exc


def check_compiler(targets: Sequence[Target]) -> None:
    """Raises ModelError, before the work, where what compiles for ``targets`` is missing."""
    if targets:
        _load()


def _load() -> Any:
    """The module ``onnxruntime``, with the provider registered."""
    try:
        runtime = import_module("onnxruntime")
        library_path = import_module(QNN_MODULE).get_library_path()
    except ImportError as exc:
        raise ModelError(
            f"What compiles for Qualcomm's NPUs is missing; run: pip install onnxruntime '{QNN_REQUIREMENT}'"
        ) from exc
    runtime.set_default_logger_severity(_SILENT)
    if not _devices(runtime):
        runtime.register_execution_provider_library(QNN_PROVIDER, str(library_path))
    return runtime


def _devices(runtime: Any) -> list[Any]:
    return [device for device in runtime.get_ep_devices() if device.ep_name == QNN_PROVIDER]


def _options(runtime: Any, arch: str) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = _SILENT
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    options.add_provider_for_devices(_devices(runtime)[:1], htp_options(arch))
    return options
