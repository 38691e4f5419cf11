"""The first load of a model happens in a child process, so that a crash there becomes a sentence here.

Knows: how llama.cpp dies (a library built for another CPU or by a compiler with a bug, or a damaged model), and that
the safe mode may still live. Does not know: how a backend runs. The outcome is remembered in the state folder, for each
kind of machine, library file and model file; a later start reads one small JSON file.

    python -m edge.backends.self_test MODEL normal|safe      exit code 0: passed, 3: MODEL cannot be loaded
"""

from __future__ import annotations

import hashlib
import math
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge.backends import llama_library
from edge.machine import machine_key
from edge.model_source import find_model
from edge.state import read_state, write_state
from models.errors import BackendError, BundleError, EdgeError

Mode = Literal["normal", "safe"]
RunChild = Callable[[Path, Mode], str]

STATE_FILE = "self_test.json"
MAX_REMEMBERED = 64
NUM_PREFILL_TOKENS = 48  # the matrix kernels that crash start at more than 32
EXIT_PASSED, EXIT_NOT_LOADED, EXIT_WRONG = 0, 3, 4
PASSED, NOT_LOADED, WRONG = "", "not loaded", "results that make no sense"
# What the machine or the model does to llama.cpp, always in the same way; any other end came from outside.
LASTING_DEATHS = frozenset({"SIGILL", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGABRT", WRONG})
TIMEOUT_S = 60.0
SLOWEST_DISK_BYTES_PER_S = 20e6


@dataclass(frozen=True, slots=True)
class SelfTest:
    """``mode`` is how the model may be loaded; ``death`` says how the normal mode died, empty where it lives."""

    mode: Mode
    death: str
    is_remembered: bool
    notes: tuple[str, ...]  # sentences a user should see


def choose_mode(model_path: Path, run: RunChild | None = None) -> SelfTest:
    """Remembered, or tried out now: can this machine run ``model_path`` in normal mode, or at least in safe mode?

    ``run`` tries one mode and returns how it died (a test hands in its own). Raises BackendError when both die or the
    trial was ended from outside, BundleError when both die of this file alone: the embedded model lives.
    """
    run = run or run_child
    key = _key(model_path)
    results = read_state(STATE_FILE).get("normal_mode_deaths")
    results = results if isinstance(results, dict) else {}
    if isinstance(death := results.get(key), str):
        return _outcome(death, is_remembered=True)
    death = run(model_path, "normal")
    if death == NOT_LOADED:  # says nothing about the machine; the caller's own load will say what is wrong
        return SelfTest("normal", PASSED, is_remembered=False, notes=())
    if death != PASSED:
        _check_not_ended(death, model_path)
        if (safe_death := run(model_path, "safe")) != PASSED:
            _check_not_ended(safe_death, model_path)
            raise _dead_end(model_path, f"{death}; in safe mode {safe_death}", run)
    newest = dict(list(results.items())[1 - MAX_REMEMBERED :])
    warning = write_state(STATE_FILE, {"normal_mode_deaths": newest | {key: death}})
    notes = (f"{warning} Until then every start repeats the self-test.",) if warning else ()
    return _outcome(death, is_remembered=False, notes=notes)


def _check_not_ended(death: str, model_path: Path) -> None:
    """Raises BackendError when the trial was killed or took too long, which tells nothing about any mode."""
    if death not in (*LASTING_DEATHS, NOT_LOADED):
        raise BackendError(
            f"The trial of {model_path} came to no end of its own ({death}): most likely memory ran out or the machine "
            "is very busy; close other programs, or use a smaller model."
        )


def _dead_end(model_path: Path, deaths: str, run: RunChild) -> EdgeError:
    """What both modes died of: the model file, if the embedded model lives here, else the library."""
    embedded = embedded_file()
    if embedded is not None and not embedded.samefile(model_path) and run(embedded, "safe") == PASSED:
        return BundleError(
            f"The model file {model_path} is damaged or foreign: llama.cpp dies of it ({deaths}) and not of the "
            "embedded model; fetch the file again or use another model."
        )
    return BackendError(
        f"llama.cpp dies on this machine ({deaths}): it was built for another CPU or by a compiler with a bug; "
        f"rebuild it with: {llama_library.REBUILD}"
    )


def embedded_file() -> Path | None:
    """The weights of the embedded model, the file that is known to be good; None where it is not installed."""
    try:
        return find_model(None).gguf_path
    except BundleError:
        return None


def _outcome(death: str, *, is_remembered: bool, notes: tuple[str, ...] = ()) -> SelfTest:
    if death == PASSED:
        return SelfTest("normal", PASSED, is_remembered, notes)
    safe_note = (
        f"llama.cpp's fast kernels die on this machine ({death}), so the model runs in safe mode; a rebuild makes "
        f"prefill about 4 times and decoding about 1.7 times as fast: {llama_library.REBUILD}"
    )
    return SelfTest("safe", death, is_remembered, (safe_note, *notes))


def _key(model_path: Path) -> str:
    """Names machine, library files and model file; any change of one of them makes a new key."""
    base = os.environ.get("LLAMA_CPP_LIB_PATH")
    library_folder = Path(base) if base else llama_library.package_folder() / "lib"
    facts = [machine_key()]
    for path in (*sorted(library_folder.glob("*")), model_path):
        status = path.stat()
        facts.append(f"{path.name} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:24]


def run_child(model_path: Path, mode: Mode) -> str:
    """Load ``model_path`` in a child process and evaluate some tokens; returns how it died, or ``PASSED``."""
    timeout_s = TIMEOUT_S + model_path.stat().st_size / SLOWEST_DISK_BYTES_PER_S
    package_root = str(Path(__file__).parents[2])
    paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        code = subprocess.run(
            [sys.executable, "-P", "-m", "edge.backends.self_test", str(model_path.absolute()), mode],
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


def evaluate(model_path: Path, mode: Mode) -> int:
    """What the child does: load, prefill, decode; returns its exit code, if it lives to."""
    library = llama_library.load_library()
    try:
        model = llama_library.open_model(model_path, is_safe=mode == "safe")
    except BundleError:
        return EXIT_NOT_LOADED
    context = llama_library.open_context(model, context_size=128, batch_size=64, num_threads=1, num_sequences=1)
    vocab_size = library.llama_vocab_n_tokens(library.llama_model_get_vocab(model))
    for count in (NUM_PREFILL_TOKENS, 1):
        tokens = (library.llama_token * count)(*(index % vocab_size for index in range(count)))
        if library.llama_decode(context, library.llama_batch_get_one(tokens, count)) != 0:
            return EXIT_WRONG
    logits = library.llama_get_logits_ith(context, -1)
    return EXIT_PASSED if all(math.isfinite(logits[token]) for token in range(vocab_size)) else EXIT_WRONG


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is expected here and needs no dump
    sys.exit(evaluate(Path(sys.argv[1]), "safe" if sys.argv[2] == "safe" else "normal"))
