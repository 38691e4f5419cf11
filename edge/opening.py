"""From messages to the first logits: render, encode, check, prefill, and measure a device that is new.

Knows: prompts, prefills and their times. Does not know: what is generated afterwards, or how a mode is decided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from edge.chat_types import Message
from edge.drafted import Draft
from edge.stream_parser import StreamParser
from models.errors import PromptError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge.backends.base import PrefillResult
    from edge.loaded_model import LoadedModel
    from edge.think.probe import ProbeSignals
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
        self._draft: Draft | None = None  # what lies behind the opening of the mode off
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

    def look_ahead(
        self, speed: SpeedModel, is_enough: Callable[[ProbeSignals], bool] | None = None, *, is_free: bool = True
    ) -> ProbeSignals | None:
        """What the model would say first without thinking, and how its judge leans; None where that is cut short.

        One forward pass evaluates the opening of the mode off and the tags of a direct answer (two, where the model has
        a judge and the device gives the last logits only), and a step each next token, until ``is_enough`` (None: as
        many as there are to look at). All of it is the beginning of the answer where that mode is chosen, but with tags
        where the answer is not ``is_free`` to begin with them.
        """
        from edge.think.probe import NUM_TOKENS, Figures, ProbeSignals

        self.render("off")
        backend, off = self._model.backend, self.tokens
        drafted = self._model.tokenizer.encode_control(self._model.dialect.answer_opening)
        num_tags, steps_s = len(drafted), 0.0
        if len(off) + num_tags >= backend.context_size:
            return None
        backend.run_ahead(False)  # a device that runs ahead tells its choice alone
        odds = self._prefill_and_judge([*off, *drafted], speed)
        if odds is None:
            return None
        before: list[NDArray[np.float32] | None] = [None] * num_tags
        figures: list[Figures] = []
        logits = backend.logits(self._sequence)
        while True:
            figures.append(Figures.of(logits))
            signals = ProbeSignals(tuple(figures), odds)
            token = int(logits.argmax())
            is_last = len(figures) == NUM_TOKENS or len(self._filled) + 1 >= backend.context_size
            if is_last or token in self._model.stop_ids or (is_enough is not None and is_enough(signals)):
                break
            before.append(logits.copy())  # a view that the next step overwrites
            drafted.append(token)
            start_s = self._clock()
            backend.append(self._sequence, (token,))
            logits = backend.logits(self._sequence)  # where the device computes behind our back, this waits for it
            steps_s += self._clock() - start_s
            self._filled = [*off, *drafted]
        self._draft = Draft(off, drafted, before, steps_s) if is_free or not num_tags else None
        return signals

    def _prefill_and_judge(self, tokens: list[int], speed: SpeedModel) -> float | None:
        """Evaluate ``tokens``, the opening of the mode off among them; the odds of the judge's marker for thinking, 0
        without a judge, and None after a stop."""
        markers = self._model.judge_marker_ids
        if markers is None or markers[1] not in tokens[self.num_prompt :]:
            return 0.0 if self._prefill(tokens, speed) else None
        logits = self._prefill_seeing(tokens, tokens.index(markers[1], self.num_prompt), speed)
        return None if logits is None else float(logits[markers[0]] - logits[markers[1]])

    @property
    def draft(self) -> Draft | None:
        """What lies behind ``tokens`` already, None where nothing does."""
        return self._draft if self._draft is not None and self._draft.opening == self.tokens else None

    def prefill(self) -> bool:
        """Evaluate the whole, forced text included; True when it was not interrupted."""
        if self.draft is not None or self._filled == self.tokens:  # it lies there already
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
        return self._has_filled(tokens, filled, start_s, speed)

    def _prefill_seeing(self, tokens: list[int], length: int, speed: SpeedModel) -> NDArray[np.float32] | None:
        """As ``_prefill``; the logits after the first ``length`` tokens."""
        backend, start_s = self._model.backend, self._clock()
        seen = backend.prefill_seeing(self._sequence, tokens, length, should_stop=self._should_stop)
        if seen is not None:
            filled, logits = seen
            return logits if self._has_filled(tokens, filled, start_s, speed) else None
        if not self._prefill(tokens[:length], speed):
            return None
        logits = backend.logits(self._sequence).copy()  # a view that the next pass overwrites
        return logits if self._prefill(tokens, speed) else None

    def _has_filled(self, tokens: list[int], filled: PrefillResult, start_s: float, speed: SpeedModel | None) -> bool:
        """Note what a prefill that began at ``start_s`` has come to; whether it is whole."""
        self._draft = None
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
