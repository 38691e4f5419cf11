"""What a dialect is: prompts, tags, the values that cross borders, and the rule that turns messages into one prompt.

Knows: tags, phases, fixed texts. Does not know: any particular dialect (models.dialect has the rows), where marks stand
around messages (models.dialect_layout), token ids, backends, or the body of the network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal

from models.dialect_layout import Layout, Message, Part
from models.errors import PromptError

Think = Literal["auto", "on", "off"]
Phase = Literal["judge", "gap", "thinking", "answer", "done"]

CLOSING_LINES = {
    "en": "No more time.",
    "zh": "没有时间了。",
}
WAIT_LINES = {"en": "Wait, let me check that again.", "zh": "等等，我再检查一遍。"}
STEP_REQUESTS = {"en": "Think step by step, then give the answer.", "zh": "请一步一步思考，然后给出答案。"}


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is handed to the tokenizer, and where the parser stands.

    ``parts`` ends where the assistant's own text begins; ``forced`` is written into the assistant's mouth to force a
    mode (control text, empty for auto). The parser starts in ``phase`` and is fed ``forced`` before any generated text.
    """

    parts: tuple[Part, ...]
    forced: str
    phase: Phase

    @property
    def text(self) -> str:
        """The whole prompt as one string, forced text included: for people and for tests, never for a tokenizer."""
        return "".join(part.text for part in self.parts) + self.forced


@dataclass(frozen=True, slots=True)
class Tag:
    """What a tag does to the stream.

    ``leads_to`` is the phase after it. ``closes`` is the phase it ends, None for a tag that opens one. ``think`` is set
    on markers, which say the mode.
    """

    leads_to: Phase
    closes: Phase | None = None
    think: bool | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """The sampling a model card recommends. ``top_k`` 0 means no limit."""

    temperature: float
    top_k: int
    top_p: float


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a model talks: a row of data, and ``render``.

    ``forced_on`` and ``forced_off`` are written into the assistant's mouth to force a mode; ``start_phase`` is where
    generated text begins without them. ``marks`` are texts beside the tags that user text must not forge.
    ``stop_ids`` gives, by vocabulary size, stop ids whose texts differ between models of one family.
    ``closings`` are written into the model's mouth to end a phase early and to begin the answer.
    ``asks_for_steps``: the model has no thinking of its own, ``on`` appends a request instead, and ``note`` says so.
    """

    name: str
    layout: Layout
    start_phase: Phase
    tags: Mapping[str, Tag]
    stop_tokens: tuple[str, ...]
    sampling: Sampling
    forced_on: str = ""
    forced_off: str = ""
    closings: Mapping[Phase, str] = field(default_factory=dict)
    marks: tuple[str, ...] = ()
    stop_ids: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    default_system: str = ""
    default_think: bool = False
    asks_for_steps: bool = False
    note: str = ""

    @property
    def has_judge(self) -> bool:
        """Whether the model decides by itself, in a judge text, if this prompt deserves thinking."""
        return self.start_phase == "judge"

    @property
    def control_texts(self) -> tuple[str, ...]:
        """Every text that user text must not forge."""
        return tuple(dict.fromkeys((*self.tags, *self.marks, *self.stop_tokens)))

    @property
    def think_tags(self) -> tuple[str, ...]:
        """The tags that start judging or thinking: banned in the answer and wherever thinking is off."""
        return tuple(text for text, tag in self.tags.items() if tag.leads_to in ("judge", "thinking") or tag.think)

    @property
    def no_answer_texts(self) -> tuple[str, ...]:
        """Every control text but the tags that open an answer: none of them is a word of one."""
        return tuple(
            text for text in self.control_texts if text not in self.tags or self.tags[text].leads_to != "answer"
        )

    @property
    def think_closers(self) -> tuple[str, ...]:
        """The tags that end thinking, also by opening the answer: banned until there is a thought."""
        return tuple(text for text, tag in self.tags.items() if tag.closes == "thinking" or tag.leads_to == "answer")

    @property
    def answer_opening(self) -> str:
        """The fixed text between the forced opening of the mode off and the first word of the answer; empty mostly.

        It is told from the text that closes thinking, which goes as far as the answer's first word.
        """
        forced, closing = (text.rpartition("</think>") for text in (self.forced_off, self.closings.get("thinking", "")))
        return closing[2].removeprefix(forced[2]) if forced[1] and closing[1] else ""

    def opening(self, think: bool, said: str) -> str:
        """What is still to come of the fixed text between a mode's marker and the model's own words.

        It is the text that forces the mode, from the marker on. ``said`` is what the model said up to now. Empty for a
        dialect without markers, and where the model has gone on in its own way.
        """
        forced = self.forced_on if think else self.forced_off
        for marker in (text for text, tag in self.tags.items() if tag.think is think):
            _, _, opening = forced.partition(marker)
            _, found, rest = said.rpartition(marker)
            if found and opening.startswith(rest):
                return opening[len(rest) :]
        return ""

    def render(self, messages: Sequence[Message], think: Think, tools: Sequence[Mapping[str, Any]] = ()) -> Prompt:
        """The prompt of a conversation that ends with the user's turn; of earlier answers only the answer is kept.

        ``tools`` are function definitions that the model may call. Raises PromptError for a conversation out of order
        and for tools in a dialect without them, ModelError when the model's own template refuses it.
        """
        _check_order(messages)
        if self.layout.tool_format is None and (
            tools or any(turn.role == "tool" or turn.tool_calls for turn in messages)
        ):
            raise PromptError(f"The dialect {self.name} has no tool calls; leave tools and their results out.")
        if self.default_system and messages[0].role != "system":
            messages = (Message("system", self.default_system), *messages)
        messages = [self._without_thoughts(message) for message in messages]
        if think == "on" and self.asks_for_steps:
            messages = (*messages[:-1], _with_step_request(messages[-1]))
        forced = {"auto": "", "on": self.forced_on, "off": self.forced_off}[think]
        return Prompt(self.layout.lay_out(messages, tools), forced, self.start_phase)

    def _without_thoughts(self, message: Message) -> Message:
        """An assistant's message that a caller handed in whole, tags and all, cut to its answer."""
        if message.role != "assistant" or _any_of(tuple(self.tags)).search(message.content) is None:
            return message
        return replace(message, content=self.history_answer(message.content))

    def history_answer(self, raw_text: str) -> str:
        """The answer inside all that was generated: what a later turn may see, without judge, thoughts and tags.

        Cuts at whole tags, never at characters of them: ``we are swans</answer>`` gives ``we are swans``.
        """
        text = raw_text
        openers = [tag for tag in ("<answer>", "<think_off>", "</think>") if tag in self.tags and tag in raw_text]
        if openers:
            text = raw_text.rpartition(openers[0])[2]
        for closer in ("</answer>", "<think>"):  # a <think> still here was never closed: no answer follows it
            if closer in self.tags:
                text = text.partition(closer)[0]
        return text.strip("\n")


@lru_cache(maxsize=16)
def _any_of(tags: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, tags)) or "(?!)")


def _check_order(messages: Sequence[Message]) -> None:
    if not messages or messages[-1].role not in ("user", "tool"):
        last = f"ends with a {messages[-1].role} message" if messages else "is empty"
        raise PromptError(f"The conversation {last}; end it with a user message.")
    if any(message.role == "system" for message in messages[1:]):
        raise PromptError("The conversation has a system message after its first turn; put it first.")


def _with_step_request(message: Message) -> Message:
    return Message(message.role, f"{message.content}\n\n{STEP_REQUESTS[language_of(message.content)]}")


def language_of(text: str) -> str:
    """``zh`` for text with a Chinese character in it, else ``en``: the languages there are lines in."""
    return "zh" if any("\u4e00" <= character <= "\u9fff" for character in text) else "en"
