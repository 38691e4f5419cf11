"""Prompts that beg for no thinking or for endless thinking: how often a decision flips, ours and two simple rules'.

Knows: the pleas (``router_texts``), the two rules. Does not know: how the router decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from bench_edge.intervals import Proportion
from bench_edge.router_sources import EASY_SOURCES, HARD_SOURCES, sample
from bench_edge.router_texts import ENDLESS_THINKING, NO_THINKING, begged, behind_riddle
from edge.think.router import Router
from models.router.data import LANGUAGES, Row

NUM_PROMPTS = 300  # of each attack and language
SHORT = {"en": 110, "zh": 40}  # characters; the length that best tells easy from hard on short prompts
HARD_WORDS = re.compile(
    r"prove|solve|calculat|how many|how much|find the|reason|step by step|difficult|puzzle|fewest|"
    r"证明|计算|多少|求|推理|难|一共|最少",
    re.IGNORECASE,
)
EASY_WORDS = re.compile(
    r"simple|trivial|one word|right now|skip the|quick|简单|小菜|马上|立刻|跳过|别想", re.IGNORECASE
)

Rule = Callable[[str, str], bool]  # text and language to: thinks


def length_rule(text: str, language: str) -> bool:
    """Long is hard."""
    return len(text) > SHORT[language]


def keyword_rule(text: str, language: str) -> bool:
    """What hand-written routers do: words that sound hard, unless others sound easy."""
    del language
    return bool(HARD_WORDS.search(text)) and not EASY_WORDS.search(text)


def attacks(dev: Sequence[Row], router: Router, seed: int) -> dict[str, Any]:
    """By attack and rule, the share of prompts whose decision is not what it is without the attack."""
    rng = Random(seed)
    rules: dict[str, Rule] = {
        "router": lambda text, language: router.route(text).thinks,
        "length": length_rule,
        "keywords": keyword_rule,
    }
    changes: dict[str, tuple[tuple[str, ...], Callable[[str, str], str]]] = {
        "no thinking, please": (HARD_SOURCES, lambda text, language: begged(rng, NO_THINKING, language, text)),
        "think endlessly": (EASY_SOURCES, lambda text, language: begged(rng, ENDLESS_THINKING, language, text)),
        "a riddle first": (EASY_SOURCES, lambda text, language: behind_riddle(rng, language, text)),
    }
    found: dict[str, Any] = {}
    for attack, (sources, change) in changes.items():
        pairs = [
            (text, change(text, language), language)
            for language in LANGUAGES
            for text in sample(
                [row.text for row in dev if row.language == language and row.source in sources], NUM_PROMPTS
            )
        ]
        found[attack] = {
            name: Proportion(
                sum(rule(old, language) != rule(new, language) for old, new, language in pairs), len(pairs)
            ).to_json()
            for name, rule in rules.items()
        }
    return found


def flip_share(found: dict[str, Any], rule: str) -> float:
    """Over all attacks together."""
    rows = [attack[rule] for attack in found.values()]
    return float(sum(row["count"] for row in rows) / max(sum(row["total"] for row in rows), 1))
