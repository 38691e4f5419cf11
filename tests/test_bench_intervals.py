"""Intervals against published values and simple properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_edge.intervals import Proportion, paired_difference


def test_wilson_interval_matches_a_published_value() -> None:
    """Wilson, 81 of 263: Newcombe (1998), table I, method 3: 0.2553 to 0.3662."""
    low, high = Proportion(81, 263).interval
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


@given(st.integers(0, 500), st.integers(1, 500))
def test_interval_holds_the_share_and_stays_within_0_and_1(count: int, total: int) -> None:
    count = min(count, total)
    low, high = Proportion(count, total).interval
    assert 0 <= low <= count / total + 1e-12 and count / total - 1e-12 <= high <= 1


def test_an_empty_group_knows_nothing() -> None:
    assert Proportion(0, 0).interval == (0.0, 1.0)


def test_paired_difference_of_equal_rows_is_zero_without_width() -> None:
    assert paired_difference([1, 0, 1], [1, 0, 1]) == (0.0, (0.0, 0.0))


def test_paired_difference_is_signed_first_minus_second() -> None:
    mean, (low, high) = paired_difference([1, 1, 1, 0], [0, 1, 0, 0])
    assert mean == pytest.approx(0.5) and low < mean < high
