"""Problems as training samples: token ids with a loss weight for each, packed into rows.

Knows the mix of modes and classes, and packing. Knows nothing of networks; rendering.py writes the samples.
A row starts with the system text; the samples after it follow like turns of one chat, without document masks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

from models.spark import outside, tasks
from models.spark.kinds import SPARK
from models.spark.rendering import JUDGE_OFF, JUDGE_ON, Renderer, Sample

ROW_TOKENS = 256
_SYSTEMS = (
    "", "You are helpful.", "Be short.", "You are a calculator.", "Answer in one line.", "You are a kind teacher.",
    "你是一个有用的助手。", "请简短回答。", "Always be polite and careful.", "You are spark, a small model.",
    "Help the user.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mix:
    """What stage 1 draws. Shares are of samples; `off_weight` scales the loss of direct answers.

    `switched` is the share whose mode is asked for in the prompt, where the kind has switches.
    """

    thinking: float = 0.55
    outside: float = 0.03
    drill: float = 0.25
    history: float = 0.06
    off_one_step: float = 0.76
    on_one_step: float = 0.30
    off_weight: float = 3.0
    switched: float = 0.15


def draw_forced(rng: Random, renderer: Renderer, mix: Mix) -> Sample:
    """One stage-1 sample: a problem of the train split in one mode."""
    think = rng.random() < mix.thinking
    language = rng.choice(("en", "en", "zh"))
    if rng.random() < mix.outside:
        problem = tasks.draw_outside(rng, language)
    elif rng.random() < mix.drill:
        think = rng.random() < 0.2
        problem = tasks.draw_drill(rng, language, "train")
    else:
        easy = rng.random() < (mix.on_one_step if think else mix.off_one_step)
        num_steps = 1 if easy else draw_many_steps(rng, think)
        problem = tasks.draw_problem(rng, num_steps, rng.choice(("sum", "story")), language, "train")
    past = draw_past(rng, renderer, mix)
    is_switched = bool(renderer.kind.switches) and rng.random() < mix.switched
    return renderer.forced_sample(problem, think, 1.0 if think else mix.off_weight, past, is_switched)


def draw_many_steps(rng: Random, think: bool) -> int:
    """Two to five steps; direct answers lean to two, because longer ones cannot be learned."""
    return rng.choice((2, 3, 4, 4, 5, 5, 5) if think else (2, 2, 2, 2, 3, 4, 5))


def draw_past(rng: Random, renderer: Renderer, mix: Mix) -> list[int]:
    """Sometimes one or two earlier turns."""
    if rng.random() >= mix.history:
        return []
    past: list[int] = []
    for _ in range(rng.choice((1, 1, 2))):
        num_steps, kind, language = tasks.draw_class(rng)
        past += renderer.past(tasks.draw_problem(rng, num_steps, kind, language, "train"))
    return past


def draw_system(rng: Random, default: str) -> str:
    """The default system text, now and then another."""
    return default if rng.random() < 0.95 else rng.choice(_SYSTEMS)


Rows = tuple[NDArray[np.uint16], NDArray[np.float16]]


def pack(rng: Random, renderer: Renderer, draw: Callable[[], Sample | None], num_rows: int) -> Rows:
    """Fill `num_rows` rows of ROW_TOKENS from `draw` (None ends it early): ids and loss weights, (rows, ROW_TOKENS)."""
    pad_id = renderer.tokenizer.token_id(renderer.kind.pad)
    ids = np.full((num_rows, ROW_TOKENS), pad_id, dtype=np.uint16)
    weights = np.zeros((num_rows, ROW_TOKENS), dtype=np.float16)
    waiting: list[Sample] = []
    ended = False
    for row in range(num_rows):
        used = renderer.system(draw_system(rng, renderer.kind.dialect.default_system))
        ids[row, : len(used)] = used
        place = len(used)
        while True:
            while len(waiting) < 24 and not ended:
                sample = draw()
                ended = sample is None
                if sample is not None and len(sample.ids) + 40 <= ROW_TOKENS:
                    waiting.append(sample)
            room = ROW_TOKENS - place
            fitting = next((at for at, sample in enumerate(waiting) if len(sample.ids) <= room), None)
            if fitting is None:
                break
            chosen = waiting.pop(fitting)
            end = place + len(chosen.ids)
            ids[row, place:end], weights[row, place:end] = chosen.ids, chosen.weights
            place = end
        if ended and not waiting:
            return ids[: row + 1], weights[: row + 1]
    return ids, weights


def tokenizer_texts(seed: int = 7, num_problems: int = 24000) -> Iterator[str]:
    """Texts the vocabulary is trained on, those of spark's own dialect included."""
    rng = Random(seed)
    fixed = (
        *JUDGE_OFF.values(),
        *JUDGE_ON.values(),
        SPARK.dialect.forced_off.split("\n")[0],
        SPARK.dialect.forced_on.split("\n")[0],
        SPARK.dialect.default_system,
    )
    for place in range(num_problems):
        if place % 20 == 0:
            yield from fixed
            yield from ("\n\n", "\n", "system\n", "user\n", "assistant\n", ">\n", *outside.ANSWER.values())
        language = rng.choice(("en", "zh"))
        if place % 12 == 0:
            yield outside.draw_prompt(rng, language)
            continue
        num_steps, kind, _ = tasks.draw_class(rng)
        problem = tasks.draw_problem(rng, num_steps, kind, language, "train")
        yield problem.prompt
        yield problem.answer
        yield problem.thinking
