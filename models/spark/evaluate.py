"""How well a network answers: off, on, auto and with a thought closed at once, by number of steps.

Knows how to ask in each mode and how to read what came back. Draws nothing by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from models.spark.network import SparkNetwork
from models.spark.rendering import Renderer
from models.spark.sampler import generate
from models.spark.tasks import Problem

MAX_TOKENS = {"off": 24, "on": 200, "auto": 216, "closed": 24}


@dataclass(frozen=True, slots=True)
class Reply:
    """One generated answer: what it says, whether it thought, how many tokens it took and how many of them judged."""

    answer: str
    thinking: str
    did_think: bool
    num_tokens: int
    num_judge_tokens: int
    is_right: bool


def ask(
    network: SparkNetwork,
    renderer: Renderer,
    problems: Sequence[Problem],
    mode: str,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
    batch: int = 128,
) -> list[Reply]:
    """Answers to all problems in one mode (off, on, auto, or closed: a thought that is closed at once); 0 is greedy."""
    dialect = renderer.kind.dialect
    closed = dialect.forced_on + dialect.closings["thinking"].removeprefix("\n")
    forced = {"off": dialect.forced_off, "on": dialect.forced_on, "auto": "", "closed": closed}[mode]
    head = renderer.system(dialect.default_system)
    prompts = [head + renderer.turn(problem.prompt, forced) for problem in problems]
    order = sorted(range(len(prompts)), key=lambda at: (problems[at].num_steps, len(prompts[at])))
    stop = renderer.tokenizer.token_id(renderer.kind.end)
    replies: dict[int, Reply] = {}
    for start in range(0, len(order), batch):
        part = order[start : start + batch]
        found = generate(network, [prompts[at] for at in part], MAX_TOKENS[mode], stop, temperature, generator)
        for at, ids in zip(part, found, strict=True):
            replies[at] = read_reply(renderer, problems[at], mode, ids)
    return [replies[at] for at in range(len(prompts))]


def read_reply(renderer: Renderer, problem: Problem, mode: str, ids: list[int]) -> Reply:
    """Take a generated text apart."""
    tokenizer = renderer.tokenizer
    num_judge = 0
    did_think = mode == "on"
    text = tokenizer.decode(ids)
    if mode == "auto" and renderer.kind.dialect.has_judge:
        markers = [tokenizer.token_id("<think_on>"), tokenizer.token_id("<think_off>")]
        num_judge = next((at + 1 for at, token in enumerate(ids) if token in markers), len(ids))
        did_think = bool(ids) and ids[num_judge - 1] == markers[0]
    elif mode == "auto":
        did_think = not text.startswith(renderer.kind.dialect.forced_off)
    answer = text.rsplit("<answer>\n", 1)[-1].split("\n</answer>", 1)[0]
    thinking = text.split("<think>\n")[-1].split("\n</think>")[0] if did_think else ""
    return Reply(answer, thinking, did_think, len(ids) + 1 - num_judge, num_judge, problem.check(answer))


def summarise(problems: Sequence[Problem], replies: Sequence[Reply]) -> dict[str, float]:
    """Share right, tokens and thinking rate: all, and share right by number of steps (`right_1` to `right_5`)."""
    by_steps: dict[int, list[bool]] = defaultdict(list)
    for problem, reply in zip(problems, replies, strict=True):
        by_steps[problem.num_steps].append(reply.is_right)
    count = len(replies)
    found = {
        "right": sum(reply.is_right for reply in replies) / count,
        "tokens": sum(reply.num_tokens for reply in replies) / count,
        "thinking_rate": sum(reply.did_think for reply in replies) / count,
    }
    found |= {f"right_{steps}": sum(right) / len(right) for steps, right in sorted(by_steps.items())}
    return {key: round(value, 4) for key, value in found.items()}
