"""Which backend a model is opened on: the fastest here, timed once with a short request, remembered, with the reason.

Knows: for which backends a model has weights, and how long each takes. Does not know: how a backend works.
"""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from edge.backends.base import BACKENDS, Backend, BackendOptions, find_backend, open_backend
from edge.machine import machine_key
from edge.model_source import ModelSource
from edge.state import read_state, write_state
from models.errors import EdgeError

FILE = "backends.json"
MAX_REMEMBERED = 64
LARGEST_TIMED_BYTES = 64 * 2**20  # weights: opening a larger model once more would keep its first answer waiting
PROMPT_TOKENS, ANSWER_TOKENS, TIMED_STEPS = 64, 64, 16
NEARLY = 1.1  # within this factor of the fastest, the order of the table decides: such a difference is noise

TimeBackend = Callable[[str, Path, BackendOptions], float]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A backend for one model: ``seconds`` for a short request (None: not timed), and why it is or is not used."""

    name: str
    reason: str  # half a sentence, or the sentence of the error that it met
    is_usable: bool = True
    seconds: float | None = None


def rank_backends(
    source: ModelSource,
    options: BackendOptions,
    *,
    times_all: bool = False,
    time_backend: TimeBackend | None = None,
) -> tuple[Candidate, ...]:
    """The backends that ``source`` has weights for, best first; those that failed come last.

    Nothing is timed where there is one alone, nor where the weights are large; ``times_all`` times those, and anew.
    """
    fitting = [name for name, row in BACKENDS.items() if row.weights_role in source.weights]
    names = [name for name in fitting if BACKENDS[name].simulated_on != platform.machine()] or fitting
    if len(names) == 1:
        return (Candidate(names[0], "the only one that this model has weights for"),)
    key = _key(source, names, options)
    found = None if times_all else _recall(key)
    if found is None:
        if not times_all and max(_weights(source, name).stat().st_size for name in names) > LARGEST_TIMED_BYTES:
            return tuple(Candidate(name, "the first that works; `edge doctor` finds the fastest") for name in names)
        timed = time_backend or request_seconds
        found = {name: _tried(timed, name, _weights(source, name), options) for name in names}
        _remember(key, found)
    return _ranked(found)


def open_best(source: ModelSource, options: BackendOptions) -> tuple[Backend, Candidate, tuple[str, ...]]:
    """Open the best backend that opens: the backend, why it, and a sentence on each better one that did not.

    Raises what the first of them raised where none does.
    """
    errors: list[EdgeError] = []
    notes: list[str] = []
    for candidate in rank_backends(source, options):
        try:
            return open_backend(candidate.name, _weights(source, candidate.name), options), candidate, tuple(notes)
        except EdgeError as exc:
            errors.append(exc)
            notes.append(f"The backend {candidate.name} was passed over: {exc}")
    raise errors[0]


def request_seconds(name: str, weights_path: Path, options: BackendOptions) -> float:
    """Seconds that a backend takes to read PROMPT_TOKENS and write ANSWER_TOKENS. Raises what opening it raises."""
    device = open_backend(name, weights_path, replace(options, context_size=PROMPT_TOKENS + TIMED_STEPS))
    try:
        tokens = [index % device.vocab_size for index in range(PROMPT_TOKENS)]
        device.prefill(0, tokens[:8])  # the first call of a process pays for memory
        device.append(0, tokens[:1])
        device.cut(0, 0)
        times_s = [time.perf_counter()]
        device.prefill(0, tokens)
        times_s.append(time.perf_counter())
        for token in tokens[:TIMED_STEPS]:
            device.append(0, (token,))
            device.logits(0)
            times_s.append(time.perf_counter())
        steps_s = [after - before for before, after in pairwise(times_s[1:])]
        return times_s[1] - times_s[0] + ANSWER_TOKENS * sorted(steps_s)[TIMED_STEPS // 2]
    finally:
        device.close()


def _tried(timed: TimeBackend, name: str, weights_path: Path, options: BackendOptions) -> float | str:
    """Seconds, or the sentence of what went wrong."""
    try:
        return timed(name, weights_path, options)
    except EdgeError as exc:
        return str(exc)


def _ranked(found: Mapping[str, float | str]) -> tuple[Candidate, ...]:
    times_s = {name: seconds for name, seconds in found.items() if isinstance(seconds, float)}
    failed = [Candidate(name, str(text), is_usable=False) for name, text in found.items() if name not in times_s]
    fastest_s = min(times_s.values(), default=0.0)
    best = next((name for name, seconds in times_s.items() if seconds <= NEARLY * fastest_s), None)
    order = sorted(times_s, key=lambda name: (name != best, times_s[name]))
    words = {name: f"{1000 * times_s[name]:.3g} ms for a short request" for name in order}
    usable = [
        Candidate(name, f"{words[name]}, {'the fastest here' if name == best else f'{best} takes less'}", True, seconds)
        for name in order
        for seconds in [times_s[name]]
    ]
    return (*usable, *failed)


def _weights(source: ModelSource, name: str) -> Path:
    return source.weights_path(find_backend(name).weights_role)


def _key(source: ModelSource, names: list[str], options: BackendOptions) -> str:
    """Names machine, weights, installed packages and threads; any change of one of them makes a new key."""
    facts = [machine_key(), f"{options.num_threads} {options.gpu_layers}"]
    for name in names:
        path, package = _weights(source, name), find_backend(name).package
        status = path.stat()
        facts.append(f"{name} {path} {status.st_size} {status.st_mtime_ns} {_installed_at(package)}")
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:24]


def _installed_at(package: str | None) -> int | None:
    """When a package's folder was last changed, in nanoseconds; None where it is not installed."""
    spec = importlib.util.find_spec(package) if package else None
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))).stat().st_mtime_ns


def _recall(key: str) -> dict[str, float | str] | None:
    found = read_state(FILE).get(key)
    if not isinstance(found, dict) or not all(isinstance(value, float | str) for value in found.values()):
        return None
    return found or None


def _remember(key: str, found: dict[str, float | str]) -> None:
    """Where that is not possible, every start times them again, and the self-tests say why."""
    others: dict[str, Any] = dict(list(read_state(FILE).items())[1 - MAX_REMEMBERED :])
    write_state(FILE, {**others, key: found})
