"""Short everyday requests that need no thought, in two languages.

Knows: wordings and what they are filled with. Does not know: passages, difficulty targets or public data.
"""

from __future__ import annotations

from random import Random

EVERYDAY = {
    "en": """What is the capital of {country}?
Who wrote {book}?
What does the word "{word}" mean?
Give me a synonym for {word}.
How do you say "{word}" in Spanish?
Translate "{word}" into French.
How do you spell {word}?
Use the word {word} in a sentence.
Tell me a joke about {animal}.
Write a short poem about {animal}.
Write a story about a {animal} that goes to {country}.
Write an email to my boss asking for a day off.
Draft a friendly reply to an invitation.
Suggest three names for my {animal}.
Give me some tips for travelling to {country}.
What should I cook tonight with {food}?
Give me a recipe for {food}.
How do I boil {food}?
What is the population of {country}?
Which language is spoken in {country}?
Describe a {animal} in two sentences.
What colour is a {animal}?
What is photosynthesis?
Explain what inflation is in simple words.
What are the benefits of eating {food}?
List five kinds of {food}.
Name three animals that live in {country}.
Who was the first president of the United States?
When did the Second World War end?
What is the boiling point of water?
How many days are there in a week?
How many legs does a {animal} have?
Is {food} healthy?
What's the difference between a {animal} and a bird?
Recommend a good book about {country}.
Write a birthday message for my sister.
Write a slogan for a shop that sells {food}.
Write a tweet about {food}.
Write a cover letter for a job as a cook.
Brainstorm ideas for a party with {food}.
What time is it in {country}?
Turn the kitchen light off.
Play some quiet music.
Remind me to buy {food} at 6 pm.
Set the volume to 30 percent.
Set an alarm for 7:15.
Add {food} to my shopping list.
I feel sad today.
Do you like {animal}s?
Good evening, nice to meet you.
Thanks, that was helpful!
Never mind.
What can you do?
Write hello world in Python.
How do I print a list in Python?
What does git commit do?
Write an HTML page with a heading and a paragraph.
How do I copy a file in bash?
Convert "2024-03-05" to the format DD/MM/YYYY.
Is this sentence correct: "She go to school"?
What is the past tense of go?
Rewrite in passive voice: The {animal} ate the {food}.
Classify as fruit or animal: {animal}, {food}.
Is "I love this {food}" positive or negative?
What is 2+2?
What is {small} plus {small}?
Book a table for {small} at {small} pm.
Find a hotel under {price} dollars near the airport in {country}.
I need a cheap place to stay with wifi, at most {price} a night.
Transfer ${price} from savings to checking.
How much is a ticket to {country}?
How long does it take to get from the station to the museum?
Set the thermostat to 21 degrees.
Order {small} portions of {food}, please.
Is the shop open on Sunday at {small}?
Which bus goes to the zoo?
What does {food} cost?
How many calories are in {food}?
My flight leaves at {small}:30, when should I be there?
Show me restaurants rated above 4.{small} with {food}.
Can you change my appointment from {small} to 4 o'clock?
And how far is that from the hotel?""",
    "zh": """{country}的首都是哪里？
{book}是谁写的？
“{word}”是什么意思？
给我一个“{word}”的近义词。
“{word}”用英语怎么说？
把“{word}”翻译成英文。
用“{word}”造一个句子。
讲一个关于{animal}的笑话。
写一首关于{animal}的小诗。
写一个{animal}去{country}旅行的故事。
帮我写一封请假邮件。
给朋友写一段生日祝福。
给我的{animal}起三个名字。
去{country}旅游有什么建议？
今晚用{food}做什么菜好？
{food}怎么做？
{country}有多少人口？
{country}说什么语言？
用两句话描述一下{animal}。
{animal}是什么颜色的？
什么是光合作用？
用简单的话解释一下通货膨胀。
吃{food}有什么好处？
列举五种{food}。
第二次世界大战是哪一年结束的？
水的沸点是多少度？
一周有几天？
{animal}有几条腿？
{food}健康吗？
推荐一本关于{country}的书。
给卖{food}的小店写一句广告语。
写一条关于{food}的朋友圈。
现在{country}几点了？
把厨房的灯关掉。
放一首安静的音乐。
提醒我晚上六点买{food}。
音量调到百分之三十。
明天早上七点十五分叫我起床。
把{food}加到购物清单。
我今天有点难过。
你喜欢{animal}吗？
晚上好，很高兴认识你。
谢谢，很有帮助！
算了，没事了。
你能做什么？
用Python写一个hello world。
Python怎么打印一个列表？
git commit是做什么的？
怎么在终端里复制文件？
“他去学校了”这个句子对吗？
给下面的词分类：{animal}、{food}。
“我很喜欢这个{food}”是好评还是差评？
李白是哪个朝代的诗人？
中国最长的河流是什么？
{small}加{small}等于几？
帮我订今晚{small}点{small}个人的位子。
想找一家人均{price}元左右、能吃到{food}的店。
有没有{price}元以下、带早餐的酒店？
推荐一个评分4.{small}分以上的餐馆。
去博物馆的门票多少钱？玩多久合适？
从火车站到动物园怎么坐车？要多长时间？
好的，那家店的电话和营业时间是多少？
我想住便宜一点的酒店，最低价格在{price}到500元，有停车场。
打一辆车，从机场到市中心，车牌告诉我。
{food}一斤多少钱？
附近地铁站叫什么？离酒店多远？
行，再帮我看看周边有什么好玩的，最好免费。
下午{small}点以后还开门吗？
请问这几个景点里哪个评分最高？
转{price}元给妈妈。
空调调到26度。
我要{small}份{food}，送到公司。
明天去{country}的机票多少钱？
如果没有的话，换一家人均{price}元以内的。
收到，还有别的选择吗？人均消费不超过{price}。""",
}
FILL = {
    "en": {
        "country": [
            "France",
            "Japan",
            "Brazil",
            "Kenya",
            "Canada",
            "Norway",
            "Egypt",
            "Peru",
            "India",
            "Poland",
            "Vietnam",
            "Chile",
        ],
        "book": ("Hamlet", "War and Peace", "Pride and Prejudice", "The Odyssey", "1984", "Don Quixote"),
        "word": [
            "brave",
            "ancient",
            "journey",
            "harvest",
            "quiet",
            "generous",
            "puzzle",
            "bridge",
            "meadow",
            "frugal",
            "serendipity",
        ],
        "animal": ["cat", "dog", "horse", "penguin", "spider", "fox", "whale", "rabbit", "turtle", "owl"],
        "food": ["rice", "carrots", "tofu", "eggs", "apples", "noodles", "bread", "beans", "salmon", "mushrooms"],
    },
    "zh": {
        "country": ["法国", "日本", "巴西", "肯尼亚", "加拿大", "挪威", "埃及", "秘鲁", "印度", "波兰", "越南", "智利"],
        "book": ("《红楼梦》", "《哈姆雷特》", "《西游记》", "《战争与和平》", "《呐喊》", "《边城》"),
        "word": ["勇敢", "古老", "旅程", "收获", "安静", "慷慨", "谜语", "桥梁", "草地", "节俭", "偶然", "画龙点睛"],
        "animal": ["猫", "狗", "马", "企鹅", "蜘蛛", "狐狸", "鲸鱼", "兔子", "乌龟", "猫头鹰"],
        "food": ["米饭", "胡萝卜", "豆腐", "鸡蛋", "苹果", "面条", "面包", "豆角", "三文鱼", "蘑菇"],
    },
}


def everyday(rng: Random, language: str) -> str:
    """A short request that needs no thought."""
    pattern = rng.choice(EVERYDAY[language].split("\n"))
    while "{small}" in pattern:
        pattern = pattern.replace("{small}", str(rng.randint(1, 9)), 1)
    pattern = pattern.replace("{price}", str(10 * rng.randint(3, 40)))
    return pattern.format(**{name: rng.choice(words) for name, words in FILL[language].items()})
