"""Does thinking pay for this prompt? A score and a choice, from the text alone, in tens of microseconds.

Knows: the learned weights, the cut-points, and how a conversation colours its last message. Pure: no clock, no I/O once
the weights are read. Does not know: the model that will answer, deadlines, or who else has a say (``decision``).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cache
from math import exp
from operator import mul
from typing import TYPE_CHECKING, Literal

import numpy as np

from edge.think.prompt_features import END_TOKENS, POOLED_TOKENS, SMOOTHING, Features, featurize, stride
from edge.think.prompt_tokens import IDS
from edge.think.router_weights import LEAST_LOGIT, NUM_INPUTS, NUM_KINDS, RouterWeights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge.chat_types import Message
    from edge.think.router_weights import Floats

LOOKED_UP_WHOLE = 2 * POOLED_TOKENS  # tokens; of more, those that are in no pool are not looked up

Choice = Literal["direct", "unsure", "short", "think"]


@dataclass(frozen=True, slots=True)
class CutPoints:
    """Scores where the choice changes: direct below ``unsure``, short steps from ``short``, more from ``think`` on.

    In between, from ``better`` on thinking is the better bet, where nobody else can be asked.
    """

    unsure: float = 0.22
    short: float = 0.38
    think: float = 0.6
    better: float = 0.3

    def choice(self, score: float) -> Choice:
        """What to do at ``score``."""
        if score < self.unsure:
            return "direct"
        if score < self.short:
            return "unsure"
        return "short" if score < self.think else "think"


@dataclass(frozen=True, slots=True)
class LastLayer:
    """Learned for one model in place of the general score: ``weights`` ``(NUM_INPUTS,) float32`` and a ``bias``."""

    weights: Floats
    bias: float


@dataclass(slots=True)  # to freeze it costs a fortieth of a decision
class Difficulty:
    """``score``: the estimated chance, 0 to 1, that an answer without reasoning is wrong; ``choice`` what follows,
    and ``thinks`` the better bet, sure or not.

    ``kinds`` are the chances of the kinds of prompts. ``earlier`` is the score of the message before, where this one
    only follows it up.
    """

    score: float
    choice: Choice
    thinks: bool
    kinds: tuple[float, ...]
    prompt: str = field(repr=False)
    earlier: float | None = None

    @property
    def is_sure(self) -> bool:
        """Whether the text alone is enough to decide."""
        return self.choice != "unsure"

    @property
    def reason(self) -> str:
        """The first reason and the score, half a sentence; cheap."""
        from edge.think.router_reasons import first_reason

        doubt = "" if self.is_sure else ", which is not sure"
        return f"the prompt {first_reason(self)} (difficulty {self.score:.2f}{doubt})"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Up to four half-sentences that say what speaks most for the score; worked out only now."""
        from edge.think.router_reasons import find_reasons

        return find_reasons(self)


class Router:
    """``weights`` and ``cuts`` at work; has no state that a prompt could change.

    With a ``last`` layer the score is the chance that thinking pays with the model it was learned for. A prompt has the
    same decision on every processor: words are summed up exactly, and what follows is so precise that the order of a
    sum does not come near a cut.
    """

    def __init__(self, weights: RouterWeights) -> None:
        self.cuts = CutPoints()
        self._codes = weights.codes
        self._layer = np.vstack([weights.layer, weights.bias]).astype(np.float64)  # the last input is always 1
        self._last: NDArray[np.float64] | None = None
        # By the number of pooled tokens: what a sum of codes is worth, for the whole, the head and the tail.
        whole = np.arange(POOLED_TOKENS + 1)
        sizes = np.stack([whole, *[np.minimum(whole, END_TOKENS)] * 2], axis=1)[..., None]
        self._worth = (weights.steps / (sizes + SMOOTHING)).reshape(len(whole), -1)

    def with_layer(self, last: LastLayer, cuts: CutPoints) -> Router:
        """The same router, taught one model's outcomes."""
        taught = copy(self)
        taught.cuts, taught._last = cuts, np.append(last.weights.astype(np.float64), last.bias)
        return taught

    def route(self, prompt: str | Sequence[Message], history: Sequence[Message] = ()) -> Difficulty:
        """The difficulty of ``prompt``, or of the last user message in a conversation; any text has one.

        ``history`` is what came before a ``prompt`` that is a text.
        """
        text, history = (prompt, history) if isinstance(prompt, str) else _last_message(prompt)
        features = featurize(text)
        score, kinds = self._score(features)
        earlier = None
        if history and features.follows_up:
            earlier = self._earlier(history)
            score = max(score, earlier)
        return Difficulty(score, self.cuts.choice(score), score >= self.cuts.better, kinds, text, earlier)

    def text_inputs(self, text: str) -> NDArray[np.float64]:
        """What a last layer sees of ``text``, ``(NUM_INPUTS,)``."""
        return self._inputs(featurize(text))[:-1]

    def _score(self, features: Features) -> tuple[float, tuple[float, ...]]:
        """The score and the chances of the kinds; the one-prompt form of ``RouterWeights.mix``."""
        inputs = self._inputs(features)
        numbers = np.dot(inputs, self._layer).tolist()  # of so few, Python is done before numpy has begun
        largest = max(numbers[:NUM_KINDS])
        powers = [exp(kind - largest) for kind in numbers[:NUM_KINDS]]
        scale = 1.0 / sum(powers)
        chances = tuple([power * scale for power in powers])
        if self._last is not None:
            return 1.0 / (1.0 + exp(-max(float(np.dot(inputs, self._last)), LEAST_LOGIT))), chances
        wrong = [1.0 / (1.0 + exp(-logit if logit > LEAST_LOGIT else -LEAST_LOGIT)) for logit in numbers[NUM_KINDS:]]
        return sum(map(mul, chances, wrong)), chances

    def _inputs(self, features: Features) -> NDArray[np.float64]:
        """Counts, then the words of the whole, of the head and of the tail, each summed up over its length; then 1."""
        ids, start = features.ids, len(features.counts)
        count = ids.shape[1]
        step = stride(count)
        num_pooled = -(-count // step)
        if count <= LOOKED_UP_WHOLE:
            pools = _POOLS[count]
        else:  # head and tail behind the whole
            ids = np.concatenate((ids[:, ::step], ids[:, :END_TOKENS], ids[:, -END_TOKENS:]), axis=1)
            pools = _pools(ids.shape[1], slice(num_pooled), num_pooled)
        codes = self._codes.take(ids.ravel(), axis=0).astype(np.float32)
        sums = np.dot(pools, codes)  # quicker than any other sum
        inputs = np.empty(NUM_INPUTS + 1)
        inputs[:start], inputs[-1] = features.counts, 1.0
        np.multiply(sums.ravel(), self._worth[num_pooled], out=inputs[start:-1])
        return inputs

    def _earlier(self, history: Sequence[Message]) -> float:
        """The score of the last message of the user in ``history``."""
        asked = [message.content for message in history if message.role == "user"]
        return self._score(featurize(asked[-1]))[0] if asked else 0.0


def _pools(count: int, whole: slice, head: int) -> Floats:
    """``(3, IDS * count)``: 1 where an id of ``count`` tokens is in the ``whole``, in the head, in the tail.

    The head begins at ``head``, the tail ends at the end.
    """
    pools = np.zeros((3, IDS, count), np.float32)
    pools[0, :, whole] = pools[1, :, head : head + END_TOKENS] = pools[2, :, -END_TOKENS:] = 1.0
    return pools.reshape(3, IDS * count)


# By the number of tokens: 1.6 MB, and a decision would take 4 us to make its own.
_POOLS = [_pools(count, slice(None, None, stride(count)), 0) for count in range(LOOKED_UP_WHOLE + 1)]


def _last_message(messages: Sequence[Message]) -> tuple[str, Sequence[Message]]:
    """The last text of the user, empty where there is none, and what came before it."""
    asked = [place for place, message in enumerate(messages) if message.role == "user"]
    return (messages[asked[-1]].content, messages[: asked[-1]]) if asked else ("", messages)


@cache
def default_router() -> Router:
    """The router with the weights of the package, read once. Raises BundleError where they are damaged."""
    return Router(RouterWeights.load())


def route(prompt: str | Sequence[Message], history: Sequence[Message] = ()) -> Difficulty:
    """``Router.route`` of the package's own router."""
    return default_router().route(prompt, history)
