"""The RKLLM binding against a stand-in library with its symbols and layout; no board has run it."""

from __future__ import annotations

import _ctypes
import ctypes
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rkllm_stand_in
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import edge
from edge.backends import rkllm_library
from edge.backends.base import BackendOptions, PrefillResult, open_backend
from edge.backends.rkllm import RkllmBackend
from edge.chat_types import AnswerOptions, Message
from edge.model_source import embedded_bundle_path
from models.bundle import open_bundle, write_bundle
from models.errors import BackendError, BundleError, ContextFullError, UsageError
from models.manifest import Manifest

pytestmark = pytest.mark.skipif(not rkllm_stand_in.can_build(), reason="needs a C compiler")

VOCAB_SIZE = 300
REPLIES = {(1, 2): (7, 8, 9, 10, 11), (50, 51): (20, 21, 22), (9, 60): (30, 31)}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rkllm_stand_in.build(tmp_path_factory.mktemp("rkllm"))


@pytest.fixture(params=[True, False], ids=["pause keeps", "pause drops"])
def backend(
    request: pytest.FixtureRequest, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RkllmBackend]:
    """Whether a token at which the callback pauses is in the cache is not documented; both must do."""
    monkeypatch.setenv(rkllm_library.LIBRARY_VARIABLE, str(library))
    model = rkllm_stand_in.write_model(
        tmp_path / "model.rkllm", REPLIES, vocab_size=VOCAB_SIZE, pause_keeps=request.param
    )
    opened = open_backend("rkllm", model, BackendOptions(context_size=64))
    assert isinstance(opened, RkllmBackend)
    yield opened
    opened.close()


def spoken(backend: RkllmBackend, count: int) -> list[int]:
    """The next ``count`` likeliest tokens, appended one by one."""
    tokens = []
    for _ in range(count):
        tokens.append(int(backend.logits(0).argmax()))
        backend.append(0, tokens[-1:])
    return tokens


@pytest.mark.parametrize("is_ahead", [False, True])
def test_it_speaks_token_by_token(backend: RkllmBackend, is_ahead: bool) -> None:
    backend.run_ahead(is_ahead)
    assert backend.vocab_size == VOCAB_SIZE
    assert backend.prefill(0, [5, 1, 2]) == PrefillResult(0, 3, True)
    assert spoken(backend, 5) == [7, 8, 9, 10, 11]
    assert backend.length(0) == 8


@pytest.mark.parametrize("is_ahead", [False, True])
def test_forced_tokens_take_the_place_of_its_own(backend: RkllmBackend, is_ahead: bool) -> None:
    """Closing the thinking: the device waits with a token of its own, which must leave no trace."""
    backend.run_ahead(is_ahead)
    backend.prefill(0, [5, 1, 2])
    assert spoken(backend, 2) == [7, 8]
    backend.logits(0)
    backend.append(0, (50, 51))
    assert spoken(backend, 3) == [20, 21, 22]
    assert backend.length(0) == 3 + 2 + 2 + 3


def test_a_banned_choice_gives_true_logits(backend: RkllmBackend) -> None:
    """A device that runs ahead tells its choice alone; where that is banned, the second best has to be known."""
    backend.run_ahead(True)
    backend.prefill(0, [5, 1, 2])
    assert spoken(backend, 2) == [7, 8]
    logits = backend.logits(0, banned=(9,)).copy()
    assert (int(logits.argmax()), np.argsort(-logits)[1]) == (9, 1)
    backend.append(0, [1])
    assert backend.length(0) == 6


def test_a_second_turn_keeps_the_common_prefix(backend: RkllmBackend) -> None:
    backend.run_ahead(True)
    backend.prefill(0, [5, 1, 2])
    spoken(backend, 3)
    assert backend.prefill(0, [5, 1, 2, 7, 8, 9, 60]) == PrefillResult(6, 1, True)
    assert spoken(backend, 2) == [30, 31]


def test_saved_tokens_are_evaluated_again(backend: RkllmBackend) -> None:
    backend.prefill(0, [5, 1, 2])
    state = backend.save(0)
    backend.prefill(0, [3])
    backend.restore(0, state)
    assert backend.length(0) == 3
    assert backend.prefill(0, [5, 1, 2, 7]) == PrefillResult(0, 4, True)
    with pytest.raises(BackendError, match="not a saved sequence"):
        backend.restore(0, b"{}")


def test_an_interrupted_prefill_holds_whole_chunks(backend: RkllmBackend) -> None:
    assert backend.prefill(0, [5, 1, 2], should_stop=lambda: True) == PrefillResult(0, 0, False)
    with pytest.raises(BackendError, match="no logits"):
        backend.logits(0)
    assert backend.prefill(0, [5, 1, 2], should_stop=lambda: False).is_complete


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["speak", "force", "cut", "prefill", "ahead"]), st.integers(0, 9)), max_size=12
    )
)
def test_any_order_of_calls_holds_what_the_book_says(backend: RkllmBackend, steps: list[tuple[str, int]]) -> None:
    """Whatever ran ahead before, what comes next is what a fresh device would say to the tokens that are held."""
    backend.run_ahead(False)
    held = [5, 1, 2]
    backend.prefill(0, held)
    for verb, number in steps:
        if len(held) > 50:
            break
        if verb == "ahead":
            backend.run_ahead(number % 2 == 0)
        elif verb == "speak":
            held.append(int(backend.logits(0, banned=(0,) if number > 7 else ()).argmax()))
            backend.append(0, held[-1:])
        elif verb == "force":
            held += [50, 51][: 1 + number % 2]
            backend.append(0, held[-1 - number % 2 :])
        elif verb == "cut":
            held = held[: max(1, len(held) - number)]
            backend.cut(0, len(held))
            backend.append(0, [1, 2])
            held += [1, 2]
        else:
            held = [5, 1, 2, 7, 8][: 3 + number % 3]
            backend.prefill(0, held)
        assert backend.length(0) == len(held)
    found = int(backend.logits(0).argmax())
    backend.run_ahead(False)
    backend.prefill(0, [4])
    backend.prefill(0, held)
    assert found == int(backend.logits(0).argmax())


def test_limits_are_told(backend: RkllmBackend) -> None:
    with pytest.raises(ContextFullError, match="64 tokens is full"):
        backend.prefill(0, [1] * 65)
    with pytest.raises(BackendError, match="Token 300"):
        backend.prefill(0, [300])
    with pytest.raises(UsageError, match="threads is 2"):
        backend.set_threads(2)
    backend.close()
    backend.close()
    with pytest.raises(BackendError, match="closed"):
        backend.append(0, [1])


def test_structures_have_the_sizes_of_the_table() -> None:
    """The numbers are those of the release's own header on a 64-bit machine."""
    kinds = rkllm_library.structures(rkllm_library.LAYOUTS["1.3.0"])
    assert {name: ctypes.sizeof(kind) for name, kind in kinds.items()} == {
        "ExtendParam": 120, "Param": 184, "Input": 160, "InferParam": 40, "SamplingParam": 36, "Result": 72,
        "Callback": 48,
    }  # fmt: skip
    offsets = {kinds["Input"]: {"enable_thinking": 8, "input_type": 12, "input_ids": 16}}
    offsets[kinds["Result"]] = {"hidden": 16, "logits": 32, "prefill_time_ms": 48}
    for kind, fields in offsets.items():
        assert {name: getattr(kind, name).offset for name in fields} == fields


def test_a_library_of_another_version_is_refused(library: Path, tmp_path: Path) -> None:
    """1.3.0 moved fields of 1.2.3; a call with the wrong layout would write over somebody's memory."""
    other = rkllm_stand_in.build(tmp_path, "OTHER_LAYOUT")
    with pytest.raises(BackendError, match=r"is not RKLLM 1\.3\.0 \(its default parameters make no sense"):
        rkllm_library.load_library(other)
    with pytest.raises(BackendError, match="lacks rkllm_"):
        rkllm_library.load_library(Path(_ctypes.__file__))
    text = tmp_path / "text.so"
    text.write_text("no library at all, but long enough")
    with pytest.raises(BackendError, match="not a shared library for"):
        rkllm_library.load_library(text)
    foreign = bytearray(library.read_bytes())
    foreign[18:20] = (40).to_bytes(2, "little")
    text.write_bytes(foreign)
    with pytest.raises(BackendError, match="its machine number is 40"):
        rkllm_library.load_library(text)


def test_a_missing_library_and_a_wrong_model_are_told(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(rkllm_library.LIBRARY_VARIABLE, str(tmp_path / "nowhere.so"))
    model = tmp_path / "model.rkllm"
    model.write_text("no model")
    with pytest.raises(BackendError, match="is not at"):
        open_backend("rkllm", model, BackendOptions())
    monkeypatch.setenv(rkllm_library.LIBRARY_VARIABLE, str(library))
    with pytest.raises(BackendError, match="cannot open"):
        open_backend("rkllm", model, BackendOptions())
    for options in (BackendOptions(context_size=100), BackendOptions(num_threads=2), BackendOptions(num_sequences=2)):
        with pytest.raises(UsageError):
            open_backend("rkllm", model, options)


QUESTION = [Message("user", "3+4*2=?")]


@pytest.fixture(scope="module")
def bundle(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """spark's bundle with a script in place of weights: long thoughts, and an answer once they are closed."""
    with edge.load() as engine:
        model = engine.model
        tokens, forced = model.tokenizer.encode_prompt(model.dialect.render(QUESTION, "on"))
        thought = model.tokenizer.encode_control("".join(f"step {number} of many.\n" for number in range(300)))
        closing = model.tokenizer.encode_control(model.dialect.closings["thinking"])
        answer = [*model.tokenizer.encode_control("11"), min(model.stop_ids)]
        vocab_size = model.backend.vocab_size
    source = embedded_bundle_path()
    manifest = replace(open_bundle(source).manifest, files={}, name="a script")

    def fill(target: Path) -> Manifest:
        shutil.copy(source / "tokenizer.json", target)
        replies = {tuple((*tokens, *forced)[-20:]): thought, tuple(closing[-3:]): answer}
        rkllm_stand_in.write_model(target / "model.rkllm", replies, vocab_size=vocab_size, delay_us=2000)
        return manifest

    target = tmp_path_factory.mktemp("bundle") / "bundle"
    return write_bundle(target, {"tokenizer.json": "tokenizer", "model.rkllm": "rkllm"}, fill).path


@pytest.mark.parametrize(
    ("options", "why"), [({"think_tokens": 30}, "at its budget"), ({"deadline_s": 2.0}, "deadline")]
)
def test_thinking_is_closed_with_forced_tokens_and_answered(
    bundle: Path, library: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, float], why: str
) -> None:
    """The whole way: the device generates thoughts by itself, is paused, given the close, and goes on to answer."""
    monkeypatch.setenv(rkllm_library.LIBRARY_VARIABLE, str(library))
    with edge.load(bundle, backend="rkllm", context_size=4096) as engine:
        answer = engine.answer(QUESTION, AnswerOptions(think="on", **options))  # type: ignore[arg-type]
    assert answer.answer == "11" and answer.finish_reason == "stop" and answer.backend == "rkllm"
    assert answer.thinking.startswith("step 0 of many.") and why in answer.decision.reason


def test_weights_that_are_not_there_are_named(bundle: Path) -> None:
    with pytest.raises(BundleError, match="no gguf weights, only rkllm"):
        edge.load(bundle, backend="llama_cpp")
