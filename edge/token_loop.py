"""The loop that makes an answer: sample, count, decode, guard, parse, evaluate; one token at a time.

Knows: tokens, the parser's phase, and which tags are banned in it. Does not know: messages, modes, timings or sessions.

Once it is settled that there is no (more) thinking, the think tags are banned, and where there is to be thinking, the
tags that would end it before the first thought: by id where a tag is one token, and on text in every case; a tag that
got spelt out all the same is unsaid, and its first token is banned in that place. When the model's judge has set its
marker, the fixed text up to the first word of thinking or answer is forced, as it is where a mode is forced beforehand.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from threading import Event
from typing import TYPE_CHECKING

from edge.chat_types import FinishReason
from edge.tag_guard import TagGuard
from models.errors import ContextFullError
from models.tokenizer import TextDecoder

if TYPE_CHECKING:
    from edge.answer_log import AnswerLog, Stage
    from edge.loaded_model import LoadedModel
    from edge.sampling import Sampler
    from edge.stream_parser import Piece, StreamParser


class TokenLoop:
    """Continues ``tokens``, which ``sequence`` of the model's backend holds already, logits and all.

    ``decided`` is the decision made beforehand (None: the model's judge has the word). ``parser`` has been fed what
    was forced. ``limit`` is a number of generated tokens, or None for no limit but the context.
    """

    def __init__(
        self,
        model: LoadedModel,
        sequence: int,
        tokens: list[int],
        *,
        parser: StreamParser,
        sampler: Sampler,
        log: AnswerLog,
        decided: bool | None,
        limit: int | None,
        stop: Event,
    ) -> None:
        self.finish_reason: FinishReason = "stopped"
        self._model = model
        self._sequence = sequence
        self._tokens = tokens
        self._parser = parser
        self._sampler = sampler
        self._log = log
        self._decided = decided
        self._limit = limit if limit is not None else model.backend.context_size
        self._stop = stop
        self._has_thought = parser.phase == "thinking"
        self._waits_for_thought = False
        self._guard: TagGuard | None = None
        self._banned: tuple[int, ...] = ()
        self._banned_here: dict[int, tuple[int, ...]] = {}  # position -> first tokens of tags that were unsaid there

    def run(self) -> Iterator[Piece]:
        """Yield pieces of text as they come; ``finish_reason`` says afterwards why there are no more."""
        decoder = TextDecoder(self._model.tokenizer)
        self.finish_reason = yield from self._loop(decoder)
        rest = decoder.flush()
        if self._guard is not None:
            safe, num_unsaid = self._guard.feed(rest)
            rest = safe if num_unsaid else safe + self._guard.flush()
        yield from self._say(rest)
        yield from self._parser.flush()

    def _loop(self, decoder: TextDecoder) -> Generator[Piece, None, FinishReason]:
        # Names are bound once: for a small model this loop costs nearly as much as the model does.
        backend, sequence, tokens, parser = self._model.backend, self._sequence, self._tokens, self._parser
        logits, append, pick, decode = backend.logits, backend.append, self._sampler.pick, decoder.feed
        stop_ids, counts, say, is_stopped = self._model.stop_ids, self._log.tokens, self._say, self._stop.is_set
        banned_here, end = self._banned_here, len(tokens) + self._limit
        phase, thinks, stage = parser.phase, parser.think, self._enter_stage()
        while len(tokens) < end:
            if is_stopped():
                return "stopped"
            banned = self._banned + banned_here.get(len(tokens), ()) if banned_here else self._banned
            token = pick(logits(sequence), banned)
            if token in stop_ids:
                return "stop"
            tokens.append(token)
            counts[stage] += 1
            text = decode(token)
            if self._guard is not None:
                text, num_unsaid = self._guard.feed(text)
                if num_unsaid:
                    yield from say(text)
                    decoder.flush()
                    counts[stage] -= num_unsaid
                    self._unsay(num_unsaid)
                    continue
            forced: list[int] = []
            if text:
                yield from say(text)
                if self._waits_for_thought and self._log.text("thinking").strip():
                    yield from say(self._let_it_end())
                if parser.phase != phase or parser.think is not thinks:
                    if parser.phase == "done":
                        return "stop"
                    forced = self._force_opening() if thinks is None else forced
                    tokens += forced
                    end += len(forced)
                    phase, thinks, stage = parser.phase, parser.think, self._enter_stage()
            try:
                append(sequence, (token, *forced))
            except ContextFullError:
                return "context"
        return "length"

    def _say(self, text: str) -> list[Piece]:
        if not text:
            return []
        self._log.raw.append(text)
        return self._parser.feed(text)

    def _enter_stage(self) -> Stage:
        """The stage the next token counts with; bans the think tags once thinking is over or was decided against."""
        phase, thinks = self._parser.phase, self._thinks
        self._has_thought = self._has_thought or phase == "thinking"
        is_over = thinks is False or (self._has_thought and phase != "thinking")
        if is_over:
            if self._guard is None:
                self._guard = TagGuard(self._model.dialect.think_tags)
                self._banned = self._model.think_tag_ids
        elif phase == "thinking" and not self._log.text("thinking").strip():
            self._wait_for_thought()
        stage: Stage = "answer" if is_over or phase == "answer" else "thinking"
        if thinks is None and phase in ("judge", "gap"):
            stage = "judge"
        self._log.enter(stage)
        return stage

    def _wait_for_thought(self) -> None:
        """Thinking that was decided on must not be over before it began."""
        closers = self._model.dialect.think_closers
        ids = (self._model.tokenizer.token_id(tag) for tag in closers)
        self._waits_for_thought, self._guard = True, TagGuard(closers)
        self._banned = (*(token for token in ids if token is not None), *self._model.stop_ids)

    def _let_it_end(self) -> str:
        """There is a thought now; returns the text that the guard held back."""
        held = self._guard.flush() if self._guard is not None else ""
        self._waits_for_thought, self._guard, self._banned = False, None, ()
        return held

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
        self._banned_here[position] = (*self._banned_here.get(position, ()), self._tokens[position])
        del self._tokens[position:]
        if num_tokens > 1:
            self._model.backend.prefill(self._sequence, self._tokens)
