"""What people ask an assistant to find, book or tell them, put together from parts: no wording is learned by heart.

Knows: openings, needs with their prices and times, details and closings, in two languages. Does not know: targets.
"""

from __future__ import annotations

from random import Random

OPENINGS = {
    "en": ("", "", "", "Okay, ", "Great, ", "Hi, ", "Thanks! ", "Sounds good. ", "And ", "By the way, ", "No, ", "Alright then, ",
        "I see. ", "We are in {city} for {n} days. ", "It's for {n} people. ", "That one is too far. "),
    "zh": ("", "", "", "好的，", "行，", "你好，", "谢谢！", "嗯，", "对了，", "那", "明白了，", "太好了，", "不好意思，", "是这样，",
        "我们{n}个人在{city}玩{n}天，", "带着老人和孩子，", "那家太远了，", "朋友过生日，", "出差到{city}，", "哈哈，"),
}  # fmt: skip
NEEDS = {
    "en": ("find me a {what} {limit}", "I'm looking for a {what} {limit}", "is there a {what} {limit}?", "can you recommend a {what} {limit}",
        "book the {what} at {hour}", "what's the {detail} of the {what}?", "does the {what} have {extra}?", "which {what} is {limit}?",
        "tell me the {detail} and the {detail} of that {what}", "how do I get from the {what} to the {other}?", "cancel my {what}",
        "change the {what} to {hour}", "compare the {what} with the {other}", "how much is the {what} {limit}", "remind me of the {what} at {hour}",
        "put {money} on my {what} card", "how many {what}s are open at {hour}?", "when does the {what} close?", "any {what} near the {other}?"),
    "zh": ("帮我找一家{limit}的{what}", "有没有{limit}的{what}？", "想去一个{limit}的{what}", "推荐一个{what}，最好{limit}", "{what}的{detail}是多少？",
        "{what}的{detail}和{detail}告诉我一下", "那家{what}有{extra}吗？", "从{what}到{other}怎么走？", "帮我订{hour}的{what}", "把{what}改到{hour}",
        "取消{what}", "附近有什么{what}？", "{what}几点关门？", "哪个{what}{limit}？", "{what}和{other}哪个{detail}高？", "{what}{limit}就行",
        "我要{limit}、{limit}的{what}", "{hour}的{what}还有吗", "{what}提供{extra}和{extra}吗", "{what}周边有哪些{other}", "提醒我{hour}去{what}",
        "叫一辆车，从{what}到{other}，{detail}是什么？"),
}  # fmt: skip
WHAT = {
    "en": ("restaurant", "hotel", "cinema", "pharmacy", "gym", "train", "flight", "taxi", "bakery", "dentist", "concert", "museum", "playlist",
        "savings account", "parking lot", "campsite", "hairdresser", "bookshop", "ferry", "tour"),
    "zh": ("火锅店", "旅馆", "民宿", "电影院", "药店", "健身房", "高铁", "航班", "出租车", "面包店", "牙医", "演唱会", "动物园", "公园", "停车场",
        "理发店", "书店", "一日游", "烤肉店", "咖啡馆", "茶楼", "商场", "温泉"),
}  # fmt: skip
LIMITS = {
    "en": ("under {money}", "between {money} and {money}", "with at least {n} stars", "within {n} miles", "for {n} people", "open after {hour}",
        "cheaper than the other one", "that is rated {n}.{n} or better", "for {n} nights", "leaving around {hour}", "with free {extra}"),
    "zh": ("{money}以内", "价格在{low}-{high}元", "{low}到{high}元之间", "{n}星以上", "评价{n}.{n}以上", "走路{n}分钟能到", "坐得下{n}个人", "{hour}还开",
        "玩{n}个小时左右", "住{n}晚", "带{extra}", "离地铁近", "每位{low}元", "便宜一点", "口碑好", "免费"),
}  # fmt: skip
DETAILS = {
    "en": (
        "address",
        "phone number",
        "price",
        "rating",
        "opening hours",
        "entrance fee",
        "number plate",
        "gate",
        "menu",
        "balance",
    ),
    "zh": ("地址", "电话", "价格", "评价", "开门时间", "票价", "车牌", "车型", "菜单", "距离", "房价"),
}
EXTRAS = {
    "en": (
        "parking",
        "breakfast",
        "wifi",
        "vegetarian dishes",
        "a pool",
        "wheelchair access",
        "delivery",
        "air conditioning",
    ),
    "zh": (
        "停车位",
        "早饭",
        "无线网",
        "素菜",
        "泳池",
        "无障碍通道",
        "外卖",
        "空调",
        "叫醒服务",
        "接送",
        "包间",
        "烤鸭",
        "水煮鱼",
    ),
}
CLOSINGS = {
    "en": (".", "?", "", ", please.", ", thanks!", ". Just the name is fine.", " and tell me the {detail}.", ", and is it far?"),
    "zh": ("。", "？", "", "，谢谢。", "，麻烦了。", "，可以吗？", "，告诉我名字就行。", "，顺便把{detail}发给我。", "，它的{detail}呢？", "吧！", "哦，谢啦。",
        "，要花多少钱？", "，远不远？", "，大概要多久？"),
}  # fmt: skip
CITIES = {"en": ("Porto", "Leeds", "Austin", "Kyoto", "Graz"), "zh": ("成都", "西安", "青岛", "昆明", "哈尔滨", "广州")}
_PARTS = {"what": WHAT, "other": WHAT, "limit": LIMITS, "detail": DETAILS, "extra": EXTRAS, "city": CITIES}


def errand(rng: Random, language: str) -> str:
    """One request, or two in a row."""
    text = rng.choice(OPENINGS[language]) + rng.choice(NEEDS[language])
    if rng.random() < 0.35:
        text = text.rstrip("?？") + {"en": ", and ", "zh": "，"}[language] + rng.choice(NEEDS[language])
    text = (
        (text + rng.choice(CLOSINGS[language]))
        .replace("?.", "?")
        .replace("??", "?")
        .replace("？。", "？")
        .replace("？？", "？")
    )
    return _filled(rng, language, text)


def _filled(rng: Random, language: str, text: str) -> str:
    while "{" in text:
        name = text[text.index("{") + 1 : text.index("}")]
        text = text.replace(f"{{{name}}}", _part(rng, language, name), 1)
    return text


def _part(rng: Random, language: str, name: str) -> str:
    if name in _PARTS:
        return rng.choice(_PARTS[name][language])
    if name == "n":
        return str(rng.randint(2, 9))
    if name == "hour":
        return (
            f"{rng.randint(1, 12)} pm"
            if language == "en"
            else f"{rng.choice(('早上', '下午', '晚上'))}{rng.randint(1, 12)}点"
        )
    amount = rng.choice((5, 10, 20, 50, 100)) * rng.randint(1, 9)
    if name == "money":
        return f"${amount}" if language == "en" else f"{amount}块"
    return str(amount + (10 * rng.randint(2, 20) if name == "high" else 0))
