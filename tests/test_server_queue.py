"""The queue admits what can be in time, answers the earliest due first, and lets nobody starve."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.server.queue import DeadlineQueue, Need

STEADY = Need(1.0, 1.0)


def queue_of(*due_s: float, need: Need = STEADY, limit: int = 99) -> DeadlineQueue[float]:
    """A queue whose items are the times at which they are due."""
    queue: DeadlineQueue[float] = DeadlineQueue(limit)
    for due in due_s:
        queue.add(due, need, due)
    return queue


def test_the_earliest_due_is_next_and_the_first_of_two() -> None:
    queue: DeadlineQueue[str] = DeadlineQueue(9)
    for due_s, name in ((5.0, "late"), (3.0, "first"), (3.0, "second"), (9.0, "last")):
        queue.add(due_s, STEADY, name)
    assert [queue.take() for _ in range(5)] == ["first", "second", "late", "last", None]


def test_a_request_that_cannot_be_in_time_is_told_what_would_be_possible() -> None:
    """A client that waits only to be told that it is too late has lost the time for something else."""
    verdict = queue_of(10.0, 11.0).judge(2.5, Need(0.5, 1.0), now_s=0.0, free_s=2.0)
    assert not verdict.is_admitted
    assert verdict.possible_s == pytest.approx(2.0 + 2.0 + 1.0)
    assert verdict.retry_after_s == pytest.approx(5.0 - 2.5)


def test_an_early_due_goes_ahead_of_others_that_can_wait() -> None:
    assert queue_of(10.0, 11.0).judge(1.5, STEADY, now_s=0.0, free_s=0.0).is_admitted


def test_nobody_who_was_admitted_is_made_late() -> None:
    """The one ahead has to keep the promise that was made to those behind."""
    queue = queue_of(2.0)
    assert not queue.judge(1.5, STEADY, now_s=0.0, free_s=0.5).is_admitted
    assert queue.judge(1.5, STEADY, now_s=0.0, free_s=0.0).is_admitted


def test_who_is_late_already_keeps_nobody_out() -> None:
    """One hopeless request must not close the queue for all others."""
    assert queue_of(2.0).judge(1.9, Need(0.1, 0.1), now_s=0.0, free_s=1.5).is_admitted


def test_a_full_queue_says_when_to_ask_again() -> None:
    verdict = queue_of(50.0, limit=1).judge(99.0, STEADY, now_s=0.0, free_s=3.0)
    assert not verdict.is_admitted
    assert verdict.retry_after_s == pytest.approx(4.0)


def test_what_is_not_wanted_any_more_leaves_its_place() -> None:
    queue = queue_of(1.0, 2.0)
    kept = queue.take()
    assert queue.remove(2.0)
    assert not queue.remove(2.0)
    assert (kept, len(queue)) == (1.0, 0)


def test_when_the_device_has_to_be_free() -> None:
    queue = queue_of(5.0, 5.5)
    assert queue.latest_free_s() == pytest.approx(3.5)
    queue.take()
    assert queue.latest_free_s() == pytest.approx(4.5)
    queue.take()
    assert queue.latest_free_s() == float("inf")


def test_a_request_without_a_deadline_does_not_starve() -> None:
    """Short deadlines that keep coming must not push it back for ever: it ages, they are due later and later."""
    queue = queue_of(60.0)
    for second in range(200):
        if queue.judge(second + 2.0, STEADY, now_s=float(second), free_s=float(second)).is_admitted:
            queue.add(second + 2.0, STEADY, second + 2.0)
        if queue.take() == 60.0:
            assert second < 61
            return
    pytest.fail("it was never answered")


NEEDS = st.floats(0.01, 2.0)


@given(st.lists(st.tuples(st.floats(0.1, 20.0), NEEDS), max_size=30), st.floats(0.0, 3.0))
def test_whoever_is_admitted_is_in_time(asked: list[tuple[float, float]], free_s: float) -> None:
    """The promise itself, with a device that is as fast as it is thought to be."""
    queue: DeadlineQueue[tuple[float, float]] = DeadlineQueue(99)
    for due_s, need_s in asked:
        if queue.judge(due_s, Need(need_s, need_s), now_s=0.0, free_s=free_s).is_admitted:
            queue.add(due_s, Need(need_s, need_s), (due_s, need_s))
    now_s = free_s
    while (item := queue.take()) is not None:
        now_s += item[1]
        assert now_s <= item[0] + 1e-9
