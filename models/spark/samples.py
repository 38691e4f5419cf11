"""Problems as training samples: token ids with a loss weight for each, packed into rows.

Knows the dialect's text layout, the mix of modes and classes, and packing. Knows nothing of networks.
A row starts with a system block; the samples after it follow like turns of one chat, without document masks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

from models.dialect import DIALECTS
from models.spark import outside, tasks
from models.spark.tasks import Problem
from models.spark.tokenizer import DEFAULT_SYSTEM, SparkTokenizer

ROW_TOKENS = 256
OFF_PREFILL, ON_PREFILL = DIALECTS["hipo"].forced_off, DIALECTS["hipo"].forced_on
JUDGE_OFF = {"en": "easy", "zh": "简单"}
JUDGE_ON = {"en": "needs steps", "zh": "要分步"}
JUDGE_WEIGHT = 3.0
_ASSISTANT = "<|im_start|>assistant\n"
_SYSTEMS = (
    "", "You are helpful.", "Be short.", "You are a calculator.", "Answer in one line.", "You are a kind teacher.",
    "你是一个有用的助手。", "请简短回答。", "Always be polite and careful.", "You are spark, a small model.",
    "Help the user.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sample:
    """Token ids and the weight of each one's loss (0 = not learned)."""

    ids: list[int]
    weights: list[float]


@dataclass(frozen=True, slots=True)
class Mix:
    """What stage 1 draws. Shares are of samples; `off_weight` scales the loss of direct answers."""

    thinking: float = 0.55
    outside: float = 0.03
    drill: float = 0.25
    history: float = 0.06
    off_one_step: float = 0.76
    on_one_step: float = 0.30
    off_weight: float = 3.0


def off_text(answer: str) -> str:
    """What the model writes after the prefilled start of a direct answer."""
    return f"{answer}\n</answer><|im_end|>"


def on_text(thinking: str, answer: str) -> str:
    """What the model writes after the prefilled start of its thinking."""
    return f"{thinking}\n</think>\n\n<answer>\n{answer}\n</answer><|im_end|>"


def judged_text(language: str, think: bool, answer: str, thinking: str) -> str:
    """What the model writes when it judges for itself."""
    judge = (JUDGE_ON if think else JUDGE_OFF)[language]
    if think:
        return f"{judge}\n</judge>\n\n<think_on>\n<think>\n{on_text(thinking, answer)}"
    return f"{judge}\n</judge>\n\n<think_off>\n<answer>\n{off_text(answer)}"


class Renderer:
    """Writes problems as ids the way the runtime will render them."""

    def __init__(self, tokenizer: SparkTokenizer) -> None:
        self.tokenizer = tokenizer
        self._control: dict[str, list[int]] = {}

    def control(self, text: str) -> list[int]:
        """Ids of a control text that occurs again and again."""
        if text not in self._control:
            self._control[text] = self.tokenizer.encode_control(text)
        return self._control[text]

    def system(self, text: str = DEFAULT_SYSTEM) -> list[int]:
        """The system block. Its closing mark and the next turn's opening are one control text, encoded as pieces."""
        return [*self.control("<|im_start|>system\n"), *self.tokenizer.encode_user(text), *self.control("<|im_end|>\n")]

    def turn(self, prompt: str, prefill: str) -> list[int]:
        """A user turn and the start of the assistant's."""
        start = self.control("<|im_start|>user\n")
        rest = self.control(f"<|im_end|>\n{_ASSISTANT}<judge>\n{prefill}")
        return [*start, *self.tokenizer.encode_user(prompt), *rest]

    def past(self, problem: Problem) -> list[int]:
        """An earlier turn as history keeps it: the answer only."""
        return [
            *self.control("<|im_start|>user\n"),
            *self.tokenizer.encode_user(problem.prompt),
            *self.control(f"<|im_end|>\n{_ASSISTANT}"),
            *self.tokenizer.encode_user(problem.answer),
            *self.control("<|im_end|>\n"),
        ]

    def sample(self, prompt: str, prefill: str, completion: str, weight: float, past: list[int]) -> Sample:
        """A whole sample; only the completion is learned."""
        context = past + self.turn(prompt, prefill)
        learned = self.tokenizer.encode_control(completion)
        end = self.control("\n")
        weights = [0.0] * len(context) + [weight] * len(learned) + [0.0] * len(end)
        return Sample(context + learned + end, weights)

    def judged_sample(self, prompt: str, completion: str, past: list[int]) -> Sample:
        """A sample that judges for itself; its first token, the judgement, weighs more."""
        sample = self.sample(prompt, "", completion, 1.0, past)
        first = sample.weights.index(1.0)
        sample.weights[first] = JUDGE_WEIGHT
        return sample


def draw_forced(rng: Random, renderer: Renderer, mix: Mix) -> Sample:
    """One stage-1 sample: a problem of the train split with the mode prefilled."""
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
    if think:
        return renderer.sample(problem.prompt, ON_PREFILL, on_text(problem.thinking, problem.answer), 1.0, past)
    return renderer.sample(problem.prompt, OFF_PREFILL, off_text(problem.answer), mix.off_weight, past)


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


def draw_system(rng: Random) -> str:
    """The default system text, now and then another."""
    return DEFAULT_SYSTEM if rng.random() < 0.95 else rng.choice(_SYSTEMS)


Rows = tuple[NDArray[np.uint16], NDArray[np.float16]]


def pack(rng: Random, renderer: Renderer, draw: Callable[[], Sample | None], num_rows: int, pad_id: int) -> Rows:
    """Fill `num_rows` rows of ROW_TOKENS from `draw` (None ends it early): ids and loss weights, (rows, ROW_TOKENS)."""
    ids = np.full((num_rows, ROW_TOKENS), pad_id, dtype=np.uint16)
    weights = np.zeros((num_rows, ROW_TOKENS), dtype=np.float16)
    waiting: list[Sample] = []
    ended = False
    for row in range(num_rows):
        used = renderer.system(draw_system(rng))
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
    """Texts the vocabulary is trained on."""
    rng = Random(seed)
    fixed = (
        *JUDGE_OFF.values(),
        *JUDGE_ON.values(),
        OFF_PREFILL.split("\n")[0],
        ON_PREFILL.split("\n")[0],
        DEFAULT_SYSTEM,
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
