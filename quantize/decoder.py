"""One decoder of either family in numpy, block by block: the float truth for calibration and for every parity test.

Knows: how the tensors of a block act on hidden states, which the family's row decides where families differ.
Does not know: where weights come from, batches, caches, or how anything is rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.families import family_of
from models.spec import ModelSpec, TensorPlace

Floats = NDArray[np.float32]
BlockWeights = Mapping[str, Floats]  # the tensors of one block by role
Observer = Callable[[str, Floats], None]  # the producer of a scale group, and the input (T, K) of its consumers


@dataclass(frozen=True, slots=True)
class Rotation:
    """Cosines and sines (T, head_dim / 2) of the angle of every position and pair of channels."""

    cos: Floats
    sin: Floats


def rotation_of(spec: ModelSpec, num_tokens: int) -> Rotation:
    """The angles of positions 0 to ``num_tokens`` - 1; ``spec.rope_base`` has any scaling in it already."""
    angles = np.outer(np.arange(num_tokens), frequencies_of(spec))
    return Rotation(np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32))


def frequencies_of(spec: ModelSpec) -> NDArray[np.float64]:
    """The angle (head_dim / 2,) by which every pair of channels turns from one position to the next."""
    frequencies: NDArray[np.float64] = spec.rope_base ** -(np.arange(0, spec.head_dim, 2) / spec.head_dim)
    return frequencies


def run_block(
    spec: ModelSpec, weights: BlockWeights, hidden: Floats, rotation: Rotation, observe: Observer | None = None
) -> Floats:
    """Hidden states (T, hidden_size) of one sequence after one block; ``observe`` sees what linear layers read."""
    see = observe or _overlook
    normed = rms_norm(hidden, weights["attention_norm"], spec.norm_eps)
    see("attention_norm", normed)
    mixed = _attend(spec, weights, normed, rotation)
    see("value", mixed)
    hidden = hidden + mixed @ weights["attention_output"].T
    normed = rms_norm(hidden, weights["feed_forward_norm"], spec.norm_eps)
    see("feed_forward_norm", normed)
    product = _gated(normed @ weights["gate"].T, normed @ weights["up"].T)
    see("up", product)
    return hidden + product @ weights["down"].T


def run_head(spec: ModelSpec, final_norm: Floats, head: Floats, hidden: Floats) -> Floats:
    """Logits (T, rows of ``head``) of hidden states; ``head`` is the embedding where it is tied, or rows of it."""
    return rms_norm(hidden, final_norm, spec.norm_eps) @ head.T


def logits_of(spec: ModelSpec, read: Callable[[TensorPlace], Floats], tokens: Sequence[int]) -> Floats:
    """Logits (T, vocab_size) after every token; ``read`` gives each tensor once, one block at a time."""
    outside, blocks = split_places(spec)
    embedding = read(outside["embedding"])
    hidden = embedding[np.asarray(tokens)]
    rotation = rotation_of(spec, len(tokens))
    for block in blocks:
        hidden = run_block(spec, {role: read(place) for role, place in block.items()}, hidden, rotation)
    head = embedding if spec.has_tied_head else read(outside["head"])
    return run_head(spec, read(outside["final_norm"]), head, hidden)


def split_places(spec: ModelSpec) -> tuple[dict[str, TensorPlace], list[dict[str, TensorPlace]]]:
    """The tensors outside the blocks by role, and those of each block by role."""
    outside: dict[str, TensorPlace] = {}
    blocks: list[dict[str, TensorPlace]] = [{} for _ in range(spec.num_layers)]
    for place in spec.places():
        (outside if place.layer is None else blocks[place.layer])[place.role] = place
    return outside, blocks


def rms_norm(values: Floats, weight: Floats, eps: float) -> Floats:
    """``values`` (..., K) divided by their root mean square along K, times ``weight`` (K,)."""
    mean_square = np.einsum("...k,...k->...", values, values)[..., None] / np.float32(values.shape[-1])
    normed: Floats = values / np.sqrt(mean_square + np.float32(eps)) * weight
    return normed


def _overlook(_producer: str, _values: Floats) -> None:
    pass


def _attend(spec: ModelSpec, weights: BlockWeights, normed: Floats, rotation: Rotation) -> Floats:
    """The values (T, query_width) that every token gathers from those before it."""
    queries = _turn(spec, _heads(normed @ weights["query"].T, spec), weights["query_norm"], rotation)
    keys = _turn(spec, _heads(normed @ weights["key"].T, spec), weights["key_norm"], rotation)
    values = _heads(normed @ weights["value"].T, spec)
    share = spec.num_heads // spec.num_kv_heads
    is_later = np.triu(np.full((len(normed), len(normed)), -np.inf, np.float32), 1)
    queries *= np.float32(spec.head_dim**-0.5)
    mixed = np.empty_like(queries)
    for head in range(spec.num_heads):  # one at a time, so that its scores stay in the processor's cache
        scores = queries[head] @ keys[head // share].T + is_later
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        np.matmul(scores, values[head // share], out=mixed[head])
    return mixed.transpose(1, 0, 2).reshape(len(normed), -1)


def _heads(values: Floats, spec: ModelSpec) -> Floats:
    """(T, heads * head_dim) to (heads, T, head_dim)."""
    return np.ascontiguousarray(values.reshape(len(values), -1, spec.head_dim).transpose(1, 0, 2))


def _turn(spec: ModelSpec, heads: Floats, norm: Floats, rotation: Rotation) -> Floats:
    """Norm and rotation of heads (heads, T, head_dim), in the family's order."""
    if family_of(spec.family).qk_norm == "before_rope":
        return _rotate(rms_norm(heads, norm, spec.norm_eps), rotation)
    return rms_norm(_rotate(heads, rotation), norm, spec.norm_eps)


def _rotate(heads: Floats, rotation: Rotation) -> Floats:
    """Channel c turns with channel c + head_dim / 2."""
    first, second = np.split(heads, 2, axis=-1)
    cos, sin = rotation.cos, rotation.sin
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def _gated(gate: Floats, up: Floats) -> Floats:
    """silu(gate) * up, in the memory of ``up``."""
    with np.errstate(over="ignore"):  # exp of a large number is infinite, and its reciprocal 0, as it should be
        up *= gate / (1 + np.exp(-gate))
    return up
