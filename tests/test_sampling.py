"""Sampling picks what it should, as often as it should, and the same for the same seed."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from edge.sampling import Sampler
from models.errors import BackendError

LOGITS = hnp.arrays(np.float32, st.integers(1, 400), elements=st.floats(-1e4, 1e4, width=32))
TOP_P = st.floats(0.01, 1.0)


def allowed(logits: NDArray[np.float32], temperature: float, top_k: int, top_p: float) -> set[int]:
    """The tokens that may be drawn, by sorting everything in double precision: slow and plain."""
    order = sorted(range(len(logits)), key=lambda token: -float(logits[token]))
    if 0 < top_k < len(logits):  # ties at the border: any of them may be in
        order = [token for token in order if logits[token] >= logits[order[top_k - 1]]]
    scores = np.array([float(logits[token]) for token in order]) / temperature
    shares = np.exp(scores - scores[0])
    shares /= shares.sum()
    before = np.cumsum(shares) - shares
    border = shares[before < top_p + 1e-5].min()
    return {token for token, share in zip(order, shares, strict=True) if share >= border * (1 - 1e-3)}


@given(logits=LOGITS)
def test_greedy_takes_the_first_of_the_best(logits: NDArray[np.float32]) -> None:
    assert Sampler().pick(logits) == list(logits).index(max(logits))
    assert Sampler(temperature=1, top_k=1).pick(logits) == list(logits).index(max(logits))


@given(logits=LOGITS, temperature=st.floats(0.05, 5), top_k=st.integers(0, 500), top_p=TOP_P, seed=st.integers(0, 9))
def test_draws_stay_inside_top_k_and_top_p(
    logits: NDArray[np.float32], temperature: float, top_k: int, top_p: float, seed: int
) -> None:
    """A border that is off by one lets a token in that was to be cut away."""
    before = logits.copy()
    sampler = Sampler(temperature, top_k, top_p, seed)
    picks = {sampler.pick(logits) for _ in range(5)}
    assert picks <= allowed(logits, temperature, top_k, top_p)
    assert np.array_equal(logits, before)


@given(logits=LOGITS, seed=st.integers(0, 2**63))
def test_same_seed_same_tokens(logits: NDArray[np.float32], seed: int) -> None:
    first, second = Sampler(0.8, 20, 0.95, seed), Sampler(0.8, 20, 0.95, seed)
    assert [first.pick(logits) for _ in range(5)] == [second.pick(logits) for _ in range(5)]


@given(
    logits=hnp.arrays(np.float32, st.integers(3, 300), elements=st.floats(-5, 5, width=32)),
    temperature=st.sampled_from([0.0, 0.7]),
    top_k=st.integers(0, 40),
)
def test_banned_tokens_are_never_picked(logits: NDArray[np.float32], temperature: float, top_k: int) -> None:
    """A ban holds whatever the limits leave."""
    likeliest = tuple(int(token) for token in np.argsort(-logits, kind="stable")[:2])
    sampler = Sampler(temperature, top_k, 0.9, seed=0)
    for _ in range(5):
        assert sampler.pick(logits, banned=likeliest) not in likeliest


def frequencies(sampler: Sampler, logits: NDArray[np.float32], count: int = 20_000) -> NDArray[np.float64]:
    picks = [sampler.pick(logits) for _ in range(count)]
    return np.bincount(picks, minlength=len(logits)) / count


@pytest.mark.parametrize(
    ("top_k", "top_p", "expected"),
    [
        (0, 1.0, [0.4, 0.3, 0.2, 0.1]),
        (2, 1.0, [4 / 7, 3 / 7, 0, 0]),
        (0, 0.85, [4 / 9, 3 / 9, 2 / 9, 0]),
        (3, 0.7, [4 / 7, 3 / 7, 0, 0]),  # of the three left, 4/9 and 3/9 reach 0.7
        (0, 0.05, [1, 0, 0, 0]),
    ],
)
def test_frequencies_are_the_probabilities(top_k: int, top_p: float, expected: list[float]) -> None:
    logits = np.log(np.array([0.4, 0.3, 0.2, 0.1], np.float32))
    found = frequencies(Sampler(1.0, top_k, top_p, seed=3), logits)
    np.testing.assert_allclose(found, expected, atol=0.015)


def test_temperature_sharpens_and_flattens() -> None:
    logits = np.log(np.array([0.8, 0.2], np.float32))
    assert frequencies(Sampler(0.5, seed=1), logits)[0] == pytest.approx(0.64 / 0.68, abs=0.01)
    assert frequencies(Sampler(2.0, seed=1), logits)[0] == pytest.approx(2 / 3, abs=0.015)
    assert frequencies(Sampler(1e-9, seed=1), logits, 100)[0] == 1


@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize("broken", [[np.nan, 1], [1, np.inf], [-np.inf, -np.inf]])
def test_broken_logits_are_an_error(broken: list[float], temperature: float) -> None:
    """NaN would be drawn as token 0 for ever after, in silence."""
    with pytest.raises(BackendError, match="broken"):
        Sampler(temperature, seed=0).pick(np.array(broken, np.float32))


@pytest.mark.parametrize("mask", [-np.inf, -1e38, np.finfo(np.float32).min])
def test_masked_logits_are_no_error(mask: float) -> None:
    """Models mask unused ids with -infinity or huge negative numbers; neither may overflow or be drawn."""
    logits = np.full(500, mask, np.float32)
    logits[123] = 2.0
    for sampler in (Sampler(), Sampler(0.002, seed=0), Sampler(0.7, 20, 0.95, seed=0)):
        assert sampler.pick(logits) == 123


@pytest.mark.parametrize("top_k", [1, 20, 64, 3000, 151_935])
def test_large_vocabularies_keep_exactly_the_largest(top_k: int) -> None:
    """The shortcut over blocks must not lose a token that shares its block with a larger one."""
    random = np.random.default_rng(5)
    logits = np.sort(random.normal(size=151_936).astype(np.float32))  # the largest all in the last blocks
    sampler = Sampler(1e4, top_k, 1.0, seed=0)  # nearly uniform over what is left
    picks = {sampler.pick(logits) for _ in range(60)}
    assert min(picks) >= 151_936 - top_k


def test_large_vocabulary_is_fast() -> None:
    """The bar is 1 ms; ten times as much is allowed here, for a busy machine."""
    logits = np.random.default_rng(0).normal(size=151_936).astype(np.float32) * 3
    sampler = Sampler(0.6, 20, 0.95, seed=0)
    times_s = []
    for _ in range(10):
        started_s = time.perf_counter()
        sampler.pick(logits)
        times_s.append(time.perf_counter() - started_s)
    assert min(times_s) < 0.01
