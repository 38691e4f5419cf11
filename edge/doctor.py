"""What this machine offers, what is installed, and what a chat would choose here and why.

Knows: which facts explain a slow or failing chat. Does not know: prompts or answers; none are in a report.
Every part is examined on its own: what fails becomes a finding, and the others are still told.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edge import __version__
from edge.backend_choice import rank_backends
from edge.backends.base import BACKENDS, Backend, BackendOptions
from edge.engine import load
from edge.loaded_model import find_dialect
from edge.machine import describe_machine
from edge.model_source import ModelSource, find_model
from edge.state import state_folder, write_state
from models.errors import EdgeError, UsageError
from models.gguf_file import read_gguf_header

PACKAGES = (  # each with what may stand in its place
    ("llama-cpp-python",),
    ("onnxruntime", "onnxruntime-gpu"),
    *(("tokenizers",), ("numpy",), ("huggingface-hub",), ("typer",)),
)
PROBE_NAME = "doctor.json"
MEBIBYTE = 2**20
DEADLINE_S = 3.0  # an example of one

Facts = dict[str, str | int | float]


THREADS_REASON = "one for each fast core, but no more than one for each 32 MiB of weights"


@dataclass(frozen=True, slots=True)
class Findings:
    """Facts by part; a part that failed has one fact called ``problem``."""

    parts: Mapping[str, Facts]

    @property
    def is_healthy(self) -> bool:
        """Whether a chat would work here."""
        return not any("problem" in facts for facts in self.parts.values())

    def to_text(self) -> str:
        """For people: a heading a part, a line a fact."""
        lines: list[str] = []
        for part, facts in self.parts.items():
            lines += [part, *(f"  {name.replace('_', ' ')}: {fact}" for name, fact in facts.items()), ""]
        return "\n".join([*lines, "All is well." if self.is_healthy else "Something is wrong: see the problem above."])

    def to_json_text(self) -> str:
        """The same facts as one JSON object."""
        return json.dumps({"is_healthy": self.is_healthy, **self.parts}, ensure_ascii=False)


def examine(
    model: str | None,
    *,
    backend: str = "auto",
    dialect: str | None = None,
    options: BackendOptions | None = None,
) -> Findings:
    """Look at the machine, the packages, the model and the state folder, and load the model as a chat would."""
    asked = options or BackendOptions()
    examinations: dict[str, Callable[[], Facts]] = {
        "machine": _machine,
        "packages": _packages,
        "state folder": _state,
        "model": lambda: model_facts(find_model(model)),
        "backends": lambda: _backends(find_model(model), asked),
        "chat": lambda: _loaded(model, backend, dialect, asked),
    }
    return Findings({part: _guarded(examination) for part, examination in examinations.items()})


def write_report(findings: Findings, path: Path) -> None:
    """Write ``findings`` as JSON to ``path``. Raises UsageError when it cannot be written."""
    try:
        path.write_text(findings.to_json_text() + "\n", encoding="utf-8")
    except OSError as exc:
        raise UsageError(f"The report {path} cannot be written ({exc.strerror}); name another file.") from exc


def model_facts(source: ModelSource) -> Facts:
    """What is told by a model's files alone."""
    spoken, reason = find_dialect(source, None)
    facts: Facts = {"name": source.name, **_body_facts(source)}
    for role, path in source.weights.items():
        facts[f"weights_{role}"] = f"{path} ({path.stat().st_size} bytes)"
    facts["dialect"] = f"{spoken.name} ({reason})"
    if source.bundle is not None:
        facts["recipe"] = json.dumps(dict(source.bundle.manifest.recipe))
        facts["source"] = source.bundle.manifest.source
    return facts


def _body_facts(source: ModelSource) -> Facts:
    """From the GGUF file where there is one, which is what llama.cpp goes by."""
    if "gguf" not in source.weights and source.bundle is not None:
        spec = source.bundle.spec
        return {"architecture": spec.family, "context_trained": spec.context_length}
    header = read_gguf_header(source.gguf_path)
    context = header.metadata.get(f"{header.architecture}.context_length", "not said")
    return {"architecture": header.architecture, "context_trained": context}


def _guarded(examination: Callable[[], Facts]) -> Facts:
    try:
        return examination()
    except EdgeError as exc:
        return {"problem": str(exc)}


def _machine() -> Facts:
    machine = describe_machine()
    facts: Facts = {
        "processor": machine.cpu_name,
        "architecture": machine.architecture,
        "cores": len(machine.cores),
        "fast_cores": len(machine.fast_cores),
    }
    if machine.cpu_limit is not None:
        facts["cpu_limit"] = machine.cpu_limit
    if machine.memory_total_bytes is not None and machine.memory_available_bytes is not None:
        facts["memory_MiB"] = machine.memory_total_bytes // MEBIBYTE
        facts["memory_available_MiB"] = machine.memory_available_bytes // MEBIBYTE
    return {**facts, "system": platform.platform(), "python": sys.version.split()[0]}


def _packages() -> Facts:
    facts: Facts = {"edge-think": __version__}
    for name, *others in PACKAGES:
        found = {each: version(each) for each in (name, *others) if _is_installed(each)}
        facts |= found or {name: "not installed"}
    return facts


def _is_installed(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def _state() -> Facts:
    if warning := write_state(PROBE_NAME, {}):
        return {"note": warning}
    folder = state_folder()
    (folder / PROBE_NAME).unlink(missing_ok=True)
    return {"folder": str(folder)}


def _backends(source: ModelSource, options: BackendOptions) -> Facts:
    """Every backend: how it does, or why it is not used. Those that can are timed."""
    facts: Facts = {
        name: f"not used: the model has no {row.weights_role} weights"
        if row.weights_role not in source.weights
        else "not used: it is a simulator here, which runs where it is named"
        for name, row in BACKENDS.items()
    }
    ranked = rank_backends(source, options, times_all=True)
    return facts | {each.name: each.reason if each.is_usable else f"not used: {each.reason}" for each in ranked}


def _loaded(path: str | None, backend: str, dialect: str | None, options: BackendOptions) -> Facts:
    with load(
        path,
        backend=backend,
        dialect=dialect,
        context_size=options.context_size,
        num_threads=options.num_threads,
        gpu_layers=options.gpu_layers,
    ) as engine:
        model, device, hurried = engine.model, engine.model.backend, engine.threads_for(DEADLINE_S)
        facts: Facts = {
            "backend": f"{device.name} ({model.backend_reason})",
            "threads": f"{device.num_threads} ({'asked for' if options.num_threads else THREADS_REASON})",
            "threads_under_a_deadline": f"{hurried.num_threads} ({hurried.reason})",
            "context_tokens": device.context_size,
            "kv_bytes_per_token": device.kv_bytes_per_token,
            "kv_MiB_at_full_context": round(device.context_size * device.kv_bytes_per_token / MEBIBYTE, 1),
            "dialect": f"{model.dialect.name} ({model.dialect_reason})",
        }
        facts |= _tried(device)
        return facts | {f"note_{number}": note for number, note in enumerate(engine.notes, 1)}


def _tried(device: Backend) -> Facts:
    """What a backend with a self-test tells of it."""
    from edge.backends.llama_cpp import LlamaCppBackend
    from edge.backends.onnx_runtime import OnnxRuntimeBackend

    if not isinstance(device, LlamaCppBackend | OnnxRuntimeBackend):
        return {}
    test = device.self_test
    verdict = f"fast kernels die ({test.death})" if test.death else "passed"
    facts: Facts = {
        "context_because": device.context_reason,
        "self_test": f"{verdict}, {'remembered' if test.is_remembered else 'tried now'}",
        "mode": test.mode,
    }
    return facts | ({"layers_on_a_gpu": device.gpu} if isinstance(device, LlamaCppBackend) else {})
