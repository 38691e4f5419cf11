"""Why a prompt got its score, in words for a person; worked out only when somebody asks.

Knows: words for the kinds of prompts and for what is counted in them, and which of them speak for which decision: a
reason that speaks against what was decided is no reason. Does not know: weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.think.prompt_features import featurize
from edge.think.prompt_words import WORD_GROUPS
from edge.think.router_weights import KINDS

if TYPE_CHECKING:
    from edge.think.router import Difficulty

MOST = 4
EASY_KINDS = ("chat", "text")
KIND_REASONS = {
    "chat": "reads like a command, a look-up or small talk",
    "text": "asks something simple about a text",
    "story": "reads like a word problem of several steps",
    "school": "reads like a school problem",
    "exam": "reads like a competition problem",
    "knowledge": "reads like an exam question of fact",
    "steps": "needs a few steps, short as it is",
    "work": "reads like a puzzle, a proof or a task to work out",
}
AGAINST_ITS_KIND = {  # where the score is not what the kind of prompt would let expect
    "chat": "reads like an everyday request, but not like one that is answered at once",
    "text": "is about a text, but asks for more than reading it",
    "story": "reads like a word problem of a step or two",
    "school": "is a school problem of the first grades",
    "exam": "looks like a competition problem, and is quickly done",
    "knowledge": "asks for a fact, which one knows or does not know",
    "steps": "takes a step or two, which can be done at once",
    "work": "reads like a small task, done as it is written down",
}
LEAST_SHARE = 0.25  # of a kind that is named
HARD_GROUPS = {
    "constraint": "states conditions",
    "relation": "relates quantities to each other",
    "topic": "is about mathematics or science",
    "upper grades": "is about fractions, percentages or solids",
    "proof": "asks for a proof or a general solution",
    "puzzle": "has the words of a puzzle",
    "code": "is about code",
}
EASY_GROUPS = {
    "transform": "asks to rework a text",
    "writing": "asks for a piece of writing",
    "look-up": "asks to look something up or to do something",
}
LEAST_WORDS = {"constraint": 3, "relation": 3}  # of a group that is named; 1 of the others
MANY_NUMBERS = 4


def first_reason(difficulty: Difficulty) -> str:
    """The half-sentence that weighs most, without reading the prompt again."""
    if difficulty.earlier is not None and difficulty.earlier >= difficulty.score:
        return f"follows up on a message of difficulty {difficulty.earlier:.2f}"
    return _kind_reason(max(zip(difficulty.kinds, KINDS, strict=True))[1], difficulty.thinks)


def _kind_reason(kind: str, thinks: bool) -> str:
    return (AGAINST_ITS_KIND if (kind in EASY_KINDS) == thinks else KIND_REASONS)[kind]


def find_reasons(difficulty: Difficulty) -> tuple[str, ...]:
    """Half-sentences that speak for what was decided, what weighs most first."""
    if not difficulty.prompt.strip():
        return ("there is nothing to work on",)
    found = [first_reason(difficulty)]
    ranked = sorted(zip(difficulty.kinds, KINDS, strict=True), reverse=True)
    found += [_kind_reason(kind, difficulty.thinks) for share, kind in ranked if share >= LEAST_SHARE]
    found += _structure(difficulty.prompt, difficulty.thinks)
    return tuple(dict.fromkeys(found))[:MOST]


def _structure(prompt: str, thinks: bool) -> list[str]:
    features = featurize(prompt)
    num_numbers = round(features.sign_count("numbers"))
    found = [f"has {num_numbers} numbers"] if thinks and num_numbers >= MANY_NUMBERS else []
    counts = {name: int((features.groups == place).sum()) for place, name in enumerate(WORD_GROUPS, start=1)}
    said = HARD_GROUPS if thinks else EASY_GROUPS
    return found + [words for name, words in said.items() if counts[name] >= LEAST_WORDS.get(name, 1)]
