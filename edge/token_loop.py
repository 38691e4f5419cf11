"""The loop that makes an answer: sample, count, decode, guard, parse, evaluate; one token at a time.

Knows: tokens, the parser's phase, and what is to be forced. Does not know: messages, modes, timings or sessions, or
which tags are banned when (``token_bans``).

A tag that is banned and got spelt out all the same is unsaid, and its first token is banned in that place. When the
model's judge has set its marker, the fixed text up to the first word of thinking or answer is forced, as it is where a
mode is forced beforehand. The controller sees every token before it is accepted; what it asks for is done here:
thinking is closed by forced tokens, which stand where the token in hand would have stood. Thinking that must go on
longer is treated the same way: the tag that ends it is unsaid, and a line that goes on is forced.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from threading import Event
from typing import TYPE_CHECKING

from edge.chat_types import DocumentState, FinishReason
from edge.think.controller import Action, Cause, Stage
from edge.token_bans import TokenBans
from models.errors import ContextFullError
from models.tokenizer import TextDecoder

if TYPE_CHECKING:
    from edge.answer_log import AnswerLog
    from edge.backends.base import Backend
    from edge.drafted import DraftedTokens
    from edge.forced_text import ForcedText
    from edge.loaded_model import LoadedModel
    from edge.sampling import Sampler
    from edge.stream_parser import Piece, StreamParser
    from edge.think.controller import Controller


class TokenLoop:
    """Continues ``tokens``, which ``sequence`` of ``backend`` holds already, logits and all.

    ``decided`` is the decision made beforehand (None: the model's judge has the word). ``parser`` has been fed what
    was forced. ``limit`` is a number of generated tokens, or None for no limit but the context. ``controller`` reads
    ``tokens``, ``least_thinking`` is how many of them thinking must have; ``is_limited``: a model that stops in
    mid-thought is made to answer. ``stop`` ends the answer and ``stop_thinking`` the thinking, from any thread.
    ``clock`` gives seconds.
    """

    def __init__(
        self,
        model: LoadedModel,
        sequence: int,
        tokens: list[int],
        *,
        backend: Backend | DraftedTokens,
        parser: StreamParser,
        sampler: Sampler,
        log: AnswerLog,
        controller: Controller,
        forced_text: ForcedText,
        decided: bool | None,
        limit: int | None,
        least_thinking: int,
        is_limited: bool,
        stop: Event,
        stop_thinking: Event,
        clock: Callable[[], float],
    ) -> None:
        self.finish_reason: FinishReason = "stopped"
        self.closed_by: Cause | None = None  # why the thinking was closed, where the model did not end it
        self.document: DocumentState | None = None  # what became of a shape that was asked for
        self._model = model
        self._backend = backend
        self._sequence = sequence
        self._tokens = tokens
        self._parser = parser
        self._sampler = sampler
        self._log = log
        self._controller = controller
        self._forced_text = forced_text
        self._decided = decided
        self._end = len(tokens) + (limit if limit is not None else model.backend.context_size)
        self._least_thinking = least_thinking
        self._is_limited = is_limited
        self._stop = stop
        self._stop_thinking = stop_thinking
        self._clock = self._deadline_clock = clock  # the latter runs ahead by what is still to be done at the end
        self._has_thought = parser.phase == "thinking"
        self._thinking_start = len(tokens)
        self._bans = TokenBans(model, self._owes_thinking)

    def run(self) -> Iterator[Piece]:
        """Yield pieces of text as they come; ``finish_reason`` says afterwards why there are no more."""
        decoder = TextDecoder(self._model.tokenizer)
        self.finish_reason = yield from self._loop_to_end(decoder)
        if self.finish_reason in ("deadline", "loop"):  # half a character is no text
            decoder.drop()
        yield from self._say(self._bans.flush(decoder.flush()))
        yield from self._parser.flush()

    def _loop_to_end(self, decoder: TextDecoder) -> Generator[Piece, None, FinishReason]:
        try:
            return (yield from self._loop(decoder))
        except ContextFullError:
            return "context"

    def _loop(self, decoder: TextDecoder) -> Generator[Piece, None, FinishReason]:
        # Names are bound once: for a small model this loop costs nearly as much as the model does.
        backend, sequence, tokens, parser = self._backend, self._sequence, self._tokens, self._parser
        logits, append, pick, decode = backend.logits, backend.append, self._sampler.pick, decoder.feed
        stop_ids, counts, say, is_stopped = self._model.stop_ids, self._log.tokens, self._say, self._stop.is_set
        see, clock, wants_answer = self._controller.see, self._deadline_clock, self._stop_thinking.is_set
        bans, feed = self._bans, self._bans.feed
        phase, thinks, stage, text = parser.phase, parser.think, self._enter_stage(), ""
        while len(tokens) < self._end:
            if is_stopped():
                return "stopped"
            banned = bans.at(len(tokens))
            token = pick(logits(sequence, banned), banned)
            action = see(clock(), stage, text, wants_answer())
            if action != "go" or token in stop_ids:
                end = self._finish(token in stop_ids, action, stage)
                if end is not None:
                    return end
                if words := self._words(token in stop_ids, action, decoder):
                    yield from self._force(words)
                    phase, thinks, stage, text = parser.phase, parser.think, self._enter_stage(), ""
                    continue
                if token in stop_ids:
                    return "stop"
            tokens.append(token)
            counts[stage] += 1
            text, num_unsaid = feed(decode(token))
            if num_unsaid:
                yield from say(text)
                decoder.flush()
                counts[stage] -= num_unsaid
                self._unsay(num_unsaid)
                text = ""
                if bans.keeps_thinking:
                    yield from self._force(self._forced_text.wait(self._said))
                continue
            forced: list[int] = []
            if text:
                yield from say(text)
                if bans.waits_for is not None:
                    yield from say(self._hear_beginning())
                if parser.phase != phase or parser.think is not thinks:
                    if parser.phase == "done":
                        return "stop"
                    forced = self._force_opening()
                    tokens += forced
                    self._end += len(forced)
                    phase, thinks, stage = parser.phase, parser.think, self._enter_stage()
            if action == "last":
                return "deadline"
            append(sequence, (token, *forced))
        return "length"

    def _hear_beginning(self) -> str:
        """Look whether there is a thought, or a word of an answer, by now; returns the text that was held back."""
        bans, log, has_called = self._bans, self._log, self._parser.num_calls > 0
        if bans.waits_for == "answer":
            has_begun = has_called or bool(log.text("answer").strip())
            bans.look_for_answer(len(self._tokens), is_open=self._parser.phase == "answer", has_begun=has_begun)
        elif has_called or log.text("thinking").strip():
            return bans.thought_came()
        return ""

    def _finish(self, is_end: bool, action: Action, stage: Stage) -> FinishReason | None:
        """Why the answer ends before the token in hand, or None."""
        if is_end and (stage == "answer" or not self._is_limited or self._parser.num_calls):
            return "stop"
        if action == "end":
            return "loop" if self._controller.cause == "loop" else "deadline"
        return None

    def _words(self, is_end: bool, action: Action, decoder: TextDecoder) -> str | None:
        """What is to be forced instead of the token in hand; None: nothing, or not in the middle of a character."""
        if is_end and self._owes_thinking():
            return self._forced_text.wait(self._said)
        if action == "last" or not decoder.is_whole or self._bans.is_holding:
            return None
        words = self._forced_text.closing(self._parser, is_soft=action == "soft", said=self._said)
        if words is not None:
            self.closed_by = self._controller.cause
        return words

    def _force(self, words: str) -> list[Piece]:
        """Write ``words`` into the model's mouth. Raises ContextFullError."""
        start_s = self._clock()
        ids = self._forced_text.encode(words)
        self._backend.append(self._sequence, ids)
        self._tokens += ids
        self._end += len(ids)
        self._log.forced(len(ids), start_s)
        self._controller.forced()
        return self._say(words)

    def _owes_thinking(self) -> bool:
        """Whether the thinking is under way and shorter than it must be."""
        return self._parser.phase == "thinking" and len(self._tokens) - self._thinking_start < self._least_thinking

    @property
    def _said(self) -> str:
        """The end of what was said so far; the marks before it end in a line end."""
        return self._log.raw[-1] if self._log.raw else "\n"

    def _say(self, text: str) -> list[Piece]:
        if not text:
            return []
        self._log.raw.append(text)
        return self._parser.feed(text)

    def _enter_stage(self) -> Stage:
        """The stage the next token counts with; bans the think tags once thinking is over or was decided against."""
        phase, thinks = self._parser.phase, self._thinks
        if phase == "thinking" and not self._has_thought:
            self._thinking_start = len(self._tokens)
        self._has_thought = self._has_thought or phase == "thinking"
        is_over = thinks is False or (self._has_thought and phase != "thinking")
        if is_over:
            self._bans.begin_answer(len(self._tokens), is_open=phase == "answer")
        elif phase == "thinking" and not self._log.text("thinking").strip():
            self._bans.wait_for_thought()
        stage: Stage = "answer" if is_over or phase == "answer" else "thinking"
        if thinks is None and phase in ("judge", "gap"):
            stage = "judge"
        self._log.enter(stage)
        return stage

    def _force_opening(self) -> list[int]:
        """The tokens of the fixed text behind the judge's marker, none where the model has gone on in its own way."""
        think = self._parser.think
        if self._decided is not None or think is None or self._parser.phase != "gap":
            return []
        opening = self._model.dialect.opening(think, "".join(self._log.raw))
        tokens = self._model.tokenizer.encode_control(opening)
        self._log.forced(len(tokens))
        self._say(opening)
        return tokens

    @property
    def _thinks(self) -> bool | None:
        return self._decided if self._decided is not None else self._parser.think

    def _unsay(self, num_tokens: int) -> None:
        """Take back the last tokens, of which the backend has not seen the very last; ban the first of them there."""
        position = len(self._tokens) - num_tokens
        self._bans.unsaid(position, self._tokens[position])
        del self._tokens[position:]
        self._controller.forced()
        if num_tokens > 1:
            self._backend.prefill(self._sequence, self._tokens)
