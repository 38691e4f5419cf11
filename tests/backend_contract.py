"""What every backend promises, as tests that each backend's own test file inherits.

Knows: the contract in ``edge.backends.base``. Does not know: any device.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray
from tiny_models import random_tokens

from edge.backends.base import Backend, PrefillResult
from models.errors import BackendError, ContextFullError, UsageError

CONTEXT = 700
TOKENS = random_tokens(300)
STEPS = st.lists(
    st.tuples(st.sampled_from(["prefill", "append", "cut", "stop"]), st.integers(0, 1), st.integers(1, 160)), max_size=8
)


def fresh_logits(backend: Backend, tokens: list[int]) -> NDArray[np.float32]:
    """What the backend computes for ``tokens`` in one go, in the second sequence, which is empty before and after."""
    backend.cut(1, 0)
    backend.prefill(1, tokens)
    logits = backend.logits(1).copy()
    backend.cut(1, 0)
    return logits


class BackendContract:
    """A subclass gives ``backend``: an open one with two sequences and ``CONTEXT`` tokens.

    ``tolerance`` of logits is for devices that round by batch.
    """

    tolerance = 0.0

    def assert_same(self, found: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
        """The same text to the model."""
        np.testing.assert_allclose(found, expected, rtol=0, atol=self.tolerance)

    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        raise NotImplementedError

    def test_attributes(self, backend: Backend) -> None:
        assert (backend.context_size, backend.num_sequences) == (CONTEXT, 2)
        assert backend.vocab_size > 255 and backend.num_threads >= 1 and backend.kv_bytes_per_token >= 0

    def test_threads_can_be_set(self, backend: Backend) -> None:
        """A call that comes in while others run may be given fewer cores."""
        backend.set_threads(2)
        assert backend.num_threads == 2
        with pytest.raises(UsageError, match="threads is 0"):
            backend.set_threads(0)

    def test_prefill_keeps_the_common_prefix(self, backend: Backend) -> None:
        """A second turn must pay for its new tokens only, and one that differs early must not keep what follows."""
        assert backend.prefill(0, TOKENS[:100]) == PrefillResult(0, 100, True)
        assert backend.prefill(0, TOKENS[:150]) == PrefillResult(100, 50, True)
        other = [*TOKENS[:40], TOKENS[40] ^ 1, *TOKENS[41:60]]
        assert backend.prefill(0, other) == PrefillResult(40, 20, True)
        assert backend.length(0) == 60
        self.assert_same(backend.logits(0), fresh_logits(backend, other))

    def test_prefill_evaluates_the_last_token_again(self, backend: Backend) -> None:
        """A repeated prompt, or one that was longer before, must not leave the logits of another position."""
        backend.prefill(0, TOKENS[:80])
        assert backend.prefill(0, TOKENS[:50]) == PrefillResult(49, 1, True)
        assert backend.prefill(0, TOKENS[:50]) == PrefillResult(49, 1, True)
        self.assert_same(backend.logits(0), fresh_logits(backend, TOKENS[:50]))

    def test_append_equals_prefill(self, backend: Backend) -> None:
        """One token at a time, a forced run, and all at once are the same text to the model."""
        backend.prefill(0, TOKENS[:200])
        backend.append(0, (TOKENS[200],))
        backend.append(0, TOKENS[201:])
        assert backend.length(0) == len(TOKENS)
        self.assert_same(backend.logits(0), fresh_logits(backend, TOKENS))

    @pytest.mark.parametrize("length", [1, 55, 99, 100])
    @pytest.mark.parametrize("num_held", [0, 50, 100])
    def test_logits_of_a_second_place_come_along_or_not_at_all(
        self, backend: Backend, length: int, num_held: int
    ) -> None:
        """The probe reads the judge's odds and the first word of an answer from one pass, where that can be."""
        if num_held:
            backend.prefill(0, TOKENS[:num_held])
        found = backend.prefill_seeing(0, TOKENS[:100], length)
        if found is None:
            assert backend.length(0) == num_held
            return
        result, seen = found
        assert result.is_complete and backend.length(0) == 100 and seen is not None
        last = backend.logits(0).copy()
        self.assert_same(seen, fresh_logits(backend, TOKENS[:length]))
        self.assert_same(last, fresh_logits(backend, TOKENS[:100]))
        backend.append(0, TOKENS[100:101])
        self.assert_same(backend.logits(0), fresh_logits(backend, TOKENS[:101]))

    @pytest.mark.parametrize("num_asks", [0, 1, 2])
    def test_logits_of_a_second_place_are_none_after_a_stop(self, backend: Backend, num_asks: int) -> None:
        asks = iter([False] * num_asks)
        found = backend.prefill_seeing(0, TOKENS, 290, should_stop=lambda: next(asks, True))
        assert found is None or (found[1] is None) == (not found[0].is_complete)
        found = backend.prefill_seeing(0, TOKENS, 290)
        assert found is None or (found[0].is_complete and found[1] is not None)

    def test_append_of_nothing_changes_nothing(self, backend: Backend) -> None:
        backend.prefill(0, TOKENS[:5])
        before = backend.logits(0).copy()
        backend.append(0, [])
        assert np.array_equal(backend.logits(0), before)

    def test_logits_need_an_evaluated_token(self, backend: Backend) -> None:
        """Stale logits of a cut sequence would continue another text."""
        with pytest.raises(BackendError, match="no logits"):
            backend.logits(0)
        backend.prefill(0, TOKENS[:10])
        backend.cut(0, 10)
        with pytest.raises(BackendError, match="no logits"):
            backend.logits(0)
        backend.append(0, TOKENS[10:12])
        self.assert_same(backend.logits(0), fresh_logits(backend, TOKENS[:12]))

    def test_sequences_are_independent(self, backend: Backend) -> None:
        """Logits of one sequence outlive work on the other, and its tokens do not leak."""
        backend.prefill(0, TOKENS[:70])
        before = backend.logits(0).copy()
        backend.prefill(1, TOKENS[100:130])
        backend.append(1, TOKENS[130:131])
        assert np.array_equal(backend.logits(0), before)
        backend.append(0, TOKENS[70:71])
        after = backend.logits(0).copy()
        assert backend.length(1) == 31
        self.assert_same(after, fresh_logits(backend, TOKENS[:71]))

    def test_context_is_filled_to_the_last_token_and_no_further(self, backend: Backend) -> None:
        tokens = random_tokens(CONTEXT, seed=1)
        backend.prefill(0, tokens[:-1])
        backend.append(0, tokens[-1:])
        full = backend.logits(0).copy()
        with pytest.raises(ContextFullError, match=f"{CONTEXT} tokens is full"):
            backend.append(0, [1])
        with pytest.raises(ContextFullError):
            backend.prefill(0, [*tokens, 1])
        with pytest.raises(ContextFullError):
            backend.prefill(1, [1])
        assert backend.length(0) == CONTEXT
        assert np.array_equal(backend.logits(0), full)

    @pytest.mark.parametrize("bad", [-1, 10**6, 2**40])
    def test_foreign_tokens_are_refused(self, backend: Backend, bad: int) -> None:
        """A token outside the vocabulary must not reach the device, nor disturb what it holds."""
        backend.prefill(0, TOKENS[:10])
        for call in (backend.append, backend.prefill):
            with pytest.raises(BackendError, match=f"Token {bad}"):
                call(0, [*TOKENS[:12], bad])
        assert backend.length(0) == 10

    @pytest.mark.parametrize("sequence", [-1, 2])
    def test_unknown_sequences_are_refused(self, backend: Backend, sequence: int) -> None:
        for call in (
            lambda: backend.prefill(sequence, [1]),
            lambda: backend.append(sequence, [1]),
            lambda: backend.logits(sequence),
            lambda: backend.length(sequence),
            lambda: backend.cut(sequence, 0),
            lambda: backend.save(sequence),
        ):
            with pytest.raises(BackendError, match="no sequence"):
                call()

    def test_empty_prefill_is_refused(self, backend: Backend) -> None:
        with pytest.raises(BackendError, match="at least one token"):
            backend.prefill(0, [])

    @pytest.mark.parametrize("length", [-1, 11])
    def test_cut_stays_inside(self, backend: Backend, length: int) -> None:
        backend.prefill(0, TOKENS[:10])
        with pytest.raises(BackendError, match="cannot be cut"):
            backend.cut(0, length)
        assert backend.length(0) == 10

    @pytest.mark.parametrize("num_asks", [0, 1, 2, 50])
    def test_interrupted_prefill_holds_whole_tokens(self, backend: Backend, num_asks: int) -> None:
        """After a stop the sequence must hold exactly what it says, so that the next prefill can go on from there."""
        backend.prefill(0, TOKENS[:20])
        asks = iter(range(num_asks))
        result = backend.prefill(0, TOKENS, should_stop=lambda: next(asks, None) is None)
        assert result.cached_tokens == 20
        assert backend.length(0) == 20 + result.evaluated_tokens
        assert result.is_complete == (backend.length(0) == len(TOKENS))
        if num_asks <= 1:
            assert not result.is_complete
            with pytest.raises(BackendError, match="no logits"):
                backend.logits(0)
        rest = backend.prefill(0, TOKENS)
        assert rest.is_complete and rest.cached_tokens == min(20 + result.evaluated_tokens, len(TOKENS) - 1)
        self.assert_same(backend.logits(0), fresh_logits(backend, TOKENS))

    def test_error_in_should_stop_comes_through(self, backend: Backend) -> None:
        """Ctrl-C during a prefill is raised inside a callback from C, where Python would swallow it."""

        def interrupt() -> bool:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            backend.prefill(0, TOKENS, should_stop=interrupt)
        backend.prefill(0, TOKENS)
        self.assert_same(backend.logits(0), fresh_logits(backend, TOKENS))

    def test_saved_state_comes_back(self, backend: Backend) -> None:
        backend.prefill(0, TOKENS[:90])
        state = backend.save(0)
        backend.prefill(0, TOKENS[200:230])
        for sequence in (0, 1):
            backend.restore(sequence, state)
            assert backend.length(sequence) == 90
        backend.cut(1, 0)
        assert backend.prefill(0, TOKENS[:95]) == PrefillResult(90, 5, True)
        self.assert_same(backend.logits(0), fresh_logits(backend, TOKENS[:95]))

    def test_empty_state_comes_back(self, backend: Backend) -> None:
        state = backend.save(0)
        backend.prefill(0, TOKENS[:9])
        backend.restore(0, state)
        assert backend.length(0) == 0
        backend.prefill(0, TOKENS[:9])
        self.assert_same(backend.logits(0), fresh_logits(backend, TOKENS[:9]))

    @pytest.mark.parametrize("state", [b"", b"{}", b"[]", b"EDGESEQ1", b"EDGESEQ1" + bytes(100)])
    def test_foreign_states_are_refused(self, backend: Backend, state: bytes) -> None:
        backend.prefill(0, TOKENS[:9])
        with pytest.raises(BackendError, match="prefill instead"):
            backend.restore(0, state)
        assert backend.length(0) == 9

    def test_closed_backend_refuses_politely(self, backend: Backend) -> None:
        """A freed handle given to C would end the process."""
        backend.prefill(0, TOKENS[:9])
        state = backend.save(0)
        backend.close()
        backend.close()
        for call in (
            lambda: backend.prefill(0, [1]),
            lambda: backend.append(0, [1]),
            lambda: backend.logits(0),
            lambda: backend.length(0),
            lambda: backend.cut(0, 0),
            lambda: backend.save(0),
            lambda: backend.restore(0, state),
        ):
            with pytest.raises(BackendError, match="closed"):
                call()


def check_any_order_of_calls(backend: Backend, steps: list[tuple[str, int, int]], tolerance: float = 0.0) -> None:
    """Whatever was called before, a sequence holds what the book says and computes what a fresh one would.

    ``steps`` are ``STEPS``: verb, sequence, number. ``tolerance`` is for devices that round by batch.
    """
    model: list[list[int]] = [[], []]
    for sequence in (0, 1):
        backend.cut(sequence, 0)
    for verb, sequence, number in steps:
        held = model[sequence]
        if verb == "append":
            backend.append(sequence, TOKENS[: min(number, 30)])
            held += TOKENS[: min(number, 30)]
        elif verb == "cut":
            del held[number:]
            backend.cut(sequence, len(held))
        else:
            asks = iter(range(number if verb == "stop" else 10**6))
            backend.prefill(sequence, TOKENS[:number], should_stop=lambda asks=asks: next(asks, None) is None)
            held[:] = TOKENS[: backend.length(sequence)]
        assert [backend.length(0), backend.length(1)] == [len(tokens) for tokens in model]
    for sequence, held in enumerate(model):
        backend.append(sequence, [7])
        found = backend.logits(sequence).copy()
        backend.cut(sequence, 0)
        backend.prefill(sequence, [*held, 7])
        np.testing.assert_allclose(found, backend.logits(sequence), rtol=0, atol=tolerance)
