"""What every test stands on: fixed seeds, its own state folder, no network, Ctrl-C.

Knows: the surroundings of a test. Does not know: any module under test.
"""

from __future__ import annotations

import random
import signal
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

# Whoever starts the tests in the background lets them ignore Ctrl-C, and the processes that they start as well.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("edge", derandomize=True, deadline=None)
settings.load_profile("edge")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder that holds pyproject.toml."""
    return REPOSITORY


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    random.seed(0)
    np.random.seed(0)


@pytest.fixture(autouse=True)
def state_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the code under test takes for its state; empty, and never the user's own."""
    path = tmp_path / "state"
    monkeypatch.setenv("EDGE_STATE", str(path))
    monkeypatch.setenv("EDGE_MODELS", str(tmp_path / "pulled"))  # likewise
    return path


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection but one to this machine fails the test that tries it."""
    connect = socket.socket.connect

    def connect_locally(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            pytest.fail(f"a test tried to reach {address!r}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_locally)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
