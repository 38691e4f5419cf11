"""What a chat's second turn costs: tokens prefilled, and time to the first token against a bare prefill of as many.

Knows: a session of two turns, the prompt it comes to, and llama.cpp's own prefill of the same tokens behind the same
history, in turn with it in the same process. Does not know: what a cache keeps, or how. Both turns think, so that the
thoughts have to be left out of the history.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_edge.bare_loop import BareLoop
from bench_edge.fresh_engine import fresh_model
from bench_edge.kept import say
from bench_edge.report import Check
from edge.chat_types import AnswerOptions, Message
from models.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.engine import Engine

FIRST = "What is 38*47-5+12?"
SECOND = "Mia has {} apples and buys 30 more. How many apples does Mia have?"  # a new one each time: none is remembered
NUMBERS = range(11, 100)
TURN = AnswerOptions(think="on", temperature=0.0)


@dataclass(frozen=True, slots=True)
class SecondTurn:
    """One second turn; tokens, and seconds by the caller's clock.

    ``marks`` are all fixed tokens behind the last answer, those that open the new turn and its thinking included.
    """

    prefilled: int
    answer: int
    message: int
    marks: int
    first_token_s: float
    bare_prefill_s: float


def measure(model: Path | None, repetitions: int) -> dict[str, Any]:
    """``repetitions`` second turns of spark (None) or a random model, each beside a bare prefill."""
    with fresh_model(model) as (engine, speech):
        if speech is not None:
            speech.thinking_tokens = speech.answer_tokens = 12
        with BareLoop(engine.model.path, engine.model.backend.num_threads) as bare:
            second_turn(engine, bare, SECOND.format(10))  # pages the model in
            numbers = [NUMBERS[place % len(NUMBERS)] for place in range(repetitions)]
            turns = [second_turn(engine, bare, SECOND.format(number)) for number in numbers]
        say(f"{engine.model.name}: {repetitions} second turns measured")
        return summarize(turns)


def second_turn(engine: Engine, bare: BareLoop, second: str) -> SecondTurn:
    """A chat of two turns from an empty cache on, up to the first token of the second; then the bare prefill."""
    engine.model.backend.cut(0, 0)
    session = engine.session()
    session.answer(FIRST, TURN)
    history = session.messages
    start_s = time.perf_counter()
    with session.stream(second, TURN) as running:
        next(event for event in running if event.kind in ("thinking", "answer") and event.text)
        first_token_s = time.perf_counter() - start_s
        running.stop()
        usage = running.result.usage
    prefilled = usage.prompt_tokens + usage.forced_tokens - usage.cached_tokens
    tokens, parts = second_prompt(engine, history, second)
    return SecondTurn(prefilled, *parts, first_token_s, bare.prefill(tokens[-prefilled:], behind=tokens[:-prefilled]))


def second_prompt(engine: Engine, history: Sequence[Message], second: str) -> tuple[list[int], tuple[int, int, int]]:
    """The whole second prompt, and how many of its tokens are the last answer, the new message and marks behind it."""
    if len(history) < 2:
        raise BackendError(f"{engine.model.name} gave no answer in the first turn, so there is no second one.")
    tokenizer = engine.model.tokenizer
    prompt = engine.model.dialect.render([*history, Message("user", second)], "on")
    tokens, forced = tokenizer.encode_prompt(prompt)
    answer, message = (tokenizer.encode_user(text) for text in (history[-1].content, second))
    last = max(place for place, part in enumerate(prompt.parts) if part.text == history[-1].content)
    marks = [tokenizer.encode_control(part.text) for part in prompt.parts[last + 1 :] if part.is_control]
    return [*tokens, *forced], (len(answer), len(message), sum(map(len, marks)) + len(forced))


def summarize(turns: Sequence[SecondTurn]) -> dict[str, Any]:
    """Medians, the median of the paired ratios, and the most tokens that were prefilled beyond what is new."""
    ratios = sorted(turn.first_token_s / turn.bare_prefill_s for turn in turns)
    columns = [asdict(turn) for turn in turns]
    return {
        **{name: statistics.median(row[name] for row in columns) for name in columns[0]},
        "most_beyond": max(turn.prefilled - turn.answer - turn.message - turn.marks for turn in turns),
        "ratio": statistics.median(ratios),
        "ratio_min_max": [ratios[0], ratios[-1]],
        "repetitions": len(turns),
    }


def turn_checks(figures: dict[str, dict[str, Any]]) -> list[Check]:
    """The promised figures; times in the order of ``figures``."""
    beyond = max(row["most_beyond"] for row in figures.values())
    text = "second turn: tokens prefilled beyond answer, message and marks"
    ratios = [
        Check(f"C.turn_{place}", f"second turn: first token over a bare prefill, {name}", row["ratio"], 1.1, "at_most")
        for place, (name, row) in enumerate(figures.items(), 2)
    ]
    return [Check("C.turn_1", text, beyond, 0, "at_most"), *ratios]
