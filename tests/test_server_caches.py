"""Conversations that take turns are not evaluated anew, within a limit of memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_models import scripted_model
from served import served

from edge.backends.scripted import ScriptedBackend, play
from edge.engine import Engine
from edge.server.cache_file import read_caches, write_caches
from edge.server.caches import LEAST_TOKENS, MOST_STATES, ConversationCaches, common_length

ENDLESS = b'{"format": "edge-caches", "version": 1, "model": "model", "states": [{"prompt": [], "bytes": Infinity}]}\n'
ONE, OTHER = tuple(range(100)), tuple(range(200, 300))


def backend_of() -> ScriptedBackend:
    return ScriptedBackend(play({(1,): (2,)}), vocab_size=1024)


def turn(caches: ConversationCaches, backend: ScriptedBackend, prompt: tuple[int, ...]) -> int:
    """One answer to ``prompt``; gives the tokens that were cached."""
    caches.make_ready(prompt)
    return backend.prefill(0, prompt).cached_tokens


def test_two_conversations_that_take_turns_keep_their_caches() -> None:
    """Without this, two users of one device read each other out of its memory with every turn."""
    backend = backend_of()
    caches = ConversationCaches(backend, 10**6)
    assert turn(caches, backend, ONE) == turn(caches, backend, OTHER) == 0
    assert turn(caches, backend, (*ONE, 7, 8)) == len(ONE)
    assert turn(caches, backend, (*OTHER, 7, 8)) == len(OTHER)


def test_what_is_cached_is_known_beforehand() -> None:
    backend = backend_of()
    caches = ConversationCaches(backend, 10**6)
    for prompt in (ONE, OTHER):
        turn(caches, backend, prompt)
    assert (caches.cached_tokens((*ONE, 5)), caches.cached_tokens((*OTHER, 5)), caches.cached_tokens((9,))) == (
        100,
        100,
        0,
    )


def test_the_least_recently_used_goes_first() -> None:
    backend = backend_of()
    caches = ConversationCaches(backend, 1200)  # room for two states
    prompts = [tuple(range(first, first + 100)) for first in (0, 100, 200, 300)]
    for prompt in prompts:
        turn(caches, backend, prompt)
    assert caches.num_bytes <= 1200
    assert turn(caches, backend, prompts[0]) == 0
    assert turn(caches, backend, prompts[2]) == 99  # the last token is always evaluated


def test_a_limit_of_zero_keeps_nothing() -> None:
    backend = backend_of()
    caches = ConversationCaches(backend, 0)
    for prompt in (ONE, OTHER):
        turn(caches, backend, prompt)
    assert caches.num_bytes == 0


def test_short_prompts_are_not_kept() -> None:
    """To copy them costs more than to evaluate them."""
    backend = backend_of()
    caches = ConversationCaches(backend, 10**6)
    for prompt in (ONE[: LEAST_TOKENS - 1], OTHER):
        turn(caches, backend, prompt)
    assert caches.num_bytes == 0


@given(st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2)))
def test_common_length(one: list[int], other: list[int]) -> None:
    plain = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    assert common_length(one, other) == plain


@pytest.mark.parametrize("api", ["/v1/chat/completions", "/api/chat"])
def test_a_conversation_that_goes_on_is_not_evaluated_again(api: str) -> None:
    """Through the server, with somebody else's long question in between."""
    with served(Engine(scripted_model("1 2 3", context_size=2048))) as server:

        def ask(*messages: str) -> tuple[int, int]:
            turns = [{"role": "assistant" if i % 2 else "user", "content": text} for i, text in enumerate(messages)]
            body = {"model": "scripted", "messages": turns, "stream": False, "edge": {"think": "off"}}
            tokens = server.ask(api, body).json["edge"]["tokens"]
            return tokens["prompt_tokens"], tokens["cached_tokens"]

        first, _ = ask("a first question " * 10)
        ask("somebody else wants to know " * 10)
        _, cached = ask("a first question " * 10, "1 2 3", "and then?")
        assert cached > first - 20  # all but the opening of the answer, which is written otherwise in a history


def test_many_conversations_are_kept_and_found() -> None:
    """To look through all of them with every request took longer than the answer."""
    backend = ScriptedBackend(play({(1,): (2,)}), vocab_size=2 * MOST_STATES)
    caches = ConversationCaches(backend, 10**9)
    prompts = [(number, *range(1, 80)) for number in range(MOST_STATES + 50)]
    for prompt in prompts:
        turn(caches, backend, prompt)
    assert len(caches.states()) == MOST_STATES
    assert caches.num_bytes == sum(len(state) for _, state in caches.states())
    assert caches.cached_tokens((*prompts[-5], 9)) == len(prompts[-5])
    assert caches.cached_tokens((*prompts[0], 9)) == 0


def test_caches_come_through_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "caches"
    backend = backend_of()
    caches = ConversationCaches(backend, 10**6)
    for prompt in (ONE, OTHER):
        turn(caches, backend, prompt)
    assert write_caches(path, "model", caches.states()) is None
    assert path.stat().st_mode & 0o077 == 0  # it holds what people wrote
    backend = backend_of()
    caches = ConversationCaches(backend, 10**6)
    caches.refill(read_caches(path, "model", 10**6))
    assert turn(caches, backend, (*ONE, 7)) == len(ONE)
    assert turn(caches, backend, (*OTHER, 7)) == len(OTHER)


def test_the_last_used_come_back_where_there_is_less_room(tmp_path: Path) -> None:
    states = [((number,), bytes([number]) * 100) for number in range(5)]
    write_caches(tmp_path / "caches", "model", states)
    assert read_caches(tmp_path / "caches", "model", 250) == states[3:]
    assert read_caches(tmp_path / "caches", "model", 10**6) == states


@pytest.mark.parametrize(
    "damage", [b"", b"{}\n", b"no json\n", b'{"format": "edge-caches", "version": 1}\n', b"[1]\n", ENDLESS]
)
def test_a_damaged_or_foreign_file_of_caches_is_none(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "caches").write_bytes(damage)
    assert read_caches(tmp_path / "caches", "model", 10**6) == []


def test_caches_of_another_model_or_cut_off_are_none(tmp_path: Path) -> None:
    path = tmp_path / "caches"
    write_caches(path, "model", [((1,), b"x" * 100)])
    assert read_caches(path, "another", 10**6) == []
    os.truncate(path, 80)
    assert read_caches(path, "model", 10**6) == []


def test_a_full_disk_leaves_the_last_caches_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "caches"
    write_caches(path, "model", [((1,), b"old")])
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    sentence = write_caches(path, "model", [((2,), b"new")])
    assert sentence is not None and "No space left" in sentence
    assert read_caches(path, "model", 10**6) == [((1,), b"old")]
    assert [entry.name for entry in tmp_path.iterdir()] == ["caches"]


def test_a_conversation_goes_on_after_a_restart(tmp_path: Path) -> None:
    """Through the server: what was read before the stop is not read again after the start."""
    question = "a first question " * 10

    def ask(*messages: str) -> tuple[int, int]:
        with served(Engine(scripted_model("1 2 3", context_size=2048)), cache_file=str(tmp_path / "caches")) as server:
            turns = [{"role": "assistant" if i % 2 else "user", "content": text} for i, text in enumerate(messages)]
            body = {"model": "scripted", "messages": turns, "edge": {"think": "off"}}
            tokens = server.ask("/v1/chat/completions", body).json["edge"]["tokens"]
            return tokens["prompt_tokens"], tokens["cached_tokens"]

    first, _ = ask(question)
    assert ask(question, "1 2 3", "and then?")[1] > first - 20
