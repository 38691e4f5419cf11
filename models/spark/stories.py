"""Short word problems in English and Chinese, told around an expression.

Knows people, things and the five themes (shopping, change, time, units, comparing, and a store that fills and
empties); takes every calculation from expressions.py. The words are data at the end of each theme.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from models.spark import arithmetic, expressions
from models.spark.arithmetic import digit_product, split_costs, table_quotient, three_step_product, two_step_product
from models.spark.expressions import ImpossibleStep, Node, Product, Sum
from models.spark.wording import NAMES, PLACES, THINGS, WORDS, Thing

Terms = list[tuple[int, Node]]


@dataclass(frozen=True, slots=True)
class Story:
    """A word problem before its answer is formatted. `structure` names what was told, without names or numbers."""

    structure: str
    sentences: tuple[str, ...]
    question: str
    node: Node
    unit: str
    clock_hour: int | None = None


def draw_story(rng: Random, num_steps: int, language: str) -> Story:
    """A random story of exactly `num_steps` steps."""
    themes = _THEMES if num_steps > 1 else _THEMES + _ONE_STEP_THEMES
    while True:
        theme = rng.choice(themes)
        try:
            story = theme(rng, num_steps, language)
            if story is not None and count_steps(story) == num_steps:
                return story
        except ImpossibleStep:
            continue


def count_steps(story: Story) -> int:
    """Steps of the calculation; carrying minutes into the hour is one as well."""
    worked = expressions.work(story.node)
    if story.clock_hour is not None:
        return 2 if worked.value >= 60 else 1
    return worked.num_steps


def _say(rng: Random, language: str, key: str, **slots: object) -> str:
    return rng.choice(WORDS[language][key]).format(**slots)


def _draw_terms(rng: Random, num_steps: int, signs: tuple[int, ...], small: bool = False) -> Terms:
    """Terms that cost `num_steps` together; a lone term must be a product."""
    if num_steps == 1 and small and rng.random() < 0.4:
        return list(arithmetic.digit_sum(rng, 5).terms)
    costs = split_costs(rng, num_steps)
    terms: Terms = []
    for place, cost in enumerate(costs):
        node: Node
        if cost == 0:
            node = arithmetic.addend(rng)
        elif cost == 1:
            node = digit_product(rng)
        else:
            node = two_step_product(rng) if cost == 2 else three_step_product(rng)
        terms.append((rng.choice(signs) if place else 1, node))
    return terms


def _node(terms: Terms) -> Node:
    return terms[0][1] if len(terms) == 1 else Sum(tuple(terms))


def _pair(node: Node) -> tuple[int, int] | None:
    """The two numbers of a plain product."""
    if isinstance(node, Product) and isinstance(node.left, int) and isinstance(node.right, int):
        return node.left, node.right
    return None


def _shape(terms: Terms) -> str:
    return "".join(("+" if sign > 0 else "-") + ("p" if _pair(node) else "n") for sign, node in terms)


def _basket(rng: Random, terms: Terms, language: str, unit: str) -> str:
    """'3 pens at 4 yuan each and a book for 12 yuan'."""
    parts = []
    for thing, (_, node) in zip(rng.sample(THINGS, len(terms)), terms, strict=True):
        pair = _pair(node)
        if pair:
            parts.append(_say(rng, language, "many", n=pair[0], p=pair[1], u=unit, **thing.words(language)))
        else:
            parts.append(_say(rng, language, "one", p=node, u=unit, **thing.words(language)))
    if language == "zh":
        return "，".join(parts)
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def _money(rng: Random, language: str) -> str:
    return "元" if language == "zh" else rng.choice(("yuan", "dollars", "euros"))


def _shopping(rng: Random, num_steps: int, language: str) -> Story | None:
    terms = _draw_terms(rng, num_steps, (1,), small=True)
    name, unit = rng.choice(NAMES[language]), _money(rng, language)
    coupon: Terms = []
    if len(terms) > 1 and rng.random() < 0.3 and not _all_small(terms):
        terms, coupon = terms[:-1], [(-1, terms[-1][1])]
        if _pair(coupon[0][1]):
            return None
    sentences = [_say(rng, language, "buys", name=name, basket=_basket(rng, terms, language, unit))]
    if coupon:
        sentences.append(_say(rng, language, "coupon", n=coupon[0][1], u=unit))
    question = _say(rng, language, "pays?", name=name, u=unit)
    return Story("shopping" + _shape(terms + coupon), tuple(sentences), question, _node(terms + coupon), unit)


def _all_small(terms: Terms) -> bool:
    return len(terms) > 2 and all(isinstance(node, int) and node < 10 for _, node in terms)


def _change(rng: Random, num_steps: int, language: str) -> Story | None:
    terms = _draw_terms(rng, num_steps, (-1,))
    if len(terms) < 2:
        return None
    spent = sum(expressions.work(node).value for _, node in terms[1:])
    round_notes = [note for note in (20, 50, 100, 200, 500, 1000) if note > spent]
    paid = rng.choice(round_notes[:2]) if round_notes and rng.random() < 0.6 else spent + rng.randint(3, 99)
    terms[0] = (1, paid)
    name, unit = rng.choice(NAMES[language]), _money(rng, language)
    basket = _basket(rng, terms[1:], language, unit)
    sentences = (_say(rng, language, "has money", name=name, n=paid, u=unit, basket=basket),)
    return Story(
        "change" + _shape(terms), sentences, _say(rng, language, "change?", name=name, u=unit), _node(terms), unit
    )


def _events(rng: Random, num_steps: int, language: str, theme: str, unit: str, **slots: object) -> Story | None:
    """A quantity that grows and shrinks: a store of things, a length, a tank, minutes of a day."""
    terms = _draw_terms(rng, num_steps, (1, -1))
    sentences = []
    for place, (sign, node) in enumerate(terms):
        pair = _pair(node)
        key = f"{theme} {'start' if place == 0 else 'more' if sign > 0 else 'less'}{' many' if pair else ''}"
        numbers = {"n": pair[0], "p": pair[1]} if pair else {"n": node}
        sentences.append(_say(rng, language, key, **numbers, **slots))
    question = _say(rng, language, f"{theme}?", **slots)
    return Story(theme + _shape(terms), tuple(sentences), question, _node(terms), unit)


def _store(rng: Random, num_steps: int, language: str) -> Story | None:
    thing: Thing = rng.choice(THINGS)
    words = thing.words(language)
    place = rng.choice(PLACES[language])
    return _events(rng, num_steps, language, "store", words["measure"] or words["things"], place=place, **words)


def _person(rng: Random, num_steps: int, language: str) -> Story | None:
    words = rng.choice(THINGS).words(language)
    name, other = rng.sample(NAMES[language], 2)
    unit = words["measure"] or words["things"]
    return _events(rng, num_steps, language, "person", unit, name=name, other=other, **words)


def _length(rng: Random, num_steps: int, language: str) -> Story | None:
    return _events(rng, num_steps, language, "length", "厘米" if language == "zh" else "cm")


def _tank(rng: Random, num_steps: int, language: str) -> Story | None:
    return _events(rng, num_steps, language, "tank", "升" if language == "zh" else "litres")


def _day(rng: Random, num_steps: int, language: str) -> Story | None:
    """Time spent on one thing after another."""
    terms = _draw_terms(rng, num_steps, (1,), small=True)
    name = rng.choice(NAMES[language])
    parts = []
    for place, (_, node) in enumerate(terms):
        pair = _pair(node)
        numbers = {"n": pair[0], "p": pair[1]} if pair else {"n": node}
        parts.append(_say(rng, language, "spends many" if pair else "spends", **numbers))
        if place == 0:
            parts[0] = _say(rng, language, "today", name=name) + parts[0]
    joined = "，".join(parts) + "。" if language == "zh" else ", then ".join(parts) + "."
    question = _say(rng, language, "day?", name=name)
    return Story("day" + _shape(terms), (joined,), question, _node(terms), "分钟" if language == "zh" else "minutes")


_UNITS = (("week", 7), ("hour", 60), ("metre", 100), ("minute", 60), ("foot", 3), ("pair", 2), ("spider", 8))


def _units(rng: Random, num_steps: int, language: str) -> Story | None:
    """A larger unit in a smaller one, with a rest added or taken away in between."""
    name, size = rng.choice(_UNITS)
    count = rng.randint(2, 9) if num_steps < 3 or rng.random() < 0.3 else rng.randint(11, 29)
    terms: Terms = [(1, Product(count, size))]
    left = num_steps - expressions.work(terms[0][1]).num_steps
    if left < 0 or left > 3:
        return None
    for _ in range(left):
        terms.append((rng.choice((1, -1)), arithmetic.addend(rng)))
    smaller, unit = WORDS[language][f"unit {name}"][0], WORDS[language][f"unit {name}"][1]
    sentences = [_say(rng, language, "unit start", n=count, big=smaller, small=unit, size=size)]
    for sign, node in terms[1:]:
        sentences.append(_say(rng, language, "unit more" if sign > 0 else "unit less", n=node, small=unit))
    return Story(
        f"unit {name}" + _shape(terms), tuple(sentences), _say(rng, language, "unit?", small=unit), _node(terms), unit
    )


def _share(rng: Random, num_steps: int, language: str) -> Story | None:
    """Shared out equally: one division of the times table, after adding or taking away."""
    quotient = table_quotient(rng)
    assert isinstance(quotient.left, int)
    words = rng.choice(THINGS).words(language)
    name = rng.choice(NAMES[language])
    node: Node = quotient
    sentences = [_say(rng, language, "share start", name=name, n=quotient.left, **words)]
    if num_steps == 2:
        start = rng.randint(2, 99)
        delta = quotient.left - start
        if abs(delta) < 2:
            return None
        node = expressions.Quotient(Sum(((1, start), (1 if delta > 0 else -1, abs(delta)))), quotient.right)
        sentences = [
            _say(rng, language, "share start", name=name, n=start, **words),
            _say(rng, language, "share more" if delta > 0 else "share less", n=abs(delta), **words),
        ]
    elif num_steps > 2:
        return None
    question = _say(rng, language, "share?", n=quotient.right, **words)
    return Story(f"share{num_steps}", tuple(sentences), question, node, words["measure"] or words["things"])


def _clock(rng: Random, num_steps: int, language: str) -> Story | None:
    """A time of day plus some minutes."""
    if num_steps > 2:
        return None
    hour, minute, length = rng.randint(6, 20), 5 * rng.randint(0, 11), rng.randint(5, 59)
    node = Sum(((1, minute), (1, length)))
    sentence = _say(rng, language, "clock", name=rng.choice(NAMES[language]), t=f"{hour}:{minute:02d}", n=length)
    return Story("clock", (sentence,), _say(rng, language, "clock?"), node, "", clock_hour=hour)


def _compare(rng: Random, num_steps: int, language: str) -> Story | None:
    """How many more one has than the other, where both are calculated first."""
    left_steps = rng.randint(0, num_steps - 1)
    sides = [_side(rng, left_steps), _side(rng, num_steps - 1 - left_steps)]
    words = rng.choice(THINGS).words(language)
    name, other = rng.sample(NAMES[language], 2)
    sentences = []
    for who, terms in zip((name, other), sides, strict=True):
        for place, (_, node) in enumerate(terms):
            pair = _pair(node)
            numbers = {"n": pair[0], "p": pair[1]} if pair else {"n": node}
            key = f"{'has' if place == 0 else 'also'}{' many' if pair else ''}"
            sentences.append(_say(rng, language, key, name=who, **numbers, **words))
    question = _say(rng, language, "difference?", name=name, other=other, **words)
    shape = f"compare{_shape(sides[0])}|{_shape(sides[1])}"
    node = Sum(((1, _node(sides[0])), (-1, _node(sides[1]))))
    return Story(shape, tuple(sentences), question, node, words["measure"] or words["things"])


def _side(rng: Random, num_steps: int) -> Terms:
    return [(1, arithmetic.addend(rng))] if num_steps == 0 else _draw_terms(rng, num_steps, (1,))


def _difference(rng: Random, num_steps: int, language: str) -> Story | None:
    """How many more or how many together, where the second is told relative to the first."""
    if num_steps > 2:
        return None
    words = rng.choice(THINGS).words(language)
    name, other = rng.sample(NAMES[language], 2)
    first, second = arithmetic.addend(rng), arithmetic.addend(rng)
    slots = {"name": name, "other": other, **words}
    unit = words["measure"] or words["things"]
    if num_steps == 1:
        sentences = [_say(rng, language, "has", n=first, **slots)]
        sentences.append(_say(rng, language, "has", n=second, **(slots | {"name": other})))
        node: Node = Sum(((1, first), (-1, second)))
        return Story("difference", tuple(sentences), _say(rng, language, "difference?", **slots), node, unit)
    sign = rng.choice((1, -1))
    sentences = [_say(rng, language, "has", n=first, **slots)]
    sentences.append(_say(rng, language, "relative more" if sign > 0 else "relative less", n=second, **slots))
    node = expressions.total(first, Sum(((1, first), (sign, second))))
    return Story(f"together{sign}", tuple(sentences), _say(rng, language, "together?", **slots), node, unit)


Theme = Callable[[Random, int, str], Story | None]
_THEMES: tuple[Theme, ...] = (
    _shopping, _shopping, _change, _change, _store, _person, _length, _tank, _day, _units, _share, _clock, _compare,
    _difference,
)  # fmt: skip
_ONE_STEP_THEMES: tuple[Theme, ...] = (_shopping, _difference)
