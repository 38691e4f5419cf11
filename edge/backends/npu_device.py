"""Providers of ONNX Runtime that run a whole graph, and the settings that keep it from running elsewhere.

Knows: how a plugin is found and registered, what its device wants to be told. Does not know: graphs or tokens.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

from edge.backends.onnx_session import CPU_PROVIDER, SILENT, first_line, load_runtime, runtime_errors
from models.errors import BackendError


@dataclass(frozen=True, slots=True)
class NpuDevice:
    """A provider: its name, the Python module that brings its library, and the command that installs what is missing.

    ``is_chosen`` picks among the devices that the provider offers, from their metadata; ``options`` are what the
    provider is told for a number of threads, asked for when a model is opened (both may raise UsageError or
    BackendError). ``library`` is where the module has it, None: the module says so itself, as a plugin's does.
    """

    provider: str
    module: str
    install: str
    is_chosen: Callable[[Mapping[str, str]], bool]
    options: Callable[[int], dict[str, str]]
    library: str | None = None

    def package_folder(self) -> Path:
        """Where the module is installed, found without loading it. Raises BackendError where it is not."""
        spec = importlib.util.find_spec(self.module)
        if spec is None or not spec.submodule_search_locations:
            raise BackendError(f"{self.module} is not installed; run: {self.install}")
        return Path(next(iter(spec.submodule_search_locations)))

    def session_options(self, num_threads: int) -> Any:
        """Options under which a graph runs whole on this device or is not loaded at all.

        Raises BackendError where the plugin is missing or offers no such device.
        """
        runtime = load_runtime()
        self._register()
        devices = [
            device
            for device in runtime.get_ep_devices()
            if device.ep_name == self.provider and self.is_chosen(dict(device.ep_metadata))
        ]
        if not devices:
            raise BackendError(f"{self.provider} finds no device of the kind asked for here; use another backend.")
        options = plain_options(num_threads)
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        options.add_provider_for_devices(devices[:1], self.options(num_threads))
        return options

    def _register(self) -> None:
        """Raises BackendError where the library is missing or cannot be loaded."""
        folder, runtime = self.package_folder(), load_runtime()
        if self.library is not None and not (folder / self.library).is_file():
            raise BackendError(f"The installed {self.module} has no {self.provider}; run: {self.install}")
        broken: tuple[type[Exception], ...] = (ImportError, AttributeError, OSError, *runtime_errors())
        try:
            if self.library is None:
                library_path = str(import_module(self.module).get_library_path())
            else:
                library_path = str(folder / self.library)
                with redirect_stdout(StringIO()):  # what other packages bring for it; it prints what it does not find
                    runtime.preload_dlls()
            if not any(device.ep_name == self.provider for device in runtime.get_ep_devices()):  # by somebody else
                register_once(self.provider, library_path)
        except broken as exc:
            raise BackendError(
                f"{self.provider} cannot be loaded ({first_line(exc)}): its driver is missing, or a library; install "
                f"the driver, or the library with: {self.install}"
            ) from exc


@cache
def register_once(provider: str, library_path: str) -> None:
    """Make ``provider`` known to ONNX Runtime, for which a second time in a process is an error; raises its errors."""
    load_runtime().register_execution_provider_library(provider, library_path)


def plain_options(num_threads: int) -> Any:
    """Session options that keep quiet and keep a record of where every node runs."""
    options = load_runtime().SessionOptions()
    options.intra_op_num_threads = num_threads
    options.log_severity_level = SILENT
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return options


def placement(session: Any) -> dict[str, int]:
    """How many nodes of an open session run on each provider, by ONNX Runtime's own record."""
    counts: dict[str, int] = {}
    for part in session.get_provider_graph_assignment_info():
        counts[part.ep_name] = counts.get(part.ep_name, 0) + len(part.get_nodes())
    return counts or {CPU_PROVIDER: 0}
