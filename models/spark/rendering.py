"""Problems as token ids the way the runtime will render them, with a loss weight for each.

Knows the texts a model writes in each mode and the marks around them, both from the kind's dialect.
Knows nothing of the mix of modes and classes, of packing, or of networks.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.spark.kinds import Kind
from models.spark.tasks import Problem
from models.spark.tokenizer import SparkTokenizer

JUDGE_OFF = {"en": "easy", "zh": "简单"}
JUDGE_ON = {"en": "needs steps", "zh": "要分步"}
JUDGE_WEIGHT = 3.0


@dataclass(frozen=True, slots=True)
class Sample:
    """Token ids and the weight of each one's loss (0 = not learned)."""

    ids: list[int]
    weights: list[float]


class Renderer:
    """Writes problems as ids the way the runtime will render them."""

    def __init__(self, tokenizer: SparkTokenizer, kind: Kind) -> None:
        self.tokenizer, self.kind = tokenizer, kind
        self._control: dict[str, list[int]] = {}

    def control(self, text: str) -> list[int]:
        """Ids of a control text that occurs again and again."""
        if text not in self._control:
            self._control[text] = self.tokenizer.encode_control(text)
        return self._control[text]

    def off_text(self, answer: str) -> str:
        """What the model writes after the forced start of a direct answer."""
        opening = "" if self.kind.dialect.forced_off.endswith("<answer>\n") else "<answer>\n"
        return f"{opening}{answer}\n</answer>{self.kind.end}"

    def on_text(self, thinking: str, answer: str) -> str:
        """What the model writes after the forced start of its thinking."""
        return f"{thinking}{self.kind.dialect.closings['thinking']}{answer}\n</answer>{self.kind.end}"

    def judged_text(self, language: str, think: bool, answer: str, thinking: str) -> str:
        """What the model writes when it judges for itself."""
        if think:
            return f"{self.judged_opening(language)}{self.on_text(thinking, answer)}"
        return f"{JUDGE_OFF[language]}\n</judge>\n\n<think_off>\n<answer>\n{self.off_text(answer)}"

    @staticmethod
    def judged_opening(language: str) -> str:
        """What a model with a judge writes before its thoughts where it judges that they are needed."""
        return f"{JUDGE_ON[language]}\n</judge>\n\n<think_on>\n<think>\n"

    def system(self, text: str) -> list[int]:
        """The start of a row; a dialect without a system text of its own leaves out an empty one.

        The closing mark and the next turn's opening are one control text for the runtime, encoded as pieces.
        """
        layout = self.kind.layout
        if not text and not self.kind.dialect.default_system:
            return list(self.control(layout.start))
        before, after = layout.system
        return [*self.control(layout.start + before), *self.tokenizer.encode_user(text), *self.control(after)]

    def turn(self, prompt: str, forced: str, switch: str = "") -> list[int]:
        """A user turn, behind a `switch` of the mode if there is one, and the start of the assistant's."""
        before, after = self.kind.layout.user
        rest = self.control(after + self.kind.layout.opening + forced)
        return [*self.control(before + switch), *self.tokenizer.encode_user(prompt), *rest]

    def past(self, problem: Problem) -> list[int]:
        """An earlier turn as history keeps it: the answer only."""
        (before, after), (start, end) = self.kind.layout.user, self.kind.layout.assistant
        return [
            *self.control(before),
            *self.tokenizer.encode_user(problem.prompt),
            *self.control(after + start),
            *self.tokenizer.encode_user(problem.answer),
            *self.control(end),
        ]

    def sample(self, context: list[int], completion: str, weight: float) -> Sample:
        """A whole sample; only the completion is learned."""
        learned = self.tokenizer.encode_control(completion)
        end = self.control(self.kind.layout.assistant[1].removeprefix(self.kind.end))
        weights = [0.0] * len(context) + [weight] * len(learned) + [0.0] * len(end)
        return Sample(context + learned + end, weights)

    def forced_sample(
        self, problem: Problem, think: bool, weight: float, past: list[int], is_switched: bool = False
    ) -> Sample:
        """A sample in one mode, whose forced start is learned where the model is to write it by itself.

        That is behind a switch in the prompt, and where thinking is the model's habit.
        """
        dialect = self.kind.dialect
        forced = dialect.forced_on if think else dialect.forced_off
        text = self.on_text(problem.thinking, problem.answer) if think else self.off_text(problem.answer)
        switch = self.kind.switches[0 if think else 1] if is_switched else ""
        if is_switched or (think and dialect.default_think):
            return self.sample(past + self.turn(problem.prompt, "", switch), forced + text, weight)
        return self.sample(past + self.turn(problem.prompt, forced), text, weight)

    def broken_sample(
        self, problem: Problem, num_kept: int, closing: str, weight: float, past: list[int], is_judged: bool = False
    ) -> Sample:
        """A thought of which `num_kept` tokens were said when the runtime wrote `closing`; the answer is learned.

        `is_judged`: the model has judged by itself that it wants to think.
        """
        if is_judged:
            context = past + self.turn(problem.prompt, "") + self.control(self.judged_opening(problem.language))
        else:
            context = past + self.turn(problem.prompt, self.kind.dialect.forced_on)
        kept = self.tokenizer.encode_control(problem.thinking)[:num_kept]
        if not kept or self.tokenizer.decode(kept).endswith("\n"):
            closing = closing.removeprefix("\n")
        answer = f"{problem.answer}\n</answer>{self.kind.end}"
        return self.sample(context + kept + self.control(closing), answer, weight)

    def judged_sample(self, prompt: str, completion: str, past: list[int]) -> Sample:
        """A sample that judges for itself; its first token, the judgement, weighs more."""
        sample = self.sample(past + self.turn(prompt, ""), completion, 1.0)
        sample.weights[sample.weights.index(1.0)] = JUDGE_WEIGHT
        return sample
