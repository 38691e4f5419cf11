"""The mean of two trained folders of one kind: `python -m models.spark.mean OUT FIRST SECOND [--share 0.5]`.

A short training that goes on from finished weights gains what it teaches and loses a little of what they knew; the
mean of both has most of the gain and little of the loss (Wortsman et al., arXiv 2203.05482). Knows folders of
`save_folder`; trains nothing.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch

from models.spark.network import load_folder, save_weights


def mean(out: Path, first: Path, second: Path, share: float) -> None:
    """Write to `out` the folder `second` with `share` of its own weights and the rest of `first`'s; both as bf16.

    Raises ValueError where the tokenizers differ: then a row of the embedding is not the same token in both.
    """
    if (first / "tokenizer.json").read_bytes() != (second / "tokenizer.json").read_bytes():
        raise ValueError(f"{first} and {second} have different tokenizers: their mean has no meaning.")
    network, old = load_folder(second), load_folder(first).state_dict()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            value.lerp_(old[name], 1 - share)
    shutil.copytree(second, out)
    save_weights(network, out)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="The mean of two trained folders.")
    for name in ("out", "first", "second"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--share", type=float, default=0.5, help="of the second's weights")
    mean(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
