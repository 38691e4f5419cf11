"""What clients, disks and operators do to a server; it goes on, and the device is free for the next."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from served import Served, served
from slow_models import THINKER, num_steps, slow_engine, until

CHAT = "/v1/chat/completions"
OFF = {"messages": [{"role": "user", "content": "count"}], "edge": {"think": "off"}}


def connected(server: Served) -> socket.socket:
    """A connection that nothing was sent over."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def begin(server: Served, body: object, path: str = CHAT) -> socket.socket:
    """A request that was sent, over a connection that the test holds."""
    content = json.dumps(body).encode()
    connection = connected(server)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(content)}\r\n\r\n"
    connection.sendall(head.encode() + content)
    return connection


@pytest.mark.parametrize("is_streamed", [True, False])
def test_a_client_that_vanishes_frees_the_device_within_a_token(is_streamed: bool) -> None:
    """Nobody reads the rest; the next one waits."""
    engine = slow_engine(step_s=0.05)
    with served(engine) as server:
        connection = begin(server, OFF | {"stream": is_streamed})
        assert until(lambda: num_steps(engine) >= 3)
        connection.close()
        steps = num_steps(engine)
        assert until(lambda: not server.service.device.is_busy)
        assert num_steps(engine) <= steps + 2
        assert server.ask(CHAT, OFF | {"max_tokens": 2}).status == 200


def test_a_client_that_vanishes_from_the_queue_costs_nothing() -> None:
    engine = slow_engine()
    with served(engine) as server:
        first, second = begin(server, OFF), begin(server, OFF)
        assert until(lambda: server.service.device.num_waiting == 1)
        second.close()
        assert until(lambda: server.service.device.num_waiting == 0)
        assert until(lambda: server.num_open == 1)
        first.close()
        assert until(lambda: server.num_open == 0)


def test_a_slow_reader_holds_up_nobody() -> None:
    """The device must not wait for a client's network."""
    engine = slow_engine(step_s=0.0)
    with served(engine, write_timeout_s=0.5) as server:
        reader = begin(server, OFF | {"stream": True})
        assert server.ask(CHAT, OFF | {"max_tokens": 2}).status == 200
        reader.close()


def test_a_half_sent_body_is_given_up() -> None:
    with served(slow_engine(), body_timeout_s=0.3) as server, begin_half(server) as connection:
        reply = all_of(connection)
        assert reply.startswith(b"HTTP/1.1 408")
        assert json.loads(reply.partition(b"\r\n\r\n")[2])["error"]["code"] == "body_timeout"


def all_of(connection: socket.socket) -> bytes:
    """What comes until the other side ends the connection."""
    with connection.makefile("rb") as stream:
        return stream.read()


def begin_half(server: Served) -> socket.socket:
    """A request whose body does not come whole."""
    connection = connected(server)
    connection.sendall(f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{{".encode())
    return connection


def test_headers_that_do_not_end_are_given_up() -> None:
    """A few hundred such connections would keep everybody else out."""
    with served(slow_engine(), header_timeout_s=0.3) as server, connected(server) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: local")
        assert is_closed(connection)


def test_headers_without_measure_are_refused() -> None:
    """The parser has no limit of its own, and would keep them all."""
    reply = b""
    with served(slow_engine(), header_timeout_s=60.0) as server, connected(server) as connection:
        with contextlib.suppress(ConnectionError):  # it may be closed while we send or read
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
            for number in range(100):
                connection.sendall(b"X-%d: %s\r\n" % (number, b"x" * 1000))
            reply = all_of(connection)
        assert reply == b"" or reply.startswith(b"HTTP/1.1 400")
        assert until(lambda: server.num_open == 0)


def test_headers_without_measure_are_refused_though_they_come_at_once() -> None:
    with served(slow_engine()) as server, connected(server) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000 + b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert all_of(connection).partition(b" ")[2][:3] in (b"400", b"")


def test_an_offer_of_another_protocol_costs_no_body() -> None:
    """Java's client offers h2c with every request; the parser then took the body for that protocol's."""
    content = json.dumps(OFF | {"max_tokens": 2}).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n"
    offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n\r\n"
    with served(slow_engine(step_s=0.0)) as server, connected(server) as connection:
        connection.sendall((head + offer).encode() + content)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_request_behind_another_may_come_in_pieces() -> None:
    """The end of the first reply closed the connection, since the body behind it was not whole."""
    content = json.dumps(OFF | {"max_tokens": 2}).encode()
    request = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content
    with served(slow_engine(step_s=0.0)) as server, connected(server) as connection:
        connection.settimeout(20)
        connection.sendall(request + request[:-10])
        assert status_lines(connection, 1) == [b"HTTP/1.1 200 OK"]
        connection.sendall(request[-10:])
        assert status_lines(connection, 1) == [b"HTTP/1.1 200 OK"]


def status_lines(connection: socket.socket, count: int) -> list[bytes]:
    """Those of the next ``count`` replies, read to their ends, or to the end of the connection."""
    found: list[bytes] = []
    reader = connection.makefile("rb", buffering=0)
    while len(found) < count and (line := reader.readline()):
        found.append(line.strip())
        length = 0
        while header := reader.readline().strip():
            name, _, value = header.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        while length and (piece := reader.read(length)):
            length -= len(piece)
    return found


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side ends the connection without a word."""
    try:
        return connection.recv(4096) == b""
    except ConnectionResetError:
        return True


def test_one_connection_too_many_is_closed() -> None:
    with served(slow_engine(), max_connections=2) as server:
        held = [connected(server) for _ in range(2)]
        with connected(server) as third:
            assert is_closed(third)
        for connection in held:
            connection.close()
        assert until(lambda: server.ask("/health").status == 200)


def test_what_is_not_http_is_told_so_in_json() -> None:
    with served(slow_engine()) as server, connected(server) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        reply = all_of(connection)
    assert reply.startswith(b"HTTP/1.1 400")
    assert json.loads(reply.partition(b"\r\n\r\n")[2])["error"]["message"]


def test_a_full_disk_loses_lines_of_the_log_and_no_answers() -> None:
    with served(slow_engine(step_s=0.0), log_file="/dev/full") as server:
        assert server.ask(CHAT, OFF | {"max_tokens": 2}).status == 200
        assert server.ask("/health").status == 200


def test_a_clock_that_is_set_back_changes_no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A board without a battery for its clock starts in 1970 and is set right later; and some are set back."""
    engine = slow_engine(step_s=0.0)
    hours = iter(range(1000, 0, -1))
    monkeypatch.setattr(engine.pace, "_wall_clock", lambda: 3600.0 * next(hours))
    monkeypatch.setattr(time, "time", lambda: 3600.0 * next(hours))
    with served(engine) as server:
        for _ in range(5):
            reply = server.ask(CHAT, OFF | {"max_tokens": 2, "edge": {"think": "off", "deadline_s": 20}})
            assert reply.json["edge"]["timings"]["total_s"] < 20


def test_thinking_is_ended_by_its_id() -> None:
    """The control path of llama.cpp's server."""
    engine = slow_engine(THINKER)
    body = {"messages": OFF["messages"], "stream": True, "edge": {"think": "on"}}
    with served(engine) as server, begin(server, body) as connection, connection.makefile("rb") as lines:
        chunk = next(json.loads(line[6:]) for line in lines if line.startswith(b"data: "))
        request = {"id": chunk["id"], "action": "reasoning_end"}
        assert server.ask(f"{CHAT}/control", request).json == request | {"success": True}
        last = [json.loads(line[6:]) for line in lines if b'"finish_reason": "' in line][-1]
        assert "closed on request" in last["edge"]["reason"]
        assert last["edge"]["finish"] == "stop"
        assert server.ask(f"{CHAT}/control", request).status == 404


def test_a_stop_finishes_what_runs_and_tells_who_waits() -> None:
    """A restart must not cut an answer in the middle, nor leave anybody waiting for nothing."""
    replies: dict[str, int] = {}
    engine = slow_engine(THINKER)

    def ask(name: str, server: Served) -> None:
        body = {"messages": OFF["messages"], "edge": {"think": "on"}}
        replies[name] = server.ask(CHAT, body).status

    with served(engine) as server:
        threads = [threading.Thread(target=ask, args=(name, server)) for name in ("runs", "waits")]
        threads[0].start()
        assert until(lambda: server.service.device.is_busy)
        threads[1].start()
        assert until(lambda: server.service.device.num_waiting == 1)
    for thread in threads:
        thread.join(20)
    assert replies == {"runs": 200, "waits": 503}


def start(folder: Path, *options: str) -> tuple[subprocess.Popen[str], int]:
    """``edge serve`` as a process of its own, once it answers."""
    script = "from edge.cli import main; main()"
    command = [sys.executable, "-c", script, "serve", "--port", "0", "--threads", "1", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"EDGE_STATE": str(folder)})
    assert process.stderr is not None
    for line in process.stderr:
        if " answers at http://" in line:
            return process, int(line.strip().rpartition(":")[2])
    pytest.fail("the server did not start")


def end(process: subprocess.Popen[str], number: signal.Signals) -> int:
    """Send the signal; the exit code."""
    process.send_signal(number)
    code = process.wait(30)
    assert process.stderr is not None
    process.stderr.close()
    return code


def test_a_killed_server_leaves_nothing_half_written_and_starts_again(tmp_path: Path) -> None:
    """A kiosk's power is cut, not shut down."""
    log = tmp_path / "log.jsonl"
    process, port = start(tmp_path, "--log-file", str(log))
    connections = [begin(Served(None, port), OFF | {"stream": True}) for _ in range(8)]  # type: ignore[arg-type]
    time.sleep(0.05)
    end(process, signal.SIGKILL)
    for connection in connections:
        connection.close()
    for path in tmp_path.rglob("*.json"):
        json.loads(path.read_text("utf-8"))
    process, port = start(tmp_path, "--log-file", str(log))
    reply = Served(None, port).ask(CHAT, {"messages": [{"role": "user", "content": "2+3=?"}], "temperature": 0})  # type: ignore[arg-type]
    assert reply.json["choices"][0]["message"]["content"] == "5"
    assert end(process, signal.SIGTERM) == 0
    events = [json.loads(line)["event"] for line in log.read_text("utf-8").splitlines()]
    assert events[-1] == "stopped"
    assert (tmp_path / "pace.json").exists()  # what was learned is kept at the end
    assert "2+3" not in log.read_text("utf-8")  # no prompts in the log


def test_prompts_are_in_the_log_where_they_are_asked_for(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with served(slow_engine(step_s=0.0), log_file=str(log), log_prompts=True) as server:
        server.ask(CHAT, OFF | {"max_tokens": 2})
    entries = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    assert [entry["prompt"] for entry in entries if entry["event"] == "answered"] == ["count"]
