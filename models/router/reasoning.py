"""Short tasks that need steps although they look harmless: sums, counting, logic, dates, orders, programs, in two languages.

Knows: wordings with a size knob, and how hard a size is. Does not know: answers.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from models.router.passages import NAMES, THINGS

Drawn = tuple[str, float]  # the text, and the chance that an answer without reasoning is wrong

SUM_FRAMES = {
    "en": ("{}", "{}=", "{}=?", "What is {}?", "Calculate {}.", "Compute {}", "Evaluate {}.", "Solve: {}", "how much is {}",
        "What's the result of {}?", "Work out {}", "{} = ?"),
    "zh": ("{}", "{}=", "{}=?", "{}等于多少？", "计算{}", "计算：{}。", "求{}的值。", "{}的结果是多少？", "口算：{}", "{}＝？"),
}  # fmt: skip


def arithmetic(rng: Random, language: str) -> Drawn:
    """A bare sum of one to six operations."""
    size = rng.choice((1, 1, 1, 2, 3, 4, 5, 6))
    digits = rng.choice((1, 1, 2, 2, 3))
    signs = ("+", "-", "*", "/") if language == "en" else ("+", "-", "×", "÷")
    gap, parts, times = rng.choice(("", " ")), [], 0
    for place in range(size + 1):
        number = str(rng.randint(10 ** (digits - 1), 10**digits - 1))
        sign = rng.choice(signs)
        times += bool(place) and sign in "*/×÷"
        parts += [*([sign] if place else []), number]
    if size > 2 and rng.random() < 0.4:
        parts[0], parts[2] = f"({parts[0]}", f"{parts[2]})"
    text = rng.choice(SUM_FRAMES[language]).format(gap.join(parts))
    return text, min(0.02 + 0.13 * (size - 1) + 0.05 * (digits - 1) * (1 + 3 * times), 0.95)


PATTERNS: dict[str, tuple[tuple[float, str], ...]] = {
    "en": (
        (0.55, "How many times does the letter {letter} occur in the word {long}?"),
        (0.5, "How many words in this sentence have more than {n} letters? {sentence}"),
        (0.5, "Write {long} backwards."),
        (0.5, "Take the last letter of each of the words {words} and join them."),
        (0.45, "Sort these words alphabetically: {words}"),
        (0.5, "Sort the numbers {numbers} in descending order and give the {n}th."),
        (0.6, "Today is {date}. What date is {n}0 days from now?"),
        (0.55, "{a} was born in 19{two} and {b} is {n} years younger. How old was {b} in 20{one}5?"),
        (0.65, "All {p} are {q}. Some {q} are {r}. Does it follow that some {p} are {r}?"),
        (0.6, "If no {p} are {q} and every {r} is a {q}, can any {r} be a {p}? Explain."),
        (0.6, "If {p} implies {q}, and {q} implies {r}, and {r} is false, what can we say about {p}?"),
        (0.65, "{a} is taller than {b}. {c} is shorter than {b}. {d} is taller than {a}. Who is the second tallest?"),
        (0.7, "{a}, {b} and {c} hold a {x}, a {y} and a {z}. First {a} and {b} swap, then {b} and {c} swap, then {a} and {c} swap. What does {b} hold at the end?"),
        (0.55, "Turn around, take {n} steps, turn left, take {m} steps, turn right, take {n} steps. Are you back at the start?"),
        (0.6, "not ( True and False ) or ( {bool} and not {bool} ) is"),
        (0.5, "I have {n} {x}s, two {y}s, a {z} and {m} more {y}s. How many objects do I have?"),
        (0.7, "A bat and a ball cost ${one}.{two} together, and the bat costs ${one} more than the ball. What does the ball cost?"),
        (0.65, "{a} has {n} brothers, and each brother has {m} sisters. How many sisters does {a} have?"),
        (0.65, "It takes {n} machines {n} minutes to make {n} parts. How long do {m}0 machines need for {m}0 parts?"),
        (0.7, "A snail climbs {m} metres by day and slips back {n} at night. When does it get out of a {two} metre well?"),
        (0.6, "Which is larger, {n}^{m} or {m}^{n}?"),
        (0.65, "Find x if {n}x - {m} = {two}."),
        (0.7, "Find the roots of x^2 - {n}x + {m} = 0."),
        (0.6, "Simplify ({n}x + {m})(x - {n}) - {m}x."),
        (0.6, "Convert the binary number 1{bits} to decimal."),
        (0.75, "Prove that the square root of {n} is irrational."),
        (0.75, "Show that the sum of {n} odd numbers has the parity of {n}."),
        (0.6, "The train leaves at {n}:{two} and takes {m} hours and {two} minutes. When does it arrive two time zones further east?"),
        (0.55, "What is the next number: {numbers}?"),
        (0.6, "What is the probability of drawing {n} red balls in a row from a bag with {m} red and {two} blue ones?"),
        (0.7, "How would you split {two} {x}s between {a}, {b} and {c} so that nobody envies anybody? Give a proof."),
        (0.65, "What does this print, and why?\nx = [{numbers}]\nfor i in range(len(x)):\n    x[i] = x[i - 1] + i\nprint(x[{n}])"),
        (0.6, "def {name}(xs: list[int], k: int) -> int:\n    \"\"\"Return the number of pairs in xs whose difference is k.\n    >>> {name}([{numbers}], {n})\n    {m}\n    \"\"\"\n"),
        (0.6, "Complete this function:\ndef {name}(s):\n    # the longest palindrome in s, in better than cubic time"),
        (0.6, "Write a function to find the {n} smallest elements of a list without sorting it."),
        (0.65, "Write a program that reads n intervals and prints the length of their union."),
        (0.6, "A {x} costs {n} dollars, a {y} costs {m} dollars. With {two} dollars, which combinations spend everything?"),
        (0.6, "Plan a day with {n} meetings: {a} is free only before 11, {b} only after 2, {c} not at the same time as {a}. Give a timetable."),
        (0.55, "A company grows by {n}% a year and its costs by {m}%. Profits are {two} now. Decide when they are gone, and discuss the assumptions."),
        (0.5, "Yesterday was {date}. What is the date one week from today, in MM/DD/YYYY?"),
        (0.5, "It is the last day of {month} 19{two}. What was the date {n} days ago?"),
        (0.65, "Question: {a} tells the truth. {b} says {a} lies. {c} says {b} tells the truth. {d} says {c} lies. Does {d} tell the truth?"),
        (0.65, "The first argument: whoever is one of the {p} is one of the {q} or one of the {r}, or both. {a} is none of the {r}. It follows that {a} is one of the {q}. Is this deductively valid or invalid?"),
        (0.6, "How many positive divisors does {two} have?"),
        (0.6, "How many whole numbers between {n}0 and {two}0 are multiples of {m}?"),
        (0.6, "from typing import List\n\ndef {name}(numbers: List[float], limit: float) -> bool:\n    \"\"\"Check whether any two numbers are closer to each other than limit.\n    >>> {name}([{numbers}], 0.{n})\n    False\n    \"\"\"\n"),
        (0.6, "import math\n\ndef {name}(text: str, k: int) -> int:\n    \"\"\"Given a string, find how many of its substrings have exactly k vowels.\n    Example: {name}('{long}', {n}) returns {m}.\n    \"\"\"\n"),
        (0.6, "If you follow these instructions, do you return to the starting point? Always face forward. Take {n} steps left. Take {m} steps backward. Take {n} steps right. Take {m} steps forward."),
        (0.65, "In a group of {two} people, {n}0 play the {x} and {m} play the {z}. {n} play neither. How many play both?"),
        (0.65, "On a shelf there are a {x}, a {y} and a {z}. The {x} is to the right of the {y}. The {z} is the leftmost. Which is the second from the right?"),
        (0.65, "You have two ropes, and each burns for {two} minutes, but unevenly. How can you measure {m} minutes?"),
        (0.6, "A car drives {two} km at {n}0 km/h and comes back at {m}0 km/h. What is its average speed?"),
        (0.6, "{a} can see who is hiding if {b} is quiet. {b} is quiet only if {c} sleeps. {c} does not sleep. Can {a} see who is hiding?"),
        (0.6, "Premise: every {x} in the shop is either red or heavy. This {x} is not red. Hypothesis: it is light. Is this entailed, contradicted or neutral? Argue."),
    ),
    "zh": (
        (0.5, "“{word}”这个词一共有多少笔画？"),
        (0.5, "把{numbers}从大到小排列，第{n}个是多少？"),
        (0.6, "今天是{date}，再过{n}0天是几月几日？"),
        (0.6, "今天是星期三，{two}天以后是星期几？"),
        (0.55, "{a}出生于19{two}年，{b}比他小{n}岁，20{one}5年{b}多少岁？"),
        (0.65, "所有的{p}都是{q}，有些{q}是{r}。能不能推出有些{p}是{r}？"),
        (0.6, "如果没有{p}是{q}，而每个{r}都是{q}，那么{r}可能是{p}吗？为什么？"),
        (0.65, "{a}比{b}高，{c}比{b}矮，{d}比{a}高，谁第二高？"),
        (0.7, "{a}、{b}、{c}分别拿着{x}、{y}和{z}。先{a}和{b}交换，再{b}和{c}交换，最后{a}和{c}交换，现在{b}拿着什么？"),
        (0.65, "{a}有{n}个兄弟，每个兄弟有{m}个姐妹，{a}有几个姐妹？"),
        (0.65, "{n}台机器{n}分钟生产{n}个零件，{m}0台机器生产{m}0个零件要多久？"),
        (0.7, "蜗牛白天爬{m}米，晚上滑下{n}米，井深{two}米，几天能爬出来？"),
        (0.6, "{n}^{m}和{m}^{n}哪个大？"),
        (0.6, "解方程：{n}x-{m}={two}"),
        (0.7, "求方程x^2-{n}x+{m}=0的根。"),
        (0.6, "化简({n}x+{m})(x-{n})-{m}x。"),
        (0.6, "把二进制数1{bits}转换成十进制。"),
        (0.75, "证明根号{n}是无理数。"),
        (0.75, "证明任意{n}个连续整数的乘积能被{n}整除。"),
        (0.6, "火车{n}点{two}分出发，行驶{m}小时{two}分，几点到？"),
        (0.55, "找规律填数：{numbers}，（ ）"),
        (0.6, "袋子里有{m}个红球和{two}个蓝球，连续摸出{n}个红球的概率是多少？"),
        (0.65, "下面的程序输出什么？为什么？\nx = [{numbers}]\nfor i in range(len(x)):\n    x[i] = x[i - 1] + i\nprint(x[{n}])"),
        (0.6, "写一个函数，不排序找出列表中最小的{n}个元素。"),
        (0.65, "写一个程序，读入n个区间，输出它们并集的长度。"),
        (0.6, "{x}每个{n}元，{y}每个{m}元，正好用完{two}元有哪几种买法？"),
        (0.6, "安排一天的{n}个会议：{a}只有上午11点前有空，{b}只有下午两点后有空，{c}不能和{a}同时。给出时间表。"),
        (0.65, "甲说乙在说谎，乙说丙在说谎，丙说甲和乙都在说谎，谁说的是真话？"),
        (0.65, "{a}、{b}、{c}三人中有一人打碎了花瓶，{a}说是{b}，{b}说不是自己，{c}说不是自己，只有一人说真话，是谁打碎的？"),
        (0.5, "昨天是{date}，一周以后的今天是几月几日？"),
        (0.65, "{a}说真话。{b}说{a}在说谎。{c}说{b}说的是真话。{d}说{c}在说谎。{d}说的是真话吗？"),
        (0.6, "{two}有多少个正因数？"),
        (0.65, "有{m}个人站成一排，{a}不站两端，{b}和{c}必须相邻，有多少种站法？"),
        (0.65, "一个水池，单开甲管{n}小时注满，单开乙管{m}小时注满，单开排水管{two}小时排空，三管齐开多少小时注满？"),
        (0.65, "{two}个人里，会{x}的有{n}0人，会{z}的有{m}人，都不会的有{n}人，都会的有多少人？"),
        (0.65, "两根绳子各能烧{two}分钟，但烧得不均匀，怎样计时{m}分钟？"),
        (0.6, "一辆车以每小时{n}0千米的速度行驶{two}千米，又以每小时{m}0千米的速度返回，平均速度是多少？"),
        (0.65, "{a}、{b}、{c}三人，一位是医生，一位是教师，一位是司机。{c}比教师年龄大，{a}和医生不同岁，医生比{b}年龄小，谁是医生？"),
        (0.65, "商店里的{x}要么是红色的，要么很重。这个{x}不是红色的。能推出它很轻吗？"),
    ),
}  # fmt: skip
LONG_WORDS = [
    "strawberry",
    "mississippi",
    "bookkeeper",
    "parallel",
    "necessary",
    "occurrence",
    "banana",
    "assessment",
    "committee",
    "raspberry",
]
IDIOMS = ["画龙点睛", "守株待兔", "亡羊补牢", "掩耳盗铃", "对牛弹琴", "胸有成竹"]
CLASSES = {
    "en": [
        "poets",
        "dogs",
        "bankers",
        "swans",
        "lizards",
        "bloops",
        "razzies",
        "lazzies",
        "cups",
        "engines",
        "painters",
        "wugs",
    ],
    "zh": ["诗人", "天鹅", "银行家", "画家", "猫", "运动员", "老师", "音乐家", "司机", "学生"],
}
OBJECTS = {
    "en": ["ball", "book", "pen", "trombone", "lamp", "fridge", "key", "cup", "stove", "violin"],
    "zh": ["球", "书", "钢笔", "台灯", "钥匙", "杯子", "小提琴", "本子"],
}
FUNCTIONS = ["count_pairs", "solve", "f", "process_list", "best_split"]


def _pattern(rng: Random, language: str) -> Drawn:
    chance, text = rng.choice(PATTERNS[language])
    first, second, third = rng.sample(CLASSES[language], 3)
    x, y, z = rng.sample(OBJECTS[language], 3)
    people = dict(zip("abcd", rng.sample(NAMES[language], 4), strict=True))
    long = rng.choice(LONG_WORDS)
    filled = text.format(
        **people, p=first, q=second, r=third, x=x, y=y, z=z,
        n=rng.randint(2, 7), m=rng.randint(3, 9), one=rng.randint(1, 2), two=rng.randint(11, 69),
        month=rng.choice(("January", "March", "June", "August", "November")), letter=rng.choice(long), long=long, word=rng.choice(IDIOMS), words=", ".join(rng.sample(LONG_WORDS, 4)),
        sentence=f"The {rng.choice(THINGS['en'])} was closed because of the weather.",
        numbers=", ".join(str(rng.randint(1, 60)) for _ in range(rng.randint(4, 8))),
        bits="".join(rng.choice("01") for _ in range(6)), bool=rng.choice(("True", "False")),
        date=f"{rng.randint(1, 12)}/{rng.randint(1, 28)}/2024" if language == "en" else f"{rng.randint(1, 12)}月{rng.randint(1, 28)}日",
        name=rng.choice(FUNCTIONS),
    )  # fmt: skip
    return filled, chance


DRAWERS: tuple[Callable[[Random, str], Drawn], ...] = (arithmetic, _pattern, _pattern)


def draw_reasoning(rng: Random, language: str) -> Drawn:
    """A short task with steps, and the chance that an answer without reasoning is wrong."""
    return rng.choice(DRAWERS)(rng, language)
