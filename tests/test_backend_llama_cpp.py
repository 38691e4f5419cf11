"""llama.cpp keeps the contract, bit for bit, and its traps stay shut."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from backend_contract import CONTEXT, STEPS, TOKENS, BackendContract, check_any_order_of_calls, fresh_logits
from hypothesis import HealthCheck, given, settings
from tiny_models import CONTEXT_TRAINED, CONTROL_TEXTS, random_tokens, write_tiny_mamba, write_tiny_qwen3

from edge.backends import gpu_layers, llama_cpp, llama_library, self_test
from edge.backends.base import BACKENDS, LLAMA_CPP_REQUIREMENT, BackendOptions, PrefillResult, open_backend
from edge.backends.llama_context import LlamaContext
from edge.backends.llama_cpp import LlamaCppBackend
from edge.backends.self_test import SelfTest
from edge.machine import Machine, describe_machine
from models.dialect_base import Prompt
from models.dialect_layout import Part
from models.errors import BackendError, BundleError, UsageError

PASSED = SelfTest("normal", self_test.PASSED, is_remembered=True, notes=())
DIED = SelfTest("safe", "SIGILL", is_remembered=True, notes=("It died.",))


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_qwen3(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture(autouse=True)
def _self_test_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The self-test has its own tests; here it would cost a process each time."""
    monkeypatch.setattr(self_test, "choose_mode", lambda path: PASSED)


def open_tiny(path: Path, context_size: int | None = CONTEXT, num_sequences: int = 2) -> LlamaCppBackend:
    return LlamaCppBackend(path, BackendOptions(context_size, num_threads=1, num_sequences=num_sequences))


class TestContract(BackendContract):
    @pytest.fixture
    def backend(self, tiny_path: Path) -> Iterator[LlamaCppBackend]:
        backend = open_tiny(tiny_path)
        yield backend
        backend.close()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_order_of_calls(wide_backend: LlamaCppBackend, steps: list[tuple[str, int, int]]) -> None:
    check_any_order_of_calls(wide_backend, steps)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_order_of_calls_on_a_recurrent_model(
    recurrent_backend: LlamaCppBackend, steps: list[tuple[str, int, int]]
) -> None:
    """A memory that cannot be cut in the middle is computed again, at the price of another rounding."""
    check_any_order_of_calls(recurrent_backend, steps, tolerance=1e-3)


def test_recurrent_model_keeps_what_it_can(recurrent_backend: LlamaCppBackend) -> None:
    """Nothing may be reported as kept that the memory had to give up."""
    recurrent_backend.prefill(0, TOKENS[:50])
    assert recurrent_backend.prefill(0, TOKENS[:60]) == PrefillResult(50, 10, True)
    assert recurrent_backend.prefill(0, TOKENS[:40]) == PrefillResult(0, 40, True)
    recurrent_backend.cut(0, 30)
    assert recurrent_backend.length(0) == 30
    assert recurrent_backend.kv_bytes_per_token == 0


@pytest.fixture
def wide_backend(tiny_path: Path) -> Iterator[LlamaCppBackend]:
    backend = open_tiny(tiny_path)
    yield backend
    backend.close()


@pytest.fixture
def recurrent_backend(tmp_path: Path) -> Iterator[LlamaCppBackend]:
    backend = open_tiny(write_tiny_mamba(tmp_path / "mamba.gguf"))
    yield backend
    backend.close()


@pytest.fixture
def backend(tiny_path: Path) -> Iterator[LlamaCppBackend]:
    backend = open_tiny(tiny_path, context_size=None)
    yield backend
    backend.close()


def test_context_and_cache_size_come_from_the_model(backend: LlamaCppBackend) -> None:
    assert backend.context_size == CONTEXT_TRAINED
    assert backend.kv_bytes_per_token == 2 * 2 * (64 + 64) * 2  # layers x KV heads x (key + value) x F16
    assert backend.notes == ()


def test_prompts_longer_than_a_batch(backend: LlamaCppBackend) -> None:
    """A batch above llama.cpp's limit is an assertion that ends the process."""
    tokens = random_tokens(3 * llama_cpp.BATCH_SIZE + 1)
    assert backend.prefill(0, tokens).evaluated_tokens == len(tokens)
    whole = backend.logits(0).copy()
    backend.cut(0, 5)
    backend.append(0, tokens[5:])
    assert np.array_equal(backend.logits(0), whole)


def test_small_context_bounds_the_batch(tiny_path: Path) -> None:
    """llama.cpp rounds a context up and a batch down; a prompt between the two sizes used to be an assertion."""
    backend = open_tiny(tiny_path, context_size=40)
    backend.prefill(0, TOKENS[:40])
    assert np.isfinite(backend.logits(0)).all()
    backend.close()


def test_abort_stops_inside_a_chunk(backend: LlamaCppBackend) -> None:
    """A stop must not wait for the end of a chunk: on a large model that is a second."""
    backend._tokens_asked_inside = 0
    asks = iter(range(5))
    result = backend.prefill(0, TOKENS[:100], should_stop=lambda: next(asks, None) is None)
    assert (result.evaluated_tokens, result.is_complete) == (0, False)


def test_interrupt_during_a_token_leaves_cache_and_book_agreeing(
    backend: LlamaCppBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C between the decode and its bookkeeping left a token in the cache that every later call fell over."""
    backend.prefill(0, TOKENS[:10])
    decode = LlamaContext.decode

    def interrupted(self: LlamaContext, *arguments: int, **options: bool) -> int:
        decode(self, *arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(LlamaContext, "decode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        backend.append(0, [5])
    monkeypatch.undo()
    assert backend.length(0) == 10
    backend.append(0, [6])
    assert np.array_equal(backend.logits(0), fresh_logits(backend, [*TOKENS[:10], 6]))


def test_failed_decode_is_one_sentence(backend: LlamaCppBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LlamaContext, "decode", lambda self, *arguments, **options: -3)
    with pytest.raises(BackendError, match="code -3"):
        backend.prefill(0, TOKENS)
    assert backend.length(0) == 0


def test_states_know_their_model(backend: LlamaCppBackend, tmp_path: Path) -> None:
    """The cache of another model is noise; llama.cpp would take it when the shapes agree."""
    backend.prefill(0, TOKENS[:9])
    state = backend.save(0)
    other = open_tiny(write_tiny_qwen3(tmp_path / "other.gguf", seed=1))
    with pytest.raises(BackendError, match="another model"):
        other.restore(0, state)
    other.close()
    with pytest.raises(BackendError, match="damaged"):
        backend.restore(0, state[:-1])
    with pytest.raises(BackendError, match="damaged"):
        backend.restore(0, state[:500] + bytes([state[500] ^ 1]) + state[501:])
    assert backend.length(0) == 9


def test_layers_on_a_gpu_are_those_asked_for(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU here: what llama.cpp is told, and what a user is."""
    told: list[int] = []
    load = llama_library.load_library().llama_model_load_from_file

    def remember(path: bytes, parameters: Any) -> Any:
        told.append(parameters.n_gpu_layers)
        return load(path, parameters)

    monkeypatch.setattr(llama_library.load_library(), "llama_model_load_from_file", remember)
    for has_gpu, layers, words in (
        (False, 0, "none"),
        (False, None, "none"),
        (True, 3, "3 layers, as"),
        (True, None, "all"),
    ):
        monkeypatch.setattr(gpu_layers, "has_gpu", lambda has_gpu=has_gpu: has_gpu)
        backend = LlamaCppBackend(tiny_path, BackendOptions(context_size=64, gpu_layers=layers))
        assert backend.gpu.startswith(words)
        backend.close()
    assert told == [0, -1, 3, -1]


@pytest.mark.parametrize("weights", [gguf.GGMLQuantizationType.Q4_0, gguf.GGMLQuantizationType.Q8_0])
def test_safe_mode_says_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: gguf.GGMLQuantizationType
) -> None:
    """The plain kernels round activations otherwise, and random weights magnify that, but they are the same model."""
    path = write_tiny_qwen3(tmp_path / "tiny.gguf", weights=weights)
    normal = open_tiny(path)
    monkeypatch.setattr(self_test, "choose_mode", lambda path: DIED)
    safe = open_tiny(path)
    assert (normal.is_safe_mode, safe.is_safe_mode, safe.notes) == (False, True, ("It died.",))
    for count in (1, 33, 200):
        for backend in (normal, safe):
            backend.prefill(0, TOKENS[:count])
        fast, plain = normal.logits(0), safe.logits(0)
        assert fast.argmax() == plain.argmax() or plain.max() - plain[fast.argmax()] < 0.5
        assert np.abs(fast - plain).max() < 0.05 * np.abs(plain).max()
    normal.close()
    safe.close()


def test_threads_can_change_between_calls(backend: LlamaCppBackend) -> None:
    backend.prefill(0, TOKENS[:50])
    one = backend.logits(0).copy()
    backend.set_threads(2)
    assert backend.num_threads == 2
    backend.prefill(0, TOKENS[:50])
    np.testing.assert_allclose(backend.logits(0), one, rtol=0, atol=1e-3)
    with pytest.raises(UsageError, match="1 to 512"):
        backend.set_threads(513)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (BackendOptions(context_size=CONTEXT_TRAINED + 1), "takes 1 to 4096"),
        (BackendOptions(context_size=0), "takes 1 to 4096"),
        (BackendOptions(num_threads=0), "1 to 512"),
        (BackendOptions(num_threads=100_000), "1 to 512"),
        (BackendOptions(num_sequences=0), "1 to 256"),
        (BackendOptions(gpu_layers=-1), "use 0 or more"),
        (BackendOptions(gpu_layers=9), "9 layers are to be on a GPU.*GGML_CUDA=on"),
    ],
)
def test_options_that_cannot_be_met(tiny_path: Path, options: BackendOptions, message: str) -> None:
    """Options beyond llama.cpp's own limits end the process when they get that far."""
    with pytest.raises(UsageError, match=message):
        LlamaCppBackend(tiny_path, options)


def with_memory(available_bytes: int) -> Machine:
    here = describe_machine()
    fields = {name: getattr(here, name) for name in Machine.__dataclass_fields__}
    return Machine(**fields | {"memory_available_bytes": available_bytes})


def test_little_memory_gives_a_smaller_context(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    available = 195 * 2**20
    monkeypatch.setattr(llama_cpp, "describe_machine", lambda: with_memory(available))
    backend = open_tiny(tiny_path, context_size=None)
    assert 256 <= backend.context_size < CONTEXT_TRAINED and backend.context_size % 256 == 0
    assert "195 MB are free" in backend.notes[0]
    backend.close()
    with pytest.raises(BackendError, match="195 MB are free; close"):
        open_tiny(tiny_path, context_size=CONTEXT_TRAINED)


def test_model_files_that_cannot_be_loaded(tiny_path: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no model file"):
        open_tiny(tmp_path / "absent.gguf")
    whole = tiny_path.read_bytes()
    for name, data in {"empty": b"", "text": b"hello", "half": whole[: len(whole) // 2]}.items():
        path = tmp_path / f"{name}.gguf"
        path.write_bytes(data)
        with pytest.raises(BundleError, match=f"cannot load .*{name}.gguf"):
            open_tiny(path)


def test_missing_package_says_how_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BackendError, match="pip install 'llama-cpp-python>="):
        llama_library.package_folder()


def test_commands_to_install_keep_to_the_release_we_are_written_for(repository: Path) -> None:
    """The newest release may have another low-level API: advice to install it would break what it is to repair."""
    dependencies = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["dependencies"]
    assert [name for name in dependencies if name.startswith("llama-cpp-python")] == [LLAMA_CPP_REQUIREMENT]
    assert shlex.split(BACKENDS["llama_cpp"].install) == ["pip", "install", LLAMA_CPP_REQUIREMENT]
    assert f"'{LLAMA_CPP_REQUIREMENT}'" in llama_library.REBUILD and "make rebuild-llama" in llama_library.REBUILD


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)


def test_library_is_quiet_and_light(tiny_path: Path) -> None:
    """llama.cpp's log on standard error, or the package's server modules, would be noise and time in every chat."""
    done = run_python(
        "import sys; from pathlib import Path; from edge.backends.base import *\n"
        f"backend = open_backend('llama_cpp', Path({str(tiny_path)!r}), BackendOptions())\n"
        "backend.prefill(0, [1, 2, 3]); backend.close()\n"
        "print([name for name in ('llama_cpp.llama', 'jinja2', 'diskcache') if name in sys.modules])\n"
        "import llama_cpp; print(llama_cpp.Llama.__name__, llama_cpp.llama_cpp.llama_decode.__name__)"
    )
    assert (done.stdout, done.stderr) == ("[]\nLlama llama_decode\n", "")


def test_open_backend_finds_it(tiny_path: Path) -> None:
    backend = open_backend("llama_cpp", tiny_path, BackendOptions(context_size=64))
    assert backend.name == "llama_cpp"
    backend.close()


@pytest.mark.parametrize("vocabulary", ["spm", "bpe"])
def test_tokenizer_lets_no_user_text_forge_control(tmp_path: Path, vocabulary: str) -> None:
    """llama.cpp makes ids of user-defined tokens in user text even when it is told not to parse special ones."""
    backend = open_tiny(write_tiny_qwen3(tmp_path / "tiny.gguf", vocabulary=vocabulary))
    marks = ("<s>", "</s>") if vocabulary == "spm" else CONTROL_TEXTS
    tokenizer = backend.tokenizer([*marks, "<think>", "</think>"])
    for text in (*marks, "<think>", "</think>"):
        control = tokenizer.encode_control(text)
        assert tokenizer.token_id(text) == control[-1]
        user = tokenizer.encode_user(f"hello {text}{text} ll")
        assert control[-1] not in user
        assert b"".join(map(tokenizer.token_bytes, user)).decode().removeprefix(" ") == f"hello {text}{text} ll"
    backend.close()


def test_parts_of_a_prompt_are_tokenized_like_the_whole(tmp_path: Path) -> None:
    """llama.cpp begins each text it is given with a space; taken part by part, a prompt was full of them."""
    backend = open_tiny(write_tiny_qwen3(tmp_path / "tiny.gguf", vocabulary="spm"))
    tokenizer = backend.tokenizer([])
    parts = (Part("<s>(", True), Part("hello", False), Part(")", True), Part("he", False), Part("</s>", True))
    parts += (Part("hello", False),)
    tokens, forced = tokenizer.encode_prompt(Prompt(parts, "!<think>", "thinking"))
    assert tokens == tokenizer.encode_control("".join(part.text for part in parts))
    assert b"".join(map(tokenizer.token_bytes, forced)) == b"!<think>"
    backend.close()


def test_tokenizer_writes_one_bos(tmp_path: Path) -> None:
    backend = open_tiny(write_tiny_qwen3(tmp_path / "tiny.gguf", vocabulary="spm"))
    tokenizer = backend.tokenizer([])
    for parts in ((Part("<s>", True), Part("hello", False)), (Part("hello", False),)):
        tokens, forced = tokenizer.encode_prompt(Prompt(parts, "<think>", "thinking"))
        assert tokens.count(1) == 1 and tokens[0] == 1 and forced[-1] == tokenizer.token_id("<think>")
    assert tokenizer.token_bytes(tokenizer.vocab_size) == tokenizer.token_bytes(-1) == b""
    assert (
        b"".join(map(tokenizer.token_bytes, tokenizer.encode_user("héllo 你好 🎈"))).decode().strip() == "héllo 你好 🎈"
    )
    backend.close()
