"""Passages that a request can be about: joined lines of dialogues and questions, and generated prose, in two languages.

Knows: how lines become a chat log, a list, minutes or a paragraph, and a small grammar of everyday prose.
Does not know: what is asked of a passage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

NAMES = {
    "en": [
        "Maria",
        "Tom",
        "Aisha",
        "Chen",
        "Olga",
        "Peter",
        "Lucia",
        "Sam",
        "Nadia",
        "Victor",
        "Emma",
        "Raj",
        "Hannah",
        "Leo",
        "Grace",
        "Omar",
        "Julia",
        "Ben",
    ],
    "zh": [
        "小王",
        "李明",
        "张伟",
        "陈静",
        "刘洋",
        "赵敏",
        "王芳",
        "周涛",
        "吴迪",
        "孙丽",
        "老张",
        "林老师",
        "黄经理",
        "郑医生",
    ],
}
PLACES = {
    "en": [
        "the library",
        "the harbour",
        "our Berlin office",
        "the city hall",
        "the museum",
        "Lake Como",
        "the new school",
        "the market",
        "the northern valley",
        "the hospital",
        "the train station",
        "the old factory",
    ],
    "zh": [
        "图书馆",
        "港口",
        "上海办公室",
        "市政府",
        "博物馆",
        "西湖边",
        "新学校",
        "菜市场",
        "北部山区",
        "医院",
        "火车站",
        "老工厂",
    ],
}
THINGS = {
    "en": [
        "heating system",
        "annual report",
        "garden project",
        "delivery service",
        "exhibition",
        "software update",
        "budget plan",
        "bridge repair",
        "summer festival",
        "training course",
        "water supply",
        "customer survey",
        "bus line",
        "research paper",
    ],
    "zh": [
        "供暖系统",
        "年度报告",
        "花园项目",
        "配送服务",
        "展览",
        "软件更新",
        "预算方案",
        "桥梁维修",
        "夏日庆典",
        "培训课程",
        "供水工程",
        "客户调查",
        "公交线路",
        "研究论文",
    ],
}
SENTENCES = {
    "en": """{name} said on {day} that the {thing} at {place} would be ready in {n} weeks.
The {thing} has been discussed for a long time, and opinions differ widely.
According to {name}, about {n} people visited {place} last month, more than anyone had expected.
It was a cold morning, and the streets around {place} were almost empty.
{name} thanked everyone for their patience and promised to send the details of the {thing} soon.
Although the first attempt failed, the team learned a great deal from it.
The costs of the {thing} rose to {n} thousand euros, which the council approved on {day}.
Visitors praised the friendly staff, but complained about the long queues and the noise.
In the past, {place} was a quiet spot where fishermen repaired their nets.
{name} and {other} have worked together on the {thing} since they met at {place}.
Experts believe that the change will affect small businesses more than large ones.
"We did not see this coming," {name} admitted, "but we are glad that it happened."
The meeting starts at {n} o'clock, and lunch will be provided by the kitchen at {place}.
Plants in this region need little water and survive long, dry summers.
A second opinion from {other} confirmed that the {thing} was safe to use.
Please make sure that all windows are closed before you leave {place} in the evening.
The product arrived two days late, the box was damaged, and the manual was missing.
Since {day}, the {thing} has been available to all members free of charge.
Historians still argue about the reasons for the decline of the town in the following century.
The cells divide quickly at first, and then growth slows down as nutrients become scarce.
{other} replied that the idea was interesting, yet far too expensive for this year.
Heavy rain is expected near {place} until {day}, followed by sunshine and light wind.
The battery lasts {n} hours, the screen is bright, and the keyboard feels solid.
Many readers wrote to say how much the story of {name} had moved them.
The committee will vote on the {thing} after hearing {name} and two independent advisers.
Trade along the river made the town rich, and its merchants built tall houses of red brick.
She opened the letter slowly, read the first line twice, and put it back into the drawer.
The new law requires companies to publish how they use personal data.
At {n} o'clock the lights went out, and nobody at {place} knew where the candles were.
Sales grew by {n} percent in the first quarter, mostly thanks to the {thing}.
Dear {name}, thank you for your message about the {thing}; we will look into it by {day}.
From the window one could see the river, two barges, and the roofs of {place}.
The museum opened in 1904, burned down {n} years later, and was rebuilt in brick.
My order number is {n}0{n}, and I would like to return the item that arrived on {day}.
Whales can hold their breath for more than an hour, and they sing to find one another.
The river floods the fields every spring and leaves behind a dark, fertile mud.
{name}: could you send me the file again? {other}: of course, give me five minutes.
In conclusion, the results suggest that sleep improves memory, but more research is needed.
Patients were given either the drug or a sugar pill, and neither they nor their doctors knew which.
Mix the flour with {n} grams of butter, add the eggs one by one, and let the dough rest.
The king signed the decree reluctantly, for he needed the support of the northern lords.
Turn left behind {place}, follow the path for {n} metres, and you will see the gate.
I have been using this phone for {n} weeks, and the camera is better than I thought.
Critics called the film slow, but the audience at {place} applauded for ten minutes.
Stars of this type burn their hydrogen quickly and end in a bright explosion.
All staff must complete the {thing} by {day}; questions go to {other}.
Once upon a time a miller had three sons, a mill, a donkey, and a cat.
The article argues that cities should plant more trees, since shade lowers temperatures.""",
    "zh": """{name}在{day}表示，{place}的{thing}将在{n}周内完工。
关于{thing}的讨论已经持续了很久，大家的看法并不一致。
据{name}介绍，上个月约有{n}人参观了{place}，超出了所有人的预期。
那天早上很冷，{place}周围的街道几乎空无一人。
{name}感谢大家的耐心等待，并承诺很快公布{thing}的细节。
虽然第一次尝试没有成功，但团队从中学到了很多东西。
{thing}的费用上升到{n}万元，{day}已经获得批准。
游客们称赞工作人员热情，但也抱怨排队时间太长、环境嘈杂。
过去，{place}是一个安静的地方，渔民们常在那里修补渔网。
{name}和{other}自从在{place}相识以来，一直合作推进{thing}。
专家认为，这一变化对小企业的影响要大于大企业。
“我们没有料到会这样，”{name}说，“不过我们很高兴。”
会议{n}点开始，午餐由{place}的食堂提供。
这一地区的植物需水量很少，能够度过漫长干燥的夏天。
{other}的第二份意见也证实{thing}可以安全使用。
晚上离开{place}之前，请确认所有窗户都已关好。
商品晚到了两天，包装破损，而且没有说明书。
从{day}起，{thing}向全体会员免费开放。
历史学家至今仍在争论这座小镇衰落的原因。
细胞起初分裂得很快，随后由于营养减少而逐渐放慢。
{other}回答说，这个想法很有意思，但今年的费用太高了。
预计{place}一带的大雨将持续到{day}，之后转晴，风力较小。
电池可以使用{n}小时，屏幕明亮，键盘手感扎实。
许多读者来信说，{name}的故事让他们深受感动。
委员会将在听取{name}和两位独立顾问的意见后，对{thing}进行表决。
河上的贸易让小镇富裕起来，商人们盖起了高高的红砖房。
她慢慢打开信，把第一行读了两遍，又放回了抽屉里。
新规定要求企业公布使用个人信息的方式。
晚上{n}点突然停电，{place}里没有人知道蜡烛放在哪里。
第一季度销售额增长了百分之{n}，主要得益于{thing}。
{name}您好，感谢来信询问{thing}，我们会在{day}之前给您答复。
从窗口望出去，可以看到河、两条驳船，还有{place}的屋顶。
博物馆建于一九零四年，{n}年后毁于大火，后来用砖重新修建。
我的订单号是{n}0{n}，{day}收到的商品想要退货。
鲸鱼可以屏住呼吸一个多小时，它们用歌声寻找同伴。
每年春天河水漫过田野，留下一层肥沃的黑土。
{name}：文件能再发我一遍吗？{other}：好的，稍等五分钟。
综上所述，结果表明睡眠有助于记忆，但仍需要更多研究。
病人分别服用药物或安慰剂，他们和医生都不知道是哪一种。
面粉里加{n}克黄油，逐个打入鸡蛋，揉好后静置。
国王很不情愿地签了字，因为他需要北方贵族的支持。
在{place}后面左转，沿小路走{n}米，就能看到大门。
这部手机用了{n}周，拍照比想象中好，就是有点重。
影评人说电影节奏太慢，可{place}的观众鼓掌了十分钟。
这类恒星很快烧完氢，最后在一次明亮的爆炸中结束。
全体员工须在{day}前完成{thing}，有问题请找{other}。
从前有个磨坊主，他有三个儿子、一座磨坊、一头驴和一只猫。
文章认为城市应该多种树，因为树荫可以降低气温。
奶奶把晒干的橘子皮收进罐子里，说冬天泡水喝最好。
球队上半场落后一球，下半场换人之后连进两球，最终获胜。
老街上的茶馆重新开张，门口挂着红灯笼，里面坐满了客人。
春天来了，柳树发芽，孩子们在河边放风筝。""",
}
DAYS = {
    "en": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "yesterday"],
    "zh": ["周一", "周二", "周三", "周四", "周五", "昨天", "上周末"],
}

Maker = Callable[[Random, str, Sequence[str]], str]


def prose(rng: Random, language: str, lines: Sequence[str]) -> str:
    """Paragraphs of generated sentences; ``lines`` are not used."""
    del lines
    patterns = SENTENCES[language].split("\n")
    gap = " " if language == "en" else ""
    paragraphs = []
    for _ in range(rng.choice((1, 1, 2, 3, 5))):
        chosen = rng.sample(patterns, rng.randint(3, 9))
        paragraphs.append(gap.join(fill(rng, language, pattern) for pattern in chosen))
    return "\n\n".join(paragraphs)


def fill(rng: Random, language: str, pattern: str) -> str:
    """``pattern`` with names, places, things, days and numbers put in."""
    name, other = rng.sample(NAMES[language], 2)
    return pattern.format(
        name=name,
        other=other,
        place=rng.choice(PLACES[language]),
        thing=rng.choice(THINGS[language]),
        day=rng.choice(DAYS[language]),
        n=rng.choice((2, 3, 5, 8, 12, 40, 150, 600, 2400)),
    )


def chat_log(rng: Random, language: str, lines: Sequence[str]) -> str:
    """Speakers in turn, a line each."""
    speakers = (
        rng.sample(NAMES[language], 2)
        if rng.random() < 0.6
        else [["User", "Agent"], ["用户", "客服"]][language == "zh"]
    )
    colon = ": " if language == "en" else "："
    chosen = rng.sample(lines, min(len(lines), rng.randint(5, 30)))
    return "\n".join(f"{speakers[place % 2]}{colon}{line}" for place, line in enumerate(chosen))


def note_list(rng: Random, language: str, lines: Sequence[str]) -> str:
    """A bulleted or numbered list."""
    del language
    mark = rng.choice(("- ", "* ", "{}. "))
    chosen = rng.sample(lines, min(len(lines), rng.randint(4, 20)))
    return "\n".join(mark.format(place) + line for place, line in enumerate(chosen, start=1))


def paragraph(rng: Random, language: str, lines: Sequence[str]) -> str:
    """Lines run together."""
    gap = " " if language == "en" else "。"
    return gap.join(rng.sample(lines, min(len(lines), rng.randint(4, 25))))


MAKERS: tuple[Maker, ...] = (prose, prose, chat_log, note_list, paragraph)


def make_passage(rng: Random, language: str, lines: Sequence[str]) -> str:
    """A passage of one to a hundred lines; ``lines`` are what may be quoted."""
    return rng.choice(MAKERS)(rng, language, lines)
