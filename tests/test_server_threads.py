"""What crosses between the device's thread, the event loop and the disk: nothing is lost, nobody waits for nobody."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import threading
import time
from pathlib import Path

import pytest
from slow_models import until

from edge.server.bell import Bell, bell_of
from edge.server.device_thread import DeviceThread
from edge.server.log import MAX_WAITING, Log


def test_a_bell_is_heard_once_for_every_ring() -> None:
    """A ring that comes while the loop looks after the last one must not be lost."""
    heard: list[int] = []

    async def listen() -> None:
        bell = bell_of(asyncio.get_running_loop(), None)
        thread = threading.Thread(target=lambda: [bell.ring(lambda n=n: heard.append(n)) for n in range(5000)])  # type: ignore[misc]
        thread.start()
        while len(heard) < 5000:
            await asyncio.sleep(0)
        thread.join()
        assert bell_of(bell.loop, bell) is bell
        bell.close()
        assert not bell.ring(lambda: None)

    asyncio.run(asyncio.wait_for(listen(), 30))
    assert heard == list(range(5000))


def test_a_bell_of_a_closed_loop_says_so_and_leaves_no_pipe() -> None:
    gc.collect()  # of other tests
    before = len(os.listdir("/proc/self/fd"))

    async def make() -> Bell:
        return Bell(asyncio.get_running_loop())

    bell = asyncio.run(make())
    assert not bell.ring(lambda: None)
    del bell
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_all_work_is_done_on_one_thread_and_errors_come_back() -> None:
    thread = DeviceThread()
    names = {thread.call(lambda: threading.current_thread().name) for _ in range(3)}
    assert names == {"device"}
    with pytest.raises(ZeroDivisionError):
        thread.call(lambda: 1 // 0)
    assert thread.is_alive
    assert thread.end(5.0)
    assert not thread.is_alive


def test_work_that_does_not_end_is_told() -> None:
    thread, gate = DeviceThread(), threading.Event()
    thread.begin(gate.wait)
    assert not thread.end(0.05)
    gate.set()
    assert thread.end(5.0)


def test_lines_of_the_log_are_whole_and_in_order(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.jsonl")
    for number in range(300):
        log.write("event", number=number)
    log.close()
    log.write("again", number=300)  # opens the file again
    log.close()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text("utf-8").splitlines()]
    assert [line["number"] for line in lines] == list(range(301))


def test_a_line_is_on_the_disk_soon(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.jsonl")
    log.write("event")
    assert until(lambda: (tmp_path / "log.jsonl").exists() and (tmp_path / "log.jsonl").read_text("utf-8") != "", 5)
    log.close()


def test_lines_that_could_not_be_written_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "log.jsonl"
    log = Log(path)
    log.write("lost")
    log.close()
    path.parent.mkdir()
    log.write("kept")
    log.close()
    assert json.loads(path.read_text("utf-8"))["lines_lost"] == 1


def test_a_disk_that_stands_still_holds_up_nobody_and_fills_no_memory(tmp_path: Path) -> None:
    """A worn card may take seconds for one line."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # to open it waits for a reader
    log = Log(pipe)
    start_s = time.monotonic()
    for _ in range(MAX_WAITING + 500):
        log.write("event")
    assert time.monotonic() - start_s < 5
    with pipe.open("rb") as reader:
        closing = threading.Thread(target=log.close)
        closing.start()
        text = reader.read()
        closing.join()
    assert text.count(b"\n") >= MAX_WAITING
