"""Short paragraphs to be worked through: orders, timetables, swaps, tables, arguments, proportions, sorted words.

Knows: wordings with a size knob, in two languages. Does not know: solutions.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from models.router.passages import NAMES

Drawn = tuple[str, float]  # the text, and the chance that an answer without reasoning is wrong

THINGS = {
    "en": (
        "apple", "plum", "melon", "violin", "drum", "truck", "bicycle", "robin", "hawk", "novel", "atlas", "lamp",
        "mug", "kite", "vase",
    ),
    "zh": (
        "苹果", "李子", "西瓜", "小提琴", "鼓", "卡车", "自行车", "麻雀", "老鹰", "小说", "地图册", "台灯", "杯子", "风筝", "花瓶",
    ),
}  # fmt: skip
MORE = {
    "en": ("old", "cheap", "tall", "new", "fast", "small"),
    "zh": ("旧", "重", "便宜", "高", "新", "快"),
}
WORDS = [
    "amber", "basket", "cobalt", "dragon", "elbow", "fathom", "garnet", "harvest", "iguana", "jubilee", "kernel",
    "lantern", "mosaic", "nectar", "orchid", "pebble", "quarry", "rudder", "saffron", "thimble", "umbrella",
    "velvet", "walnut", "yonder", "zephyr", "anchor", "breeze", "copper", "dolphin", "ember",
]  # fmt: skip
LEADS = {
    "en": ("", "", "Read the statements and answer. ", "The statements below do not contradict each other. ", "Consider the following. ",
        "Use the clues. "),
    "zh": ("", "", "阅读下面的条件并回答。", "以下条件互不矛盾。", "根据线索回答。"),
}  # fmt: skip


def _joined(language: str, parts: list[str]) -> str:
    return (" " if language == "en" else "").join(parts)


def order(rng: Random, language: str) -> Drawn:
    """Which thing stands where in a row, from comparisons."""
    size = rng.randint(3, 6)
    things, more = rng.sample(THINGS[language], size), rng.choice(MORE[language])
    pairs = [rng.sample(things, 2) for _ in range(size)]
    if language == "en":
        shapes = (
            "The {a} is {m}er than the {b}.",
            "The {a} is to the left of the {b}.",
            "The {a} is the second {m}est.",
            "The {a} finished above the {b}.",
            "The {b} is not as {m} as the {a}.",
            "There is exactly one thing between the {a} and the {b}.",
        )
        ask = (
            "Which is the {m}est of all?",
            "Which one is in the middle?",
            "What is the third from the left?",
            "Which statement is true?",
        )
        lead = f"On a shelf there are {size} things: {', '.join(things)}."
    else:
        shapes = (
            "{a}比{b}{m}。",
            "{a}在{b}的左边。",
            "{a}是第二{m}的。",
            "{a}排在{b}前面。",
            "{b}没有{a}{m}。",
            "{a}和{b}之间正好有一样东西。",
        )
        ask = ("哪一样最{m}？", "排在正中间的是什么？", "从左数第三个是什么？", "下面哪句话是对的？")
        lead = f"架子上有{size}样东西：{'、'.join(things)}。"
    clues = [rng.choice(shapes).replace("{a}", a).replace("{b}", b).replace("{m}", more) for a, b in pairs]
    text = rng.choice(LEADS[language]) + _joined(language, [lead, *clues, rng.choice(ask).replace("{m}", more)])
    return text, 0.4 + 0.08 * size


def timetable(rng: Random, language: str) -> Drawn:
    """When somebody can have been somewhere, from what others saw."""
    hour, seen = rng.randint(6, 9), []
    people = rng.sample(NAMES[language], 5)
    for other in people[1 : rng.randint(3, 5)]:
        end = hour + rng.randint(1, 3)
        if language == "en":
            doing = rng.choice(
                ("waiting at the bus stop", "having lunch", "fixing a bicycle", "buying shoes", "reading in a garden")
            )
            seen.append(f"{other} saw {people[0]} {doing} from {hour}:00 to {end}:00.")
        else:
            doing = rng.choice(("等公交车", "吃午饭", "修自行车", "买鞋", "在花园里看书"))
            seen.append(f"{other}看见{people[0]}从{hour}点到{end}点在{doing}。")
        hour = end + rng.randint(0, 2)
    if language == "en":
        place = rng.choice(("library", "bank", "swimming pool", "gallery"))
        text = (
            f"{people[0]} went to the {place} today. We know: {' '.join(seen)} The {place} closed at {hour + 2}:00. "
            + rng.choice(
                (
                    "Between what times could the visit have been?",
                    "When was it possible to go there?",
                    "At what time can this have happened?",
                )
            )
        )
    else:
        place = rng.choice(("图书馆", "银行", "游泳馆", "画廊"))
        text = f"{people[0]}今天去了{place}。{''.join(seen)}{place}{hour + 2}点关门。{people[0]}可能是几点到几点去的？"
    return text, 0.65


def swaps(rng: Random, language: str) -> Drawn:
    """Who holds what in the end, or how a row of words is put back."""
    size = rng.randint(3, 5)
    if rng.random() < 0.4:
        words = rng.sample(WORDS if language == "en" else THINGS["zh"], size + 2)
        places = list(range(1, size + 3))
        moved = [rng.sample(places, 2) for _ in range(size)]
        if language == "en":
            moves = ", then ".join(f"swap positions {a} and {b}" for a, b in moved)
            return f"Starting from the row {' '.join(words)}, {moves}. What is the row now?", 0.7
        return f"从“{' '.join(words)}”开始，" + "，".join(
            f"交换第{a}个和第{b}个" for a, b in moved
        ) + "，最后的顺序是什么？", 0.7
    people, things = rng.sample(NAMES[language], size), rng.sample(THINGS[language], size)
    pairs = [rng.sample(people, 2) for _ in range(rng.randint(3, 6))]
    who = rng.choice(people)
    if language == "en":
        has = ", ".join(f"{person} has the {thing}" for person, thing in zip(people, things, strict=True))
        moves = " ".join(f"{rng.choice(('Then', 'Next,', 'After that'))} {a} and {b} trade." for a, b in pairs)
        text = f"{size} friends each bring something: {has}. {moves} At the end, {who} has the"
    else:
        has = "，".join(f"{person}有{thing}" for person, thing in zip(people, things, strict=True))
        text = (
            f"{has}。"
            + "".join(f"{rng.choice(('然后', '接着', '之后'))}{a}和{b}交换。" for a, b in pairs)
            + f"最后{who}手里是什么？"
        )
    return text, 0.7


def table(rng: Random, language: str) -> Drawn:
    """A question that needs some rows of a small table."""
    people, things = rng.sample(NAMES[language], rng.randint(4, 7)), rng.sample(THINGS[language], 3)
    rows = [[person, *(str(rng.randint(3, 99)) for _ in things)] for person in people]
    head = [{"en": "name", "zh": "姓名"}[language], *things]
    gap = rng.choice((", ", " | ", "\t"))
    drawn = "\n".join(gap.join(row) for row in [head, *rows])
    number = rng.randint(20, 60)
    if language == "en":
        ask = rng.choice(
            (
                f"How many of them have more than {number} of {things[0]}?",
                f"Who has the second most of {things[1]}?",
                f"We now remove {people[0]}. What is the sum of the column {things[2]}?",
                f"Who has more {things[0]} than {things[1]} but less than {number}?",
            )
        )
        return f"Here is a table:\n{drawn}\n{ask}", 0.6
    ask = rng.choice(
        (
            f"有几个人的{things[0]}多于{number}？",
            f"{things[1]}第二多的是谁？",
            f"去掉{people[0]}以后，{things[2]}一列的和是多少？",
            f"谁的{things[0]}比{things[1]}多，但少于{number}？",
        )
    )
    return f"下面是一张表：\n{drawn}\n{ask}", 0.6


ARGUMENTS = {
    "en": ("Every {p} of {a} is a {p} of {b}.", "Nobody who likes the {p} also likes the {q}.", "Whoever knows {a} knows {b} or {c}, or both.",
        "{a} is not a friend of {b}.", "It is false that every owner of the {p} owns a {q}.", "Being taller than {a} is necessary for knowing {b}.",
        "{a} believes that {b} has a {p}.", "{a} learns that {b} suspects {c} of breaking the {p}.", "If there is the {p}, there is no {q}.",
        "To have a {p} is sufficient for not having a {q}."),
    "zh": ("凡是有{p}的人都认识{a}。", "喜欢{p}的人都不喜欢{q}。", "认识{a}的人，要么认识{b}，要么认识{c}，或者都认识。", "{a}不是{b}的朋友。",
        "并非每个有{p}的人都有{q}。", "比{a}高是认识{b}的必要条件。", "{a}相信{b}有{p}。", "{a}听说{b}怀疑{c}打碎了{p}。", "只要有{p}，就没有{q}。",
        "有{p}是没有{q}的充分条件。"),
}  # fmt: skip
VERDICTS = {
    "en": ("Is the argument, given the premises, valid or invalid?", "Does the conclusion follow?", "Identify the relation: entailment or non-entailment?",
        "Must the last statement be true?", "Which of the premises is not needed?"),
    "zh": ("这个论证有效还是无效？", "能推出这个结论吗？", "前提是否蕴含结论？", "最后一句一定为真吗？", "哪个前提是多余的？"),
}  # fmt: skip


def argument(rng: Random, language: str) -> Drawn:
    """Premises and a conclusion to judge."""
    size, people, things = rng.randint(2, 5), rng.sample(NAMES[language], 3), rng.sample(THINGS[language], 2)
    lines = []
    for pattern in rng.sample(ARGUMENTS[language], size):
        rng.shuffle(people)
        filled = pattern.replace("{p}", things[0]).replace("{q}", things[1])
        lines.append(filled.replace("{a}", people[0]).replace("{b}", people[1]).replace("{c}", people[2]))
    marks = {
        "en": (
            "First premise: ",
            "Second premise: ",
            "Premise: ",
            "Hypothesis: ",
            "To begin with, ",
            "It follows that ",
            "Moreover, ",
            "",
        ),
        "zh": ("前提一：", "前提二：", "前提：", "结论：", "首先，", "由此可见，", "此外，", ""),
    }[language]
    text = (
        _joined(language, [rng.choice(marks) + line for line in lines])
        + " " * (language == "en")
        + rng.choice(VERDICTS[language])
    )
    return text, 0.6


def proportion(rng: Random, language: str) -> Drawn:
    """A rule of three, or two units that must be found."""
    a, b, c, d = (rng.randint(2, 60) for _ in range(4))
    thing = rng.choice(THINGS[language])
    if language == "en":
        text = rng.choice(
            (
                f"It takes {a} bolts and {b} nuts to build {c} {thing}s. How many nuts do {c * d} of them take?",
                f"{a} pipes fill {b} tanks in {c} hours. How long do {d} pipes need for one?",
                f"A {thing} moves {a} cm in {b} seconds. How far in {d} minutes?",
                f"{a} out of {a + b} {thing}s are broken. How many are fine in a lot of {c * d}?",
            )
        )
    else:
        text = rng.choice(
            (
                f"做{c}个{thing}要{a}个螺栓和{b}个螺母，做{c * d}个要多少个螺母？",
                f"{a}根水管{c}小时注满{b}个水箱，{d}根注满一个要多久？",
                f"{thing}{b}秒移动{a}厘米，{d}分钟移动多远？",
                f"{a + b}个{thing}里有{a}个坏的，{c * d}个里大约有多少个好的？",
            )
        )
    return text, 0.55


def sorting(rng: Random, language: str) -> Drawn:
    """Words to be sorted or counted by a rule."""
    if language == "en":
        words, gap = rng.sample(WORDS, rng.randint(4, 10)), rng.choice((" ", ", "))
        ask = rng.choice(
            (
                "Sort the following words in alphabetical order: {}",
                "Put these into alphabetical order: {}",
                "Order by length: {}",
                "Alphabetize: {}",
                "How many of these have more vowels than the first one? {}",
                "I have {}. How many things do I have?",
            )
        )
        if "things" in ask:
            words = [f"{rng.choice(('a', 'two', 'three', 'four'))} {word}s" for word in words]
        return ask.format(gap.join(words)), 0.4 + 0.03 * len(words)
    things = rng.sample(THINGS["zh"], rng.randint(4, 9))
    ask = rng.choice(("把下列词语按笔画从少到多排列：{}", "按拼音顺序排列：{}", "我有{}，一共有多少样？"))
    if "多少样" in ask:
        things = [f"{rng.choice('一两三四五')}个{thing}" for thing in things]
    return ask.format("、".join(things)), 0.4 + 0.03 * len(things)


DRAWERS: tuple[Callable[[Random, str], Drawn], ...] = (
    order,
    order,
    timetable,
    swaps,
    table,
    argument,
    argument,
    proportion,
    sorting,
)


def draw_deduction(rng: Random, language: str) -> Drawn:
    """A paragraph to work through, and the chance that an answer without reasoning is wrong."""
    return rng.choice(DRAWERS)(rng, language)
