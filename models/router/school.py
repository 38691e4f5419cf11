"""School problems with a grade, in two languages: what each year of school adds, from sums to 20 to cones and interest.

Knows: wordings, the numbers each grade uses, and how hard a grade is. Does not know: answers; nothing here is solved.
"""

from __future__ import annotations

from random import Random

# By grade: patterns, one a line. {a} to {d} are numbers of the grade, {o} a thing, {w} a name, {m} a decimal,
# {p} a percentage, {f} a fraction, {big} a number of five digits and more.
PATTERNS_ZH: tuple[str, ...] = (
    """{w}有{a}个{o}，又买来{b}个，一共有多少个{o}？
{w}有{a}个{o}，吃了{b}个，还剩几个？
树上有{a}只鸟，飞走了{b}只，还有几只？
左边有{a}朵花，右边有{b}朵花，一共有几朵？
{w}今年{a}岁，再过{b}年是几岁？
{w}做了{a}道题，还要做{b}道，一共要做几道题？
一本书有{a}页，{w}看了{b}页，还有几页没看？
排队时{w}前面有{a}人，后面有{b}人，这一队一共有多少人？
{a}比{b}多几？
{a}加{b}等于多少？
草地上有白兔{a}只，黑兔{b}只，白兔比黑兔多几只？
停车场有{a}辆车，开走{b}辆，又开来{c}辆，现在有几辆？
一支{o}{a}元，{w}付了{b}元，应找回多少元？""",
    """每个盘子放{s}个{o}，{t}个盘子一共放多少个？
有{a}个{o}，平均分给{s}个小朋友，每人分几个？
{o}每个{s}元，{w}买了{t}个，付了{a}元，应找回多少钱？
{w}有{a}元，买一个书包用去{b}元，还剩多少元？
一根绳子长{a}米，每{s}米剪一段，可以剪几段？
二年级一班有{a}人，二班有{b}人，两个班一共有多少人？
商店原来有{a}箱{o}，卖出{b}箱，又运来{c}箱，现在有多少箱？
{s}个{t}相加的和是多少？
校园里有{s}排树，每排{t}棵，一共有多少棵？
{w}折了{a}只纸鹤，{v}比他多折{b}只，{v}折了多少只？
{o}有{s}个，苹果的个数是它的{t}倍，苹果有多少个？
小明从家到学校走了{a}米，还剩{b}米，家到学校有多少米？
有{a}个{o}，每{s}个装一袋，可以装几袋，还剩几个？""",
    """一个长方形长{a}厘米，宽{b}厘米，它的周长是多少厘米？
一辆汽车{s}小时行{e}千米，平均每小时行多少千米？
学校买来{s}箱{o}，每箱{a}个，一共多少个？
{w}每分钟打{a}个字，{b}分钟能打多少个字？
电影院有{a}排座位，每排{b}个，最多可以坐多少人？
一块正方形菜地边长{a}米，它的面积是多少平方米？
{w}{s}天看了{e}页书，照这样计算，{t}天可以看多少页？
果园里有桃树{e}棵，梨树比桃树少{b}棵，两种树一共多少棵？
{e}除以{s}的商是多少，余数是几？
一台电扇{e}元，一台电视机的价钱是它的{s}倍，电视机多少元？
三年级有{s}个班，每班{a}人，平均分成{t}组，每组多少人？
把{a}个{o}平均分成{s}份，每份是它的几分之几？
从{t}时到{s}时{b}分，经过了多长时间？""",
    """甲、乙两地相距{e}千米，一辆汽车每小时行{a}千米，已经行了{b}千米，还要几小时到达？
{w}买了{s}套桌椅，每张桌子{e}元，每把椅子{a}元，一共要付多少元？
一个工厂{b}天生产{big}个零件，平均每天生产多少个？
三角形的两个角分别是{a}度和{b}度，第三个角是多少度？
修一条长{big}米的路，前{s}天每天修{e}米，剩下的要{t}天修完，平均每天修多少米？
一个数除以{a}，商是{b}，余数是{s}，这个数是多少？
水果店运来{a}箱苹果和{b}箱梨，每箱苹果{s}千克，每箱梨{t}千克，苹果比梨多多少千克？
用简便方法计算：{e}×{a}+{e}×{b}。
一块长方形地长{e}米，宽{a}米，如果每平方米收{s}千克小麦，一共可以收多少千克？
{w}和{v}同时从两地相向而行，{w}每分钟走{a}米，{v}每分钟走{b}米，{s}分钟后相遇，两地相距多少米？
平均每棵树每年可产氧{e}克，{a}棵树{s}年产氧多少克？""",
    """一个平行四边形的底是{m}米，高是{n}米，它的面积是多少平方米？
{o}每千克{m}元，{w}买了{n}千克，付给营业员{a}元，应找回多少元？
一个数的{m}倍比{n}多{s}，这个数是多少？
做一套衣服用布{m}米，{a}米布最多可以做多少套？
甲数是{m}，乙数比甲数的{s}倍少{n}，乙数是多少？
一个长方体的长{m}厘米，宽{n}厘米，高{s}厘米，它的体积和表面积各是多少？
用一根长{a}分米的铁丝做一个正方体框架，它的棱长是多少分米？
{a}和{b}的最大公因数和最小公倍数分别是多少？
一个梯形的上底{m}厘米，下底{n}厘米，高{s}厘米，面积是多少？
{w}{f}小时走了{m}千米，他每小时走多少千米？
一堆煤，第一天用去{f}，第二天用去{g}，还剩几分之几？
修一条路，甲队每天修{m}千米，乙队每天修{n}千米，{s}天修完，这条路长多少千米？（用方程解）""",
    """一桶油用去{f}后还剩{a}千克，这桶油原来有多少千克？
某商品原价{e}元，打{s}折后比原价便宜多少元？
{w}把{big}元存入银行，年利率{q}%，存期{s}年，到期可得利息多少元？
一个圆的半径是{s}厘米，它的周长和面积各是多少？（π取3.14）
一个圆锥形沙堆，底面半径{s}米，高{m}米，每立方米沙重{n}吨，这堆沙重多少吨？
甲、乙两数的比是{s}:{t}，甲数比乙数多{a}，乙数是多少？
一项工程，甲单独做{a}天完成，乙单独做{b}天完成，两人合作几天完成这项工程的{f}？
某班男生人数是女生的{f}，男生比女生少{s}人，全班有多少人？
果园里苹果树占总数的{p}%，梨树占{q}%，其余{a}棵是桃树，果园里一共有多少棵树？
六年级{a}名学生参加体检，其中{b}人合格，合格率是多少？
在比例尺是1:{big}的地图上，量得两地距离是{m}厘米，实际距离是多少千米？
一根圆柱形木料长{s}米，把它截成{t}段，表面积增加了{a}平方分米，原来的体积是多少？
一批货物，第一次运走总数的{f}，第二次运走{p}%，还剩{a}吨，这批货物有多少吨？
含盐{p}%的盐水{e}克，要使含盐率变为{q}%，需要加水多少克？""",
)
PATTERNS_EN: tuple[str, ...] = (
    """{w} has {a} {o} and gets {b} more. How many {o} does {w} have now?
There are {a} birds on a tree and {b} fly away. How many are left?
What is {a} plus {b}?
{w} is {a} years old. How old will {w} be in {b} years?""",
    """There are {s} bags with {t} {o} in each bag. How many {o} are there in all?
{w} shares {a} {o} equally among {s} friends. How many does each friend get?
A ticket costs {s} dollars. {w} buys {t} tickets and pays with {a} dollars. How much change does {w} get?
{w} had {a} dollars, spent {b} dollars, and then earned {c} dollars. How much does {w} have now?""",
    """A rectangle is {a} cm long and {b} cm wide. What is its perimeter?
A car travels {e} miles in {s} hours. What is its average speed?
{w} reads {e} pages in {s} days. At this rate, how many pages does {w} read in {t} days?
There are {s} classes with {a} students each, and they form groups of {t}. How many groups are there?""",
    """A factory makes {big} parts in {b} days. How many parts does it make each day on average?
{w} buys {s} tables for ${e} each and {t} chairs for ${a} each. How much more do the tables cost than the chairs?
Two angles of a triangle are {a} and {b} degrees. Find the third angle.
{w} and {v} walk towards each other at {a} and {b} metres per minute and meet after {s} minutes. How far apart were they?""",
    """{o} cost ${m} per pound. {w} buys {n} pounds and pays with ${a}. How much change does {w} get?
A box is {m} cm long, {n} cm wide and {s} cm high. What is its volume?
{w} used {f} of the flour on Monday and {g} on Tuesday. What fraction is left?
Find the greatest common factor and the least common multiple of {a} and {b}.""",
    """After {f} of the oil was used, {a} litres were left. How many litres were there at first?
A jacket that costs ${e} is on sale for {p}% off, and then {q}% tax is added. What is the final price?
The ratio of boys to girls is {s}:{t} and there are {a} more boys. How many students are there?
{w} can paint a house in {a} days and {v} in {b} days. How long does it take them together to paint {f} of it?
A circle has a radius of {m} cm. Find its area to the nearest tenth.
{w} invests ${big} at {q}% interest for {s} years, compounded yearly. How much interest is earned?""",
)
PATTERNS = {"en": PATTERNS_EN, "zh": PATTERNS_ZH}
NUM_GRADES = 6
DIRECT_WRONG = (0.06, 0.12, 0.22, 0.36, 0.46, 0.58)  # by grade: the chance that an answer without reasoning is wrong
_THINGS = {
    "en": ["apples", "stickers", "marbles", "cookies", "pencils", "oranges", "books", "shells"],
    "zh": ["苹果", "铅笔", "气球", "橘子", "本子", "贴纸", "皮球", "糖果"],
}
_NAMES = {
    "en": ["Anna", "Luis", "Mia", "Jack", "Zoe", "Ravi", "Ella", "Dan"],
    "zh": ["小红", "小明", "芳芳", "小华", "妈妈", "李老师", "小刚", "王叔叔"],
}
_TWO_DIGITS_FROM = 1  # grade index


def draw_school(rng: Random, language: str) -> tuple[str, float, int]:
    """A problem, the chance that a direct answer to it is wrong, and its grade (1 to 6)."""
    grade = rng.randrange(NUM_GRADES)
    pattern = rng.choice(PATTERNS[language][grade].split("\n"))
    return _fill(rng, language, grade, pattern), DIRECT_WRONG[grade], grade + 1


def _fill(rng: Random, language: str, grade: int, pattern: str) -> str:
    first, second = rng.sample(_NAMES[language], 2)
    most = 20 if grade < _TWO_DIGITS_FROM else 100
    below = rng.randint(2, 9)
    return pattern.format(
        **{letter: rng.randint(2 if grade == 0 else 11, most - 1) for letter in "abc"},
        s=rng.randint(2, 9),
        t=rng.randint(2, 9),
        e=rng.randint(101, 999),
        big=rng.randint(12, 99) * rng.choice((100, 1000)),
        m=f"{rng.uniform(0.3, 30):.1f}",
        n=f"{rng.uniform(0.3, 9):.{rng.choice((1, 2))}f}",
        p=rng.choice((15, 20, 25, 35, 40, 60)),
        q=rng.choice((2.25, 3.5, 4, 5, 8, 10)),
        f=_fraction(rng, language, below),
        g=_fraction(rng, language, below + 1),
        o=rng.choice(_THINGS[language]),
        w=first,
        v=second,
    )


def _fraction(rng: Random, language: str, below: int) -> str:
    above = rng.randint(1, below - 1)
    return f"{below}分之{above}" if language == "zh" and rng.random() < 0.5 else f"{above}/{below}"
