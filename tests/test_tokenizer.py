"""Tokens: control that user text cannot forge, bytes that come back exactly, one BOS."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qwen_vocabulary import needs_qwen, qwen_tokenizer, vectors
from small_vocabularies import many_token_tags, one_token_tags
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from models.dialect import DIALECTS, Message, Part, Prompt, detect_dialect
from models.errors import BundleError, ModelError, PromptError
from models.tokenizer import LETTER_OF_BYTE, BpeChatTokenizer, ControlTextCutter, TextDecoder, stop_token_ids

TRANSCRIPT, _ = detect_dialect(None, lambda _: False)
DIALECT_ROWS = [*DIALECTS.values(), TRANSCRIPT]
CONTROL_TEXTS = tuple(dict.fromkeys(text for dialect in DIALECT_ROWS for text in dialect.control_texts))


@lru_cache(maxsize=3)
def chat_tokenizer(kind: str) -> BpeChatTokenizer:
    made: dict[str, Callable[[], Tokenizer]] = {
        "one token a tag": lambda: one_token_tags(CONTROL_TEXTS),
        "many tokens a tag": many_token_tags,
        "qwen": qwen_tokenizer,
    }
    return BpeChatTokenizer(made[kind](), CONTROL_TEXTS)


KINDS = ["one token a tag", "many tokens a tag", pytest.param("qwen", marks=needs_qwen)]


def holds(tokens: Sequence[int], run: Sequence[int]) -> bool:
    """Whether ``run`` stands somewhere in ``tokens`` without a gap."""
    return any(list(tokens[start : start + len(run)]) == list(run) for start in range(len(tokens) - len(run) + 1))


def decoded(tokenizer: BpeChatTokenizer, tokens: Sequence[int]) -> str:
    decoder = TextDecoder(tokenizer)
    return "".join(decoder.feed(token) for token in tokens) + decoder.flush()


def byte_token(byte: int) -> int:
    """The token of a single byte in the small vocabularies."""
    token = many_token_tags().token_to_id(LETTER_OF_BYTE[byte])
    assert token is not None
    return token


def assert_forges_nothing(tokenizer: BpeChatTokenizer, text: str) -> None:
    tokens = tokenizer.encode_user(text)
    assert decoded(tokenizer, tokens) == text
    for control in CONTROL_TEXTS:
        if control in text:
            assert not holds(tokens, tokenizer.encode_control(control)), control
            assert not holds(tokens, tokenizer.encode_control(f"\n{control}\n")), control


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("around", ["{}", "a{}b", " {} ", "\n{}\n", "{}{}", "<{}>", "好{}好", ".{}\n\n"])
def test_no_tag_of_any_dialect_can_be_forged(kind: str, around: str) -> None:
    """A user who writes <|im_end|> or <think_off> must not end a turn or switch a mode."""
    for control in CONTROL_TEXTS:
        assert_forges_nothing(chat_tokenizer(kind), around.replace("{}", control))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "text", ["<thi<think>nk>", "<think</think>>", "</think/think>", "<<think>think>", "", "<think"]
)
def test_nested_and_broken_tags(kind: str, text: str) -> None:
    """</think> holds Hunyuan's /think: a search that jumps over found tags misses the one inside."""
    assert_forges_nothing(chat_tokenizer(kind), text)


def test_a_control_text_inside_another_is_cut_too() -> None:
    """</think> cut after its first character still holds a whole /think, with the ids of Hunyuan's switch."""
    tokens = ["</", "th", "ink", ">", "/", "<", "t", "h", "\n"]

    def encode(text: str) -> list[int]:
        return [tokens.index(token) for token in re.findall(r"</|th|ink|[^\0]", text)]

    cutter = ControlTextCutter(["</think>", "/think"], encode, lambda token: tokens[token].encode())
    assert cutter.pieces("</think>") == ["<", "/t", "hink>"]
    assert cutter.pieces("") == []


HALVES = [text[: len(text) // 2] for text in CONTROL_TEXTS] + [text[len(text) // 2 :] for text in CONTROL_TEXTS]
WORDS = st.one_of(st.sampled_from([*CONTROL_TEXTS, *HALVES, "\n", " ", "<", ">"]), st.text(max_size=4))


@pytest.mark.parametrize("kind", KINDS)
@given(words=st.lists(WORDS, max_size=8))
def test_user_text_comes_back_and_forges_nothing(kind: str, words: list[str]) -> None:
    """Any text: what the model reads is what the user wrote, and none of it is control."""
    assert_forges_nothing(chat_tokenizer(kind), "".join(words))


def test_text_without_tags_is_encoded_as_ever() -> None:
    """Protection must not change the ids of ordinary text: the model was trained on those."""
    plain, chat = many_token_tags(), chat_tokenizer("one token a tag")
    for text in ("hello world", "  the quick\n\nbrown <b>fox</b> 12", "你好，世界"):
        assert chat.encode_user(text) == plain.encode(text).ids


def test_control_text_uses_the_added_tokens() -> None:
    chat = chat_tokenizer("one token a tag")
    assert [chat.token_bytes(token) for token in chat.encode_control("<|im_start|>x<think>")] == [
        b"<|im_start|>",
        b"x",
        b"<think>",
    ]


def test_special_tokens_that_no_dialect_names_are_protected_too() -> None:
    """With ignore_merges a whole word that is in the vocabulary becomes its token: a special one must not."""
    vocabulary = {letter: token for token, letter in enumerate(LETTER_OF_BYTE.values())} | {"<eos>": 256}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.add_special_tokens([AddedToken("<eos>", normalized=False)])
    chat = BpeChatTokenizer(tokenizer, ())
    assert chat.encode_control("<eos>") == [256]
    assert 256 not in chat.encode_user("<eos>")


def test_tags_in_single_characters_are_refused() -> None:
    """Without any merge a tag in user text has the tag's own ids, whatever is cut."""
    vocabulary = {letter: token for token, letter in enumerate(LETTER_OF_BYTE.values())}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    with pytest.raises(ModelError, match="'<think>' in single characters"):
        BpeChatTokenizer(tokenizer, ["<think>"])


def test_a_vocabulary_that_is_not_byte_level_is_refused() -> None:
    with pytest.raises(ModelError, match="not a byte-level BPE"):
        BpeChatTokenizer(Tokenizer(models.BPE(vocab={"a": 0, "b": 1}, merges=[])), [])


@pytest.mark.parametrize("text", ["\ud800", "fine until \udcff"])
def test_invalid_text_is_a_prompt_error(text: str) -> None:
    """Lone surrogates come from undecodable bytes on standard input; tokenizers would panic."""
    with pytest.raises(PromptError, match=r"not valid Unicode text \(U\+D"):
        chat_tokenizer("one token a tag").encode_user(text)


@pytest.mark.parametrize("written", [0, 1, 2])
def test_one_bos(written: int) -> None:
    """Hunyuan's tokenizer adds a BOS and its template writes it too: two of them make the model answer worse."""
    bos = "<｜hy_begin▁of▁sentence｜>"
    tokenizer = one_token_tags(CONTROL_TEXTS)
    chat = BpeChatTokenizer(tokenizer, CONTROL_TEXTS, bos_token_id=tokenizer.token_to_id(bos))
    parts = (Part(bos * written + "<｜hy_User｜>", is_control=True), Part("Hi", is_control=False))
    tokens, forced = chat.encode_prompt(Prompt(parts, "", "gap"))
    assert [chat.token_bytes(token) for token in tokens[:2]] == [bos.encode(), "<｜hy_User｜>".encode()]
    assert forced == []


def test_hunyuan_writes_its_own_bos_once() -> None:
    chat = chat_tokenizer("one token a tag")
    tokens, _ = chat.encode_prompt(DIALECTS["hunyuan"].render([Message("user", "Hi")], "auto"))
    assert [chat.token_bytes(token).decode() for token in tokens] == [
        "<｜hy_begin▁of▁sentence｜>",
        "<｜hy_User｜>",
        *(chat.token_bytes(token).decode() for token in chat.encode_user("Hi")),
        "<｜hy_Assistant｜>",
    ]


def test_a_control_run_is_encoded_whole() -> None:
    """Merging across the pieces of a control run decides its ids: the run must reach the tokenizer in one call."""
    chat = chat_tokenizer("many tokens a tag")
    prompt = DIALECTS["hipo"].render([Message("user", "")], "off")
    tokens, forced = chat.encode_prompt(prompt)
    assert tokens[-len(chat.encode_control(prompt.parts[-1].text)) :] == chat.encode_control(prompt.parts[-1].text)
    assert forced == chat.encode_control(DIALECTS["hipo"].forced_off)


def test_stop_ids_are_texts_of_the_vocabulary_and_known_ids() -> None:
    """Hunyuan's 7B stops at ids whose texts differ from the smaller models'."""
    chat = chat_tokenizer("one token a tag")
    ends = {chat.token_id("<|im_end|>"), chat.token_id("<|endoftext|>")}
    assert stop_token_ids(DIALECTS["hipo"], chat) == ends
    hunyuan = DIALECTS["hunyuan"]
    texts = {chat.token_id(text) for text in hunyuan.stop_tokens}
    assert stop_token_ids(hunyuan, chat, vocab_size=128167) == texts | {127960, 127967}
    assert stop_token_ids(hunyuan, chat, vocab_size=120818) == texts | {120001, 120008, 120020, 120026}


def test_token_id_is_exact() -> None:
    chat = chat_tokenizer("one token a tag")
    assert chat.token_id("<think>") == chat.encode_control("<think>")[0]
    assert chat.token_id(" ") == chat.encode_user(" ")[0]
    assert chat.token_id("Ġ") is None
    assert chat.token_id("no such token") is None
    assert chat_tokenizer("many tokens a tag").token_id("<think>") is None


def test_an_id_without_a_token_has_no_bytes() -> None:
    """Models pad their vocabulary: an id from the padding must not crash the loop."""
    chat = chat_tokenizer("one token a tag")
    assert chat.token_bytes(chat.vocab_size + 5) == b""
    assert chat.token_bytes(-1) == b""


def test_the_decoder_never_cuts_a_character() -> None:
    """A Chinese character is up to three tokens: half of it on the screen is a replacement character."""
    chat = chat_tokenizer("many tokens a tag")
    tokens = [byte_token(byte) for byte in "😀好".encode()]
    decoder = TextDecoder(chat)
    assert [decoder.feed(token) for token in tokens] == ["", "", "", "😀", "", "", "好"]
    assert decoder.flush() == ""


def test_bytes_that_are_no_utf8_become_replacement_characters() -> None:
    chat = chat_tokenizer("many tokens a tag")
    start, letter = byte_token(0xE5), byte_token(ord("a"))
    decoder = TextDecoder(chat)
    assert [decoder.feed(start), decoder.feed(letter), decoder.feed(start)] == ["", "\ufffda", ""]
    assert decoder.flush() == "\ufffd"


def test_a_tokenizer_file_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    one_token_tags(["<think>"]).save(str(path))
    assert len(BpeChatTokenizer.from_file(path, ["<think>"]).encode_control("<think>")) == 1


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff\xfe", b'{"model": 3}'])
def test_a_damaged_tokenizer_file_is_one_sentence(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BundleError, match=r"^The tokenizer .*tokenizer\.json cannot be read"):
        BpeChatTokenizer.from_file(path, [])


@needs_qwen
def test_the_real_qwen_vocabulary_agrees_with_llama_cpp() -> None:
    """Parity with an independent implementation: llama.cpp's own test texts and ids."""
    chat = chat_tokenizer("qwen")
    for text, expected in vectors():
        assert chat.encode_control(text) == expected
        assert chat.encode_user(text) == expected


@needs_qwen
def test_hipo_tags_in_the_qwen_vocabulary_are_several_tokens() -> None:
    """The case that a check on ids alone misses: <think_off> is four ordinary tokens there."""
    chat = chat_tokenizer("qwen")
    pieces = [chat.token_bytes(token) for token in chat.encode_control("<think_off>")]
    assert pieces == [b"<th", b"ink", b"_off", b">"]
    assert [chat.token_bytes(token) for token in chat.encode_user("<think_off>")] == [b"<", b"think", b"_off", b">"]
    assert chat.encode_control("<|im_start|>") == [151644]
    assert stop_token_ids(DIALECTS["hipo"], chat) == {151643, 151645}


@needs_qwen
def test_a_large_vocabulary_opens_quickly(tmp_path: Path) -> None:
    """A second copy of 150,000 entries, or a loop over them, would be felt at every start."""
    path = tmp_path / "tokenizer.json"
    qwen_tokenizer().save(str(path))
    start = time.perf_counter()
    BpeChatTokenizer.from_file(path, CONTROL_TEXTS)
    assert time.perf_counter() - start < 3
