"""The embedded models by name: which body, which dialect, and the tokens and chat template that go with it.

Knows: the added tokens of each vocabulary in the order of their ids, and the template a stock tokenizer renders with.
Does not know: networks, training. Marks, forced texts and closings come from the runtime's own dialects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from models.dialect import (
    DIALECTS,
    HY_ANSWER_END,
    HY_ASSISTANT,
    HY_BEGIN,
    HY_SYSTEM_END,
    HY_TEXT_END,
    HY_USER,
    SWITCHES,
    Dialect,
    MarkLayout,
)
from models.spark.bodies import BODIES, Body

# Cuts an earlier reply, handed in whole, to its answer.
_CUT_TO_ANSWER = (
    "{%- if '<answer>\\n' in content -%}{%- set content = content.split('<answer>\\n')[-1].split('\\n</answer>')[0] -%}"
)
_CUT_BEHIND_THOUGHT = (
    "{%- elif '</think>' in content -%}{%- set content = content.split('</think>')[-1].strip('\\n') -%}{%- endif -%}"
)
_HIPO_TEMPLATE = (
    "{%- if messages and messages[0]['role'] == 'system' -%}"
    "{%- set system = messages[0]['content'] -%}{%- set turns = messages[1:] -%}"
    "{%- else -%}"
    "{%- set system = '" + DIALECTS["hipo"].default_system + "' -%}{%- set turns = messages -%}"
    "{%- endif -%}"
    "{{- '<|im_start|>system\\n' + system + '<|im_end|>\\n' -}}"
    "{%- for message in turns -%}"
    "{%- set content = message['content'] -%}"
    "{%- if message['role'] == 'assistant' -%}"
    + _CUT_TO_ANSWER
    + "{%- elif '<think_off>' in content -%}{%- set content = content.split('<think_off>')[-1].strip('\\n') -%}"
    + _CUT_BEHIND_THOUGHT
    + "{%- endif -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + content + '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n<judge>\\n' -}}{%- endif -%}"
)
_HUNYUAN_TEMPLATE = (
    "{%- if messages and messages[0]['role'] == 'system' -%}"
    "{%- set turns = messages[1:] -%}"
    "{{- '" + HY_BEGIN + "' + messages[0]['content'] + '" + HY_SYSTEM_END + "' -}}"
    "{%- else -%}"
    "{%- set turns = messages -%}{{- '" + HY_BEGIN + "' -}}"
    "{%- endif -%}"
    "{%- for message in turns -%}"
    "{%- set content = message['content'] -%}"
    "{%- if message['role'] == 'assistant' -%}"
    + _CUT_TO_ANSWER
    + _CUT_BEHIND_THOUGHT
    + "{{- '"
    + HY_ASSISTANT
    + "' + content + '"
    + HY_ANSWER_END
    + "' -}}"
    "{%- else -%}{{- '" + HY_USER + "' + content -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}"
    "{{- '" + HY_ASSISTANT + "' -}}"
    "{%- if enable_thinking is defined and not enable_thinking -%}{{- '<think>\\n\\n</think>\\n' -}}{%- endif -%}"
    "{%- endif -%}"
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One embedded model.

    ``special`` and ``tags`` are its added tokens in the order of their ids, the tags not ``special`` to a tokenizer.
    ``end`` closes a reply, ``pad`` fills rows, ``start`` (if any) is the token a tokenizer puts before every text.
    ``switches`` are the prefixes of a prompt that turn thinking on and off. ``rows_from`` says, for an added token that
    another kind's vocabulary lacks, which text of that one has the meaning nearest to it.
    """

    name: str
    body: Body
    dialect: Dialect
    special: tuple[str, ...]
    tags: tuple[str, ...]
    end: str
    pad: str
    chat_template: str
    start: str | None = None
    switches: tuple[str, ...] = ()
    rows_from: Mapping[str, str] = field(default_factory=dict)

    @property
    def added(self) -> tuple[str, ...]:
        """All added tokens in the order of their ids."""
        return self.special + self.tags

    @property
    def layout(self) -> MarkLayout:
        """The marks around messages."""
        assert isinstance(self.dialect.layout, MarkLayout)
        return self.dialect.layout

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes that stage 1 teaches; a judge comes with stage 2, a habit with stage 1."""
        return ("off", "on") if self.dialect.has_judge else ("off", "on", "auto")


SPARK = Kind(
    name="spark",
    body=BODIES["qwen3"],
    dialect=DIALECTS["hipo"],
    special=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    tags=("<judge>", "</judge>", "<think_on>", "<think_off>", "<think>", "</think>", "<answer>", "</answer>"),
    end="<|im_end|>",
    pad="<|endoftext|>",
    chat_template=_HIPO_TEMPLATE,
)
SPARK_HUNYUAN = Kind(
    name="spark-hunyuan",
    body=BODIES["hunyuan_v1_dense"],
    dialect=DIALECTS["hunyuan"],
    special=(HY_BEGIN, HY_TEXT_END, HY_USER, HY_ASSISTANT, HY_ANSWER_END, HY_SYSTEM_END),
    tags=("<think>", "</think>", "<answer>", "</answer>", *SWITCHES),
    end=HY_ANSWER_END,
    pad=HY_TEXT_END,
    chat_template=_HUNYUAN_TEMPLATE,
    start=HY_BEGIN,
    switches=SWITCHES,
    rows_from={
        HY_BEGIN: "<|im_start|>",
        HY_TEXT_END: "<|endoftext|>",
        HY_USER: "<|im_start|>user\n",
        HY_ASSISTANT: "<judge>",
        HY_ANSWER_END: "<|im_end|>",
        HY_SYSTEM_END: "<|im_end|>\n",
        SWITCHES[0]: "<think_on>",
        SWITCHES[1]: "<think_off>",
    },
)

KINDS: dict[str, Kind] = {kind.name: kind for kind in (SPARK, SPARK_HUNYUAN)}
