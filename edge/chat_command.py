"""What ``edge chat`` does: one answer, a file of prompts, or a conversation.

Knows: how the options of the command become an engine, answers and an exit code. Does not know: flags and their help
(``cli``), or how text is shown (``terminal``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from edge.chat_history import keep_turn
from edge.chat_types import Answer, AnswerOptions, Message, StreamEvent
from edge.conversation import Conversation, dropped_note
from edge.engine import Engine, load
from edge.machine import process_age_s
from edge.prompt_file import PromptLine, read_prompt_file
from edge.session import Session, WhenFull
from edge.session_file import read_session
from edge.terminal import Screen, read_prompt, stopped_by_interrupt
from models.errors import EdgeError, UsageError

EXIT_ANSWERED, EXIT_FAILED = 0, 1


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What was asked of the command, beside the options of an answer."""

    words: tuple[str, ...]
    options: AnswerOptions
    system: str | None
    model: str | None
    backend: str
    dialect: str | None
    context_size: int | None
    num_threads: int | None
    gpu_layers: int | None
    shows_thinking: bool | None
    is_json: bool
    jsonl: Path | None
    session_file: Path | None
    when_full: str | None
    keeps_history: bool
    is_verbose: bool
    ready_model: Callable[[str | None], str | None]  # the model as load takes it, fetched first where it has to be


def run_chat(request: ChatRequest) -> int:
    """Do what was asked; returns the exit code. Raises EdgeError for everything a sentence can explain."""
    check_request(request)
    if request.jsonl is not None:
        return answer_file(request, request.jsonl)
    prompt = read_prompt(request.words)
    if prompt is not None:
        return answer_once(request, prompt)
    if request.is_json:
        raise UsageError("With --json there has to be a prompt; write one after the command, or pipe one in.")
    screen = Screen(shows_thinking=request.shows_thinking)
    with open_engine(request, screen) as engine:
        session = open_session(engine, request, screen)
        conversation = Conversation(session, request.options, screen, keeps_history=request.keeps_history)
        try:
            conversation.run()
        finally:
            keep_session(request, conversation.session)
    return EXIT_ANSWERED


def check_request(request: ChatRequest) -> None:
    """Raises UsageError for options that exclude each other: none is ignored in silence."""
    if request.jsonl is not None and request.words:
        raise UsageError(f"There is a prompt beside --jsonl {request.jsonl}; give one or the other.")
    if request.jsonl is not None and request.when_full is not None:
        raise UsageError("With --jsonl every line stands alone and no context fills up; leave --when-full out.")
    if request.jsonl is not None and request.keeps_history:
        raise UsageError("With --jsonl no history is kept; leave --history out.")
    if request.shows_thinking is not None and (request.is_json or request.jsonl is not None):
        raise UsageError("JSON always holds the thinking; leave --show-thinking and --hide-thinking out.")
    if request.session_file is not None:
        _check_session_file(request, request.session_file)
    if request.when_full not in (None, *get_args(WhenFull)):
        raise UsageError(f"--when-full is {request.when_full!r}; use drop or refuse.")


def _check_session_file(request: ChatRequest, path: Path) -> None:
    """Before a model is loaded and something said that could not be kept."""
    if request.jsonl is not None:
        raise UsageError("With --jsonl every line stands alone; leave --session out.")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"There is no folder for the conversation {path}; make it, or name another file.")
    if path.exists() and request.system not in (None, read_session(path).system):
        raise UsageError(f"The conversation {path} has a system prompt of its own; leave --system out.")


def open_session(engine: Engine, request: ChatRequest, screen: Screen) -> Session:
    """The conversation of ``--session``, brought back where its file is there, or a new one."""
    when_full: WhenFull = request.when_full or "drop"  # type: ignore[assignment]  # checked before
    if request.session_file is None or not request.session_file.exists():
        return engine.session(request.system, when_full=when_full)
    session = engine.load_session(request.session_file, when_full=when_full)
    for note in session.notes:
        screen.note(note)
    return session


def keep_session(request: ChatRequest, session: Session) -> None:
    """Write the conversation where ``--session`` asks for it, if there is one."""
    if request.session_file is not None:
        session.save(request.session_file)


def open_engine(request: ChatRequest, screen: Screen) -> Engine:
    """The engine asked for; what a user should know about it is noted."""
    engine = load(
        request.ready_model(request.model),
        backend=request.backend,
        context_size=request.context_size,
        num_threads=request.num_threads,
        gpu_layers=request.gpu_layers,
        dialect=request.dialect,
    )
    for note in (*engine.notes, *(_details(engine, request.options) if request.is_verbose else ())):
        screen.note(note)
    return engine


def _details(engine: Engine, options: AnswerOptions) -> tuple[str, ...]:
    model, backend, threads = engine.model, engine.model.backend, engine.threads_for(options.deadline_s)
    return (
        f"Model {model.name}, from {model.path}.",
        f"Dialect {model.dialect.name}: {model.dialect_reason}.",
        f"Backend {backend.name} ({model.backend_reason}): a context of {backend.context_size} tokens.",
        f"Threads: {threads.num_threads} ({threads.reason}).",
    )


def answer_once(request: ChatRequest, prompt: str) -> int:
    """One prompt, one answer, streamed or as one JSON object; 1 when it is empty or Ctrl-C cut it short."""
    if request.when_full is not None and request.session_file is None:
        raise UsageError("One prompt alone fills no context turn by turn; leave --when-full out, or add --session.")
    screen = Screen(shows_thinking=request.shows_thinking)
    start_s = 0.0 if request.options.deadline_s is None else process_age_s()
    with open_engine(request, screen) as engine:
        session = open_session(engine, request, screen)
        answer = answer_turn(session, prompt, request, screen, start_s=start_s)
        keep_session(request, session)
    if request.keeps_history and (warning := keep_turn(prompt, answer)):
        screen.note(warning)
    return EXIT_ANSWERED if answer.has_answer and answer.finish_reason != "stopped" else EXIT_FAILED


def answer_turn(session: Session, prompt: str, request: ChatRequest, screen: Screen, *, start_s: float) -> Answer:
    """The next turn of ``session``, shown as it was asked for; ``start_s`` is reported with its times."""
    num_dropped = session.num_dropped_turns
    with stopped_by_interrupt(running := session.stream(prompt, request.options)):
        events = with_start(running, start_s)
        if request.is_json:
            answer = next(event.result for event in events if event.result is not None)
            print(json.dumps(answer.to_json(), ensure_ascii=False), flush=True)
        else:
            answer = screen.show(events)
    if note := dropped_note(session, num_dropped):
        screen.note(note)
    return answer


def with_start(events: Iterable[StreamEvent], start_s: float) -> Iterator[StreamEvent]:
    """``events``, with ``start_s`` among the times of the result."""
    for event in events:
        if (result := event.result) is not None:
            event = replace(event, result=replace(result, timings=replace(result.timings, start_s=start_s)))
        yield event


def answer_file(request: ChatRequest, path: Path) -> int:
    """Every prompt of a file, one JSON object a line, on one engine; 1 when one of them failed or is empty."""
    num_failed = 0
    lines = read_prompt_file(path)
    with open_engine(request, Screen()) as engine:
        for line in lines:
            try:
                answer = _answer_line(engine, request, line)
                num_failed += not answer.has_answer
                result = answer.to_json()
            except EdgeError as exc:
                num_failed += 1
                result = {"line": line.number, "error": str(exc)}
            print(json.dumps(result, ensure_ascii=False), flush=True)
    return EXIT_FAILED if num_failed else EXIT_ANSWERED


def _answer_line(engine: Engine, request: ChatRequest, line: PromptLine) -> Answer:
    running = engine.stream(_with_system(request.system, *line.messages()), request.options)
    return running.result


def _with_system(system: str | None, *messages: Message) -> tuple[Message, ...]:
    """``messages`` behind the system prompt of the command line, unless they bring their own."""
    if system is None or any(message.role == "system" for message in messages):
        return messages
    return (Message("system", system), *messages)
