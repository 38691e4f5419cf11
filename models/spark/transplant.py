"""Weights of one embedded model as the start of another: other body, other added tokens, same text.

Knows what keeps its meaning. A q or k norm may move behind the rotation where its weight is the same for both members
of each rotated pair, so pairs get their mean; added tokens that are new start as what is nearest to them in meaning.
Does not know training.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from models.spark.kinds import Kind
from models.spark.network import SparkNetwork, load_folder
from models.spark.tokenizer import SparkTokenizer


def transplant(folder: Path, tokenizer: SparkTokenizer, kind: Kind) -> SparkNetwork:
    """A network of `kind` with the weights in `folder`; `tokenizer` is the new one, which adopted that folder's."""
    old = load_folder(folder)
    state = old.state_dict()
    if kind.body.norms_after_rotation != old.config.body.norms_after_rotation:
        state |= {
            name: _mean_of_pairs(value) for name, value in state.items() if ".q_norm." in name or ".k_norm." in name
        }
    state["embed_tokens.weight"] = _rows(state["embed_tokens.weight"], SparkTokenizer.load(folder), tokenizer, kind)
    network = SparkNetwork(replace(old.config, vocab_size=tokenizer.vocab_size, body=kind.body))
    network.load_state_dict(state)
    return network


def _mean_of_pairs(weight: Tensor) -> Tensor:
    """The mean of both halves, whose entries are rotated in pairs, twice."""
    first, second = weight.chunk(2)
    return ((first + second) / 2).repeat(2)


def _rows(table: Tensor, old: SparkTokenizer, new: SparkTokenizer, kind: Kind) -> Tensor:
    """The embedding (new vocabulary, hidden): text keeps its row, and so does an added token that the old one has.

    An added token that is new takes the mean of what is nearest to it in meaning.
    """
    rows = table[: new.vocab_size].clone()
    for token in kind.added:
        source = token if old.has_token(token) else kind.rows_from[token]
        rows[new.token_id(token)] = table[old.encode_control(source)].mean(0)
    return rows
