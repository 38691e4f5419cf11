"""Requests: simple ones about a passage, everyday short ones, and what people write around a request.

Knows: wordings in two languages. Does not know: passages, difficulty targets or public data.
"""

from __future__ import annotations

from random import Random

ABOUT_PASSAGE = {
    "en": """Summarize the text {ref}.
Summarise this in {n} sentences.
Please give me a short summary of the passage {ref}.
Write a one-paragraph summary.
TL;DR please.
What is the main idea of the text {ref}?
List the key points as bullets.
Give me {n} bullet points from this.
Translate the text {ref} into {lang}.
Translate this to {lang}, please.
Can you translate the following into {lang}?
Put this into {lang}.
Extract all names that are mentioned.
Extract the dates and places from the text {ref} as JSON.
List every person mentioned in it.
Which places are mentioned {ref}?
Find the email addresses and phone numbers, if there are any.
Rewrite this in simpler words.
Rewrite the text {ref} in a formal tone.
Make this sound friendlier.
Correct the spelling and grammar mistakes.
Proofread the following text and fix the punctuation.
Suggest a title for the text {ref}.
Give it a headline of at most ten words.
What language is this written in?
Is the tone of the text {ref} positive or negative?
Classify the sentiment of this review.
Who is speaking first in the conversation {ref}?
Turn it into a short email.
Shorten this to about {n}0 words.
Pick three keywords for the article {ref}.
Which topic does this belong to: sports, politics, science or business?
Copy out the first sentence.
Paraphrase the passage {ref}.
What does the author say about the weather? Answer from the text.
According to the text {ref}, who is responsible?
Answer the question using the context {ref}: who is mentioned first?
Read the text and answer: where does it take place?
When did this happen, according to the passage?
Make a table of the items in the list {ref}.
Sort the lines alphabetically.
Remove the duplicates from this list.
Reformat this as Markdown.
Convert this into a JSON list.
Write a polite reply to this message.
Highlight the action items of the meeting notes {ref}.
Explain this text to a ten-year-old in two sentences.""",
    "zh": """请总结{ref}的内容。
用{n}句话概括{ref}这段文字。
帮我写一个简短的摘要。
这段话的主要意思是什么？
列出{ref}文章的要点。
给我{n}个要点。
把{ref}这段话翻译成{lang}。
请翻译成{lang}。
帮我译成{lang}，谢谢。
提取文中出现的所有人名。
把{ref}的时间和地点提取出来，用JSON格式。
文中提到了哪些地方？
{ref}提到了谁？
找出里面的电话号码和邮箱。
用更简单的话改写一下。
把{ref}的文字改得正式一些。
润色一下这段话。
改正错别字和标点。
请校对{ref}的文章。
给{ref}的文章起个标题。
想一个不超过十个字的标题。
这段话是什么语言写的？
{ref}的语气是积极的还是消极的？
判断这条评论的情感。
对话里谁先说话？
改写成一封简短的邮件。
缩短到{n}0个字左右。
给文章选三个关键词。
这篇文章属于体育、政治、科学还是商业？
抄写第一句话。
换一种说法复述{ref}的内容。
根据{ref}的文字，谁是负责人？
阅读文章后回答：故事发生在哪里？
根据短文，这件事是什么时候发生的？
把{ref}的列表整理成表格。
去掉列表里重复的内容。
用Markdown格式重新排版。
礼貌地回复这条消息。
整理出会议记录里的待办事项。
用两句话给小学生讲讲这段话。
把下面的聊天记录归纳一下。""",
}
ASKING = {
    "en": ("", "", "Please ", "Can you ", "Could you please ", "I need you to ", "Help me ", "Your task: "),
    "zh": ("", "", "请", "帮我", "麻烦你", "能不能", "我需要你", "任务："),
}
DOING = {
    "en": (
        "summarize {it}", "sum {it} up", "condense {it}", "translate {it} into {lang}", "put {it} into plain English",
        "rewrite {it} for children", "proofread {it}", "correct {it}", "rephrase {it}", "shorten {it}", "outline {it}",
        "label {it} with a topic", "extract the names from {it}", "extract the dates in {it}", "list the people in {it}",
        "pull the prices out of {it}", "tell me what happens in {it}", "tell me who wrote {it}", "give {it} a title",
        "turn {it} into bullet points", "turn {it} into a table", "format {it} as JSON", "answer {it} politely",
        "explain {it} briefly", "name the main point of {it}", "quote one sentence of {it}", "tidy {it} up",
        "find the place that {it} mentions", "describe the mood of {it}", "make {it} more formal", "read {it} and say who it is about",
        "write down all figures in {it}", "collect the questions in {it}", "say in one line what {it} is about",
    ),
    "zh": (
        "总结{it}", "概括{it}", "把{it}翻译成{lang}", "把{it}改写得通俗一点", "校对{it}", "修改{it}里的病句", "换个说法重写{it}",
        "缩短{it}", "给{it}列个提纲", "给{it}打上主题标签", "从{it}里提取人名", "列出{it}中的日期", "找出{it}里的价格",
        "说说{it}讲了什么", "给{it}起个标题", "把{it}整理成要点", "把{it}做成表格", "把{it}转成JSON", "礼貌地回复{it}", "简单解释{it}",
        "说出{it}的中心思想", "摘抄{it}里的一句话", "整理{it}", "找出{it}里提到的地点", "描述{it}的情绪", "把{it}写得正式一些",
        "读完{it}后说说是写谁的", "抄下{it}里所有的数字", "收集{it}里的问题", "用一句话说明{it}的内容",
    ),
}  # fmt: skip
WHICH = {
    "en": ("the following", "this", "the", "the above", "my", "this short"),
    "zh": ("下面的", "这", "上面的", "我的", "以下", ""),
}
OBJECTS = {
    "en": [
        "text",
        "passage",
        "article",
        "email",
        "letter",
        "notes",
        "conversation",
        "review",
        "message",
        "report",
        "paragraph",
        "document",
        "post",
        "story",
        "transcript",
        "abstract",
        "comment",
        "memo",
        "announcement",
        "chapter",
    ],
    "zh": [
        "文章",
        "短文",
        "邮件",
        "信",
        "笔记",
        "对话",
        "评论",
        "消息",
        "报告",
        "段落",
        "文档",
        "帖子",
        "故事",
        "聊天记录",
        "摘要",
        "通知",
        "公告",
        "新闻",
        "材料",
        "文字",
    ],
}


def composed(rng: Random, language: str) -> str:
    """A simple request put together from parts, so that no wording is learned by heart."""
    it = f"{rng.choice(WHICH[language])} {rng.choice(OBJECTS[language])}"
    doing = rng.choice(DOING[language])
    text = rng.choice(ASKING[language]) + doing.format(
        it=it if language == "en" else it.replace(" ", ""), lang=rng.choice(LANGUAGES[language])
    )
    text = text[0].upper() + text[1:]
    return text + rng.choice((".", ":", "", ", please.") if language == "en" else ("。", "：", "", "，谢谢。"))


REFERENCES = {"en": ("above", "below", "", ""), "zh": ("上面", "下面", "以上", "以下", "", "")}
LANGUAGES = {
    "en": ("German", "French", "Chinese", "Spanish", "English", "Japanese"),
    "zh": ("英文", "英语", "法语", "日语", "中文", "德语"),
}
FRAMES = ("{request}\n\n{passage}", "{passage}\n\n{request}", "{request}\n\"\"\"\n{passage}\n\"\"\"", "{passage}\n---\n{request}",
    "{request} {passage}", "Text: {passage}\n{request}", "{request}\n{passage}\n{request}")  # fmt: skip

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

# What people write around a request, whatever it is worth: the answer must not depend on it.
BEFORE = {
    "en": ("Just answer: ", "Easy one: ", "Quick question: ", "No need to think, ", "Think very carefully. ",
        "This is extremely hard: ", "Please help me. ", "Hi! ", "You are a helpful assistant. ", "Question: ", "Hey, "),
    "zh": ("直接回答：", "简单的问题：", "快问快答：", "不用思考，", "请仔细思考。", "这道题非常难：", "请帮帮我。", "你好！",
        "你是一个有用的助手。", "问题：", "嗨，"),
}  # fmt: skip
AFTER = {
    "en": (" Just the answer.", " Answer briefly.", " Don't explain.", " Let's think step by step.", " Thanks!",
        " Answer:", " Explain in detail.", " Take your time.", "\nGive the final answer only.", " Please."),
    "zh": ("直接给答案。", "简短回答。", "不要解释。", "请一步一步思考。", "谢谢！", "答案：", "请详细解释。", "慢慢来。", "只给出最终答案。"),
}  # fmt: skip


def about_passage(rng: Random, language: str, passage: str) -> str:
    """A simple request about ``passage``, before or behind it."""
    if rng.random() < 0.5:
        request = composed(rng, language)
    else:
        request = rng.choice(ABOUT_PASSAGE[language].split("\n")).format(
            ref=rng.choice(REFERENCES[language]), n=rng.randint(1, 6), lang=rng.choice(LANGUAGES[language])
        )
    frame = rng.choice(FRAMES)
    if language == "zh":
        frame = frame.replace("Text: ", "文章：").replace('"""', rng.choice(('"""', "“")))
    return frame.format(request=" ".join(request.split()).replace(" .", ".").replace(" ?", "?"), passage=passage)


def everyday(rng: Random, language: str) -> str:
    """A short request that needs no thought."""
    pattern = rng.choice(EVERYDAY[language].split("\n"))
    while "{small}" in pattern:
        pattern = pattern.replace("{small}", str(rng.randint(1, 9)), 1)
    pattern = pattern.replace("{price}", str(10 * rng.randint(3, 40)))
    return pattern.format(**{name: rng.choice(words) for name, words in FILL[language].items()})


def wrapped(rng: Random, language: str, text: str) -> str:
    """``text`` with a plea before or behind it that changes nothing."""
    before = rng.choice(BEFORE[language]) if rng.random() < 0.6 else ""
    after = rng.choice(AFTER[language]) if not before or rng.random() < 0.3 else ""
    return before + text + after
