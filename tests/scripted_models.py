"""Models without a network: a scripted backend that speaks a dialect through a real tokenizer.

Knows: how wished-for replies become logits. Does not know: the code under test.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from small_vocabularies import one_token_tags

from edge.backends.scripted import ScriptedBackend
from edge.loaded_model import LoadedModel
from models.dialect import DIALECTS, Dialect, MarkLayout
from models.tokenizer import BpeChatTokenizer, stop_token_ids


class FakeClock:
    """A clock that goes on by ``step_s`` at every reading."""

    def __init__(self, step_s: float = 1.0) -> None:
        self.now_s = 0.0
        self.step_s = step_s

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


def scripted_model(
    *replies: str,
    dialect: str = "hipo",
    has_tag_tokens: bool = True,
    context_size: int = 512,
    chunk_size: int = 16,
) -> LoadedModel:
    """A model that wants to say ``replies[0]``; where that is banned it goes on as the next reply with the same start.

    A reply with a judge is for auto only, the others are for every mode.
    ``has_tag_tokens``: every tag is one token; otherwise tags are several ordinary tokens, as in the real HiPO models.
    """
    spoken = DIALECTS[dialect]
    tags = spoken.control_texts if has_tag_tokens else (*spoken.marks, *spoken.stop_tokens)
    tokenizer = BpeChatTokenizer(one_token_tags(tags), spoken.control_texts)
    stop_ids = stop_token_ids(spoken, tokenizer)
    script = _Script(spoken, tokenizer, replies, stop=min(stop_ids))
    backend = ScriptedBackend(script, vocab_size=tokenizer.vocab_size, context_size=context_size, chunk_size=chunk_size)
    tag_ids = (tokenizer.token_id(tag) for tag in spoken.think_tags)
    return LoadedModel(
        name="scripted",
        path=Path("scripted.gguf"),
        backend=backend,
        tokenizer=tokenizer,
        dialect=spoken,
        dialect_reason="a test says so",
        stop_ids=stop_ids,
        think_tag_ids=tuple(token for token in tag_ids if token is not None),
        sampling=spoken.sampling,
    )


def num_tokens(model: LoadedModel, text: str) -> int:
    """How many tokens ``text`` is when the model says it."""
    return len(model.tokenizer.encode_control(text))


class _Script:
    """Logits from what follows the last opening of an assistant's turn."""

    def __init__(self, dialect: Dialect, tokenizer: BpeChatTokenizer, replies: Sequence[str], *, stop: int) -> None:
        assert isinstance(dialect.layout, MarkLayout)
        encode = tokenizer.encode_control
        self._opening = encode(dialect.layout.opening)
        self._vocab_size = tokenizer.vocab_size
        self._stop = stop
        self._lines = [
            [*encode(forced), *encode(reply), stop]
            for reply in replies
            for forced in ("", dialect.forced_on, dialect.forced_off)
            if not (forced and "</judge>" in reply)
        ]

    def __call__(self, held: Sequence[int]) -> NDArray[np.float32]:
        width = len(self._opening)
        starts = [end for end in range(width, len(held) + 1) if list(held[end - width : end]) == self._opening]
        logits = np.zeros(self._vocab_size, np.float32)
        if not starts:  # in mid-prompt there is nothing to say yet
            return logits
        spoken = list(held[starts[-1] :])
        logits[self._stop] = 1
        for rank, line in enumerate(self._lines):
            if len(spoken) < len(line) and line[: len(spoken)] == spoken:
                token = line[len(spoken)]
                logits[token] = max(float(logits[token]), 100 - rank)
        return logits
