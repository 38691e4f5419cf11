"""Puzzles with a size knob, and exam and programming tasks that need work, in two languages.

Knows: wordings, and how hard a size is. Does not know: solutions; a puzzle need not have exactly one.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from models.router.passages import NAMES

ITEMS = {
    "en": (("red", "blue", "green", "white", "yellow", "black"), ("tea", "milk", "coffee", "juice", "water", "cocoa"),
        ("dog", "cat", "fish", "bird", "horse", "snake")),
    "zh": (("红色", "蓝色", "绿色", "白色", "黄色", "黑色"), ("茶", "牛奶", "咖啡", "果汁", "水", "可可"),
        ("狗", "猫", "鱼", "鸟", "马", "蛇")),
}  # fmt: skip
CLUES = {
    "en": """{a} sits immediately to the left of {b}.
{a} does not sit next to {b}.
There are exactly two people between {a} and {b}.
{a} sits somewhere to the right of {b}.
The person with the {x} sits next to the one who drinks {y}.
The owner of the {z} does not like {x}.
Either {a} or {b} has the {x}, but not both.
If {a} drinks {y}, then {b} has the {z}.
{a} is older than {b} but younger than {c}.
Neither {a} nor {c} owns the {z}.
{a} has neither the {x} nor the {z}.
{b} arrived before {c} and after {a}.""",
    "zh": """{a}坐在{b}的左边，而且紧挨着。
{a}不和{b}相邻。
{a}和{b}之间正好有两个人。
{a}坐在{b}右边的某个位置。
拿{x}的人坐在喝{y}的人旁边。
养{z}的人不喜欢{x}。
{a}和{b}中恰好有一人拿{x}。
如果{a}喝{y}，那么{b}养{z}。
{a}比{b}大，但比{c}小。
{a}和{c}都不养{z}。
{a}既没有{x}，也不养{z}。
{b}比{c}先到，比{a}后到。""",
}
STATEMENTS = {
    "en": """{a} says: "{b} is a liar."
{a} says: "{b} and {c} are of the same kind."
{b} says: "Exactly one of us tells the truth."
{c} says: "If {a} is a knight, then so is {b}."
{a} says: "At least two of us are knaves." """,
    "zh": """{a}说：“{b}在说谎。”
{a}说：“{b}和{c}是同一类人。”
{b}说：“我们当中只有一个人说真话。”
{c}说：“如果{a}是骑士，那么{b}也是。”
{a}说：“我们当中至少有两个人说假话。”""",
}
OPTIMIZE = {
    "en": """There are {n} coins, one of which is lighter. With a balance scale, what is the minimum number of weighings that guarantees finding it?
{n} people must cross a bridge at night with one torch; they need {list} minutes. What is the least total time?
You have jugs of {a} and {b} litres and unlimited water. How can you measure exactly {c} litres, and in how few steps?
In how many ways can {n} rooks be placed on an {n}x{n} board so that no two attack each other and none stands on the diagonal?
Using the digits {list} exactly once each, what is the largest number divisible by {b} that can be formed?
How many integers from 1 to {big} are divisible by {a} or {b} but not by both?
A robot starts at (0,0) and moves right or up. How many paths lead to ({a},{b}) that avoid the point ({c},{c})?
Schedule {n} jobs with durations {list} on two machines so that the last one ends as early as possible.
Find the next two numbers of the sequence {list}, and explain the rule.
{n} prisoners wear red or blue hats and each sees only those in front. Which strategy saves the most of them for certain?
The sum of {n} consecutive integers is {big}. Find the largest of them, and decide whether {a} divides their product.
Fill the {n}x{n} grid with the numbers 1 to {n} so that no row and no column repeats one, given that the first row is {list}.""",
    "zh": """有{n}枚硬币，其中一枚较轻，用天平至少称几次才能保证找到它？
{n}个人夜里过桥，只有一个手电筒，过桥分别需要{list}分钟，全部过桥最少要多少分钟？
有{a}升和{b}升的两个桶，怎样量出恰好{c}升水？最少几步？
把{n}个不同的球放进{a}个相同的盒子，每个盒子至少一个，有多少种放法？
用数字{list}各一次，能组成的能被{b}整除的最大的数是多少？
从1到{big}中，能被{a}或{b}整除但不能同时被两者整除的数有多少个？
机器人从(0,0)出发，每次向右或向上走一格，到({a},{b})且不经过({c},{c})的走法有多少种？
{n}项工作分别需要{list}小时，安排到两台机器上，最早什么时候能全部完成？
找规律：{list}，后面两个数是什么？说明理由。
{n}个囚犯戴红帽或蓝帽，每人只能看到前面的人，用什么策略能保证最多的人获救？
在{n}×{n}的方格中填入1到{n}，使每行每列都不重复，第一行是{list}，求第三行。
鸡兔同笼，头{big}个，脚比头的{a}倍多{b}，鸡和兔各有多少只？""",
}
EXAMS = {
    "en": """Let f(x) = x^{a} - {b}x + {c}. Find all real x such that f(x) = f({a} - x).
Prove that for every positive integer n, n^{a} - n is divisible by {a}.
Find the number of ordered pairs (x, y) of positive integers with {a}x + {b}y = {big}.
Evaluate the integral of x^{a} e^(-{b}x) from 0 to infinity.
Let $\\triangle ABC$ have sides ${a}$, ${b}$ and ${c}$. Compute the radius of its inscribed circle.
Suppose $p$ is a prime with $p \\equiv {a} \\pmod{{{b}}}$. Show that $x^2 + {c}$ has a root modulo $p$.
Determine all functions $f: \\mathbb{{R}} \\to \\mathbb{{R}}$ with $f(x + f(y)) = f(x) + {a}y$.
Find the eigenvalues of the matrix [[{a}, {b}], [{c}, {a}]] and diagonalize it.
What is the remainder when ${a}^{{{big}}}$ is divided by ${b}{c}$?
Solve the system {a}x + {b}y = {c}, {b}x - {a}y = {big}.
If $\\log_{a} x + \\log_{b} x = {c}$, what is $x$?
A block of mass {a} kg slides down a {b} degree incline with friction coefficient 0.{c}. How fast is it after {n} m?
How many grams of product form when {a} g of hydrogen react with {b} g of oxygen, and which reactant is left over?
Find the derivative of sin({a}x) * exp(x^{b}) and its zeros on [0, pi].
Two dice are rolled {a} times. What is the probability that the sum {b} appears at least {n} times?
Calculate {big}*{a}{b} - {c}{a}*({b} + {n}) / {n}.
Compute the sum of all integers k from 1 to {big} for which k^2 + {a} is a multiple of {b}.""",
    "zh": """已知函数f(x)=x^{a}-{b}x+{c}，求f(x)的单调区间和极值。
证明：对任意正整数n，n^{a}-n能被{a}整除。
求方程{a}x+{b}y={big}的正整数解的个数。
设数列{{a_n}}满足a_1={a}，a_(n+1)={b}a_n+{c}，求通项公式和前n项和。
已知$\\triangle ABC$三边长为${a}$、${b}$、${c}$，求内切圆半径。
若$\\log_{a}x+\\log_{b}x={c}$，则$x$等于多少？
设p为质数且p除以{b}余{a}，证明x^2+{c}在模p下有根。
已知椭圆x^2/{a}+y^2/{b}=1与直线y=x+{c}交于两点，求弦长。
${a}^{{{big}}}$除以${b}{c}$的余数是多少？
解方程组：{a}x+{b}y={c}，{b}x-{a}y={big}。
求不定积分：∫x^{a}e^({b}x)dx。
质量为{a}千克的物体沿倾角{b}度的斜面下滑，动摩擦因数为0.{c}，求下滑{n}米时的速度。
将{a}克氢气与{b}克氧气充分反应，生成多少克水？哪种气体有剩余？
从{big}件产品中任取{a}件，其中至少有{n}件次品的概率是多少？
计算：{big}×{a}{b}-{c}{a}×({b}+{n})÷{n}。
若关于x的不等式|x-{a}|+|x-{b}|<{c}有解，求参数的取值范围。""",
}
CODING = {
    "en": """Implement a function that finds the longest substring with at most {n} distinct characters in O(n).
Write a Python function that returns all ways to place {n} queens on a board, and analyse its complexity.
Design an LRU cache with O(1) get and put, thread-safe, and explain the trade-offs.
Given a list of {n}0000 intervals, find the largest number that overlap at any time; prove that your algorithm is right.
Find the bug: the binary search below never ends for some inputs. Explain which and fix it.
Write a SQL query that gives each customer's longest run of consecutive days with orders.
Implement Dijkstra's algorithm with a heap and adapt it so that at most {n} edges may be free.
Why does this concurrent queue deadlock when {n} producers stop at the same time? Propose a correct version.""",
    "zh": """实现一个函数，在O(n)时间内找出最多含{n}种字符的最长子串。
用Python求出{n}皇后问题的所有解，并分析复杂度。
设计一个线程安全、get和put都是O(1)的LRU缓存，说明取舍。
给定{n}0000个区间，求任意时刻重叠的最大个数，并证明算法正确。
下面的二分查找对某些输入会死循环，找出原因并修复。
写一条SQL，求每个客户连续下单天数的最大值。
用堆实现Dijkstra算法，并支持最多{n}条边免费的情形。
动态规划：求长度为{n}0000的序列的最长递增子序列，要求O(n log n)。""",
}

Drawn = tuple[str, float]  # the text, and the chance that an answer without reasoning is wrong


def seating(rng: Random, language: str) -> Drawn:
    """Who sits where: three to six people, two to nine clues."""
    size = rng.randint(3, 6)
    people, (colours, drinks, pets) = rng.sample(NAMES[language], size), ITEMS[language]
    clues = [
        pattern.format(**dict(zip("abc", rng.sample(people, 3), strict=True)),
            x=rng.choice(colours), y=rng.choice(drinks), z=rng.choice(pets))
        for pattern in rng.sample(CLUES[language].split("\n"), size + rng.randint(-1, 3))
    ]  # fmt: skip
    who, pet = rng.choice(people), rng.choice(pets)
    joined = (" " if language == "en" else "").join(clues)
    if language == "en":
        text = f"{', '.join(people)} sit in a row. {joined} Who owns the {pet}, and where does {who} sit?"
    else:
        text = f"{'、'.join(people)}坐成一排。{joined}谁养{pet}？{who}坐在第几个？"
    return text, 0.45 + 0.09 * size


def truth_tellers(rng: Random, language: str) -> Drawn:
    """Knights and knaves: three people, two to four statements."""
    people = rng.sample(NAMES[language], 3)
    patterns = rng.sample(STATEMENTS[language].split("\n"), rng.randint(2, 4))
    said = " ".join(pattern.strip().format(**dict(zip("abc", people, strict=True))) for pattern in patterns)
    if language == "en":
        return f"On an island knights always tell the truth and knaves always lie. {said} Who is what?", 0.85
    return f"岛上的骑士总说真话，无赖总说假话。{said}他们分别是什么人？", 0.85


def _pattern(table: dict[str, str], chance: float) -> Callable[[Random, str], Drawn]:
    def draw(rng: Random, language: str) -> Drawn:
        size = rng.randint(3, 8)
        first, second, third = rng.sample(range(2, 10), 3)
        text = rng.choice(table[language].split("\n")).format(
            n=size, a=first, b=second, c=third, big=rng.randint(40, 2025),
            list=(", " if language == "en" else "、").join(str(rng.randint(1, 30)) for _ in range(size)),
        )  # fmt: skip
        return text, min(chance + 0.015 * size, 0.97)

    return draw


DRAWERS: tuple[Callable[[Random, str], Drawn], ...] = (
    seating,
    truth_tellers,
    _pattern(OPTIMIZE, 0.78),
    _pattern(EXAMS, 0.78),
    _pattern(EXAMS, 0.78),
    _pattern(CODING, 0.7),
)


def draw_puzzle(rng: Random, language: str) -> Drawn:
    """A task that needs work, and the chance that an answer without reasoning is wrong."""
    return rng.choice(DRAWERS)(rng, language)
