"""The tasks of the embedded models: seeded problems with answer, worked thinking, number of steps and a checker.

Knows what a problem is, which split it belongs to, what the held-out test set holds and when an answer is right.
Knows nothing of tokens or networks; needs the standard library only.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from models.spark import arithmetic, expressions, outside, stories
from models.spark.expressions import Node
from models.spark.stories import Story
from models.spark.wording import NAMES, WORDS

TEST_SIZE = 5000
TEST_SEED = 20250
MAX_STEPS = 5
MAX_USES = 3
_CHECK = {"en": "check: ", "zh": "检查："}
_SPLITS = (("test", 100), ("validation", 150), ("judge", 250), ("train", 1000))


@dataclass(frozen=True, slots=True)
class Problem:
    """One verifiable problem. `kind` is sum, story or outside; `checker` is number, clock or text.

    `thinking` is the worked steps, then a line that checks the result. `num_steps` is 0 outside the model's world.
    """

    kind: str
    language: str
    num_steps: int
    prompt: str
    answer: str
    thinking: str
    canonical: str
    checker: str

    def check(self, answer_text: str) -> bool:
        """Whether `answer_text` is right; units and white space do not matter."""
        if self.checker == "text":
            return answer_text.strip() == self.answer
        found = parse(answer_text, self.checker)
        return found is not None and found == parse(self.answer, self.checker)


def parse(answer_text: str, checker: str) -> str | None:
    """The value in an answer in its plain form, or None where there is not exactly one."""
    text = answer_text.strip().rstrip(".。")
    if checker == "clock":
        found = re.fullmatch(r"(\d{1,2})\s*[:：]\s*(\d{2})", text)
        return f"{int(found[1])}:{found[2]}" if found else None
    numbers = re.findall(r"-?\d+", text)
    return str(int(numbers[0])) if len(numbers) == 1 else None


def split_of(canonical: str) -> str:
    """The split a canonical problem belongs to, told by its hash: train, validation, test, or judge (stage 2 only)."""
    place = int.from_bytes(hashlib.sha256(canonical.encode()).digest()[:8], "big") % 1000
    return next(name for name, end in _SPLITS if place < end)


def draw_problem(rng: Random, num_steps: int, kind: str, language: str, split: str) -> Problem:
    """A random problem of one class that belongs to `split`."""
    while True:
        problem = _draw_sum(rng, num_steps, language) if kind == "sum" else _draw_story(rng, num_steps, language)
        if split_of(problem.canonical) == split:
            return problem


def draw_drill(rng: Random, language: str, split: str) -> Problem:
    """A one-step problem that is rare or slow to learn: one of `arithmetic.draw_drill`, or such a story."""
    while True:
        if rng.random() < 0.5:
            problem = _word_sum(rng, arithmetic.draw_drill(rng), 1, language)
        else:
            problem = _draw_story(rng, 1, language)
        if _is_drill(problem) and split_of(problem.canonical) == split:
            return problem


def _is_drill(problem: Problem) -> bool:
    """Whether the first worked line adds digits, has a number of three digits, or finds a difference below ten."""
    first = problem.thinking.split("\n")[0]
    return ":" in first or ("-" in first and len(first.rpartition("=")[2]) == 1)


def draw_outside(rng: Random, language: str) -> Problem:
    """A prompt outside the model's world; right is the honest answer that says so."""
    prompt = outside.draw_prompt(rng, language)
    answer, thinking = outside.ANSWER[language], outside.THINKING[language]
    return Problem("outside", language, 0, prompt, answer, thinking, f"outside:{prompt}", "text")


def draw_class(rng: Random) -> tuple[int, str, str]:
    """Steps, kind and language with the shares of the test set: 60 % one step, half stories, a third Chinese."""
    num_steps = 1 if rng.random() < 0.6 else rng.randint(2, MAX_STEPS)
    return num_steps, rng.choice(("sum", "story")), rng.choice(("en", "en", "zh"))


def test_set(size: int = TEST_SIZE, seed: int = TEST_SEED) -> list[Problem]:
    """The held-out set, always the same: exact shares of steps, kinds and languages, shuffled."""
    return draw_set(size, seed, "test")


def draw_set(size: int, seed: int, split: str) -> list[Problem]:
    """`size` problems of one split with the test set's shares; no prompt twice, no computation over three times."""
    rng = Random(seed)
    problems: list[Problem] = []
    prompts: set[str] = set()
    uses: Counter[str] = Counter()
    for num_steps, kind, language in _test_classes(size):
        while True:
            problem = draw_problem(rng, num_steps, kind, language, split)
            if problem.prompt not in prompts and uses[problem.canonical] < MAX_USES:
                break
        prompts.add(problem.prompt)
        uses[problem.canonical] += 1
        problems.append(problem)
    rng.shuffle(problems)
    return problems


def _test_classes(size: int) -> Iterator[tuple[int, str, str]]:
    num_easy = size * 6 // 10
    for place in range(size):
        num_steps = 1 if place < num_easy else 2 + (place - num_easy) % (MAX_STEPS - 1)
        turn = place if place < num_easy else (place - num_easy) // (MAX_STEPS - 1)
        yield num_steps, ("sum", "story")[turn % 2], ("en", "en", "zh")[turn // 2 % 3]


def _draw_sum(rng: Random, num_steps: int, language: str) -> Problem:
    return _word_sum(rng, arithmetic.draw_expression(rng, num_steps), num_steps, language)


def _word_sum(rng: Random, node: Node, num_steps: int, language: str) -> Problem:
    prompt, spelled = arithmetic.word_expression(rng, node, language)
    worked = expressions.work(node)
    lines = [expressions.text(node)] if spelled and num_steps > 1 else []
    lines += [*worked.lines, _CHECK[language] + worked.check]
    canonical = "sum:" + expressions.canonical(node)
    return Problem("sum", language, num_steps, prompt, str(worked.value), "\n".join(lines), canonical, "number")


def _draw_story(rng: Random, num_steps: int, language: str) -> Problem:
    story = stories.draw_story(rng, num_steps, language)
    prompt = _tell(rng, story, language)
    lines, answer, checker = _solve(story, language)
    canonical = f"{story.structure}:{expressions.canonical(story.node)}"
    if story.clock_hour is not None:
        canonical += f"@{story.clock_hour}"
    return Problem("story", language, num_steps, prompt, answer, "\n".join(lines), canonical, checker)


def _tell(rng: Random, story: Story, language: str) -> str:
    """The story with, sometimes, sentences and numbers that do not matter."""
    sentences = list(story.sentences)
    for _ in range(rng.choice((0, 0, 0, 0, 1, 1, 2))):
        who = rng.choice(NAMES[language])
        idle = rng.choice(WORDS[language]["idle"]).format(who=who, x=rng.randint(2, 99))
        sentences.insert(rng.choice((0, len(sentences))), idle)
    return ("" if language == "zh" else " ").join((*sentences, story.question))


def _solve(story: Story, language: str) -> tuple[list[str], str, str]:
    """Worked lines with the check last, the answer, and how it is checked."""
    worked = expressions.work(story.node)
    lines = list(worked.lines)
    check = worked.check
    answer, checker = _with_unit(worked.value, story.unit, language), "number"
    if story.clock_hour is not None:
        hour, minute = story.clock_hour, worked.value
        if minute >= 60:
            lines += [f"{minute}-60={minute - 60}", f"{hour}+1={hour + 1}"]
            hour, minute = hour + 1, minute - 60
        answer, checker = f"{hour}:{minute:02d}", "clock"
    elif worked.num_steps > 1:
        lines.insert(0, expressions.text(story.node))
    return [*lines, _CHECK[language] + check], answer, checker


def _with_unit(value: int, unit: str, language: str) -> str:
    if not unit:
        return str(value)
    return f"{value}{unit}" if language == "zh" else f"{value} {unit}"
