"""Simple requests about a passage, in two languages: whole sentences, ones put together from parts, plain questions.

Knows: wordings, and how a request and a passage stand together. Does not know: passages, targets or public data.
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


# A passage with its parts named, as benchmarks and programs write it; {p} is the passage, {r} what is asked.
LABELLED = {
    "en": ("Context: {p}\n\nQuestion: {r}\nAnswer:", "{r}\ncontext: {p}", "Passage: {p}\nQuestion: {r}", "{p}\n\nQ: {r}\nA:",
        "Article:\n{p}\n\nSummary:", "Dialogue:\n{p}\n\nSummarize the dialogue.", "Document: {p}\n\n{r}", "{p}\nTL;DR:",
        "Use only this information: {p}\n\n{r}", "Read the passage and answer.\n{p}\n{r}", "{p}\n\nBased on the passage, {r}",
        "Source text:\n{p}\nTranslation:", "<document>{p}</document>\n\n{r}", "### Input\n{p}\n### Instruction\n{r}"),
    "zh": ("背景：{p}\n\n问题：{r}\n回答：", "{r}\n上下文：{p}", "阅读材料：{p}\n问题：{r}", "{p}\n\n问：{r}\n答：", "文章：\n{p}\n\n摘要：",
        "对话：\n{p}\n\n请概括这段对话。", "文档：{p}\n\n{r}", "请根据以下内容回答：{p}\n{r}", "原文：\n{p}\n译文：", "【材料】{p}\n【问题】{r}",
        "新闻：{p}\n请写一个标题。", "已知信息：\n{p}\n\n根据上述信息回答：{r}"),
}  # fmt: skip
# What is asked of it; {w} is a word of the passage.
QUESTIONS = {
    "en": ("Who is {w}?", "What is {w}?", "What does it say about {w}?", "When did {w} happen?", "Where is {w}?", "What happened to {w}?",
        "Who said something about {w}?", "Which {w} is named first?", "What are two examples of {w}?", "What kind of {w} is it?",
        "what is another word for {w} here", "In what year was {w} mentioned?", "Is {w} mentioned?", "How is {w} described?",
        "Who, no wait, what was called {w}?", "What caused {w}?", "whose {w} was it", "To what does {w} belong?"),
    "zh": ("{w}是谁？", "什么是{w}？", "文中怎么说{w}？", "{w}是什么时候？", "{w}在哪里？", "{w}怎么了？", "谁提到了{w}？",
        "提到了{w}吗？", "{w}是怎样的？", "{w}是哪一年的事？", "举出{w}的两个例子。", "{w}属于哪一类？", "为什么会提到{w}？"),
}  # fmt: skip


def asked(rng: Random, language: str, passage: str) -> str:
    """A question whose answer stands in ``passage``, or would."""
    if language == "en":
        words = [word for word in passage.split() if word.isalpha() and len(word) > 3] or ["this"]
        start = rng.randrange(len(words))
        word = " ".join(words[start : start + rng.choice((1, 1, 2, 3))])
    else:
        start = rng.randrange(max(len(passage) - 4, 1))
        word = passage[start : start + rng.randint(2, 4)].strip() or "这里"
    return rng.choice(QUESTIONS[language]).replace("{w}", word)


def about_passage(rng: Random, language: str, passage: str) -> str:
    """A simple request about ``passage``, before or behind it, now and then none at all."""
    way = rng.random()
    if way < 0.04:
        return passage
    if way < 0.3:
        request = asked(rng, language, passage)
    elif way < 0.65:
        request = composed(rng, language)
    else:
        request = rng.choice(ABOUT_PASSAGE[language].split("\n")).format(
            ref=rng.choice(REFERENCES[language]), n=rng.randint(1, 6), lang=rng.choice(LANGUAGES[language])
        )
    request = " ".join(request.split()).replace(" .", ".").replace(" ?", "?")
    if rng.random() < 0.35:
        return rng.choice(LABELLED[language]).replace("{r}", request).replace("{p}", passage)
    frame = rng.choice(FRAMES)
    if language == "zh":
        frame = frame.replace("Text: ", "文章：").replace('"""', rng.choice(('"""', "“")))
    return frame.format(request=request, passage=passage)
