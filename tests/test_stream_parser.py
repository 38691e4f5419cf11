"""The parser: recorded vectors, any split of a text, models that stray from their format."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.stream_parser import Piece, StreamParser
from models.dialect import DIALECTS, Phase

VECTORS = Path(__file__).parent / "vectors" / "parser.jsonl"


def parse(
    dialect: str, phase: Phase, pieces: Iterable[str], call_tags: tuple[str, ...] = ()
) -> tuple[list[Piece], StreamParser]:
    parser = StreamParser(DIALECTS[dialect], phase, call_tags)
    out = [piece for text in pieces for piece in parser.feed(text)]
    return out + parser.flush(), parser


def joined(pieces: Iterable[Piece]) -> list[tuple[str, str]]:
    """Neighbours of one kind as one; markers stay apart."""
    runs: list[tuple[str, str]] = []
    for piece in pieces:
        if runs and runs[-1][0] == piece.kind != "marker":
            runs[-1] = (piece.kind, runs[-1][1] + piece.text)
        else:
            runs.append((piece.kind, piece.text))
    return runs


@pytest.mark.parametrize("vector", [json.loads(line) for line in VECTORS.read_text(encoding="utf-8").splitlines()])
def test_recorded_vectors(vector: dict[str, Any]) -> None:
    """The vectors pin the parser for every other implementation of it."""
    call_tags = tuple(vector.get("call_tags", ()))
    pieces, parser = parse(vector["dialect"], vector["phase"], vector["fed"], call_tags)
    assert [[piece.kind, piece.text] for piece in pieces] == vector["pieces"]
    assert [parser.phase, parser.think] == [vector["end_phase"], vector["think"]]


HIPO_OFF = "ez\n</judge>\n\n<think_off>\n<answer>\n4\n</answer>"
HUNYUAN_ON = "<think>\nhm\n</think>\n<answer>\nwe are swans\n</answer>"
HIPO_ON = "hard\n</judge>\n\n<think_on>\n<think>\n1 < 2\n\nso\n</think>\n\n<answer>\n4\n</answer>"


@pytest.mark.parametrize(
    ("dialect", "phase", "text", "expected", "think"),
    [
        ("hipo", "judge", HIPO_ON, "judge:hard marker:<think_on> thinking:1 < 2\n\nso answer:4", True),
        ("hipo", "judge", HIPO_OFF, "judge:ez marker:<think_off> answer:4", False),
        ("hipo", "judge", "ez\n</judge>\n\n<think_off>\n4", "judge:ez marker:<think_off> answer:4", False),
        ("hipo", "judge", "ez\n<think_off>\n4", "judge:ez marker:<think_off> answer:4", False),
        ("hipo", "answer", "4\n<think>\nhm\n</think>\n5", "answer:4 thinking:hm answer:5", False),
        ("hipo", "thinking", "a <think_off> </judge> b</think>c", "thinking:a   b answer:c", True),
        ("hipo", "thinking", "hm\n<answer>\n4\n</answer>", "thinking:hm answer:4", True),
        ("hipo", "answer", "4\n</answer>\n</answer>\n<answer>5", "answer:4", False),
        ("hipo", "answer", "4 </think> 5\n", "answer:4  5\n", False),
        ("qwen3", "gap", "<think>\nhm\n</think>\n\nfour\n", "thinking:hm answer:four\n", True),
        ("qwen3", "gap", "<think>\n\n</think>\n\nfour", "answer:four", False),
        ("qwen3", "gap", "four <answer> five", "answer:four <answer> five", False),
        ("qwen3", "thinking", "<think>\nhm", "thinking:hm", True),
        ("hunyuan", "gap", HUNYUAN_ON, "thinking:hm answer:we are swans", True),
        ("hunyuan", "gap", "<think>\n\n</think>\n<answer>\n4</answer>", "answer:4", False),
        ("plain", "gap", "  2 < 3 <thin ice", "answer:2 < 3 <thin ice", False),
        ("plain", "gap", "a\n\n\n<", "answer:a\n\n\n<", False),
    ],
)  # fmt: skip
def test_what_models_write(dialect: str, phase: Phase, text: str, expected: str, think: bool) -> None:
    """Whole formats, missing tags, leaked thinking, tags twice and in the wrong place."""
    pieces, parser = parse(dialect, phase, [text])
    assert " ".join(f"{kind}:{text}" for kind, text in joined(pieces)) == expected
    assert parser.think is think


def test_forced_text_sets_the_mode_before_anything_is_generated() -> None:
    """The forced judge is fed to the parser: the first generated token must already count as answer."""
    hipo = DIALECTS["hipo"]
    for forced, phase, think in ((hipo.forced_off, "answer", False), (hipo.forced_on, "thinking", True)):
        parser = StreamParser(hipo, hipo.start_phase)
        parser.feed(forced)
        assert (parser.phase, parser.think) == (phase, think)


def test_nothing_is_held_back_that_cannot_become_a_tag() -> None:
    """Text that waits for a flush is text the reader sees late."""
    parser = StreamParser(DIALECTS["hipo"], "answer")
    assert parser.feed("a < b") == [Piece("answer", "a < b")]
    assert parser.feed("c <t") == [Piece("answer", "c ")]
    assert parser.feed("able>") == [Piece("answer", "<table>")]
    assert parser.feed("end\n") == [Piece("answer", "end")]
    assert parser.feed("more") == [Piece("answer", "\nmore")]


TAGS = sorted({tag for dialect in DIALECTS.values() for tag in dialect.tags})
TEXTS = st.lists(st.sampled_from([*TAGS, "\n", "\n\n", " ", "<", "</", "<think", "a", "好", "a b"]), max_size=14)


@given(
    dialect=st.sampled_from(sorted(DIALECTS)),
    phase=st.sampled_from(["judge", "gap", "thinking", "answer"]),
    words=TEXTS,
    data=st.data(),
)
def test_any_split_gives_the_same(dialect: str, phase: Phase, words: list[str], data: st.DataObject) -> None:
    """Tokens cut tags and line ends anywhere; where they cut must not show."""
    text = "".join(words)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    fed = [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole, parser_whole = parse(dialect, phase, [text])
    split, parser_split = parse(dialect, phase, fed)
    assert joined(split) == joined(whole)
    assert (parser_split.phase, parser_split.think) == (parser_whole.phase, parser_whole.think)


@given(st.text(alphabet="ab<>/ \n好", max_size=60))
def test_text_without_tags_comes_out_whole(text: str) -> None:
    pieces, _ = parse("hipo", "answer", list(text))
    assert "".join(piece.text for piece in pieces) == text


def test_a_token_costs_microseconds() -> None:
    """The parser stands in the token loop; the bound is generous so that a busy machine does not fail it."""
    parser = StreamParser(DIALECTS["hipo"], "answer")
    start = time.perf_counter()
    for _ in range(10_000):
        parser.feed(" word")
    assert (time.perf_counter() - start) / 10_000 < 30e-6
