"""An engine to which the device is new, so that a bench neither knows nor leaves behind how fast it is under load.

Knows: the runtime's state folder. Does not know: what is measured.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from bench_edge.spoken_backend import SpokenBackend
from edge.backends.base import BackendOptions
from edge.engine import Engine
from edge.loaded_model import LoadedModel, load_model
from edge.model_source import find_model

CONTEXT = 1024  # tokens; graphs of fixed shapes hold no more


@contextmanager
def fresh_engine(model: LoadedModel, clock: Callable[[], float] = perf_counter) -> Iterator[Engine]:
    """An engine that answers with ``model``, which is closed at the end; what it learns goes with it.

    The model is loaded before, with the user's own state, so that a self-test that was passed is not made again.
    """
    with TemporaryDirectory() as folder, state_in(folder), Engine(model, clock=clock) as engine:
        yield engine


@contextmanager
def fresh_model(model: str | Path | None, backend: str = "llama_cpp") -> Iterator[tuple[Engine, SpokenBackend | None]]:
    """The same for a bundle (None: spark), or for a file of random weights and what lends it its words."""
    options = BackendOptions(context_size=CONTEXT)
    loaded = load_model(find_model(model), backend=backend, options=options, dialect=None)
    speech = SpokenBackend(loaded) if isinstance(model, Path) else None
    with fresh_engine(loaded if speech is None else replace(loaded, backend=speech)) as engine:
        yield engine, speech


@contextmanager
def state_in(folder: str) -> Iterator[None]:
    """Let the runtime keep its state in ``folder``."""
    before = os.environ.get("EDGE_STATE")
    os.environ["EDGE_STATE"] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ["EDGE_STATE"]
        else:
            os.environ["EDGE_STATE"] = before
