"""How long texts are: recorded vectors, a reserve that neither jumps nor is exceeded, texts that were cut short."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from edge.think.lengths import LengthModel

VECTORS = Path(__file__).parent / "vectors" / "lengths.jsonl"
SHORT, SHARES = (3, 4, 5, 6, 7), (6, 71, 77, 15, 6)  # tokens of spark's answers, and how often


@pytest.mark.parametrize("vector", [json.loads(line) for line in VECTORS.read_text(encoding="utf-8").splitlines()])
def test_recorded_vectors(vector: dict[str, Any]) -> None:
    """The vectors pin the lengths for every other implementation of them."""
    lengths = LengthModel()
    for kind, num_tokens, was_cut in vector["learned"]:
        lengths.learn(kind, num_tokens, was_cut=was_cut)
    assert {kind: lengths.typical(kind) for kind in vector["typical"]} == vector["typical"]
    assert {kind: lengths.reserve(kind) for kind in vector["reserve"]} == vector["reserve"]
    for kind, num_tokens, share in vector["share_within"]:
        assert lengths.share_within(kind, num_tokens) == pytest.approx(share)
    assert lengths.useful_thinking() == vector["useful_thinking"]
    for kind, bins in vector["model"].items():
        assert [place for place, _ in lengths.to_json()[kind]] == [place for place, _ in bins]


def test_one_token_more_or_less_does_not_double_a_reserve() -> None:
    """The 95th percentile of answers of 4 to 7 tokens is 6 in one runtime and 7 in the next: they reserved 7 and 13."""
    found = set()
    for seed in range(20):
        rng, lengths = random.Random(seed), LengthModel()
        for number in range(400):
            lengths.learn("thought_answer", rng.choices(SHORT, SHARES)[0], was_cut=False)
            if number >= 100:
                found.add(lengths.reserve("thought_answer"))
    assert min(found) >= 6 and max(found) <= 9


@pytest.mark.parametrize(("middle", "spread"), [(3.0, 0.4), (4.0, 0.8)])
def test_nearly_every_text_fits_into_its_reserve(middle: float, spread: float) -> None:
    rng, lengths, num_longer = random.Random(1), LengthModel(), 0
    for number in range(6000):
        num_tokens = max(1, round(rng.lognormvariate(middle, spread)))
        num_longer += number >= 100 and num_tokens > lengths.reserve("thought_answer")
        lengths.learn("thought_answer", num_tokens)
    assert num_longer <= 6


def test_a_text_that_was_cut_short_counts_as_one_of_the_longer_ones() -> None:
    """An answer that was ended after three of its five tokens counted as six, and thoughts of 40 as 80."""
    lengths = LengthModel()
    for num_tokens in (20, 30, 40, 50, 60) * 20:
        lengths.learn("thinking", num_tokens)
    before = lengths.share_within("thinking", 55)
    for _ in range(5):
        lengths.learn("thinking", 35, was_cut=True)
    assert lengths.share_within("thinking", 45) < before < lengths.share_within("thinking", 55) + 0.05
    assert lengths.share_within("thinking", 63) == 1.0
    lengths.learn("thinking", 100, was_cut=True)  # none was as long
    assert lengths.share_within("thinking", 190) < 1.0


def test_answers_in_a_shape_do_not_lengthen_the_others() -> None:
    """A document of 300 tokens took the time to think from every answer of four."""
    lengths = LengthModel()
    for _ in range(50):
        lengths.learn("thought_answer", 4)
        lengths.learn("shaped_answer", 300)
    assert lengths.reserve("thought_answer") <= 5
    assert lengths.reserve("shaped_answer") >= 300
