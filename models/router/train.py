"""Train the router: `python -m models.router.train --data FOLDER [--out FILE] [--report FILE.png]`.

Knows: the order of the steps, their files, and what is said about the result. Does not know: how any step works.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bench_edge.ranking import auc, calibration_error, spearman
from edge.think.router_weights import PATH, RouterWeights
from models.router.bags import Prompts
from models.router.data import Row, read_rows, training_rows
from models.router.fit import fit_weights, scores

SEED = 1


def main() -> None:
    """Train on the public training file and made prompts, write the weights, and say how they do on the dev file."""
    parser = argparse.ArgumentParser(prog="python -m models.router.train", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder with train.jsonl.gz and dev.jsonl.gz")
    parser.add_argument("--out", type=Path, default=PATH, help="the weights to write")
    parser.add_argument("--report", type=Path, metavar="PNG", help="draw how honest the scores are on the dev file")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    weights = train(read_rows(options.data / "train.jsonl.gz"), options.seed)
    weights.save(options.out)
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")
    weights = RouterWeights.load(options.out)  # as rounded
    dev = read_rows(options.data / "dev.jsonl.gz")
    chances = scores(weights, Prompts.of([row.text for row in dev])).astype(np.float64)
    for line in describe(dev, chances):
        print(line)
    if options.report:
        draw_reliability(dev, chances, options.report)


def say(line: str) -> None:
    """A line of progress."""
    print(line, flush=True)


def train(
    public: Sequence[Row], seed: int = SEED, size: float = 1.0, tell: Callable[[str], None] = say
) -> RouterWeights:
    """Weights from ``public`` rows and made ones, whose number ``size`` scales; the same for the same arguments."""
    rows = training_rows(public, seed, size)
    tell(f"{len(rows):,} prompts, of which {len(rows) - len(public):,} made")
    prompts = Prompts.of([row.text for row in rows])
    return fit_weights(rows, prompts, seed, tell)


def describe(rows: Sequence[Row], chances: np.ndarray) -> list[str]:
    """One line a source: how many, their scores, and how well these order and calibrate what was measured."""
    lines = []
    for source in sorted({row.source for row in rows}):
        chosen = [place for place, row in enumerate(rows) if row.source == source]
        own = chances[chosen]
        low, middle, high = np.quantile(own, [0.05, 0.5, 0.95])
        line = f"{source}: {len(own):,} prompts, scores {low:.2f} to {high:.2f}, median {middle:.2f}"
        for name, measure in (("steps", spearman), ("grade", spearman)):
            values = [getattr(rows[place], name) for place in chosen]
            if None not in values and len(set(values)) > 1:
                line += f"; with {name} {measure(own, np.array(values, float)):.3f}"
        wrong = wrong_answers([rows[place] for place in chosen])
        if wrong is not None:
            line += f"; AUC {auc(own, wrong):.3f}, calibration error {calibration_error(own, wrong):.3f}"
        lines.append(line)
    return lines


def wrong_answers(rows: Sequence[Row]) -> np.ndarray | None:
    """1 where a direct answer was wrong, 0 where it was right; None where that was not measured."""
    right = [row.direct_right for row in rows]
    return None if None in right else np.array([not each for each in right], float)


def draw_reliability(rows: Sequence[Row], chances: np.ndarray, path: Path) -> None:
    """A picture of frequency against chance, in ten bins, over the rows whose direct answers were measured."""
    from matplotlib.figure import Figure

    chosen = [place for place, row in enumerate(rows) if row.direct_right is not None]
    wrong = wrong_answers([rows[place] for place in chosen])
    assert wrong is not None
    own = chances[chosen]
    places = np.minimum((own * 10).astype(int), 9)
    filled = [bin_ for bin_ in range(10) if (places == bin_).any()]
    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    axes.scatter(
        [own[places == bin_].mean() for bin_ in filled],
        [wrong[places == bin_].mean() for bin_ in filled],
        s=[10 + 300 * (places == bin_).mean() for bin_ in filled],
    )
    axes.set(xlabel="score", ylabel="direct answers that were wrong", xlim=(0, 1), ylim=(0, 1))
    axes.set_title(f"{len(own):,} questions, calibration error {calibration_error(own, wrong):.3f}", fontsize=9)
    figure.savefig(path)


if __name__ == "__main__":
    main()
