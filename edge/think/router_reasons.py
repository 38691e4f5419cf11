"""Why a prompt got its score, in words for a person; worked out only when somebody asks.

Knows: words for the kinds of prompts and for what is counted in them. Does not know: weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.think.prompt_features import featurize
from edge.think.prompt_words import WORD_GROUPS
from edge.think.router_weights import KINDS

if TYPE_CHECKING:
    from edge.think.router import Difficulty

MOST = 4
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
LEAST_SHARE = 0.25  # of a kind that is named
GROUP_REASONS = {
    "constraint": "states conditions",
    "relation": "relates quantities to each other",
    "topic": "is about mathematics or science",
    "upper grades": "is about fractions, percentages or solids",
    "proof": "asks for a proof or a general solution",
    "puzzle": "has the words of a puzzle",
    "code": "is about code",
    "transform": "asks to rework a text",
    "writing": "asks for a piece of writing",
    "look-up": "asks to look something up or to do something",
}
LEAST_WORDS = {"constraint": 3, "relation": 3}  # of a group that is named; 1 of the others
MANY_NUMBERS, LONG = 4, 1200


def first_reason(difficulty: Difficulty) -> str:
    """The half-sentence that weighs most, without reading the prompt again."""
    if difficulty.earlier is not None and difficulty.earlier >= difficulty.score:
        return f"follows up on a message of difficulty {difficulty.earlier:.2f}"
    return KIND_REASONS[max(zip(difficulty.kinds, KINDS, strict=True))[1]]


def find_reasons(difficulty: Difficulty) -> tuple[str, ...]:
    """Half-sentences, what weighs most first."""
    if not difficulty.prompt.strip():
        return ("there is nothing to work on",)
    found = [first_reason(difficulty)]
    ranked = sorted(zip(difficulty.kinds, KINDS, strict=True), reverse=True)
    found += [KIND_REASONS[kind] for share, kind in ranked if share >= LEAST_SHARE]
    found += _structure(difficulty.prompt)
    return tuple(dict.fromkeys(found))[:MOST]


def _structure(prompt: str) -> list[str]:
    features = featurize(prompt)
    num_numbers = round(features.sign_count("numbers"))
    found = [f"has {num_numbers} numbers"] if num_numbers >= MANY_NUMBERS else []
    names = list(WORD_GROUPS)
    counts = {name: int((features.groups == place).sum()) for place, name in enumerate(names, start=1)}
    found += [words for name, words in GROUP_REASONS.items() if counts[name] >= LEAST_WORDS.get(name, 1)]
    if len(prompt) >= LONG:
        found.append(f"is {len(prompt):,} characters long")
    return found
