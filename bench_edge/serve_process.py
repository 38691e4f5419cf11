"""The servers under test, each a process of its own: ours, and llama-cpp-python's.

Knows: how they are started, found ready and stopped, and how much memory one has. Does not know: what they are asked.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import URLError
from urllib.request import urlopen

from models.errors import BackendError

START_S = 120.0  # a large model is read from the disk
RIVAL_PACKAGES = ("llama_cpp", "fastapi", "sse_starlette", "starlette_context", "pydantic_settings", "uvicorn")


@dataclass(frozen=True, slots=True)
class Process:
    """A server that answers at ``port``, and did so after ``start_s`` seconds."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    start_s: float

    @property
    def is_alive(self) -> bool:
        """Whether it has not died."""
        return self.process.poll() is None

    @property
    def memory_mib(self) -> float:
        """Resident memory now."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text("utf-8").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise BackendError("This system does not tell a process's memory (no VmRSS in /proc).")


@contextmanager
def our_server(*options: str, model: Path | None = None, threads: int | None = None) -> Iterator[Process]:
    """``edge serve`` with ``options``, with a state of its own and its log in a file."""
    with TemporaryDirectory() as folder:
        log, port = Path(folder) / "log.jsonl", free_port()
        arguments = ["serve", "--port", str(port), "--log-file", str(log), *options]
        arguments += [] if model is None else ["--model", str(model), "--ctx-size", "2048"]
        arguments += [] if threads is None else ["--threads", str(threads)]
        script = "from edge.cli import main; main()"
        command = [sys.executable, "-c", script, *arguments]
        with _running(command, port, "/health", log, {"EDGE_STATE": folder}) as process:
            yield process


@contextmanager
def llama_cpp_server(model: Path, threads: int) -> Iterator[Process]:
    """``llama_cpp.server`` with the same file, context and threads. Raises BackendError where it does not start."""
    with TemporaryDirectory() as folder:
        port = free_port()
        arguments = ["--model", str(model), "--port", str(port), "--n_ctx", "2048", "--n_threads", str(threads)]
        command = [sys.executable, "-m", "llama_cpp.server", *arguments, "--n_threads_batch", str(threads)]
        with _running(command, port, "/v1/models", Path(folder) / "log", {}) as process:
            yield process


def has_rival() -> bool:
    """Whether what llama_cpp.server needs is installed."""
    return all(find_spec(name) is not None for name in RIVAL_PACKAGES)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def _running(command: Sequence[str], port: int, path: str, log: Path, environment: dict[str, str]) -> Iterator[Process]:
    with (log.parent / "output").open("wb") as output:
        start_s = time.monotonic()
        child = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | environment)
        try:
            _wait_until_ready(child, f"http://127.0.0.1:{port}{path}", Path(output.name))
            yield Process(port, child, log, time.monotonic() - start_s)
        finally:
            child.terminate()
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _wait_until_ready(child: subprocess.Popen[bytes], url: str, output: Path) -> None:
    end_s = time.monotonic() + START_S
    while time.monotonic() < end_s and child.poll() is None:
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.02)
    said = output.read_text("utf-8", errors="replace").strip()[-300:]
    raise BackendError(f"The server under test does not answer at {url}: {said or 'it says nothing'}")
