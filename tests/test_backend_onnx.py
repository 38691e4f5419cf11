"""ONNX Runtime keeps the contract: up to float32 at accuracy level 1, as near as int8 activations are at level 4."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from backend_contract import CONTEXT, STEPS, TOKENS, BackendContract, check_any_order_of_calls, fresh_logits
from hypothesis import HealthCheck, given, settings
from onnx_models import copy_at_level
from tiny_checkpoints import SPECIAL, write_tiny_checkpoint

from edge.backends import onnx_runtime, onnx_session, self_test
from edge.backends.base import ONNX_REQUIREMENT, BackendOptions, PrefillResult
from edge.backends.onnx_runtime import OnnxRuntimeBackend
from edge.backends.onnx_session import OnnxCache, OnnxSequence, OnnxSession
from edge.backends.self_test import SelfTest
from edge.backends.sequence_state import pack_state, unpack_state
from edge.machine import describe_machine
from models.errors import BackendError, BundleError, UsageError
from quantize.pipeline import quantize_checkpoint
from quantize.recipe import QuantRecipe

PASSED = SelfTest("normal", self_test.PASSED, is_remembered=True, notes=())


@pytest.fixture(scope="session", params=list(SPECIAL))
def shipped_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graph of a bundle of each family."""
    folder = tmp_path_factory.mktemp("onnx")
    checkpoint = write_tiny_checkpoint(folder / "source", request.param)
    return quantize_checkpoint(checkpoint, folder / "out", QuantRecipe(file_formats=("onnx",))).file("onnx")


@pytest.fixture(scope="session")
def exact_path(shipped_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same graph, computed in float32."""
    return copy_at_level(shipped_path.parent, tmp_path_factory.mktemp("onnx") / "exact", 1) / "model.onnx"


@pytest.fixture(autouse=True)
def _self_test_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_test, "choose_mode", lambda path, trial: PASSED)


def open_tiny(path: Path, context_size: int | None = CONTEXT, num_sequences: int = 2) -> OnnxRuntimeBackend:
    return OnnxRuntimeBackend(path, BackendOptions(context_size, num_threads=1, num_sequences=num_sequences))


class TestContract(BackendContract):
    tolerance = 1e-4  # one token and many are summed in another order; a mistake in the books is far above

    @pytest.fixture
    def backend(self, exact_path: Path) -> Iterator[OnnxRuntimeBackend]:
        backend = open_tiny(exact_path)
        yield backend
        backend.close()


@pytest.fixture
def backend(exact_path: Path) -> Iterator[OnnxRuntimeBackend]:
    backend = open_tiny(exact_path)
    yield backend
    backend.close()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_order_of_calls(backend: OnnxRuntimeBackend, steps: list[tuple[str, int, int]]) -> None:
    check_any_order_of_calls(backend, steps, tolerance=1e-4)


@pytest.fixture
def shipped(shipped_path: Path) -> Iterator[OnnxRuntimeBackend]:
    backend = open_tiny(shipped_path)
    yield backend
    backend.close()


def test_pieces_of_a_prefill_are_equal_at_the_shipped_level(shipped: OnnxRuntimeBackend) -> None:
    """An interrupted prefill, or a prompt longer than a chunk, must not change the answer."""
    whole = fresh_logits(shipped, TOKENS)
    for first in (2, 100, 298):
        shipped.cut(0, 0)
        shipped.prefill(0, TOKENS[:first])
        shipped.append(0, TOKENS[first:])
        assert np.array_equal(shipped.logits(0), whole)


def test_single_tokens_are_near_at_the_shipped_level(shipped: OnnxRuntimeBackend) -> None:
    """One query alone is summed in another order, and rounding to 8 bits magnifies it; this is how far."""
    whole = fresh_logits(shipped, TOKENS[:60])
    for token in TOKENS[:60]:
        shipped.append(0, [token])
    assert np.linalg.norm(shipped.logits(0) - whole) < 0.05 * np.linalg.norm(whole)


def test_context_and_cache_size_come_from_the_model(shipped_path: Path) -> None:
    backend = open_tiny(shipped_path, context_size=None)
    assert backend.context_size == 4096
    assert backend.kv_bytes_per_token == 2 * 2 * (32 + 32) * 4  # layers x KV heads x (key + value) x float32
    assert (backend.notes, backend.context_reason) == ((), "the model was trained for it")
    backend.close()


def test_stop_reaches_into_a_chunk(backend: OnnxRuntimeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk of a large model takes a second: too long for a deadline, or for Ctrl-C."""
    run, started = OnnxSequence.run, Event()

    def slow(self: OnnxSequence, *arguments: Any, options: Any, **more: Any) -> None:
        started.set()
        while not options.terminate:
            time.sleep(0.001)
        run(self, *arguments, options=options, **more)

    with monkeypatch.context() as patch:
        patch.setattr(OnnxSequence, "run", slow)
        assert backend.prefill(0, TOKENS, should_stop=started.is_set) == PrefillResult(0, 0, False)
    backend.prefill(0, TOKENS)
    np.testing.assert_allclose(backend.logits(0), fresh_logits(backend, TOKENS), atol=1e-4)


def test_interrupt_waits_for_the_device(backend: OnnxRuntimeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while a chunk runs must not leave a thread behind that still writes into the cache."""
    run, finished = OnnxSequence.run, []

    def slow(self: OnnxSequence, *arguments: Any, options: Any, **more: Any) -> None:
        while not options.terminate:
            time.sleep(0.001)
        finished.append(True)

    asks = iter([False])

    def interrupt() -> bool:
        if next(asks, True):
            raise KeyboardInterrupt
        return False

    monkeypatch.setattr(OnnxSequence, "run", slow)
    with pytest.raises(KeyboardInterrupt):
        backend.prefill(0, TOKENS, should_stop=interrupt)
    assert finished and backend.length(0) == 0
    monkeypatch.setattr(OnnxSequence, "run", run)
    backend.prefill(0, TOKENS[:9])


def test_failing_device_is_one_sentence(backend: OnnxRuntimeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    backend.prefill(0, TOKENS[:9])

    def fail(self: OnnxSequence, *arguments: Any, **more: Any) -> None:
        raise RuntimeError("bad allocation\nwith a trace")

    monkeypatch.setattr(OnnxSequence, "run", fail)
    for call in (lambda: backend.append(0, [1]), lambda: backend.prefill(0, TOKENS, should_stop=lambda: False)):
        with pytest.raises(BackendError, match=r"\(bad allocation\); load"):
            call()
        assert backend.length(0) == 9


def test_threads_are_those_of_a_session(backend: OnnxRuntimeBackend) -> None:
    """Another number opens the model anew; cache and logits stay."""
    backend.prefill(0, TOKENS[:50])
    before = backend.logits(0).copy()
    backend.set_threads(2)
    assert backend.num_threads == 2 and np.array_equal(backend.logits(0), before)
    backend.append(0, TOKENS[50:52])
    np.testing.assert_allclose(backend.logits(0), fresh_logits(backend, TOKENS[:52]), atol=1e-4)
    with pytest.raises(UsageError, match="1 to 512"):
        backend.set_threads(513)
    assert not backend.changes_threads_freely


def test_threads_that_cannot_be_had_close_it(backend: OnnxRuntimeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a session every call would fail in its own way."""

    def fail(*_: object) -> None:
        raise BackendError("no memory")

    monkeypatch.setattr(onnx_runtime, "OnnxSession", fail)
    with pytest.raises(BackendError, match="no memory"):
        backend.set_threads(2)
    with pytest.raises(BackendError, match="closed; open the model again"):
        backend.append(0, [1])


def test_states_know_their_model(backend: OnnxRuntimeBackend, shipped_path: Path, tmp_path: Path) -> None:
    """The cache of another model is noise, and fits wherever the shapes agree."""
    backend.prefill(0, TOKENS[:9])
    state = backend.save(0)
    other = open_tiny(shipped_path)
    with pytest.raises(BackendError, match="another model"):
        other.restore(0, state)
    other.close()
    with pytest.raises(BackendError, match="damaged"):
        backend.restore(0, state[:-1])
    tokens, cache = unpack_state(backend._fingerprint(), state)
    with pytest.raises(BackendError, match="size; prefill instead"):
        backend.restore(0, pack_state(backend._fingerprint(), tokens, cache[:-4]))
    assert backend.length(0) == 9


def test_memory_is_taken_as_tokens_come(shipped_path: Path) -> None:
    """A context of thousands of tokens must not cost its whole cache for a short question."""
    session = OnnxSession(shipped_path, 1)
    capacity = 200_000_000 // session.kv_bytes_per_token
    before = resident_bytes()
    cache = OnnxCache(session.cache_shapes, capacity)
    next(iter(cache.arrays.values()))[:, :, :100] = 1
    assert resident_bytes() - before < 20_000_000


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (BackendOptions(context_size=4097), "takes 1 to 4096"),
        (BackendOptions(num_threads=0), "1 to 512"),
        (BackendOptions(num_sequences=0), "1 to 256"),
    ],
)
def test_options_that_cannot_be_met(shipped_path: Path, options: BackendOptions, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        OnnxRuntimeBackend(shipped_path, options)


def test_little_memory_gives_a_smaller_context(shipped_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sequence may come to fill the context alone, so that each needs its own memory."""
    machine = replace(describe_machine(), memory_available_bytes=195 * 2**20)
    monkeypatch.setattr(onnx_runtime, "describe_machine", lambda: machine)
    backend = open_tiny(shipped_path, context_size=None)
    assert 256 <= backend.context_size < 4096 and "195 MB are free" in backend.notes[0]
    backend.close()
    with pytest.raises(BackendError, match="195 MB are free; close"):
        open_tiny(shipped_path, context_size=4096)


def test_files_that_cannot_be_loaded(shipped_path: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no model file"):
        open_tiny(tmp_path / "absent.onnx")
    folder = tmp_path / "bundle"
    shutil.copytree(shipped_path.parent, folder)
    (folder / "model.onnx").write_bytes(b"hello")
    with pytest.raises(BundleError, match=r"cannot load .*model\.onnx"):
        open_tiny(folder / "model.onnx")
    shutil.copyfile(shipped_path, folder / "model.onnx")
    (folder / "model.onnx.data").write_bytes(b"hello")
    with pytest.raises(BundleError, match=r"cannot load .*model\.onnx"):
        open_tiny(folder / "model.onnx")
    (folder / "genai_config.json").write_text("{}")
    with pytest.raises(BundleError, match=r"no model\.context_length"):
        open_tiny(folder / "model.onnx")
    (folder / "model.onnx.data").unlink()
    with pytest.raises(BundleError, match=r"no model file .*data"):
        open_tiny(folder / "model.onnx")


def test_missing_package_says_how_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BackendError, match="pip install 'onnxruntime>="):
        onnx_session.package_folder()


@pytest.mark.parametrize("content", ["", "raise ImportError('no library')", "raise OSError('bad file')"])
def test_half_installed_package_says_how_to_install_again(tmp_path: Path, content: str) -> None:
    """A package whose library is gone can be imported as an empty folder."""
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / "__init__.py").write_text(content)
    code = (
        "from edge.backends.onnx_session import load_runtime\nfrom models.errors import BackendError\n"
        "try: load_runtime()\nexcept BackendError as exc: print(exc)"
    )
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.startswith("onnxruntime cannot be loaded (") and "--force-reinstall" in done.stdout


def test_commands_to_install_keep_to_the_release_we_are_written_for(repository: Path) -> None:
    extras = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert [name for name in extras["onnx"] if name.startswith("onnxruntime")] == [ONNX_REQUIREMENT]


def test_library_is_quiet(shipped_path: Path) -> None:
    """A warning of ONNX Runtime's on standard error would stand in every answer."""
    code = (
        "from pathlib import Path; from edge.backends.base import *\n"
        f"backend = open_backend('onnx', Path({str(shipped_path)!r}), BackendOptions(num_sequences=2))\n"
        "backend.prefill(0, list(range(200)), should_stop=lambda: False); backend.append(0, [1]); backend.close()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
