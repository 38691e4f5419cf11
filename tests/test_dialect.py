"""Dialects, to the byte, and how they are told apart."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from models.dialect import DIALECTS, Dialect, Message, Part, TemplateLayout, Think, detect_dialect
from models.dialect_base import STEP_REQUESTS
from models.errors import ModelError, PromptError, UnknownFamilyError
from models.spark.kinds import KINDS, Kind

HI = [Message("user", "Hi")]
TALK = [Message("system", "SYS"), *HI, Message("assistant", "ANSWER"), Message("user", "Again")]
BOS = "<｜hy_begin▁of▁sentence｜>"


def no_token(_: str) -> bool:
    return False


def tokens(*texts: str) -> Callable[[str], bool]:
    return lambda text: text in texts


def plain(template: str, has_token: Callable[[str], bool] = no_token) -> Dialect:
    dialect, _ = detect_dialect(template, has_token, bos_token="<s>", eos_token="</s>")
    assert dialect.name == "plain"
    return dialect


@pytest.mark.parametrize(
    ("name", "messages", "think", "expected"),
    [
        (
            "hipo",
            HI,
            "auto",
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\n<judge>\n",
        ),
        (
            "hipo",
            TALK,
            "off",
            "<|im_start|>system\nSYS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nANSWER<|im_end|>\n"
            "<|im_start|>user\nAgain<|im_end|>\n<|im_start|>assistant\n<judge>\n"
            "This can be answered directly.\n</judge>\n\n<think_off>\n<answer>\n",
        ),
        ("qwen3", HI, "auto", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"),
        ("qwen3", HI, "on", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n"),
        (
            "qwen3",
            TALK,
            "off",
            "<|im_start|>system\nSYS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nANSWER<|im_end|>\n"
            "<|im_start|>user\nAgain<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        ),
        ("hunyuan", HI, "auto", f"{BOS}<｜hy_User｜>Hi<｜hy_Assistant｜>"),
        ("hunyuan", HI, "on", f"{BOS}<｜hy_User｜>Hi<｜hy_Assistant｜><think>\n"),
        ("hunyuan", HI, "off", f"{BOS}<｜hy_User｜>Hi<｜hy_Assistant｜><think>\n\n</think>\n"),
        (
            "hunyuan",
            TALK,
            "auto",
            f"{BOS}SYS<｜hy_place▁holder▁no▁3｜><｜hy_User｜>Hi<｜hy_Assistant｜>ANSWER<｜hy_place▁holder▁no▁2｜>"
            "<｜hy_User｜>Again<｜hy_Assistant｜>",
        ),
    ],
)
def test_prompts_to_the_byte(name: str, messages: list[Message], think: Think, expected: str) -> None:
    """A missing line end or mark makes a model answer worse without any error."""
    assert DIALECTS[name].render(messages, think).text == expected


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("messages", [HI, TALK])
def test_the_embedded_models_own_templates_give_the_same_prompts(messages: list[Message], kind: Kind) -> None:
    """The stock quick start renders with the shipped template: the runtime must show the model the same bytes."""
    assert detect_dialect(kind.chat_template, no_token)[0] is kind.dialect
    rendered = "".join(part.text for part in TemplateLayout(kind.chat_template).lay_out(messages))
    assert rendered == kind.dialect.render(messages, "auto").text


def test_hipo_forces_thinking_through_its_own_judge() -> None:
    """HiPO's template has no switch: only a prefilled judge forces a mode."""
    forced = "This needs step-by-step thinking.\n</judge>\n\n<think_on>\n<think>\n"
    assert DIALECTS["hipo"].render(HI, "on").forced == forced


@pytest.mark.parametrize("name", ["hipo", "qwen3", "hunyuan"])
def test_contents_are_user_parts_and_each_control_run_is_one_part(name: str) -> None:
    """A trained model's ids depend on control runs being encoded whole, and contents must never be control."""
    parts = DIALECTS[name].render(TALK, "auto").parts
    assert [part.text for part in parts if not part.is_control] == ["SYS", "Hi", "ANSWER", "Again"]
    assert all(left.is_control != right.is_control for left, right in pairwise(parts))


def test_an_empty_content_leaves_one_control_run() -> None:
    """An empty user part between two control parts would split the run and change its ids."""
    parts = DIALECTS["hipo"].render([Message("system", "S"), Message("user", "")], "auto").parts
    assert parts[-1] == Part(
        "<|im_end|>\n<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n<judge>\n", is_control=True
    )


def test_where_the_parser_starts() -> None:
    """Generated HiPO text has no opening <judge>: the prompt ends inside the judge."""
    assert {name: dialect.render(HI, "auto").phase for name, dialect in DIALECTS.items()} == {
        "hipo": "judge",
        "qwen3": "gap",
        "hunyuan": "gap",
        "plain": "gap",
    }
    assert [name for name, dialect in DIALECTS.items() if dialect.has_judge] == ["hipo"]


@pytest.mark.parametrize(
    ("messages", "word"),
    [
        ([], "empty"),
        ([*HI, Message("assistant", "x")], "assistant"),
        ([*HI, Message("system", "late"), *HI], "system"),
    ],
)
def test_a_conversation_out_of_order_is_refused(messages: list[Message], word: str) -> None:
    with pytest.raises(PromptError, match=word):
        DIALECTS["hipo"].render(messages, "auto")


@pytest.mark.parametrize(
    ("name", "raw", "answer"),
    [
        ("hipo", "why\n</judge>\n\n<think_on>\n<think>\nhm\n</think>\n\n<answer>\n4\n</answer>", "4"),
        ("hipo", "why\n</judge>\n\n<think_off>\n<answer>\n4\n</answer>", "4"),
        ("hipo", "why\n</judge>\n\n<think_off>\n4", "4"),
        ("hipo", "why\n</judge>\n\n<think_on>\n<think>\nhm\n</think>\n4", "4"),
        ("qwen3", "<think>\nhm\n</think>\n\nfour", "four"),
        ("qwen3", "<think>\nstill thinking", ""),
        ("qwen3", "It is <answer> here", "It is <answer> here"),
        ("hunyuan", "<think>\nhm\n</think>\n<answer>\nwe are swans\n</answer>", "we are swans"),
        ("hunyuan", "we are swans</answer>", "we are swans"),
        ("plain", "hello", "hello"),
    ],
)
def test_history_keeps_the_answer_and_cuts_at_the_tag(name: str, raw: str, answer: str) -> None:
    """Hunyuan's own template strips a set of characters: "we are swans</answer>" became "we are"."""
    assert DIALECTS[name].history_answer(raw) == answer


@pytest.mark.parametrize("name", ["hipo", "qwen3", "hunyuan", "plain"])
def test_what_starts_thinking_is_banned_and_protected(name: str) -> None:
    dialect = DIALECTS[name]
    assert "<think>" in dialect.think_tags
    assert ("<think_on>" in dialect.think_tags) == (name == "hipo")
    assert set(dialect.control_texts) >= {*dialect.tags, *dialect.marks, *dialect.stop_tokens}


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=lambda dialect: dialect.name)
def test_no_tag_is_the_beginning_of_another(dialect: Dialect) -> None:
    """The parser takes the first tag that is whole; a longer one with the same beginning could never be found."""
    assert not [(a, b) for a in dialect.tags for b in dialect.tags if a != b and b.startswith(a)]


@pytest.mark.parametrize(
    ("template", "vocabulary", "expected"),
    [
        ("{{ '<|im_start|>assistant\\n<judge>\\n<think>' }}", (), "hipo"),
        ("<｜hy_User｜>{{ messages[0].content }}<｜hy_Assistant｜><think>", (), "hunyuan"),
        ("<|im_start|>{% if enable_thinking %}{% endif %}", (), "qwen3"),
        ("<|im_start|>{{ messages[0].content }}<|im_end|>", (), "plain"),
        (None, ("<|im_start|>", "<judge>"), "hipo"),
        (None, ("<｜hy_User｜>",), "hunyuan"),
        (None, ("<|im_start|>", "<think>"), "qwen3"),
        (None, (), "plain"),
    ],
)
def test_the_dialect_is_told_from_template_then_vocabulary(
    template: str | None, vocabulary: tuple[str, ...], expected: str
) -> None:
    """A Qwen3 body may speak HiPO: the body says nothing about the dialect."""
    dialect, reason = detect_dialect(template, tokens(*vocabulary))
    assert dialect.name == expected
    assert "template" in reason


def test_a_name_overrides_the_template() -> None:
    dialect, reason = detect_dialect("<|im_start|><judge>", no_token, name="qwen3")
    assert (dialect.name, reason) == ("qwen3", "it was asked for")
    with pytest.raises(UnknownFamilyError, match=r"'klingon'.*hipo, qwen3, hunyuan, plain"):
        detect_dialect(None, no_token, name="klingon")


ZEPHYR = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content | trim }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def test_a_foreign_template_is_used_as_it_is() -> None:
    """User text must never meet the template: trimmed or run as jinja it would no longer be what the user wrote."""
    prompt = plain(ZEPHYR).render([Message("user", " {{ bos_token }}<|user|> ")], "auto")
    assert [(part.text, part.is_control) for part in prompt.parts] == [
        ("<|user|>\n", True),
        (" {{ bos_token }}<|user|> ", False),
        ("</s>\n<|assistant|>\n", True),
    ]
    assert (prompt.forced, prompt.phase) == ("", "gap")


@pytest.mark.parametrize(
    "template",
    [
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}{{ messages[0].content }}!",
        "{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}!",
    ],
)
def test_a_system_text_that_the_template_refuses_goes_before_the_user_text(template: str) -> None:
    """Gemma's template refuses the role and others drop it in silence; the instruction must survive both."""
    parts = plain(template).render([Message("system", "Be brief."), *HI], "auto").parts
    assert parts == (Part("Be brief.\n\nHi", is_control=False), Part("!", is_control=True))


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages[5].content.foo() }}",
        "{% if %}",
        "nothing of yours",
        "{{ raise_exception('never') }}",
        "{{ 1 / 0 }}",
    ],
)
def test_a_template_that_cannot_be_used_is_one_sentence(template: str) -> None:
    with pytest.raises(ModelError, match=r"^The model's chat template (fails|drops) .*; set the dialect by name\.$"):
        plain(template).render(HI, "auto")


def test_plain_thinking_is_a_request_in_the_language_of_the_message() -> None:
    dialect = plain(ZEPHYR)
    assert "step-by-step request" in dialect.note
    english = dialect.render([Message("user", "What is 2+3?")], "on").parts[1]
    assert english == Part(f"What is 2+3?\n\n{STEP_REQUESTS['en']}", is_control=False)
    chinese = dialect.render([Message("user", "2加3是多少？")], "on").parts[1]
    assert chinese == Part(f"2加3是多少？\n\n{STEP_REQUESTS['zh']}", is_control=False)
    assert STEP_REQUESTS["en"] not in dialect.render(HI, "off").text


def test_off_is_off_where_the_template_itself_opens_the_thinking() -> None:
    """Reasoning models whose template ends in <think> have no switch: off must close what the template opened."""
    dialect = plain(ZEPHYR.replace("<|assistant|>\n", "<|assistant|><think>\n"))
    off = dialect.render(HI, "off")
    assert off.text.endswith("<|assistant|><think>\n\n</think>\n\n")
    assert (off.phase, dialect.default_think, dialect.note) == ("thinking", True, "")
    assert dialect.render(HI, "on").text.endswith("<|assistant|><think>\n")


def test_a_model_that_knows_the_think_tag_is_forced_through_it() -> None:
    dialect = plain(ZEPHYR, tokens("<think>"))
    assert dialect.render(HI, "on").forced == "<think>\n"
    assert dialect.render(HI, "off").forced == "<think>\n\n</think>\n\n"
    assert dialect.render(HI, "auto").forced == ""


def test_a_model_without_template_gets_chatml_or_a_transcript() -> None:
    chatml, _ = detect_dialect(None, tokens("<|im_start|>"))
    assert chatml.render(HI, "auto").text == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    transcript, _ = detect_dialect(None, no_token)
    assert transcript.render(TALK, "auto").text == "SYS\n\nUser: Hi\nAssistant: ANSWER\nUser: Again\nAssistant:"
    assert "\nUser:" in transcript.control_texts


@pytest.mark.parametrize("name", ["hipo", "qwen3", "hunyuan"])
def test_thoughts_that_a_caller_hands_in_are_dropped(name: str) -> None:
    """A program that keeps whole replies as history must not feed old thoughts back to the model."""
    whole = (
        "<think>\nold thoughts\n</think>\n\n<answer>\nfour\n</answer>"
        if name != "qwen3"
        else "<think>\nold\n</think>\n\nfour"
    )
    for said in (whole, "four"):
        talk = [Message("user", "2+2"), Message("assistant", said), Message("user", "and 3+3")]
        prompt = DIALECTS[name].render(talk, "auto")
        assert [part.text for part in prompt.parts if not part.is_control][-2:] == ["four", "and 3+3"]


def test_the_marks_of_a_template_are_control_texts() -> None:
    """Marks that are ordinary text in the vocabulary could be forged: they encode alike wherever they stand."""
    template = (
        "{% for m in messages %}{% if m.role == 'user' %}<|user|>\n{{ m.content }}</s>\n"
        "{% else %}### Response:\n[INST] {{ m.content }}\n{% endif %}{% endfor %}<|assistant|>\n"
    )
    assert {"<|user|>", "</s>", "### Response:", "[INST]", "<|assistant|>"} <= set(plain(template).control_texts)


@pytest.mark.parametrize(
    ("said", "missing"),
    [
        ("easy\n</judge>\n\n<think_off>", "\n<answer>\n"),
        ("easy\n</judge>\n\n<think_off>\n", "<answer>\n"),
        ("easy\n</judge>\n\n<think_off>5", ""),
        ("easy", ""),
    ],
)
def test_the_opening_is_what_was_not_said_yet(said: str, missing: str) -> None:
    """A marker's last token may hold the line end behind it; said twice, it would change the prompt."""
    assert DIALECTS["hipo"].opening(False, said) == missing
    assert DIALECTS["qwen3"].opening(False, said) == ""
