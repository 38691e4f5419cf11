"""Watches every token of an answer and says when to close the thinking, when to end the answer, and why.

Knows: the stage and the text of each token, the time it is handed, limits, the device's speed. Pure: no clock, no I/O.
Does not know: tokens of tags, how thinking is closed, or who reads the answer.

Thinking is closed softly at the end of a sentence once the budget or the time runs short, hard when it has run out,
and at once where it is asked for or where it goes round in circles. What the answer needs is reckoned at the slow
quantile of the speed, and again every few tokens: a device that has slowed down closes earlier.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge.think.loops import LONGEST_LOOP, LineLoop, repeated_period
from edge.think.speed import SpeedModel

Stage = Literal["judge", "thinking", "answer"]
Action = Literal["go", "soft", "hard", "last", "end"]
"""``soft``, ``hard``: close the judgement or the thinking, with or without a closing line, before the token in hand.
``last``: the token in hand is the last one. ``end``: it is dropped, what was said is the answer."""
Cause = Literal["deadline", "budget", "loop", "asked"]

LOOK_EVERY = 8  # tokens between two reckonings of the reserve
LOOP_EVERY = 16  # tokens between two looks for circles
SOFT_TOKENS = 24  # a sentence: so long before the end of a budget the end of a sentence is good enough
SOFT_SHARE = 0.05  # of the budget or of the time, where that is less
LEAST_SOFT = 8  # steps; where less time may be given up for the end of a sentence, none is: it would seldom come
LAST_TOKENS = 4  # an answer out of time ends at a sentence that ends within so many tokens of the deadline
DRIFT_WEIGHT, LARGEST_STALL = 0.125, 4.0  # of one step in the present speed; a stall counts as this many steps
LEAST_DRIFT, MOST_DRIFT = 0.6, 50.0  # the present speed against what was learned, at most so much faster or slower
DRIFT_RUN, DRIFT_MARGIN = (
    8,
    1.2,
)  # steps; how much slower than at present it may get: as their slow quantile, at most so
SENTENCE_ENDS = (".", "!", "?", "。", "！", "？", "\n")


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one answer; None is no limit. ``deadline_s`` is a reading of the clock that the controller's times come from.

    ``judge_tokens``: a judgement that is longer is closed, since it would never end. ``watches_answer``: an answer that
    goes round in circles is ended, too. ``close_tokens``: what closing takes, and ``line_tokens`` what a closing line
    adds to that.
    """

    deadline_s: float | None = None
    think_tokens: int | None = None
    judge_tokens: int | None = None
    answer_tokens: int = 64
    close_tokens: int = 0
    line_tokens: int = 0
    watches_answer: bool = False


class Controller:
    """``see`` is called for every token before it is accepted; ``cause`` says why the last action was not ``go``.

    ``steps_s`` collects the seconds of every decode step, for the speed model.
    """

    def __init__(self, limits: Limits, speed: SpeedModel, tokens: list[int], start_s: float) -> None:
        """``tokens`` is the live list of all tokens, prompt included; ``start_s`` the time when decoding begins."""
        self.cause: Cause | None = None
        self.steps_s: list[float] = []
        self._limits = limits
        self._speed = speed
        self._tokens = tokens
        self._stage: Stage | None = None
        self._stage_start = len(tokens)
        self._last_s: float | None = None  # of the token before; None where no step lies between
        self._recent_s = speed.decode_s(1, len(tokens))  # a step at present
        self._next_look = len(tokens)
        self._next_loop_look = len(tokens) + LOOP_EVERY
        self._lines = LineLoop()
        self._is_loop = self._ends_sentence = self._has_answer = False
        self._before = ""  # the last character, for a point after a digit
        self._reserve_s = self._step_s = self._line_s = 0.0
        deadline_s = limits.deadline_s
        self._soft_s = 0.0 if deadline_s is None else SOFT_SHARE * max(deadline_s - start_s, 0.0)
        self._is_free_to_answer = deadline_s is None and not limits.watches_answer

    def see(self, now_s: float, stage: Stage, text: str, is_asked: bool) -> Action:
        """What to do with the token sampled at ``now_s``, which would follow ``text``, the token before it.

        ``stage`` is where the answer stands after ``text``; ``is_asked``: somebody wants the thinking to end now.
        """
        if self._last_s is not None:
            self.steps_s.append(now_s - self._last_s)
        if self._limits.deadline_s is not None:
            self._follow(now_s)
        self._last_s = now_s
        if stage != self._stage:
            self._enter(stage)
        if stage == "answer":
            return "go" if self._is_free_to_answer else self._see_answer(now_s, text)
        if text:
            self._hear(text)
        if is_asked:
            return self._close("asked", now_s)
        return self._see_thinking(now_s)

    def forced(self) -> None:
        """Tokens were forced or taken back: the time to the next one is no step's."""
        self._last_s = None

    def _see_thinking(self, now_s: float) -> Action:
        limits = self._limits
        if self._goes_in_circles():
            return self._close("loop", now_s)
        spent = len(self._tokens) - self._stage_start
        if limits.judge_tokens is not None and self._stage == "judge" and spent >= limits.judge_tokens:
            return self._because("budget", "hard")
        if limits.think_tokens is not None and self._stage == "thinking":
            left = limits.think_tokens - spent
            if left <= 0:
                return self._because("budget", "hard")
            if self._ends_sentence and left <= min(SOFT_TOKENS, SOFT_SHARE * limits.think_tokens):
                return self._close("budget", now_s)
        if limits.deadline_s is not None:
            left_s = limits.deadline_s - now_s - self._reserve_s
            if left_s <= 0:
                return self._because("deadline", "hard" if now_s < limits.deadline_s else "end")
            soft_s = min(SOFT_TOKENS * self._step_s, self._soft_s)
            if self._ends_sentence and self._line_s <= left_s <= soft_s and soft_s >= LEAST_SOFT * self._step_s:
                return self._because("deadline", "soft")
        return "go"

    def _see_answer(self, now_s: float, text: str) -> Action:
        limits = self._limits
        if text:
            self._hear(text)
            self._has_answer = self._has_answer or not text.isspace()
        if limits.watches_answer and self._goes_in_circles():
            return self._because("loop", "end")
        if limits.deadline_s is None:
            return "go"
        left_s = limits.deadline_s - now_s
        if left_s <= self._step_s:  # another step would be late, and this token is here already
            return self._because("deadline", "last" if left_s > 0 else "end")
        if self._ends_sentence and self._has_answer and left_s <= LAST_TOKENS * self._step_s:
            return self._because("deadline", "end")
        return "go"

    def _close(self, cause: Cause, now_s: float) -> Action:
        """Close the thinking before its time: with a closing line where there is time for one."""
        deadline_s = self._limits.deadline_s
        has_time = deadline_s is None or now_s + self._reserve_s + self._line_s <= deadline_s
        return self._because(cause, "soft" if has_time else "hard")

    def _because(self, cause: Cause, action: Action) -> Action:
        self.cause = cause
        return action

    def _enter(self, stage: Stage) -> None:
        self._stage, self._stage_start = stage, len(self._tokens)
        self._lines, self._is_loop, self._ends_sentence = LineLoop(), False, False
        self._next_loop_look = len(self._tokens) + LOOP_EVERY

    def _hear(self, text: str) -> None:
        self._is_loop = self._lines.feed(text) or self._is_loop
        self._ends_sentence = text.endswith(SENTENCE_ENDS)
        if text[-1] == ".":  # 3.14 is no sentence
            self._ends_sentence = not (self._before + text)[-2:-1].isdigit()
        self._before = text[-1]

    def _follow(self, now_s: float) -> None:
        """The present speed: a single stall hardly moves it, a slow-down of ten times shows within a dozen tokens."""
        if self._last_s is not None:
            recent_s = self._recent_s
            step_s = min(now_s - self._last_s, LARGEST_STALL * recent_s) if recent_s else now_s - self._last_s
            self._recent_s = recent_s + DRIFT_WEIGHT * (step_s - recent_s) if recent_s else step_s
        if len(self._tokens) >= self._next_look:
            self._reckon()

    def _reckon(self) -> None:
        """What closing and answering take from here: as slow as it can get, or slower than it is, whichever is more."""
        context, speed, limits = len(self._tokens), self._speed, self._limits
        self._next_look = context + LOOK_EVERY
        present = min(self._recent_s / max(speed.decode_s(1, context), 1e-9), MOST_DRIFT)
        drift = speed.slow_decode_s(DRIFT_RUN, context) / max(speed.decode_s(DRIFT_RUN, context), 1e-9)
        slow, fast = min(drift, DRIFT_MARGIN) * present, min(max(present, LEAST_DRIFT), 1.0)
        answer_tokens = limits.answer_tokens + 1
        self._step_s = max(fast * speed.slow_decode_s(1, context), slow * speed.decode_s(1, context))
        self._line_s = slow * speed.prefill_s(limits.line_tokens, context)
        self._reserve_s = max(
            fast * (speed.slow_prefill_s(limits.close_tokens, context) + speed.slow_decode_s(answer_tokens, context)),
            slow * (speed.prefill_s(limits.close_tokens, context) + speed.decode_s(answer_tokens, context)),
        )

    def _goes_in_circles(self) -> bool:
        size = len(self._tokens)
        if size >= self._next_loop_look and not self._is_loop:
            self._next_loop_look = size + LOOP_EVERY
            self._is_loop = repeated_period(self._tokens[max(self._stage_start, size - LONGEST_LOOP) :]) > 0
        return self._is_loop
