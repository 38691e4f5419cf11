"""The first load of a model happens in a child process, so that a crash there becomes a sentence here.

Knows: how a library dies (it was built for another CPU or by a compiler with a bug, or the model is damaged), and that
a safe mode may still live. Does not know: how a backend runs. The outcome is remembered in the state folder, for each
kind of machine, library file and model file; a later start reads one small JSON file.

    python -m edge.backends.self_test BACKEND MODEL normal|safe      exit code 0: passed, 3: MODEL cannot be loaded
"""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Literal

from edge.backends import llama_library, npu_session, onnx_session
from edge.backends.base import ONNX_GPU_REQUIREMENT, OPENVINO_REQUIREMENT
from edge.backends.npu_device import NpuDevice
from edge.machine import machine_key
from edge.model_source import find_model
from edge.state import read_state, write_state
from models.errors import BackendError, BundleError, EdgeError
from models.qnn_chips import QNN_REQUIREMENT

Mode = Literal["normal", "safe"]
RunChild = Callable[[Path, Mode], str]

STATE_FILE = "self_test.json"
MAX_REMEMBERED = 64
NUM_PREFILL_TOKENS = 48  # the matrix kernels that crash start at more than 32
EXIT_PASSED, EXIT_NOT_LOADED, EXIT_WRONG = 0, 3, 4
PASSED, NOT_LOADED, WRONG = "", "not loaded", "results that make no sense"
# What the machine or the model does to a library, always in the same way; any other end came from outside.
LASTING_DEATHS = frozenset({"SIGILL", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGABRT", WRONG})
TIMEOUT_S = 60.0
COMPILING_S = 300.0  # for a provider that compiles two graphs first, beside whatever else a machine does
SLOWEST_DISK_BYTES_PER_S = 20e6


@dataclass(frozen=True, slots=True)
class SelfTest:
    """``mode`` is how the model may be loaded; ``death`` says how the normal mode died, empty where it lives."""

    mode: Mode
    death: str
    is_remembered: bool
    notes: tuple[str, ...]  # sentences a user should see


@dataclass(frozen=True, slots=True)
class Trial:
    """A library that may die: for which backend, what people call it, where its files are, and what helps."""

    backend: str
    library: str
    library_folder: Callable[[], Path]  # raises BackendError where it is not installed
    evaluate: Callable[[Path, Mode], bool]  # what the child does; False for results that make no sense
    weights_role: str
    remedy: str
    safe_mode_loss: str | None  # half a sentence; None: there is no safe mode
    timeout_s: float = TIMEOUT_S  # of the trial, beside the time to read the model


def _llama_folder() -> Path:
    base = os.environ.get("LLAMA_CPP_LIB_PATH")
    return Path(base) if base else llama_library.package_folder() / "lib"


LLAMA_CPP = Trial(
    backend="llama_cpp",
    library="llama.cpp",
    library_folder=_llama_folder,
    evaluate=lambda path, mode: llama_library.try_out(path, NUM_PREFILL_TOKENS, is_safe=mode == "safe"),
    weights_role="gguf",
    remedy=llama_library.REBUILD,
    safe_mode_loss="a rebuild makes prefill about 4 times and decoding about 1.7 times as fast",
)
ONNX = Trial(
    backend="onnx",
    library="ONNX Runtime",
    library_folder=lambda: onnx_session.package_folder() / "capi",
    evaluate=lambda path, mode: onnx_session.try_out(path, NUM_PREFILL_TOKENS),
    weights_role="onnx",
    remedy=onnx_session.REINSTALL,
    safe_mode_loss=None,
)


def _provider_trial(backend: str, library: str, name: str, weights_role: str, requirement: str) -> Trial:
    """That of a provider which takes a whole graph: ``name`` is its device in the backend's module, which imports this
    one.
    """

    def device() -> NpuDevice:
        found: NpuDevice = getattr(import_module(f"edge.backends.{backend}"), name)
        return found

    return Trial(
        backend=backend,
        library=library,
        library_folder=lambda: device().package_folder(),
        evaluate=lambda path, mode: npu_session.try_out(path, device()),
        weights_role=weights_role,
        remedy=f"pip install --force-reinstall '{requirement}'",
        safe_mode_loss=None,
        timeout_s=COMPILING_S,
    )


QNN = _provider_trial("qnn", "Qualcomm's provider", "HTP", "npu_decode", QNN_REQUIREMENT)
OPENVINO = _provider_trial("openvino", "OpenVINO's provider", "OPENVINO", "npu_decode_plain", OPENVINO_REQUIREMENT)
CUDA = _provider_trial("onnx_cuda", "CUDA's provider", "CUDA", "npu_decode_plain", ONNX_GPU_REQUIREMENT)
TRIALS = {trial.backend: trial for trial in (LLAMA_CPP, ONNX, QNN, OPENVINO, CUDA)}


def choose_mode(model_path: Path, run: RunChild | None = None, trial: Trial = LLAMA_CPP) -> SelfTest:
    """Remembered, or tried out now: can this machine run ``model_path`` in normal mode, or at least in safe mode?

    ``run`` tries one mode and returns how it died (a test hands in its own). Raises BackendError when all modes die,
    the trial was ended from outside or the library is not installed, BundleError when all modes die of this file alone:
    the embedded model lives.
    """
    run = run or partial(run_child, backend=trial.backend)
    key = _key(model_path, trial)
    results = read_state(STATE_FILE).get("normal_mode_deaths")
    results = results if isinstance(results, dict) else {}
    if isinstance(death := results.get(key), str):
        return _outcome(trial, death, is_remembered=True)
    death = run(model_path, "normal")
    if death == NOT_LOADED:  # says nothing about the machine; the caller's own load will say what is wrong
        return SelfTest("normal", PASSED, is_remembered=False, notes=())
    if death != PASSED:
        _check_not_ended(death, model_path)
        _check_safe_mode(trial, death, model_path, run)
    newest = dict(list(results.items())[1 - MAX_REMEMBERED :])
    warning = write_state(STATE_FILE, {"normal_mode_deaths": newest | {key: death}})
    notes = (f"{warning} Until then every start repeats the self-test.",) if warning else ()
    return _outcome(trial, death, is_remembered=False, notes=notes)


def _check_safe_mode(trial: Trial, death: str, model_path: Path, run: RunChild) -> None:
    """Raises BackendError or BundleError unless there is a safe mode and it lives."""
    if trial.safe_mode_loss is None:
        raise _dead_end(trial, model_path, death, run)
    if (safe_death := run(model_path, "safe")) != PASSED:
        _check_not_ended(safe_death, model_path)
        raise _dead_end(trial, model_path, f"{death}; in safe mode {safe_death}", run)


def _check_not_ended(death: str, model_path: Path) -> None:
    """Raises BackendError when the trial was killed or took too long, which tells nothing about any mode."""
    if death not in (*LASTING_DEATHS, NOT_LOADED):
        raise BackendError(
            f"The trial of {model_path} came to no end of its own ({death}): most likely memory ran out or the machine "
            "is very busy; close other programs, or use a smaller model."
        )


def _dead_end(trial: Trial, model_path: Path, deaths: str, run: RunChild) -> EdgeError:
    """What all modes died of: the model file, if the embedded model lives here, else the library."""
    last_mode: Mode = "normal" if trial.safe_mode_loss is None else "safe"
    embedded = embedded_file(trial.weights_role)
    if embedded is not None and not embedded.samefile(model_path) and run(embedded, last_mode) == PASSED:
        return BundleError(
            f"The model file {model_path} is damaged or foreign: {trial.library} dies of it ({deaths}) and not of the "
            "embedded model; fetch the file again or use another model."
        )
    return BackendError(
        f"{trial.library} dies on this machine ({deaths}): it was built for another CPU or by a compiler with a bug; "
        f"rebuild it with: {trial.remedy}"
    )


def embedded_file(role: str) -> Path | None:
    """The weights of the embedded model, the file that is known to be good; None where it has none of this role."""
    try:
        return find_model(None).weights.get(role)
    except BundleError:
        return None


def _outcome(trial: Trial, death: str, *, is_remembered: bool, notes: tuple[str, ...] = ()) -> SelfTest:
    if death == PASSED:
        return SelfTest("normal", PASSED, is_remembered, notes)
    safe_note = (
        f"{trial.library}'s fast kernels die on this machine ({death}), so the model runs in safe mode; "
        f"{trial.safe_mode_loss}: {trial.remedy}"
    )
    return SelfTest("safe", death, is_remembered, (safe_note, *notes))


def _key(model_path: Path, trial: Trial) -> str:
    """Names machine, library files and model files; any change of one of them makes a new key."""
    facts = [machine_key()]
    data_path = model_path.with_name(f"{model_path.name}.data")
    for path in (*sorted(trial.library_folder().glob("*")), model_path, data_path):
        if path == data_path and not path.exists():
            continue
        status = path.stat()
        facts.append(f"{path.name} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:24]


def run_child(model_path: Path, mode: Mode, backend: str = LLAMA_CPP.backend) -> str:
    """Load ``model_path`` in a child process and evaluate some tokens; returns how it died, or ``PASSED``."""
    timeout_s = TRIALS[backend].timeout_s + model_path.stat().st_size / SLOWEST_DISK_BYTES_PER_S
    package_root = str(Path(__file__).parents[2])
    paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        code = subprocess.run(
            [sys.executable, "-P", "-m", "edge.backends.self_test", backend, str(model_path.absolute()), mode],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            timeout=timeout_s,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        return f"no end after {timeout_s:.0f} s"
    return describe_exit(code)


def describe_exit(code: int) -> str:
    """A child's exit code in words: ``PASSED``, ``NOT_LOADED``, or what killed it."""
    if code < 0:
        return signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    if code == EXIT_WRONG:
        return WRONG
    return PASSED if code == EXIT_PASSED else NOT_LOADED


def evaluate(backend: str, model_path: Path, mode: Mode) -> int:
    """What the child does: load, prefill, decode; returns its exit code, if it lives to."""
    try:
        return EXIT_PASSED if TRIALS[backend].evaluate(model_path, mode) else EXIT_WRONG
    except BundleError:
        return EXIT_NOT_LOADED


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is expected here and needs no dump
    sys.exit(evaluate(sys.argv[1], Path(sys.argv[2]), "safe" if sys.argv[3] == "safe" else "normal"))
