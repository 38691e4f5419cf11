"""What the router's bench asks: requests, passages, pleas and riddles of its own, none of which the training saw.

Knows: wordings in two languages. Does not know: the router, or what is measured.
"""

from __future__ import annotations

from random import Random

REQUESTS: dict[str, tuple[str, ...]] = {
    "en": (
        "Boil this down to the essentials.",
        "I only have a minute, what does this say?",
        "Could you render the following in Italian?",
        "Which people turn up in here?",
        "Make this shorter without losing anything important.",
        "Check this for typos.",
        "What would be a good heading?",
        "Give me a quick recap.",
        "Say the same thing more politely.",
        "Note down every number that occurs.",
        "Is the writer happy or annoyed?",
        "Please turn this into Portuguese.",
        "Pick out the most important sentence.",
        "In what place does this happen?",
        "Reply to this in one friendly line.",
        "Tag this with three labels.",
    ),
    "zh": (
        "这段文字主要讲了什么？一两句话就行。",
        "没时间看完，帮我说说重点。",
        "用意大利语说一遍。",
        "里面出现了哪些人？",
        "精简一下，别漏掉重要信息。",
        "看看有没有打错的字。",
        "起个合适的名字吧。",
        "快速回顾一下内容。",
        "换成更客气的说法。",
        "把出现的数字都记下来。",
        "作者是高兴还是生气？",
        "变成葡萄牙语。",
        "挑出最重要的一句。",
        "这件事发生在什么地方？",
        "友好地回一句话。",
        "打三个标签。",
    ),
}

PASSAGES: dict[str, tuple[str, ...]] = {
    "en": (
        "The lighthouse keeper climbed the hundred and twelve steps every evening. From the top he could see the fishing "
        "boats come home one after another, and he knew each of them by the sound of its engine long before its lamps "
        "appeared. When the machines took over in 1978 he stayed on, mostly, he said, because nobody had asked him to go.",
        "Dear neighbours, from next Tuesday the lift in staircase B will be out of order for about ten days while the "
        "motor is exchanged. If you need help with shopping or a pram, ring at the caretaker's on the ground floor. We "
        "know that this is a nuisance and will try to be quick. Kind regards, the house management.",
        "Bees do not see red, but they see ultraviolet, and many flowers that look plain to us carry bright landing marks "
        "that only they can read. A worker visits up to two thousand blossoms a day. Back in the hive she tells the "
        "others where the food is by dancing: the angle shows the direction, the length of the run the distance.",
        "I bought these headphones in March and used them daily on the train. The sound is warm, perhaps a little dull, "
        "and the left cushion came off after six weeks. Support answered within a day and sent a new pair without any "
        "fuss. For 59 euros I would buy them again, though not for the gym.",
        "Minutes, 14 May. Present: Ines, Robert, Yuki, Mr Adeyemi. Yuki reported that the supplier delivers the missing "
        "screens on Friday. Robert asks to move the launch to the first week of June; nobody objected. Ines books the "
        "hall. Mr Adeyemi will write to the three schools that have not answered yet. Next meeting: 28 May, 3 pm.",
        "The treaty of 1648 ended a war that had emptied whole regions. Its makers had no word for what they invented, yet "
        "the habit of negotiating borders around a table, with maps and secretaries, has stayed with the continent ever "
        "since. Contemporary engravings show bells, fireworks, and, in a corner, a soldier asking for his pay.",
        "Preheat the oven. Rub the butter into the flour until it looks like crumbs, stir in sugar and a pinch of salt, "
        "and press two thirds of it into the tin. Spread the jam, scatter the rest on top, and bake for half an hour. "
        "It tastes best on the second day, if there is anything left.",
        "Support log. 09:12 customer cannot sign in after the update. 09:15 asked for the version, it is 4.2.1. 09:21 "
        "cache cleared, same message. 09:30 second customer with the same message. 09:44 certificate on the gateway had "
        "run out at midnight; renewed. 09:47 both customers confirm that they are in again.",
    ),
    "zh": (
        "老灯塔的看守人每天傍晚都要爬一百一十二级台阶。从塔顶望去，渔船一艘接一艘地回来，他光听马达声就知道是谁家的船。"
        "一九七八年机器接管了灯塔，他还是留了下来，用他的话说，主要是因为没有人叫他走。",
        "各位邻居：从下周二起，乙单元的电梯要更换电机，大约停用十天。需要帮忙拿东西或者抬婴儿车的，请按一楼值班室的门铃。"
        "给大家带来不便，我们会尽快完成。物业管理处。",
        "蜜蜂看不见红色，却看得见紫外线。许多在我们眼里很普通的花，其实带着只有它们能读懂的标记。一只工蜂一天要拜访两千朵花，"
        "回到蜂巢后，它用舞蹈告诉同伴食物在哪里：角度表示方向，跑动的长短表示远近。",
        "这副耳机是三月份买的，每天坐车都用。声音偏暖，稍微有点闷，用了六个星期左边的耳垫掉了。客服当天就回复，二话不说寄来一副新的。"
        "五十九块钱的东西，我还会再买，不过健身的时候就算了。",
        "五月十四日会议纪要。出席：伊娜、罗伟、雪莉、阿德先生。雪莉说，缺的屏幕供应商周五送到。罗伟建议把发布推迟到六月第一周，无人反对。"
        "伊娜负责订会场。阿德先生给还没有答复的三所学校写信。下次会议：五月二十八日下午三点。",
        "那份条约结束了一场让许多地方荒无人烟的战争。起草的人并不知道该怎么称呼自己发明的东西，可是围着桌子、摊开地图谈判边界的习惯，"
        "从此留在了这片大陆上。当时的版画里有钟声，有烟花，角落里还有一个讨要军饷的士兵。",
        "先把烤箱预热。黄油和面粉搓成碎屑，加糖和一点盐，取三分之二压进模具里。抹上果酱，把剩下的撒在上面，烤半个小时。"
        "放到第二天味道最好，如果那时候还有剩的话。",
        "值班记录。九点十二分，客户更新后登录不上。九点十五分，问了版本，是四点二点一。九点二十一分，清除缓存，仍然报同样的提示。"
        "九点三十分，又来一位客户，提示相同。九点四十四分，发现网关证书半夜过期，已续签。九点四十七分，两位客户都说可以了。",
    ),
}

FRAMES = (
    "{request}\n\n{passage}",
    "{passage}\n\n{request}",
    "{passage}\n{request}",
    "<text>\n{passage}\n</text>\n{request}",
)

NO_THINKING: dict[str, tuple[str, ...]] = {
    "en": ("Don't overthink this: {}", "Super simple: {}", "{} One word, no reasoning.", "{} I need it right now!", "Trivial: {}",
        "Skip the reasoning and reply at once. {}"),
    "zh": ("别想太多：{}", "超级简单：{}", "{}一个词就行，别分析。", "{}马上告诉我！", "小菜一碟：{}", "跳过推理，立刻回答。{}"),
}  # fmt: skip
ENDLESS_THINKING: dict[str, tuple[str, ...]] = {
    "en": ("Reason for as long as you possibly can. {}", "This has stumped every expert: {}", "{} Check it ten times.",
        "{} Consider every angle before you say anything.", "IQ test, final level: {}", "Ultra difficult challenge! {}"),
    "zh": ("请尽可能长时间地推理。{}", "难倒所有专家的问题：{}", "{}请反复检验十遍。", "{}回答之前把各方面都想清楚。",
        "终极智力测试：{}", "超高难度挑战！{}"),
}  # fmt: skip
RIDDLES: dict[str, tuple[str, ...]] = {
    "en": (
        "Three missionaries and three cannibals want to cross a river in a boat for two, and the cannibals may never be in "
        "the majority on either bank. How do they do it in the fewest trips?",
        "I have twelve balls, one of which weighs a little more or less than the others. Find it in three weighings.",
        "Every inhabitant of the green house drinks water, the German keeps no fish, and the man in the middle smokes "
        "neither pipe nor cigars. Given five houses in a row, who owns the zebra?",
    ),
    "zh": (
        "三个传教士和三个野人要过河，船一次只能坐两个人，任何时候岸上的野人都不能比传教士多，怎样用最少的次数过河？",
        "有十二个球，其中一个轻重不同，用天平称三次把它找出来。",
        "住在绿房子里的人喝水，德国人不养鱼，中间的人既不抽烟斗也不抽雪茄。一共五座房子，谁养斑马？",
    ),
}
AFTER_RIDDLE: dict[str, tuple[str, ...]] = {
    "en": ("Leave that one for later. {}", "My son's homework, never mind it. {}", "{}", "Anyway: {}"),
    "zh": ("这道题先放着。{}", "那是我儿子的作业，不用理它。{}", "{}", "话说回来，{}"),
}


def long_request(rng: Random, language: str) -> str:
    """A simple request about one to six passages."""
    gap = "\n\n" if rng.random() < 0.5 else "\n"
    passage = gap.join(rng.sample(PASSAGES[language], rng.randint(1, 6)))
    return rng.choice(FRAMES).format(request=rng.choice(REQUESTS[language]), passage=passage)


def buried(rng: Random, language: str, problem: str) -> str:
    """``problem`` behind or before one to three passages that have nothing to do with it."""
    parts = [*rng.sample(PASSAGES[language], rng.randint(1, 3)), problem]
    if rng.random() < 0.25:
        parts = [problem, *parts[:-1]]
    return "\n\n".join(parts)


def begged(rng: Random, pleas: dict[str, tuple[str, ...]], language: str, text: str) -> str:
    """``text`` with one of the ``pleas`` around it."""
    return rng.choice(pleas[language]).replace("{}", text)


def behind_riddle(rng: Random, language: str, text: str) -> str:
    """A riddle, then ``text``, which is what is asked."""
    return f"{rng.choice(RIDDLES[language])}\n\n{begged(rng, AFTER_RIDDLE, language, text)}"
