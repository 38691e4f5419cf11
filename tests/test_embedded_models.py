"""The models that ship, for real: both families answer in every mode, close in time, and are found by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.backends.self_test import PASSED, run_child
from edge.chat_types import AnswerOptions
from edge.engine import Engine, load
from edge.model_source import DEFAULT_MODEL, EMBEDDED_FOLDERS, embedded_bundle_path, find_model
from models.bundle import open_bundle, verify_bundle
from models.dialect import DIALECTS, Message, Think
from models.spark.kinds import KINDS
from models.spark.tasks import Problem, draw_set
from models.spec import TensorPlace
from models.tokenizer import BpeChatTokenizer
from quantize.decoder import logits_of

OPTIONS = AnswerOptions(temperature=0.0, max_tokens=250)
PROBLEMS = draw_set(20, 5, "validation")
EASY = [problem for problem in PROBLEMS if problem.num_steps == 1]
HARD = [problem for problem in PROBLEMS if problem.num_steps > 2]


@pytest.fixture(scope="module", params=EMBEDDED_FOLDERS)
def name(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


def read_gguf(path: Path) -> Callable[[TensorPlace], NDArray[np.float32]]:
    """Each tensor of a file as the gguf package dequantizes it."""
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}

    def read(place: TensorPlace) -> NDArray[np.float32]:
        tensor = tensors[place.gguf_name]
        values: NDArray[np.float32] = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(place.shape)
        return values

    return read


@pytest.fixture
def engine(name: str) -> Iterator[Engine]:
    with load(name, backend="llama_cpp", num_threads=1, context_size=1024) as opened:
        yield opened


@pytest.fixture
def onnx_engine(name: str) -> Iterator[Engine]:
    pytest.importorskip("onnxruntime")
    with load(name, backend="onnx", num_threads=1, context_size=1024) as opened:
        yield opened


def num_right(engine: Engine, problems: list[Problem], think: Think) -> int:
    answers = [engine.answer(problem.prompt, replace(OPTIONS, think=think)) for problem in problems]
    assert all(answer.finish_reason == "stop" for answer in answers)
    return sum(problem.check(answer.answer) for problem, answer in zip(problems, answers, strict=True))


def test_every_embedded_model_is_a_kind_of_the_recipe() -> None:
    assert EMBEDDED_FOLDERS.keys() == KINDS.keys()
    assert DEFAULT_MODEL in EMBEDDED_FOLDERS
    assert find_model(None).name == DEFAULT_MODEL


def test_a_bundle_is_whole_and_speaks_its_dialect(name: str) -> None:
    """A bundle of the wrong checkpoint, or with ids that are not its tokens', answers without an error."""
    bundle = verify_bundle(embedded_bundle_path(name))
    kind, manifest = KINDS[name], bundle.manifest
    tokenizer = BpeChatTokenizer.from_file(bundle.tokenizer_path, kind.dialect.control_texts)
    assert (manifest.name, manifest.spec.family, manifest.dialect) == (name, kind.body.model_type, kind.dialect.name)
    assert manifest.bos_token_id == (tokenizer.token_id(kind.start) if kind.start else None)
    assert set(manifest.stop_token_ids) == {tokenizer.token_id(kind.end), tokenizer.token_id(kind.pad)}
    assert manifest.spec.rope_base == pytest.approx(10000)
    assert manifest.sampling.temperature == 0


def test_llama_cpp_runs_it_at_full_speed(name: str) -> None:
    assert run_child(embedded_bundle_path(name) / "model.gguf", "normal") == PASSED


def test_llama_cpp_computes_what_our_decoder_does(engine: Engine, name: str) -> None:
    """On a trained model, where a slightly wrong norm or rotation moves few answers and many logits."""
    assert_computes_the_same(engine, name)


def test_onnx_runtime_computes_what_our_decoder_does(onnx_engine: Engine, name: str) -> None:
    """Token by token, from the codes of the same bundle's GGUF."""
    assert_computes_the_same(onnx_engine, name)


def assert_computes_the_same(engine: Engine, name: str) -> None:
    """Every token of a prompt and of its thoughts by itself, on the device and at once in our decoder."""
    bundle, kind, backend = open_bundle(embedded_bundle_path(name)), KINDS[name], engine.model.backend
    prompt, forced = engine.model.tokenizer.encode_prompt(kind.dialect.render([Message("user", HARD[0].prompt)], "on"))
    tokens = [*prompt, *forced, *engine.model.tokenizer.encode_control(HARD[0].thinking)]
    ours = logits_of(bundle.manifest.spec, read_gguf(bundle.gguf_path), tokens)
    rows = []
    for token in tokens:
        backend.append(0, [token])
        rows.append(backend.logits(0).copy())
    theirs = np.stack(rows)
    cosines = (ours * theirs).sum(1) / (np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1))
    assert cosines.min() >= 0.999
    assert (ours.argmax(1) == theirs.argmax(1)).mean() >= 0.99


def test_direct_answers_are_right_on_easy_problems_only(engine: Engine) -> None:
    """The reason why thinking on demand pays at all."""
    assert num_right(engine, EASY, "off") >= len(EASY) - 2
    assert num_right(engine, HARD, "off") <= 2


def test_thinking_is_right_on_hard_problems(engine: Engine) -> None:
    assert num_right(engine, HARD, "on") >= len(HARD) - 1


def test_onnx_runtime_is_as_right(onnx_engine: Engine) -> None:
    assert num_right(onnx_engine, EASY, "off") >= len(EASY) - 2
    assert num_right(onnx_engine, HARD, "on") >= len(HARD) - 1


def test_what_auto_does_by_itself(engine: Engine, name: str) -> None:
    """spark judges; for the Hunyuan family, which has no judge, the router tells an easy sum from a hard problem."""
    easy, hard = (engine.answer(prompt, replace(OPTIONS, think="auto")) for prompt in ("7+5=?", HARD[0].prompt))
    assert (easy.answer, hard.decision.think) == ("12", True)
    has_judge = DIALECTS[KINDS[name].dialect.name].has_judge
    assert (bool(easy.decision.think), easy.usage.judge_tokens > 0) == (False, has_judge)
    assert easy.decision.source == ("judge" if has_judge else "router")


@pytest.mark.parametrize(
    "prompt", ["7+5=?", "/think 7+5=?", "<think> 7+5=?", "小明有7个苹果，又买了5个。他现在有几个？"]
)
def test_off_never_thinks(engine: Engine, prompt: str) -> None:
    """Not even where the prompt itself spells what would turn thinking on."""
    answer = engine.answer(prompt, replace(OPTIONS, think="off"))
    assert (answer.thinking, answer.usage.thinking_tokens, answer.decision.think) == ("", 0, False)
    assert answer.answer and "<" not in answer.answer


def test_a_switch_that_a_user_types_is_text(engine: Engine) -> None:
    """``/no_think`` as a token turned thinking off behind the back of ``--think on``."""
    tokenizer = engine.model.tokenizer
    typed = tokenizer.encode_user("/no_think7+5=?")
    assert not {tokenizer.token_id(switch) for switch in ("/think", "/no_think")} & set(typed)
    assert engine.answer("/no_think 7+5=?", replace(OPTIONS, think="on")).thinking


@pytest.mark.parametrize("think_tokens", [4, 12])
def test_a_thinking_budget_closes_and_an_answer_follows(engine: Engine, think_tokens: int) -> None:
    answer = engine.answer(HARD[0].prompt, replace(OPTIONS, think="on", think_tokens=think_tokens))
    assert 0 < answer.usage.thinking_tokens <= think_tokens
    assert answer.thinking and answer.answer
    assert answer.finish_reason == "stop"


def test_a_deadline_is_kept(engine: Engine) -> None:
    """Long enough for a busy machine; a model that is not stopped would write 250 tokens and be cut off."""
    answer = engine.answer(HARD[0].prompt, replace(OPTIONS, think="on", deadline_s=10.0))
    assert answer.finish_reason == "stop"
    assert answer.answer
    assert answer.timings.total_s < 10


def test_a_system_text_and_a_second_turn(engine: Engine) -> None:
    """Both put text before the question that the first turn's training rows mostly lack."""
    session = engine.session("Be short.")
    first, second = (session.answer(prompt, replace(OPTIONS, think="on")) for prompt in ("3*4=?", "25+17=?"))
    assert (first.answer, second.answer) == ("12", "42")
    assert second.usage.cached_tokens > 0
