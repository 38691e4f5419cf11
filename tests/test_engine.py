"""An engine answers one request at a time, can be stopped from anywhere, and is freed in every case."""

from __future__ import annotations

import doctest
import json
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from scripted_models import FakeClock, scripted_model
from tiny_checkpoints import write_tiny_checkpoint
from tiny_gguf import write_model

import edge
from edge.backends.scripted import ScriptedBackend
from edge.chat_types import Answer, AnswerOptions, Message, Usage
from edge.engine import Engine, load
from edge.loaded_model import find_dialect
from edge.model_source import embedded_bundle_path, find_model
from edge.running_answer import RunningAnswer
from models.dialect import Sampling
from models.errors import BundleError, UnknownFamilyError, UsageError
from quantize.pipeline import quantize_checkpoint

OFF = AnswerOptions(think="off", temperature=0.0)


def scripted_engine(*replies: str, load_s: float = 0.0, context_size: int = 512) -> Engine:
    """An engine that wants to say the first of ``replies``."""
    model = scripted_model(*(replies or ("1 2 3 4 5",)), context_size=context_size)
    return Engine(model, load_s=load_s, clock=FakeClock(0.001))


def is_closed(engine: Engine) -> bool:
    """Whether the device was freed."""
    assert isinstance(engine.model.backend, ScriptedBackend)
    return "close" in [call.method for call in engine.model.backend.calls]


@pytest.fixture(scope="module")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with random weights that llama.cpp runs."""
    folder = tmp_path_factory.mktemp("models")
    return quantize_checkpoint(write_tiny_checkpoint(folder / "checkpoint"), folder / "bundle", name="tiny").path


def test_answer_is_the_stream_joined() -> None:
    engine = scripted_engine()
    events = list(engine.stream("count", OFF))
    assert "".join(event.text for event in events if event.kind == "answer") == engine.answer("count", OFF).answer


def test_text_is_one_users_message() -> None:
    engine = scripted_engine()
    assert engine.answer("count", OFF).answer == engine.answer([Message("user", "count")], OFF).answer == "1 2 3 4 5"


def test_only_the_first_answer_waited_for_the_load() -> None:
    """Counting the load with every answer would make a chat look slow for ever."""
    engine = scripted_engine(load_s=2.5)
    assert [engine.answer("a", OFF).timings.load_s for _ in range(2)] == [2.5, 0.0]


def test_stop_from_another_thread() -> None:
    engine = scripted_engine("1 2 3 4 5 6 7 8 9 " * 20)
    running = engine.stream("count", OFF)
    next(running)
    stopper = threading.Thread(target=running.stop)
    stopper.start()
    stopper.join()
    assert running.result.finish_reason == "stopped"


def test_answers_of_several_threads_wait_for_each_other() -> None:
    """Two answers at once on one device would write into each other's cache."""
    engine = scripted_engine()
    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(engine.answer("count", OFF).answer)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert answers == ["1 2 3 4 5"] * 8


def test_waiting_for_another_thread_is_queue_time() -> None:
    clock = FakeClock(0.001)
    engine = Engine(scripted_model("1 2 3"), clock=clock)
    first = engine.stream("count", OFF)
    next(first)
    answers: list[Answer] = []
    waiting = threading.Thread(target=lambda: answers.append(engine.answer("count", OFF)))
    before_s = clock.now_s
    waiting.start()
    while clock.now_s == before_s:  # until it has asked
        time.sleep(0.001)
    clock.now_s += 50
    first.close()
    waiting.join(30)
    assert 50 <= answers[0].timings.queue_s < 51


def queued(engine: Engine, options: AnswerOptions, then: Callable[[RunningAnswer], None]) -> Answer:
    """The result of a request that waits behind another one, which rests at its first event, when ``then`` happens."""
    first = engine.stream("count", OFF)
    next(first)
    running, answers = engine.stream("count", options), []
    waiting = threading.Thread(target=lambda: answers.append(running.result))
    waiting.start()
    then(running)
    waiting.join(30)
    assert not waiting.is_alive()
    first.close()
    return answers[0]


def prefills(engine: Engine) -> int:
    assert isinstance(engine.model.backend, ScriptedBackend)
    return sum(call.method == "prefill" for call in engine.model.backend.calls)


def test_stop_holds_at_once_for_a_request_that_waits() -> None:
    """A request that nobody wants any more waited for its turn, and then computed a prompt."""
    engine = scripted_engine()
    answer = queued(engine, OFF, RunningAnswer.stop)
    assert (answer.finish_reason, answer.answer, answer.decision.source) == ("stopped", "", "asked")
    assert answer.usage == Usage()
    assert answer.timings.queue_s > 0
    assert prefills(engine) == 0


def test_a_deadline_that_passes_in_the_queue_ends_the_request() -> None:
    engine = Engine(scripted_model("1 2 3"))
    answer = queued(engine, AnswerOptions(think="off", deadline_s=0.01), lambda _running: None)
    assert (answer.finish_reason, answer.answer, answer.decision.source) == ("deadline", "", "deadline")
    assert 0.01 <= answer.timings.queue_s < 10
    assert prefills(engine) == 0


def test_thinking_that_is_stopped_in_the_queue_does_not_begin() -> None:
    engine = scripted_engine("12", "3*4\n</think>\n\n<answer>\n12\n</answer>")
    running = engine.stream("count", AnswerOptions(think="on", temperature=0.0, min_think_tokens=5))
    running.stop_thinking()
    answer = running.result
    assert (answer.answer, answer.thinking, answer.finish_reason) == ("12", "", "stop")


def test_what_the_caller_does_before_the_first_event_is_no_time_of_the_answer() -> None:
    clock = FakeClock(0.001)
    running = Engine(scripted_model("1 2 3"), clock=clock).stream("count", OFF)
    clock.now_s += 50
    timings = running.result.timings
    assert max(timings.queue_s, timings.ttft_s, timings.total_s) < 1


def test_second_answer_of_a_thread_is_refused_instead_of_hanging() -> None:
    """A lock that waits for its own thread waits for ever."""
    engine = scripted_engine()
    first = engine.stream("count", OFF)
    next(first)
    with pytest.raises(UsageError, match="still under way"):
        engine.answer("count", OFF)
    first.close()
    assert engine.answer("count", OFF).answer == "1 2 3 4 5"


def test_a_dropped_answer_frees_the_engine() -> None:
    """``break`` in a loop over events must not lock the engine for good."""
    engine = scripted_engine()
    for _ in engine.stream("count", OFF):
        break
    assert engine.answer("count", OFF).answer == "1 2 3 4 5"


def test_a_failed_answer_frees_the_engine() -> None:
    engine = scripted_engine(context_size=100)
    with pytest.raises(UsageError):
        engine.answer("long " * 100, OFF)
    assert engine.answer("count", OFF).answer


def test_closed_answer_has_no_result() -> None:
    running = scripted_engine().stream("count", OFF)
    next(running)
    running.close()
    with pytest.raises(UsageError, match="no result"):
        _ = running.result


def test_engine_is_freed_by_with() -> None:
    with scripted_engine() as engine:
        pass
    assert is_closed(engine)
    with pytest.raises(UsageError, match="closed"):
        engine.answer("count", OFF)


def test_closing_under_an_answer_of_the_same_thread_ends_it() -> None:
    """A token loop that goes on after the device was freed reads freed memory."""
    engine = scripted_engine()
    running = engine.stream("count", OFF)
    next(running)
    engine.close()
    assert list(running) == []
    assert isinstance(engine.model.backend, ScriptedBackend)
    assert engine.model.backend.calls[-1].method == "close"


def test_closing_stops_the_answer_of_another_thread() -> None:
    engine = scripted_engine("1 2 3 4 5 6 7 8 9 " * 20)
    has_begun = threading.Event()

    def read() -> None:
        for _ in engine.stream("count", OFF):
            has_begun.set()

    reader = threading.Thread(target=read)
    reader.start()
    has_begun.wait(30)
    engine.close()
    reader.join(30)
    assert not reader.is_alive()
    assert isinstance(engine.model.backend, ScriptedBackend)
    assert engine.model.backend.calls[-1].method == "close"


@pytest.mark.parametrize("ending", ["read on", "close"])
def test_closing_while_the_answer_of_another_thread_rests(ending: str) -> None:
    """A reader that looks at an event for long must not hang the thread that closes."""
    engine = scripted_engine()
    rests, may_end = threading.Event(), threading.Event()

    def read() -> None:
        running = engine.stream("count", OFF)
        next(running)
        rests.set()
        may_end.wait(30)
        if ending == "close":
            running.close()
        else:
            list(running)

    reader = threading.Thread(target=read)
    reader.start()
    rests.wait(30)
    closer = threading.Thread(target=engine.close)
    closer.start()
    closer.join(10)
    is_stuck, is_early = closer.is_alive(), is_closed(engine)
    may_end.set()
    reader.join(30)
    assert not is_stuck
    assert not is_early and is_closed(engine)
    with pytest.raises(UsageError, match="closed"):
        engine.answer("count", OFF)


def test_an_answer_that_waits_when_the_engine_is_closed_is_refused() -> None:
    engine = scripted_engine()
    first = engine.stream("count", OFF)
    next(first)
    errors: list[UsageError] = []

    def ask() -> None:
        try:
            engine.answer("count", OFF)
        except UsageError as exc:
            errors.append(exc)

    waiting = threading.Thread(target=ask)
    waiting.start()
    engine.close()
    first.close()
    waiting.join(30)
    assert "closed" in str(errors[0])


def test_a_bundle_answers_from_end_to_end(tiny_bundle: Path) -> None:
    with edge.load(tiny_bundle, context_size=256, num_threads=1) as engine:
        assert (engine.model.name, engine.model.dialect.name) == ("tiny", "hipo")
        answer = engine.answer("2+3=?", edge.AnswerOptions(think="off", temperature=0.0, max_tokens=8))
    assert answer.backend == "llama_cpp"
    assert answer.usage.answer_tokens == 8
    assert answer.usage.thinking_tokens == 0


def test_a_bare_gguf_answers_like_its_bundle(tiny_bundle: Path) -> None:
    """The tokenizer and the dialect rebuilt from the file must give the same tokens as the bundle's own."""
    options = AnswerOptions(think="on", temperature=0.0, max_tokens=12)
    raws = []
    for model in (tiny_bundle, find_model(tiny_bundle).gguf_path):
        with load(model, context_size=256, num_threads=1) as engine:
            raws.append(engine.answer("2+3=?", options).raw)
    assert raws[0] == raws[1]


def test_a_bundle_brings_its_own_sampling(tiny_bundle: Path, tmp_path: Path) -> None:
    """A small model that was made for greedy answers must not be drawn from as its big relatives are."""
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    manifest["sampling"] = {"temperature": 0.0, "top_k": 0, "top_p": 1.0}
    (bundle / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")
    with load(bundle, context_size=256, num_threads=1) as engine:
        answers = {engine.answer("2+3=?", AnswerOptions(think="off", max_tokens=8)).raw for _ in range(3)}
    assert len(answers) == 1


def test_the_dialect_can_be_set(tiny_bundle: Path) -> None:
    assert find_dialect(find_model(tiny_bundle), "qwen3")[0].name == "qwen3"
    assert find_dialect(find_model(tiny_bundle), "plain")[0].name == "plain"


def test_an_unknown_dialect_is_named(tiny_bundle: Path) -> None:
    with pytest.raises(UnknownFamilyError, match="'klingon'"):
        load(tiny_bundle, dialect="klingon")


def test_an_unknown_backend_is_named(tiny_bundle: Path) -> None:
    with pytest.raises(UsageError, match="'abacus'"):
        load(tiny_bundle, backend="abacus")


def test_a_missing_model_is_named() -> None:
    with pytest.raises(BundleError, match=r"no-such\.gguf"):
        load("no-such.gguf")


@pytest.mark.parametrize("name", ["m" * 300, "~nosuch/x"])
def test_a_name_that_cannot_be_looked_up_is_a_missing_model(name: str) -> None:
    """The file system and the list of users have errors of their own, which are no sentences."""
    with pytest.raises(BundleError, match="cannot be looked up"):
        load(name)


def test_a_foreign_file_is_told_from_a_model(tmp_path: Path) -> None:
    foreign = tmp_path / "notes.gguf"
    foreign.write_text("just notes")
    with pytest.raises(BundleError, match="notes"):
        load(foreign)


def test_a_truncated_model_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BundleError, match="truncated"):
        load(path)


def test_a_folder_that_is_no_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        load(tmp_path)


def test_the_embedded_bundle_lies_in_the_package() -> None:
    assert embedded_bundle_path().parts[-3:] == ("models", "spark", "bundle")


def test_public_names_are_all_there() -> None:
    """A name that is listed and cannot be imported breaks ``from edge import *``."""
    assert all(getattr(edge, name) is not None for name in edge.__all__)
    assert set(edge.__all__) <= set(dir(edge))
    with pytest.raises(AttributeError, match="nothing"):
        _ = edge.nothing


def test_the_example_in_the_documentation_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first thing a reader copies must work, with the output that is printed there."""

    def load_scripted() -> Engine:
        judged = "easy</judge>\n\n<think_off>\n<answer>\n5\n</answer>"
        model = scripted_model(judged, "38*47=1786\n</think>\n\n<answer>\n1793\n</answer>")
        return Engine(replace(model, sampling=Sampling(temperature=0.0, top_k=0, top_p=1.0)))  # as the embedded model

    monkeypatch.setattr(edge.engine, "load", load_scripted)
    failed, tried = doctest.testmod(edge)
    assert (failed, tried) == (0, 2)
