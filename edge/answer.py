"""One prompt becomes one answer: decide, render, encode, prefill, then token by token.

Knows: the order of these steps and what each hands to the next. Does not know: devices, locks, terminals, or how a
token is sampled and read (``token_loop``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from threading import Event
from typing import TYPE_CHECKING

from edge.answer_log import AnswerLog, Waited
from edge.chat_types import AnswerOptions, Decision, Message, StreamEvent, Think
from edge.sampling import Sampler
from edge.stream_parser import StreamParser
from edge.think.decision import decide
from edge.token_loop import TokenLoop
from models.errors import PromptError

if TYPE_CHECKING:
    from edge.loaded_model import LoadedModel


def stream_answer(
    model: LoadedModel,
    sequence: int,
    messages: Sequence[Message],
    options: AnswerOptions,
    *,
    stop: Event,
    clock: Callable[[], float] = time.perf_counter,
    waited: Waited | None = None,
) -> Iterator[StreamEvent]:
    """Answer the last of ``messages`` on ``sequence`` of the model's backend; the last event carries the result.

    ``stop`` ends the answer early from any thread. ``clock`` gives seconds. Raises PromptError for an empty or too
    long prompt, BackendError when the device fails.
    """
    log = AnswerLog(clock, waited or Waited(clock()))
    decision = decide(options.think, has_judge=model.dialect.has_judge, default_think=model.dialect.default_think)
    prompt = model.dialect.render(check_messages(messages), think_mode(decision))
    tokens, forced = model.tokenizer.encode_prompt(prompt)
    check_room(len(tokens) + len(forced), model.backend.context_size)
    if decision.think is not None:
        yield StreamEvent("decision", decision=decision)

    prefill_start_s = clock()
    filled = model.backend.prefill(sequence, [*tokens, *forced], should_stop=stop.is_set)
    log.prefilled(prefill_start_s, len(tokens), len(forced), filled.cached_tokens)
    parser = StreamParser(model.dialect, prompt.phase)
    parser.feed(prompt.forced)
    loop = TokenLoop(
        model,
        sequence,
        [*tokens, *forced],
        parser=parser,
        sampler=make_sampler(model, options),
        log=log,
        decided=decision.think,
        limit=options.max_tokens,
        stop=stop,
    )
    for piece in loop.run() if filled.is_complete else ():
        if decision.think is None and piece.kind != "judge":
            decision = judged(parser.think, log.text("judge"))
            yield StreamEvent("decision", decision=decision)
        if piece.kind != "marker" and piece.text:
            log.show(piece.kind, piece.text)
            yield StreamEvent(piece.kind, piece.text)
    yield StreamEvent("done", result=log.finish(decision, loop.finish_reason, model.name, model.backend.name))


def think_mode(decision: Decision) -> Think:
    """The mode to render: what was decided is forced, so that it holds; only an open decision is left to the model."""
    if decision.think is None:
        return "auto"
    return "on" if decision.think else "off"


def judged(think: bool | None, judge_text: str) -> Decision:
    """The decision of the model's own judge, with the judge's words as its reason."""
    words = " ".join(judge_text.split())
    return Decision(bool(think), f"the model judged: {words}" if words else "the model judged so", "judge")


def make_sampler(model: LoadedModel, options: AnswerOptions) -> Sampler:
    """What was asked for, and the model's own defaults for the rest."""
    default = model.sampling
    return Sampler(
        temperature=default.temperature if options.temperature is None else options.temperature,
        top_k=default.top_k if options.top_k is None else options.top_k,
        top_p=default.top_p if options.top_p is None else options.top_p,
        seed=options.seed,
    )


def check_messages(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages, if there is something to answer. Raises PromptError."""
    if not messages:
        raise PromptError("There is no message to answer; give at least one from the user.")
    if messages[-1].role != "user":
        raise PromptError(f"The last message is from the {messages[-1].role}; end with one from the user.")
    if not messages[-1].content.strip():
        raise PromptError("The prompt is empty; write a question.")
    return tuple(messages)


def check_room(num_tokens: int, context_size: int) -> None:
    """Raises PromptError unless a prompt of ``num_tokens`` leaves room for at least one token of an answer."""
    if num_tokens >= context_size:
        raise PromptError(
            f"The prompt is {num_tokens:,} tokens long and the context holds {context_size:,}; "
            "shorten it or ask for a larger context."
        )
