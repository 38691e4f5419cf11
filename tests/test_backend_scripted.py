"""The scripted backend keeps the contract, and plays its script."""

from __future__ import annotations

import doctest
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from backend_contract import CONTEXT, STEPS, BackendContract, check_any_order_of_calls
from hypothesis import given

from edge.backends import scripted
from edge.backends.scripted import Call, ScriptedBackend, play
from models.errors import BackendError


def checksum(tokens: Sequence[int]) -> int:
    """A script whose next token depends on every token held, and on their order."""
    return sum(position * token for position, token in enumerate(tokens, start=1)) % 1024


class TestContract(BackendContract):
    @pytest.fixture
    def backend(self) -> ScriptedBackend:
        return ScriptedBackend(checksum, context_size=CONTEXT, num_sequences=2)


@given(steps=STEPS)
def test_any_order_of_calls(steps: list[tuple[str, int, int]]) -> None:
    check_any_order_of_calls(ScriptedBackend(checksum, context_size=CONTEXT, num_sequences=2), steps)


def speak(backend: ScriptedBackend, count: int) -> list[int]:
    """The next ``count`` tokens, greedily."""
    said = []
    for _ in range(count):
        said.append(int(backend.logits(0).argmax()))
        backend.append(0, said[-1:])
    return said


def test_plays_replies_after_their_cues() -> None:
    backend = ScriptedBackend(play({(1, 2): (7, 8, 9), (3,): (5, 6)}))
    backend.prefill(0, [4, 1, 2])
    assert speak(backend, 3) == [7, 8, 9]


def test_forced_tokens_are_a_cue() -> None:
    """Closing the thinking by force must lead the script to its answer, wherever the thinking stood."""
    backend = ScriptedBackend(play({(1, 2): (7, 8, 9, 10), (3,): (5, 6)}))
    backend.prefill(0, [1, 2])
    assert speak(backend, 2) == [7, 8]
    backend.append(0, [3])
    assert speak(backend, 2) == [5, 6]


def test_script_left_is_an_error() -> None:
    backend = ScriptedBackend(play({(1,): (7,)}))
    backend.prefill(0, [1, 99])
    with pytest.raises(BackendError, match="no reply"):
        backend.logits(0)


def test_script_may_give_logits() -> None:
    logits = np.arange(1024, dtype=np.float32)
    backend = ScriptedBackend(lambda held: logits)
    backend.prefill(0, [1])
    assert np.array_equal(backend.logits(0), logits)


def test_calls_are_recorded() -> None:
    backend = ScriptedBackend(checksum)
    backend.prefill(0, [1, 2])
    backend.append(0, [3])
    backend.cut(0, 1)
    assert backend.calls == [Call("prefill", 0, (1, 2)), Call("append", 0, (3,)), Call("cut", 0, length=1)]


def test_example_in_the_documentation_is_true() -> None:
    assert doctest.testmod(scripted).failed == 0


def test_the_example_in_the_document_holds() -> None:
    """What docs/backends.md shows must run, and its comments must be what comes back."""
    text = (Path(__file__).parents[1] / "docs" / "backends.md").read_text(encoding="utf-8")
    code = textwrap.dedent(re.findall(r" *```python\n(.*?)```", text, re.DOTALL)[0])
    names: dict[str, object] = {}
    for line in code.splitlines():
        statement, _, comment = line.partition("  #")
        if "PrefillResult" in comment:
            assert repr(eval(statement, names)) == comment.strip()
        else:
            exec(statement, names)
    assert names["token"] == 7
