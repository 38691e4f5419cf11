"""Draws expressions of a wanted number of steps and words them as prompts.

Knows which numbers occur and how people write a sum in English and Chinese; knows nothing of stories or models.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from models.spark import expressions
from models.spark.expressions import ImpossibleStep, Node, Product, Quotient, Sum

ENGLISH = (
    "{e}=?", "{e}=?", "{e}", "{e} = ?", "{e}=", "What is {e}?", "What is {e}?", "what is {e}", "What's {e}?",
    "Calculate {e}.", "Calculate {e}", "Compute {e}.", "How much is {e}?", "Work out {e}.", "Please work out {e}.",
    "Solve {e}", "Solve: {e}", "Evaluate {e}.", "Tell me {e}.", "Find {e}.", "{e} equals what?", "{e} is how much?",
    "I need the value of {e}.", "Can you tell me what {e} is?", "Could you work out {e} for me?", "Quick: {e}?",
    "What do you get for {e}?", "what does {e} equal?", "Give me the result of {e}.", "My homework asks: {e} = ?",
)  # fmt: skip
CHINESE = (
    "{e}等于多少？", "{e}等于多少？", "{e}=？", "计算{e}", "计算：{e}", "请计算{e}。", "{e}是多少？", "请问{e}等于几？",
    "算一下{e}", "帮我算一下{e}。", "{e}得多少？", "求{e}的值。", "{e}的结果是多少？", "你知道{e}等于多少吗？",
    "口算：{e}", "{e}等于几", "告诉我{e}是多少。", "我想知道{e}的结果。", "作业题：{e}=？", "麻烦算算{e}，谢谢。",
)  # fmt: skip
ENGLISH_WRAPS = (
    "Hello! {q}", "Hi, I have a question for you. {q}", "Good morning. {q} Thank you very much.", "{q} Thanks!",
    "Question {i} of {j}: {q}", "I am {i} years old and I like numbers. {q}", "Please answer. {q}", "{q} Please.",
    "It is page {i} of my book. {q}", "My teacher gave us {i} minutes for this one. {q}", "Number {i}. {q}",
    "I was sitting in the garden with my brother when he asked me this. {q}", "Ok, next one. {q}",
)  # fmt: skip
CHINESE_WRAPS = (
    "你好！{q}", "你好，我有一个问题。{q}", "早上好，{q}谢谢你。", "第{i}题，一共{j}题。{q}",
    "我今年{i}岁，喜欢数学。{q}", "课本第{i}页。{q}", "老师给了我们{i}分钟。{q}",
    "我和哥哥坐在花园里，他问我：{q}", "好的，下一题。{q}", "请回答。{q}",
)  # fmt: skip


def draw_expression(rng: Random, num_steps: int) -> Node:
    """A random expression of exactly `num_steps` steps (one to five)."""
    while True:
        try:
            node = _draw_one_step(rng) if num_steps == 1 else _draw_chain(rng, num_steps)
            worked = expressions.work(node)
        except ImpossibleStep:
            continue
        if worked.num_steps == num_steps and worked.value <= 9999:
            return node


def draw_drill(rng: Random) -> Node:
    """One step of a kind that is rare or slow to learn: digits, close neighbours, numbers of three digits."""
    roll = rng.random()
    if roll < 0.4:
        return digit_sum(rng, 6)
    if roll < 0.6:
        right = rng.randint(2, 99)
        return Sum(((1, right + rng.randint(0, 9)), (-1, right)))
    one, other = rng.randint(100, 999), addend(rng)
    if roll < 0.8:
        return expressions.total(*rng.sample((one, other), 2))
    return Sum(((1, max(one, other)), (-1, min(one, other))))


def word_expression(rng: Random, node: Node, language: str) -> tuple[str, bool]:
    """A prompt that asks for `node`, and whether its signs are spelled out as words."""
    spelled = rng.random() < 0.1 and "(" not in expressions.text(node)
    chinese = language == "zh"
    if spelled:
        words = ("乘", "除以", "减", "加") if chinese else ("times", "divided by", "minus", "plus")
        written = expressions.text(node, *words, gap="" if chinese else " ")
    else:
        written = expressions.text(
            node,
            times=rng.choice("**×"),
            over=rng.choice("//÷"),
            minus=rng.choice("---−"),
            gap=" " if rng.random() < 0.3 else "",
        )
    prompt = rng.choice(CHINESE if chinese else ENGLISH).format(e=written)
    if rng.random() < 0.15:
        wrap = rng.choice(CHINESE_WRAPS if chinese else ENGLISH_WRAPS)
        prompt = wrap.format(q=prompt, i=rng.randint(2, 60), j=rng.randint(60, 99))
    return prompt, spelled


def addend(rng: Random) -> int:
    """A number to add or subtract: mostly two digits, up to three."""
    roll = rng.random()
    if roll < 0.24:
        return rng.randint(2, 9)
    if roll < 0.94:
        return rng.randint(10, 99)
    return rng.randint(100, 999)


def digit_sum(rng: Random, longest: int) -> Sum:
    """Three to `longest` (at most six) single digits; few and small ones more often."""
    count = min(longest, rng.choice((3, 3, 3, 3, 3, 4, 4, 4, 5, 6)))
    return expressions.total(*(rng.choice((1, 1, 2, 2, 3, 3, 4, 4, 5, 6, 7, 8, 9)) for _ in range(count)))


def digit_product(rng: Random) -> Product:
    """One step: two single digits, or one of them with zeros behind it."""
    left, right = rng.randint(2, 9), rng.randint(2, 9)
    if rng.random() < 0.15:
        right *= 10
    return Product(left, right) if rng.random() < 0.5 else Product(right, left)


def two_step_product(rng: Random) -> Product:
    """A two-digit number times a digit."""
    left, right = rng.randint(11, 99), rng.randint(2, 9)
    return Product(left, right) if rng.random() < 0.7 else Product(right, left)


def three_step_product(rng: Random) -> Product:
    """Two two-digit numbers."""
    return Product(rng.randint(11, 99), rng.randint(11, 99))


def table_quotient(rng: Random) -> Quotient:
    """An exact division of the times table."""
    right, result = rng.randint(2, 9), rng.randint(2, 9)
    return Quotient(right * result, right)


def draw_term(rng: Random, cost: int) -> Node:
    """One term of a chain that costs zero to three steps by itself, without parentheses."""
    if cost == 0:
        return addend(rng)
    if cost == 1:
        return table_quotient(rng) if rng.random() < 0.2 else digit_product(rng)
    return two_step_product(rng) if cost == 2 else three_step_product(rng)


def split_costs(rng: Random, num_steps: int) -> list[int]:
    """Costs of the terms of a chain: together with the additions between them they make `num_steps`."""
    while True:
        num_terms = rng.choice([1, 2, 2, 2, 3, 3, 4, 5, 6][: 2 + 2 * num_steps])
        costs = [rng.choice((0, 0, 0, 1, 1, 2, 3)) for _ in range(num_terms)]
        if sum(costs) + num_terms - 1 == num_steps:
            return costs


def _draw_one_step(rng: Random) -> Node:
    roll = rng.random()
    if roll < 0.24:
        return digit_sum(rng, 6)
    if roll < 0.55:
        return expressions.total(addend(rng), addend(rng))
    if roll < 0.84:
        return Sum(((1, addend(rng)), (-1, addend(rng))))
    return table_quotient(rng) if roll < 0.91 else digit_product(rng)


def _draw_chain(rng: Random, num_steps: int) -> Node:
    if rng.random() < 0.2:
        return rng.choice(_GROUPED)(rng, num_steps)
    costs = split_costs(rng, num_steps)
    terms = [draw_term(rng, cost) for cost in costs]
    if len(terms) == 1:
        return terms[0]
    return Sum(((1, terms[0]), *((rng.choice((1, 1, -1)), term) for term in terms[1:])))


def _group_times_digit(rng: Random, num_steps: int) -> Node:
    """(a+b)*c, then perhaps more terms."""
    group = Sum(((1, addend(rng)), (rng.choice((1, -1)), addend(rng))))
    factor = rng.randint(2, 9) if rng.random() < 0.75 else rng.randint(11, 49)
    node: Node = Product(group, factor) if rng.random() < 0.7 else Product(factor, group)
    return _lengthen(rng, node, num_steps)


def _minus_group(rng: Random, num_steps: int) -> Node:
    """a-(b+c), then perhaps more terms."""
    group = Sum(((1, draw_term(rng, rng.choice((0, 0, 1)))), (rng.choice((1, -1)), addend(rng))))
    return _lengthen(rng, Sum(((1, addend(rng)), (-1, group))), num_steps)


def _group_over_digit(rng: Random, num_steps: int) -> Node:
    """(a+b)/c with a quotient of the times table, then perhaps more terms."""
    right, result = rng.randint(2, 9), rng.randint(3, 9)
    first = rng.randint(1, right * result - 1)
    node = Quotient(expressions.total(first, right * result - first), right)
    return _lengthen(rng, node, num_steps)


def _lengthen(rng: Random, node: Node, num_steps: int) -> Node:
    """Add terms until the steps suffice; the caller throws away what does not fit."""
    missing = num_steps - expressions.work(node).num_steps
    if missing <= 0:
        return node
    terms: tuple[tuple[int, Node], ...] = node.terms if isinstance(node, Sum) else ((1, node),)
    while missing > 0:
        cost = rng.choice((0, 0, 1, 2))
        if cost + 1 <= missing:
            terms += ((rng.choice((1, 1, -1)), draw_term(rng, cost)),)
            missing -= cost + 1
    return Sum(terms)


_GROUPED: tuple[Callable[[Random, int], Node], ...] = (_group_times_digit, _minus_group, _group_over_digit)
