"""The router: any text has a decision, hashing is right, and what it learned makes sense."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.chat_types import Message
from edge.think.prompt_features import END_TOKENS, NUM_COUNTS, SMOOTHING, featurize, stride, word_groups
from edge.think.prompt_tokens import CLASSES, LONGEST_BYTES, tokenize
from edge.think.prompt_view import WHOLE, view
from edge.think.prompt_words import WORD_GROUPS, lexicon
from edge.think.router import CutPoints, Router, default_router, route
from edge.think.router_reasons import EASY_GROUPS, EASY_KINDS, HARD_GROUPS, KIND_REASONS
from edge.think.router_weights import KINDS, PATH, RouterWeights
from models.errors import BundleError

EASY = (
    "play some jazz",
    "What is the capital of Portugal?",
    "thanks!",
    "Translate to German: good morning",
    "附近有什么好吃的餐馆？",
    "你好",
    "把这句话翻译成英文：今天天气很好",
)
HARD = (
    "Prove that there are infinitely many primes congruent to 3 modulo 4.",
    "Five friends sit in a row. Ann sits left of Bob, Carl does not sit next to Dora, and Eve sits in the middle. "
    "Who sits where?",
    "已知数列{a_n}满足a_1=1，a_{n+1}=2a_n+1，求前n项和。",
    "甲乙丙三人中只有一人说真话，甲说乙在说谎，乙说丙在说谎，丙说甲乙都在说谎，谁说的是真话？",
)


def slow_tokens(codes: bytes) -> list[bytes]:
    """The tokens of UTF-8 text, byte by byte."""
    tokens: list[bytes] = []
    before = 0
    for place, code in enumerate(codes):
        kind, new = int(CLASSES[code]), codes[place : place + 1]
        if kind == 0:
            pass
        elif kind in (3, 4) or (kind in (1, 2) and kind != before):
            tokens.append(new)
        elif tokens:  # goes on; bytes inside a character belong to its first
            tokens[-1] += new
        before = kind
    return tokens


@given(st.text(max_size=80))
def test_tokens_are_those_of_a_slow_reader(text: str) -> None:
    """A hash that depended on where a word stands would make every prompt's words strangers."""
    data = text.encode("utf-8", "replace")
    slow = slow_tokens(data)
    found = tokenize(data)
    assert found.hashes.shape == (3, len(slow)) and found.ids.shape == (4, len(slow))
    assert found.ids.min(initial=0) >= 0 and found.ids.max(initial=0) < 1 << 16
    for place, token in enumerate(slow):
        alone = tokenize(token)
        if alone.hashes.shape[1] == 1:
            assert alone.hashes[0, 0] == found.hashes[0, place]
            assert alone.ids[3, 0] == found.ids[3, place]


@pytest.mark.parametrize("size", [LONGEST_BYTES - 1, LONGEST_BYTES, LONGEST_BYTES + 1])
def test_the_longest_text_is_read_to_its_limit(size: int) -> None:
    """What surrounds a text must fit, too."""
    assert tokenize(b"a " * (size // 2) + b"b" * (size % 2)).ids.shape == (4, LONGEST_BYTES // 2)


def test_pairs_and_triples_depend_on_their_order() -> None:
    """A sum of hashes would take ``dog bites man`` for ``man bites dog``."""
    first, second = tokenize(b"dog bites man"), tokenize(b"man bites dog")
    assert first.hashes[2, 0] != second.hashes[2, 0]
    assert tokenize(b"Dog  BITES\nman").hashes.tolist() == first.hashes.tolist()


def test_every_word_of_the_lexicon_is_found() -> None:
    """A word that is cut up otherwise in a prompt than in the lexicon would never match."""
    missed = [
        word for word, group in lexicon().items() if group not in word_groups(tokenize(f"x {word} y".encode())).tolist()
    ]
    assert len(missed) <= 8, missed  # two words in one slot: the later one stays
    assert len(WORD_GROUPS) > 10


@given(st.text(max_size=300))
def test_any_text_has_a_decision(text: str) -> None:
    """Control characters, half surrogates and other scripts reach a server every day."""
    found = route(text)
    assert 0.0 <= found.score <= 1.0 and found.choice in ("direct", "unsure", "short", "think")
    assert found.reasons and sum(found.kinds) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(
    "text", ["", " ", "\U0001f600", "\ud800", "\x00\x01\x7f", "a" * 100_000, "\ud83d" * 5000, "中" * 50_000]
)
def test_odd_texts_have_a_decision(text: str) -> None:
    """An exception here would refuse a prompt that the model could answer."""
    assert np.isfinite(featurize(text).counts).all()
    assert featurize(text).counts.shape == (NUM_COUNTS,)
    assert route(text).reasons


@pytest.mark.parametrize("num_tokens", [5, 30, 100, 300])
def test_words_are_summed_up_exactly(num_tokens: int) -> None:
    """Sums that depend on their order are others on another processor, and so are decisions at a cut."""
    codes = RouterWeights.load().codes
    assert (codes == np.round(codes)).all() and np.abs(codes).max() <= 127
    text = " ".join(f"word{place}" for place in range(num_tokens // 2))  # two tokens each
    ids, whole = featurize(text).ids, codes.astype(np.int64)
    parts = (ids[:, :: stride(ids.shape[1])], ids[:, :END_TOKENS], ids[:, -END_TOKENS:])
    steps = RouterWeights.load().steps.astype(np.float64)
    expected = [whole[part].sum((0, 1)) * (steps / (part.shape[1] + SMOOTHING)) for part in parts]
    assert default_router().text_inputs(text)[NUM_COUNTS:].tolist() == np.concatenate(expected).tolist()


def test_a_long_prompt_costs_what_its_parts_cost() -> None:
    """Reading a whole megabyte word by word would take longer than answering."""
    text = "The quick brown fox jumps over 12 lazy dogs. " * 30_000
    assert len(view(text)) < 2 * WHOLE < LONGEST_BYTES
    start_s = time.process_time()
    for _ in range(20):
        route(text)
    assert (time.process_time() - start_s) / 20 < 0.02


@pytest.mark.parametrize("text", EASY)
def test_easy_prompts_are_answered_directly(text: str) -> None:
    """A hello that is thought about is what users complain about first."""
    found = route(text)
    assert found.choice == "direct" and not found.thinks, (found.score, found.reasons)


@pytest.mark.parametrize("text", HARD)
def test_hard_prompts_are_thought_about(text: str) -> None:
    """A proof that is answered at once is wrong."""
    found = route(text)
    assert found.is_sure and found.thinks, (found.score, found.reasons)


@pytest.mark.parametrize(
    ("request_text", "sentence"),
    [
        ("Summarize this text in two sentences.", "The council met on Tuesday and spoke about the old bridge. "),
        ("请总结下面的内容。", "市里周二开会讨论了老桥的问题，大家意见不一。"),
    ],
)
@pytest.mark.parametrize("comes_first", [True, False])
def test_a_long_text_with_a_simple_request_is_easy(request_text: str, sentence: str, comes_first: bool) -> None:
    """Length alone would send every summary to thinking."""
    parts = [request_text, sentence * 40]
    found = route("\n\n".join(parts if comes_first else parts[::-1]))
    assert not found.thinks, (found.score, found.reasons)


def test_a_question_after_a_hard_problem_is_not_easy() -> None:
    """``why?`` has four letters, and the proof it asks about has pages."""
    history = (Message("user", HARD[0]), Message("assistant", "Assume there are finitely many ..."))
    follow_up = route((*history, Message("user", "why?")))
    assert follow_up.thinks and "follows up" in follow_up.reasons[0]
    assert route("why?", history).score == follow_up.score
    assert not route((*history, Message("user", "Thanks, that helps"))).thinks
    assert not route("why?").thinks
    assert route((Message("system", "Be brief."),)).choice == "direct"


def test_a_plea_does_not_change_the_decision() -> None:
    """Whoever begs for no thinking would get wrong answers, whoever begs for it would wait for nothing."""
    for text in HARD[:2]:
        assert route(f"Just answer, don't think: {text}").thinks
    assert not route("Think as hard as you can: what is the capital of Portugal?").thinks


@pytest.mark.parametrize("thinks", [True, False])
def test_reasons_speak_for_the_decision(thinks: bool) -> None:
    """``off``, because it needs a few steps: whoever reads that trusts no decision any more."""
    for text in (*EASY, *HARD, "12*7-5=?", "Tom has 3 apples and eats one. How many are left?"):
        found = replace(route(text), thinks=thinks)
        for against in (KIND_REASONS[kind] for kind in KINDS if (kind in EASY_KINDS) == thinks):
            assert against not in found.reasons and against not in found.reason
        assert not set(found.reasons) & set((EASY_GROUPS if thinks else HARD_GROUPS).values())
    assert route(HARD[1]).reasons != route(EASY[0]).reasons


def test_cut_points_split_the_scores_in_order() -> None:
    """A gap between two cut-points would leave a score without a choice."""
    cuts = CutPoints(0.2, 0.4, 0.6, 0.3)
    assert [cuts.choice(score) for score in (0.0, 0.2, 0.3, 0.4, 0.6, 1.0)] == [
        "direct",
        "unsure",
        "unsure",
        "short",
        "think",
        "think",
    ]
    for text in (*EASY, *HARD):
        found = route(text)
        assert found.thinks == (found.score >= default_router().cuts.better)


def test_one_prompt_and_a_batch_score_alike() -> None:
    """The recipe trains what the runtime computes, or its report would be of another model."""
    from models.router.bags import Prompts
    from models.router.fit import scores

    texts = [*EASY, *HARD, "word " * 900, "中文" * 700]
    batch = scores(RouterWeights.load(), Prompts.of(texts))
    assert batch == pytest.approx([route(text).score for text in texts], abs=2e-5)


def test_weights_are_small_and_survive_a_round_trip(tmp_path: Path) -> None:
    """The package must not grow, and a rounded table must not change what is decided."""
    assert Path(PATH).stat().st_size <= 1_000_000
    weights = RouterWeights.load()
    weights.save(tmp_path / "again.bin")
    again = Router(RouterWeights.load(tmp_path / "again.bin"))
    for text in (*EASY, *HARD):
        assert again.route(text).score == pytest.approx(route(text).score, abs=1e-4)
    assert len(KINDS) == len(route("hello").kinds)


def test_damaged_weights_are_refused_in_one_sentence(tmp_path: Path) -> None:
    """A traceback from numpy would tell a user nothing."""
    (tmp_path / "short.bin").write_bytes(Path(PATH).read_bytes()[:-1])
    with pytest.raises(BundleError, match="damaged"):
        RouterWeights.load(tmp_path / "short.bin")
    with pytest.raises(BundleError, match="cannot be read"):
        RouterWeights.load(tmp_path / "missing.bin")
    (tmp_path / "other.bin").write_bytes(Path(PATH).read_bytes().replace(b"router 1", b"router 0", 1))
    with pytest.raises(BundleError, match="another version"):
        RouterWeights.load(tmp_path / "other.bin")
    assert default_router() is default_router()
