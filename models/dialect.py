"""How a model talks: messages and a think mode become a prompt of control and user parts.

Knows: the tags, marks, forced texts and stop tokens of each dialect, and which dialect a chat template speaks.
Does not know: token ids, backends, or the body of the network (a body and a dialect are two things).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from models.chat_template import TemplateLayout
from models.dialect_base import Dialect, Phase, Prompt, Sampling, Tag, Think
from models.dialect_layout import Layout, MarkLayout, Message, Part, Role
from models.errors import ModelError, UnknownFamilyError
from models.tool_calls import HERMES, HUNYUAN_TOOLS

__all__ = [
    "DIALECTS",
    "Dialect",
    "Layout",
    "MarkLayout",
    "Message",
    "Part",
    "Phase",
    "Prompt",
    "Role",
    "Sampling",
    "Tag",
    "TemplateLayout",
    "Think",
    "detect_dialect",
]

THINK_TAGS = {"<think>": Tag("thinking"), "</think>": Tag("gap", closes="thinking")}
THINK_CLOSING: dict[Phase, str] = {"thinking": "\n</think>\n\n"}
ANSWER_TAGS = {"<answer>": Tag("answer"), "</answer>": Tag("done", closes="answer")}
JUDGE_TAGS = {
    "<judge>": Tag("judge"),
    "</judge>": Tag("gap", closes="judge"),
    "<think_on>": Tag("gap", closes="judge", think=True),
    "<think_off>": Tag("gap", closes="judge", think=False),
}

CHATML_MARKS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
CHATML = MarkLayout(
    system=("<|im_start|>system\n", "<|im_end|>\n"),
    user=("<|im_start|>user\n", "<|im_end|>\n"),
    assistant=("<|im_start|>assistant\n", "<|im_end|>\n"),
    opening="<|im_start|>assistant\n",
)

# These switch Qwen3 and Hunyuan from inside a user text. They are marks here: the mode is an option of the request, so
# user text that spells them is encoded in other tokens and cannot turn thinking on where it was asked to be off.
SWITCHES = ("/think", "/no_think")

# The Hunyuan marks by their role; the vocabulary calls the ends "placeholders".
HY_BEGIN = "<｜hy_begin▁of▁sentence｜>"
HY_USER = "<｜hy_User｜>"
HY_ASSISTANT = "<｜hy_Assistant｜>"
HY_ANSWER_END = "<｜hy_place▁holder▁no▁2｜>"
HY_SYSTEM_END = "<｜hy_place▁holder▁no▁3｜>"
HY_TEXT_END = "<｜hy_place▁holder▁no▁8｜>"

HIPO = Dialect(
    name="hipo",
    layout=replace(CHATML, opening="<|im_start|>assistant\n<judge>\n", tool_format=HERMES),
    start_phase="judge",  # the prompt itself opens the judge
    tags=JUDGE_TAGS | THINK_TAGS | ANSWER_TAGS,
    marks=CHATML_MARKS,
    stop_tokens=("<|im_end|>", "<|endoftext|>"),
    sampling=Sampling(temperature=0.6, top_k=0, top_p=0.95),
    forced_on="This needs step-by-step thinking.\n</judge>\n\n<think_on>\n<think>\n",
    forced_off="This can be answered directly.\n</judge>\n\n<think_off>\n<answer>\n",
    closings={
        "judge": "\n</judge>\n\n<think_off>\n<answer>\n",
        "thinking": "\n</think>\n\n<answer>\n",
    },
    default_system="You are a helpful assistant.",
)

# Qwen3's own template leaves thinking to the model; ``on`` must always think, so the open tag is forced.
QWEN3 = Dialect(
    name="qwen3",
    layout=replace(CHATML, tool_format=HERMES),
    start_phase="gap",
    tags=THINK_TAGS,
    marks=(*CHATML_MARKS, *SWITCHES),
    stop_tokens=("<|im_end|>", "<|endoftext|>"),
    sampling=Sampling(temperature=0.6, top_k=20, top_p=0.95),
    forced_on="<think>\n",
    forced_off="<think>\n\n</think>\n\n",
    closings=THINK_CLOSING,
    default_think=True,
)

HUNYUAN = Dialect(
    name="hunyuan",
    layout=MarkLayout(
        start=HY_BEGIN,
        system=("", HY_SYSTEM_END),
        user=(HY_USER, ""),
        assistant=(HY_ASSISTANT, HY_ANSWER_END),
        opening=HY_ASSISTANT,
        tool_format=HUNYUAN_TOOLS,
    ),
    start_phase="gap",
    tags=THINK_TAGS | ANSWER_TAGS,
    marks=(HY_BEGIN, HY_USER, HY_ASSISTANT, HY_ANSWER_END, HY_SYSTEM_END, HY_TEXT_END, *SWITCHES),
    stop_tokens=(HY_ANSWER_END, HY_TEXT_END),
    stop_ids={120818: (120001, 120008, 120020, 120026), 128167: (127960, 127967)},
    sampling=Sampling(temperature=0.7, top_k=20, top_p=0.8),
    forced_on="<think>\n",
    forced_off="<think>\n\n</think>\n",
    closings={"thinking": "\n</think>\n<answer>\n"},
    default_think=True,
)

PLAIN = Dialect(
    name="plain",
    layout=CHATML,  # replaced by the model's own template where it ships one
    start_phase="gap",
    tags=THINK_TAGS,
    marks=CHATML_MARKS,
    stop_tokens=(*CHATML_MARKS[1:], "<|eot_id|>", "<|end|>", "<end_of_turn>"),
    sampling=Sampling(temperature=0.7, top_k=40, top_p=0.95),
    closings=THINK_CLOSING,
    asks_for_steps=True,
    note="This model has no thinking mode; thinking on is a step-by-step request in the prompt.",
)

DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in (HIPO, QWEN3, HUNYUAN, PLAIN)}

_BRACKETED = re.compile(r"<[^<>\s]+>|\[/?[A-Z_]+\]")  # <|assistant|>, </s>, [INST]
SHORTEST_MARK = 3  # characters; a shorter line cannot be told from punctuation

# For a model without template and without chat marks: a transcript, which ends where the user would speak again.
TRANSCRIPT = MarkLayout(
    system=("", "\n\n"), user=("User: ", "\n"), assistant=("Assistant: ", "\n"), opening="Assistant:"
)
TRANSCRIPT_TAGS = {"\nUser:": Tag("done", closes="answer"), "\nAssistant:": Tag("done", closes="answer")}


@dataclass(frozen=True, slots=True)
class _Tell:
    """What gives a dialect away: all of ``needed`` and one of ``telling``, in the template or as tokens."""

    dialect: str
    needed: str
    telling: tuple[str, ...]


_TELLS = (
    _Tell("hipo", "<|im_start|>", ("<judge>",)),
    _Tell("hunyuan", HY_USER, (HY_USER,)),
    _Tell("qwen3", "<|im_start|>", ("<think>", "enable_thinking")),
)


def detect_dialect(
    chat_template: str | None,
    has_token: Callable[[str], bool],
    *,
    name: str | None = None,
    bos_token: str = "",
    eos_token: str = "",
) -> tuple[Dialect, str]:
    """The dialect a model speaks, and the reason as half a sentence.

    ``has_token`` says whether a text is a token of its own; it is asked where there is no template. ``name`` overrides
    what the template says. ``bos_token`` and ``eos_token`` are texts for the model's own template.
    Raises UnknownFamilyError for a ``name`` without a row, ModelError for a template that cannot be used.
    """
    if name is not None and name not in DIALECTS:
        raise UnknownFamilyError(f"There is no dialect {name!r}; use one of {', '.join(DIALECTS)}.")
    told, reason = (name, "it was asked for") if name is not None else _told(chat_template, has_token)
    if told != "plain":
        return DIALECTS[told], reason
    if chat_template:
        return _plain_from(TemplateLayout(chat_template, bos_token, eos_token), has_token), reason
    if has_token("<|im_start|>"):
        return PLAIN, f"{reason}, and its vocabulary has the ChatML marks"
    return replace(PLAIN, layout=TRANSCRIPT, tags=THINK_TAGS | TRANSCRIPT_TAGS, marks=()), f"{reason}, nor chat marks"


def _told(chat_template: str | None, has_token: Callable[[str], bool]) -> tuple[str, str]:
    if not chat_template:
        for tell in _TELLS:
            for text in tell.telling:
                if has_token(tell.needed) and has_token(text):
                    return tell.dialect, f"it ships no chat template and its vocabulary has {text}"
        return "plain", "it ships no chat template"
    for tell in _TELLS:
        for text in tell.telling:
            if tell.needed in chat_template and text in chat_template:
                return tell.dialect, f"its chat template has {text}"
    return "plain", "its chat template is none of the known ones and is used as it is"


def _plain_from(layout: TemplateLayout, has_token: Callable[[str], bool]) -> Dialect:
    """The plain dialect around a model's own template; a model that thinks by itself is forced through its tags."""
    dialect = replace(PLAIN, layout=layout, marks=tuple(dict.fromkeys((*CHATML_MARKS, *_marks_of(layout)))))
    opening = layout.lay_out((Message("user", "?"),))[-1].text
    if opening.rstrip().endswith("<think>"):
        native = replace(dialect, start_phase="thinking", forced_off="\n</think>\n\n")
    elif "<think>" in layout.template or has_token("<think>"):
        native = replace(dialect, forced_on="<think>\n", forced_off="<think>\n\n</think>\n\n")
    else:
        return dialect
    return replace(native, default_think=True, asks_for_steps=False, note="")


def _marks_of(layout: TemplateLayout) -> Iterator[str]:
    """The marks a template writes around messages, line by line and one by one where they are in brackets."""
    question, reply = Message("user", "?"), Message("assistant", "!")
    try:
        parts = layout.lay_out((question, reply, question))
    except ModelError:  # a template for one question at a time
        parts = layout.lay_out((question,))
    for part in parts:
        for line in part.text.splitlines() if part.is_control else ():
            yield from _BRACKETED.findall(line)
            if len(line.strip()) >= SHORTEST_MARK:
                yield line.strip()
