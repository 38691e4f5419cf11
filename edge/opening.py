"""From messages to the first logits: render, encode, check, prefill, and measure a device that is new.

Knows: prompts, prefills and their times. Does not know: what is generated afterwards, or how a mode is decided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from edge.chat_types import Message
from edge.stream_parser import StreamParser
from models.errors import PromptError

if TYPE_CHECKING:
    from edge.loaded_model import LoadedModel
    from edge.think.probe import FirstToken
    from edge.think.speed import SpeedModel
    from models.dialect import Think

MEASURED_STEPS = 4  # the last tokens of a prompt, evaluated one by one where no speed is known yet


class Opening:
    """One request's prompt on ``sequence``; ``tokens`` and ``num_forced`` are those of the mode opened last.

    ``tools`` are what the model may call. ``should_stop`` interrupts a prefill. ``clock`` gives seconds.
    """

    def __init__(
        self,
        model: LoadedModel,
        sequence: int,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        should_stop: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self.tokens: list[int] = []
        self.num_forced = 0
        self.cached_tokens: int | None = None  # of the first prefill; None before it
        self.start_s = 0.0
        self._filled: list[int] = []
        self._last_fill: tuple[int, int, float] | None = None  # tokens, what was cached, seconds: not learned from yet
        self._model = model
        self._sequence = sequence
        self.messages = messages
        self._tools = tools
        self._should_stop = should_stop
        self._clock = clock

    @property
    def num_prompt(self) -> int:
        """Tokens before the assistant's turn."""
        return len(self.tokens) - self.num_forced

    def render(self, think: Think) -> StreamParser:
        """Encode the prompt of a mode; gives its parser. Raises PromptError when it does not fit."""
        prompt = self._model.dialect.render(self.messages, think, self._tools)
        tokens, forced = self._model.tokenizer.encode_prompt(prompt)
        check_room(len(tokens) + len(forced), self._model.backend.context_size)
        self.tokens, self.num_forced = [*tokens, *forced], len(forced)
        tool_format = self._model.dialect.layout.tool_format if self._tools else None
        parser = StreamParser(self._model.dialect, prompt.phase, () if tool_format is None else tool_format.call_tags)
        parser.feed(prompt.forced)
        return parser

    def prefill_prompt(self, speed: SpeedModel) -> bool:
        """Evaluate what all modes share, before one is chosen; True when it is whole.

        Where no speed is known, the last tokens go one by one: that measures a decode step with work that has to be
        done anyway.
        """
        tokens = self.tokens[: self.num_prompt]
        if speed.is_measured or len(tokens) <= MEASURED_STEPS:
            return self._prefill(tokens, speed)
        if not self._prefill(tokens[:-MEASURED_STEPS], None):
            return False
        times_s = [self._clock()]
        for token in tokens[-MEASURED_STEPS:]:
            self._model.backend.append(self._sequence, (token,))
            self._model.backend.logits(self._sequence)  # where the device computes behind our back, this waits for it
            times_s.append(self._clock())
        self._filled = tokens
        steps_s = [after - before for before, after in pairwise(times_s)]
        speed.learn_decode(len(tokens) - MEASURED_STEPS, steps_s)
        self.learn(speed)  # now that a step is known; what was looked ahead for lay there already
        return True

    def look_ahead(self, speed: SpeedModel) -> FirstToken | None:
        """What the model would say first without thinking, and how its judge leans; None where that is cut short.

        The opening of the mode off is evaluated for it, and what a direct answer begins with: one short pass, kept
        where that mode is chosen, and a step for each of the next tokens.
        """
        from edge.think.probe import NUM_TOKENS, read_signals

        self.render("off")
        self.tokens += self._model.tokenizer.encode_control(self._model.dialect.answer_opening)
        backend, odds = self._model.backend, 0.0
        if len(self.tokens) >= backend.context_size:
            return None
        markers = self._model.judge_marker_ids
        if markers is not None and markers[1] in self.tokens[self.num_prompt :]:
            place = self.num_prompt + self.tokens[self.num_prompt :].index(markers[1])
            if not self._prefill(self.tokens[:place], speed):
                return None
            logits = backend.logits(self._sequence)
            odds = float(logits[markers[0]] - logits[markers[1]])
        if not self._prefill(self.tokens, speed):
            return None
        seen = [backend.logits(self._sequence).copy()]  # a view that the next step overwrites
        while len(seen) < NUM_TOKENS and len(self.tokens) + 1 < backend.context_size:
            token = int(seen[-1].argmax())
            if token in self._model.stop_ids:
                break
            backend.append(self._sequence, (token,))
            self.tokens = self._filled = [*self.tokens, token]
            seen.append(backend.logits(self._sequence).copy())
        return read_signals(seen, odds)

    def prefill(self) -> bool:
        """Evaluate the whole, forced text included; True when it was not interrupted."""
        if self._filled == self.tokens:  # nothing is forced, and the prompt lies there already
            return True
        return self._prefill(self.tokens, None)

    def learn(self, speed: SpeedModel) -> None:
        """Teach ``speed`` what the last prefill took, which waits until nobody waits for the first token."""
        if self._last_fill is not None:
            speed.learn_prefill(*self._last_fill)
            self._last_fill = None

    def _prefill(self, tokens: list[int], speed: SpeedModel | None) -> bool:
        start_s = self._clock()
        filled = self._model.backend.prefill(self._sequence, tokens, should_stop=self._should_stop)
        if filled.is_complete:
            self._filled = tokens
            self._last_fill = filled.evaluated_tokens, filled.cached_tokens, self._clock() - start_s
            if speed is not None:
                self.learn(speed)
        if self.cached_tokens is None:
            self.cached_tokens, self.start_s = filled.cached_tokens, start_s
        return filled.is_complete


def check_room(num_tokens: int, context_size: int) -> None:
    """Raises PromptError unless a prompt of ``num_tokens`` leaves room for at least one token of an answer."""
    if num_tokens >= context_size:
        raise PromptError(
            f"The prompt is {num_tokens:,} tokens long and the context holds {context_size:,}; "
            "shorten it or ask for a larger context."
        )
