"""What the model cards say of each embedded model in words.

Knows: names, purpose, how each was made. Does not know: figures; those come from a bench run.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import UsageError


@dataclass(frozen=True, slots=True)
class CardWords:
    """Paragraphs of a card. ``folder`` holds the checkpoint; ``about`` has a place for the number of parameters."""

    folder: str
    about: str
    training: str


CARD_WORDS = {
    "spark": CardWords(
        folder="models/spark",
        about="""\
A tiny hybrid-thinking model ({parameters}) that does sums and short word problems in English and Chinese, and nothing
else. It exists to show thinking on demand on any machine: its direct answers are right on easy problems and wrong on
hard ones, thinking fixes the hard ones, and it has learned from its own measured outcomes which is which. It speaks
the HiPO dialect on a Qwen3 body, so a real HiPO model takes exactly the same path. It is not a general assistant: asked
anything outside its world it says so.""",
        training="""\
Made with `python -m models.spark.train` in pieces (`--weights` continues from earlier ones): 35 M tokens with earlier
mixes of samples, then 18 M with the present one, then stage 2 with 4.7 M on 4,000 measured problems, then stage 3 with
5.8 M. After stages 2 and 3 a mean of earlier and later weights was taken (`python -m models.spark.mean`, a quarter of
those before stage 3); docs/LOG.md tells the story. All text is generated, none is of anyone else. Stage 1 teaches both
modes. Stage 2 is the hybrid data pipeline of HiPO: on fresh problems the stage-1 model answers several times with
thinking and several times without, the mode with the higher pass rate wins, ties go to off, and the model is trained on
that choice. Stage 3 adds thoughts that are broken off anywhere and closed as a runtime with a deadline closes them, so
that the answer comes from what there is. Train and test problems are disjoint by canonical problem.

```
python -m models.spark.train --stage 3 --weights EARLIER --out runs/broken --problems 3000
python -m models.spark.mean runs/mean EARLIER runs/broken/checkpoint --share 0.75
```""",
    ),
    "spark-hunyuan": CardWords(
        folder="models/spark_hunyuan",
        about="""\
The second embedded model ({parameters}): the tasks and the trainer of [spark](../../spark/checkpoint/README.md) on a
Hunyuan body (`hunyuan_v1_dense`, q and k normed behind the rotation, a static NTK-alpha base) in the Hunyuan dialect:
that family's marks, `/think` and `/no_think` before a prompt, an empty thought for a direct answer, answer tags. It
exists so that the second family runs for real wherever the first does. It has no judge: left alone (auto) it thinks on
everything, which is the habit of its family. Like spark it does sums and short word problems in English and Chinese and
nothing else, and is not a general assistant. Nothing of Tencent's models is in it but the layout and the marks.""",
        training="""\
It was not trained from nothing. It starts from spark's weights: the bodies differ in the place of the q and k norms,
which does not matter where a norm's weight is the same for both members of each rotated pair, so pairs got their mean;
text keeps its tokens and their rows, the twelve control tokens begin as the nearest of spark's. Then 8.6 M tokens of
spark's stage 1 in the new dialect, half of the steps on weights rounded to 4 bits, some 22 minutes on two cores:

```
python -m models.spark.train --kind spark-hunyuan --weights models/spark/checkpoint --out runs/spark-hunyuan \\
    --stage 1 --tokens 8600000 --lr 1e-3 --rounded-every 2 --seed 5
python -m models.spark.train --kind spark-hunyuan --stage 3 --weights EARLIER --out runs/broken \\
    --broken-tokens 3000000
python -m models.spark.mean runs/mean EARLIER runs/broken/checkpoint --share 0.75
```

The second step adds thoughts that are broken off anywhere and closed as a runtime with a deadline closes them, so that
the answer comes from what there is; a quarter of the weights before it is in the mean. In 15 % of the samples the mode
is asked for by `/think` or `/no_think`, and the model writes the start of the mode by itself. All text is generated,
none is of anyone else; train and test problems are disjoint by canonical problem.""",
    ),
}


def card_words(model: str) -> CardWords:
    """The words for the card of ``model``. Raises UsageError for one that is not embedded."""
    if model not in CARD_WORDS:
        raise UsageError(f"There are no words for a card of {model!r}; leave --card out.")
    return CARD_WORDS[model]
