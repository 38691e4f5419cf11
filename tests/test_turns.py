"""Turns at the device: one holder, and a wait that can be called off at any time."""

from __future__ import annotations

import threading
import time

from edge.turns import Turns


def never() -> bool:
    return False


def test_one_holder_at_a_time() -> None:
    turns, inside, most = Turns(), 0, 0

    def work() -> None:
        nonlocal inside, most
        assert turns.take(never)
        inside += 1
        most = max(most, inside)
        time.sleep(0.001)
        inside -= 1
        turns.leave()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (inside, most) == (0, 1)


def test_a_wait_that_is_called_off_ends_without_a_turn() -> None:
    turns, called_off, got = Turns(), threading.Event(), []
    assert turns.take(never)
    waiting = threading.Thread(target=lambda: got.append(turns.take(called_off.is_set)))
    waiting.start()
    called_off.set()
    turns.look_again()
    waiting.join(30)
    assert got == [False]
    assert not turns.take_if_free()
    turns.leave()
    assert turns.take_if_free()


def test_who_is_called_off_takes_no_turn_though_it_is_free() -> None:
    turns = Turns()
    assert not turns.take(lambda: True)
    assert turns.take_if_free()
