"""The token loop for an answer that has a shape: thinking is free, the answer is a document from its first token on.

Knows: where the answer begins, what its shape allows next, and how it ends. Does not know: schemas and grammars
(``answer_shape``), times, or how thinking is closed (``token_loop``).

What leads from the thoughts to the answer is forced, so that no token of the answer is chosen unshaped; a token that
runs from one into the other counts as the end of what stands before. In the document the model's own choice is taken
where it is allowed, else the best that is; one that would rather end or go to a new line behind a value has it closed,
instead of being led on to names and values it has no words for. Where a document breaks off, its shortest end is
written behind it: that takes no step of the model, for nothing follows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

from edge.stream_parser import Piece
from edge.token_loop import TokenLoop
from models.tokenizer import TextDecoder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge.answer_shape import AnswerShape
    from edge.sampling import Sampler
    from edge.think.controller import Action, Stage
    from models.tokenizer import ChatTokenizer


class DocumentLoop(TokenLoop):
    """A ``TokenLoop`` whose answer follows ``shape``; ``document`` says afterwards what became of it."""

    def __init__(self, *arguments: Any, shape: AnswerShape, sampler: Sampler, **options: Any) -> None:
        self._is_timed = options["is_limited"]
        super().__init__(*arguments, sampler=_ShapedSampler(sampler, self._choose), **options)  # type: ignore[arg-type]
        self.document = "cut"
        self._shape = shape
        self._is_limited = True  # a model that stops in mid-thought is made to answer
        self._in_document = False
        first_end_s = shape.end_s  # the deadline that is kept already leaves so much
        self._deadline_clock = lambda: self._clock() + shape.end_s - first_end_s

    def run(self) -> Iterator[Piece]:
        decoder = _DocumentDecoder(self._model.tokenizer, self)
        self.finish_reason = yield from self._loop_to_end(decoder)
        yield from self._say(self._bans.flush())
        if not self._in_document:
            yield from self._parser.flush()
            if self.finish_reason == "stopped":
                return
            self._begin()
        text = self._shape.completion()
        if text is None:
            return
        self._log.forced(len(self._forced_text.encode(text)))
        yield from self._say(text)
        self.document = "whole" if self.finish_reason == "stop" and not text else "completed"

    def take(self, token: int) -> None:
        """``token`` was accepted."""
        if not self._in_document:
            return
        self._shape.take(token, self._model.tokenizer.token_bytes(token))
        if self._is_timed and self._shape.has_grown:
            self._shape.measure_end()
            self._controller.forced()  # the time was no step's

    def _choose(self, sampler: Sampler, logits: NDArray[np.float32], banned: Sequence[int]) -> int:
        """The next token; a stop token at the end of the document and of what stands before it."""
        shape, stop_ids = self._shape, self._model.stop_ids
        if self._in_document and shape.is_complete:
            return min(stop_ids)
        token = sampler.pick(logits, banned)
        if not self._in_document:
            return min(stop_ids) if self._runs_into_answer(token) else token
        if token not in stop_ids and shape.allows(token):
            return token
        if shape.can_end and (shape.is_begun or token in stop_ids):
            return min(stop_ids)
        if self._wants_no_more(token) and (brackets := shape.brackets):
            return self._forced_text.encode(brackets[0])[0]
        return sampler.pick(shape.masked(logits), banned)

    def _wants_no_more(self, token: int) -> bool:
        """Whether ``token``, which is not allowed, is no word of a document: an end, or white space."""
        return token in self._model.stop_ids or not self._model.tokenizer.token_bytes(token).strip()

    def _runs_into_answer(self, token: int) -> bool:
        """Whether ``token`` has words of an answer in it that nothing has shaped."""
        text = self._model.tokenizer.token_bytes(token).decode(errors="ignore")
        return any(piece.kind == "answer" and piece.text.strip() for piece in copy(self._parser).feed(text))

    def _words(self, is_end: bool, action: Action, decoder: TextDecoder) -> str | None:
        if is_end and not self._owes_thinking():
            return self._answer_opening() or None
        return super()._words(is_end, action, decoder)

    def _force_opening(self) -> list[int]:
        tokens = super()._force_opening()
        if tokens or self._parser.phase != "gap" or not self._has_thought:
            return tokens
        opening = self._answer_opening()
        tokens = self._forced_text.encode(opening)
        self._log.forced(len(tokens))
        self._say(opening)
        return tokens

    def _answer_opening(self) -> str:
        """The fixed text that is still to come before the document."""
        phase, said = self._parser.phase, "".join(self._log.raw[-8:])
        is_closed = phase == "gap"
        if is_closed:
            phase = "thinking" if self._has_thought else "judge"
        return self._forced_text.answer_opening(phase, said, is_closed=is_closed)

    def _enter_stage(self) -> Stage:
        stage = super()._enter_stage()
        if stage == "answer" and not self._in_document:
            self._begin()
        return stage

    def _begin(self) -> None:
        self._in_document = True
        self._parser.begin_answer()

    def _say(self, text: str) -> list[Piece]:
        if not self._in_document or not text:
            return super()._say(text)
        self._log.raw.append(text)
        return [Piece("answer", text)]  # a tag in a document is text

    def _unsay(self, num_tokens: int) -> None:
        super()._unsay(num_tokens)
        if self._in_document:
            self._shape.take_back(num_tokens)


class _ShapedSampler:
    """What the loop takes for its sampler: ``choose`` has the last word."""

    def __init__(self, sampler: Sampler, choose: Any) -> None:
        self._sampler = sampler
        self._choose = choose

    def pick(self, logits: NDArray[np.float32], banned: Sequence[int] = ()) -> int:
        return int(self._choose(self._sampler, logits, banned))


class _DocumentDecoder(TextDecoder):
    """Tells ``loop`` of every token that is accepted."""

    def __init__(self, tokenizer: ChatTokenizer, loop: DocumentLoop) -> None:
        super().__init__(tokenizer)
        self._take = loop.take

    def feed(self, token: int) -> str:
        self._take(token)
        return super().feed(token)
