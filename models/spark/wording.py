"""Names, things and sentences of the word problems, in English and Chinese. Data only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that can be counted, in both languages; `measure` is the Chinese measure word."""

    one: str
    many: str
    chinese: str
    measure: str

    def words(self, language: str) -> dict[str, str]:
        """Slots for the sentences of one language."""
        if language == "zh":
            return {"thing": self.chinese, "things": self.chinese, "measure": self.measure}
        return {"thing": self.one, "things": self.many, "measure": ""}


THINGS = tuple(
    Thing(*row.split("|"))
    for row in (
        "a pen|pens|钢笔|支", "a book|books|书|本", "an apple|apples|苹果|个", "a ball|balls|球|个", "a cup|cups|杯子|个",
        "a card|cards|卡片|张", "a toy|toys|玩具|个", "a cake|cakes|蛋糕|个", "a bag|bags|书包|个", "an egg|eggs|鸡蛋|个",
        "a pear|pears|梨|个", "a hat|hats|帽子|顶", "a flower|flowers|花|朵", "a stamp|stamps|邮票|张", "a key|keys|钥匙|把",
        "a chair|chairs|椅子|把", "a fish|fish|鱼|条", "a cookie|cookies|饼干|块", "a shirt|shirts|衬衫|件", "a coin|coins|硬币|枚",
    )
)  # fmt: skip
NAMES = {
    "en": ("Tom", "Ann", "Ben", "Mia", "Leo", "Eva", "Sam", "Lily", "Jack", "Nora", "Max", "Zoe", "Paul", "Rosa", "Li", "Omar"),
    "zh": ("小明", "小红", "小华", "小丽", "小刚", "小芳", "小强", "小美", "小林", "小军", "李明", "王芳"),
}  # fmt: skip
PLACES = {
    "en": ("shop", "school", "box", "store", "library", "hall", "market"),
    "zh": ("商店", "学校", "盒子", "仓库", "图书馆", "教室", "超市"),
}
WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "one": ("{thing} for {p} {u}", "{thing} that costs {p} {u}", "{thing} ({p} {u})"),
        "many": ("{n} {things} at {p} {u} each", "{n} {things} for {p} {u} each", "{n} {things}, each {p} {u}"),
        "buys": ("{name} buys {basket}.", "{name} goes shopping and buys {basket}.", "In the shop {name} picks {basket}."),
        "coupon": ("A coupon takes {n} {u} off.", "The shop gives {n} {u} off.", "There is a discount of {n} {u}."),
        "pays?": ("How much does {name} pay?", "How much is that in all?", "What is the total price?", "How many {u} is that?"),
        "has money": (
            "{name} has {n} {u} and buys {basket}.", "{name} pays with {n} {u} for {basket}.",
            "{name} takes {n} {u} to the shop and gets {basket}.",
        ),
        "change?": ("How much is left?", "How much change does {name} get?", "How much money does {name} have left?", "How many {u} are left?"),
        "store start": ("There are {n} {things} in the {place}.", "The {place} has {n} {things}.", "A {place} starts the day with {n} {things}."),
        "store start many": ("There are {n} rows of {p} {things} in the {place}.", "The {place} has {n} boxes with {p} {things} each."),
        "store more": ("{n} more are brought in.", "Then {n} {things} are added.", "Someone brings {n} more {things}."),
        "store more many": ("{n} bags of {p} {things} are added.", "Then {n} boxes with {p} {things} each arrive."),
        "store less": ("{n} are taken away.", "{n} {things} are sold.", "Then {n} {things} are moved out."),
        "store less many": ("{n} people take {p} {things} each.", "{n} bags of {p} {things} are sold."),
        "store?": ("How many {things} are there now?", "How many {things} are in the {place} now?", "How many are there at the end?"),
        "person start": ("{name} has {n} {things}.", "{name} owns {n} {things}.", "At first {name} has {n} {things}."),
        "person start many": ("{name} has {n} boxes of {p} {things}.", "{name} has {n} bags with {p} {things} in each."),
        "person more": ("{other} gives {name} {n} more.", "{name} finds {n} {things}.", "{name} gets {n} more {things}."),
        "person more many": ("{n} friends give {name} {p} {things} each.", "{name} gets {n} packs of {p} {things}."),
        "person less": ("{name} gives {n} to {other}.", "{name} loses {n} {things}.", "{name} sells {n} of them."),
        "person less many": ("{name} gives {n} friends {p} {things} each.", "{name} uses {p} {things} a day for {n} days."),
        "person?": ("How many {things} does {name} have now?", "How many {things} has {name} now?", "How many does {name} have in the end?"),
        "length start": ("A rope is {n} cm long.", "A ribbon measures {n} cm.", "A wire has a length of {n} cm."),
        "length start many": ("A rope is made of {n} pieces of {p} cm.", "A fence has {n} parts, each {p} cm long."),
        "length more": ("{n} cm are added.", "A piece of {n} cm is tied to it."),
        "length more many": ("{n} pieces of {p} cm are added.", "It gets {n} more parts of {p} cm."),
        "length less": ("{n} cm are cut off.", "A piece of {n} cm is cut away."),
        "length less many": ("{n} pieces of {p} cm are cut off.", "It loses {n} pieces, each {p} cm long."),
        "length?": ("How long is it now?", "How many cm is it now?", "What is its length in cm?"),
        "tank start": ("A tank holds {n} litres of water.", "There are {n} litres of water in a pool."),
        "tank start many": ("A tank is filled with {n} buckets of {p} litres.", "{n} cans of {p} litres are poured into a tank."),
        "tank more": ("{n} litres are poured in.", "Rain adds {n} litres."),
        "tank more many": ("{n} buckets of {p} litres are poured in.", "For {n} hours {p} litres an hour flow in."),
        "tank less": ("{n} litres are used.", "{n} litres flow out."),
        "tank less many": ("{n} buckets of {p} litres are taken out.", "For {n} hours {p} litres an hour flow out."),
        "tank?": ("How many litres are there now?", "How much water is left, in litres?", "How many litres does it hold now?"),
        "today": ("{name} ", "Today {name} ", "On Sunday {name} "),
        "spends": ("reads for {n} minutes", "walks for {n} minutes", "swims for {n} minutes", "sings for {n} minutes", "cooks for {n} minutes"),
        "spends many": ("runs {n} rounds of {p} minutes each", "has {n} lessons of {p} minutes each", "plays {n} games of {p} minutes each"),
        "day?": ("How many minutes is that in all?", "How long is that together?", "How many minutes does {name} need?"),
        "unit week": ("weeks", "days"), "unit hour": ("hours", "minutes"), "unit metre": ("metres", "cm"),
        "unit minute": ("minutes", "seconds"), "unit foot": ("yards", "feet"), "unit pair": ("pairs of shoes", "shoes"),
        "unit spider": ("spiders", "legs"),
        "unit start": ("We have {n} {big}.", "Take {n} {big}, counted in {small}.", "Think of {n} {big}."),
        "unit more": ("Add {n} {small}.", "{n} {small} come on top."),
        "unit less": ("Take away {n} {small}.", "{n} {small} do not count."),
        "unit?": ("How many {small} is that?", "How many {small} are there?", "What is it in {small}?"),
        "share start": ("{name} has {n} {things}.", "There are {n} {things} on the table."),
        "share more": ("Then {n} more come.", "{n} {things} are added."),
        "share less": ("{n} of them get lost.", "{n} {things} are taken away."),
        "share?": ("They are shared equally by {n} people. How many does each get?", "Put equally into {n} boxes, how many {things} are in each box?"),
        "clock": (
            "The film starts at {t} and lasts {n} minutes.", "{name} leaves at {t} and walks for {n} minutes.",
            "The bus leaves at {t} and takes {n} minutes.", "It is {t} now and dinner is in {n} minutes.",
        ),
        "clock?": ("What time is it then?", "At what time is that over?", "What does the clock show then?"),
        "has": ("{name} has {n} {things}.", "{name} owns {n} {things}.", "{name} counts {n} {things}."),
        "has many": ("{name} has {n} boxes of {p} {things}.", "{name} has {n} bags with {p} {things} each."),
        "also": ("{name} gets {n} more.", "{name} also finds {n} {things}."),
        "also many": ("{name} also gets {n} packs of {p} {things}.", "{name} also has {n} bags of {p} {things}."),
        "difference?": ("How many more {things} does {name} have than {other}?", "How many {things} is {name} ahead of {other}?"),
        "relative more": ("{other} has {n} more than {name}.", "{other} has {n} {things} more than {name}."),
        "relative less": ("{other} has {n} fewer than {name}.", "{other} has {n} {things} fewer than {name}."),
        "together?": ("How many {things} do they have together?", "How many do both have in all?"),
        "idle": (
            "{who} is {x} years old.", "It is day {x} of the month.", "There are {x} people in the street.", "The bus number is {x}.",
            "Yesterday it was {x} degrees.", "{who} lives at number {x}.", "The shop opened {x} years ago.", "{who} has been waiting for {x} minutes.",
            "The book about it has {x} pages.", "There are {x} trees outside.", "The sun is shining.", "{who} is in a good mood today.",
        ),
    },
    "zh": {
        "one": ("一{measure}{thing}{p}{u}", "{p}{u}的{thing}一{measure}", "一{measure}{p}{u}的{thing}"),
        "many": ("{n}{measure}{thing}，每{measure}{p}{u}", "{n}{measure}{p}{u}一{measure}的{thing}"),
        "buys": ("{name}买了{basket}。", "{name}去商店买了{basket}。", "{name}在超市选了{basket}。"),
        "coupon": ("优惠券减{n}{u}。", "商店便宜了{n}{u}。", "打折少付{n}{u}。"),
        "pays?": ("{name}一共要付多少{u}？", "一共多少{u}？", "总价是多少？", "一共花了多少{u}？"),
        "has money": ("{name}有{n}{u}，买了{basket}。", "{name}付了{n}{u}，买了{basket}。", "{name}带{n}{u}去商店，买了{basket}。"),
        "change?": ("还剩多少{u}？", "应该找回多少{u}？", "{name}还有多少{u}？", "剩下多少钱？"),
        "store start": ("{place}里有{n}{measure}{thing}。", "{place}原来有{n}{measure}{thing}。"),
        "store start many": ("{place}里有{n}排{thing}，每排{p}{measure}。", "{place}有{n}箱{thing}，每箱{p}{measure}。"),
        "store more": ("又运来{n}{measure}。", "后来增加了{n}{measure}{thing}。"),
        "store more many": ("又运来{n}箱，每箱{p}{measure}。", "后来增加了{n}包{thing}，每包{p}{measure}。"),
        "store less": ("卖出{n}{measure}。", "拿走了{n}{measure}{thing}。"),
        "store less many": ("{n}个人每人拿走{p}{measure}。", "卖出{n}箱，每箱{p}{measure}。"),
        "store?": ("现在有多少{measure}{thing}？", "{place}里现在有多少{measure}{thing}？", "最后还有多少{measure}？"),
        "person start": ("{name}有{n}{measure}{thing}。", "{name}原来有{n}{measure}{thing}。"),
        "person start many": ("{name}有{n}盒{thing}，每盒{p}{measure}。", "{name}有{n}袋{thing}，每袋{p}{measure}。"),
        "person more": ("{other}又给{name}{n}{measure}。", "{name}又得到{n}{measure}{thing}。"),
        "person more many": ("{n}个朋友每人送给{name}{p}{measure}。", "{name}又得到{n}包，每包{p}{measure}。"),
        "person less": ("{name}给{other}{n}{measure}。", "{name}用掉{n}{measure}{thing}。"),
        "person less many": ("{name}送给{n}个朋友每人{p}{measure}。", "{name}每天用{p}{measure}，用了{n}天。"),
        "person?": ("{name}现在有多少{measure}{thing}？", "{name}还有多少{measure}？", "{name}最后有多少{measure}{thing}？"),
        "length start": ("一根绳子长{n}厘米。", "一条彩带长{n}厘米。"),
        "length start many": ("一根绳子由{n}段组成，每段{p}厘米。", "围栏有{n}段，每段长{p}厘米。"),
        "length more": ("接上{n}厘米。", "又加长{n}厘米。"),
        "length more many": ("又接上{n}段，每段{p}厘米。",),
        "length less": ("剪去{n}厘米。", "剪掉一段{n}厘米。"),
        "length less many": ("剪去{n}段，每段{p}厘米。",),
        "length?": ("现在长多少厘米？", "现在有多长？"),
        "tank start": ("水箱里有{n}升水。", "水池里有{n}升水。"),
        "tank start many": ("往水箱里倒了{n}桶水，每桶{p}升。",),
        "tank more": ("又倒进{n}升。", "下雨增加了{n}升。"),
        "tank more many": ("又倒进{n}桶，每桶{p}升。", "{n}小时里每小时流进{p}升。"),
        "tank less": ("用去{n}升。", "流出{n}升。"),
        "tank less many": ("用去{n}桶，每桶{p}升。", "{n}小时里每小时流出{p}升。"),
        "tank?": ("现在有多少升水？", "还剩多少升水？"),
        "today": ("{name}", "今天{name}", "星期天{name}"),
        "spends": ("看书{n}分钟", "走路{n}分钟", "游泳{n}分钟", "唱歌{n}分钟", "做饭{n}分钟"),
        "spends many": ("跑步{n}圈，每圈{p}分钟", "上课{n}节，每节{p}分钟", "打球{n}场，每场{p}分钟"),
        "day?": ("一共多少分钟？", "{name}一共用了多少分钟？"),
        "unit week": ("个星期", "天"), "unit hour": ("小时", "分钟"), "unit metre": ("米", "厘米"),
        "unit minute": ("分钟", "秒"), "unit foot": ("码", "英尺"), "unit pair": ("双鞋", "只"),
        "unit spider": ("只蜘蛛", "条腿"),
        "unit start": ("有{n}{big}。", "一共{n}{big}，用{small}来数。"),
        "unit more": ("再加{n}{small}。", "另外还有{n}{small}。"),
        "unit less": ("减去{n}{small}。", "其中{n}{small}不算。"),
        "unit?": ("是多少{small}？", "一共有多少{small}？"),
        "share start": ("{name}有{n}{measure}{thing}。", "桌上有{n}{measure}{thing}。"),
        "share more": ("又来了{n}{measure}。", "又加上{n}{measure}。"),
        "share less": ("丢了{n}{measure}。", "拿走了{n}{measure}。"),
        "share?": ("平均分给{n}个人，每人多少{measure}？", "平均装进{n}个盒子，每盒多少{measure}？"),
        "clock": ("电影{t}开始，放{n}分钟。", "{name}{t}出发，走了{n}分钟。", "汽车{t}开，要走{n}分钟。", "现在是{t}，再过{n}分钟吃饭。"),
        "clock?": ("那时是几点？", "结束时是几点几分？", "那时钟上是几点？"),
        "has": ("{name}有{n}{measure}{thing}。", "{name}数了数，有{n}{measure}{thing}。"),
        "has many": ("{name}有{n}盒{thing}，每盒{p}{measure}。", "{name}有{n}袋{thing}，每袋{p}{measure}。"),
        "also": ("{name}又得到{n}{measure}。",),
        "also many": ("{name}又得到{n}包，每包{p}{measure}。",),
        "difference?": ("{name}比{other}多多少{measure}{thing}？", "{name}比{other}多几{measure}？"),
        "relative more": ("{other}比{name}多{n}{measure}。",),
        "relative less": ("{other}比{name}少{n}{measure}。",),
        "together?": ("他们一共有多少{measure}{thing}？", "两人一共有多少{measure}？"),
        "idle": (
            "{who}今年{x}岁。", "今天是{x}号。", "街上有{x}个人。", "公交车是{x}路。", "昨天{x}度。", "{who}住在{x}号。", "商店开了{x}年了。",
            "{who}等了{x}分钟。", "这本书有{x}页。", "外面有{x}棵树。", "今天阳光很好。", "{who}今天很高兴。",
        ),
    },
}  # fmt: skip
