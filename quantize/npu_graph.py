"""A decoder as a graph for NPUs: static shapes, one sequence, and operators that they take.

Knows: operators, names and dimensions. Does not know: how tensors are laid or written; it is told where they lie.

One graph evaluates ``length`` tokens, and there are two over one data file: a chunk of a prefill, and one token.
``capacity`` is what the cache holds. Inputs and outputs, float32 where nothing else is said:

    tokens             (1, length) int32: the tokens of this call; those after the last that counts may be anything
    positions          (length,) int32: where they stand, each below the capacity
    last               (1,) int32: which of them the logits are wanted after; only where length is above 1
    mask               (1, 1, length, capacity + length): for every token what is added to its scores, 0 for what it
                       sees and MASKED for the rest: first the cache, then the tokens of this call
    past_key.N         (1, key heads, head_dim, capacity), for every block N; keys lie as the product wants them
    past_value.N       (1, key heads, capacity, head_dim)
    new_key.N          (1, key heads, head_dim, length), to be put into the cache by the caller; and
    new_value.N        (1, key heads, length, head_dim)
    logits             (1, 1, vocab_size)

The graph hands out what is new and not the whole cache, so that the caller's copy can be written in place and cut back
by showing less of it. Everything else is arithmetic: NPUs have no GroupQueryAttention, and none of its contrib kin.

A norm is written in one of two ways. Qualcomm's HTP computes in float16, in which the squares of large activations
overflow, and takes RMSNormalization, which it sums wider. OpenVINO knows no such operator, but joins the arithmetic of
one by itself, and sums it in float32 on every device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.families import family_of
from models.spec import ModelSpec, TensorPlace
from quantize.decoder import split_places
from quantize.onnx_nodes import DataArray, DataTensors, DataWeight, GraphBuilder, Values

if TYPE_CHECKING:
    from onnx import ModelProto

CACHE_PARTS = ("key", "value")
EXACT = 1  # MatMulNBits' accuracy level on a CPU; NPUs have their own arithmetic


@dataclass(frozen=True, slots=True)
class NpuTensors:
    """What the data file holds beside ``data``.

    ``low_halves``: the low 4 bits of the weights of 8, whose high ones are in ``data``. ``codes`` (vocab_size,
    hidden_size) and ``scales`` (vocab_size, hidden_size / group): the embedding. ``cos`` and ``sin``: (capacity,
    head_dim / 2).
    """

    data: DataTensors
    low_halves: Mapping[TensorPlace, DataWeight]
    codes: DataArray
    scales: DataArray
    cos: DataArray
    sin: DataArray


def build_npu_model(spec: ModelSpec, tensors: NpuTensors, length: int, *, spells_norms: bool = False) -> ModelProto:
    """The graph of ``spec`` for ``length`` tokens a call; ``spells_norms``: in arithmetic, as OpenVINO wants them.

    Raises ModelError when the ``onnx`` package is missing.
    """
    build = _Build(spec, tensors, length, spells_norms=spells_norms)
    outside, blocks = split_places(spec)
    hidden = build.embed()
    for layer, block in enumerate(blocks):
        mixed = build.attend(layer, block, build.norm(f"{layer}.attention_norm", hidden, block["attention_norm"]))
        hidden = build.graph.node("Add", f"{layer}.attended", [hidden, mixed])
        normed = build.norm(f"{layer}.feed_forward_norm", hidden, block["feed_forward_norm"])
        hidden = build.graph.node("Add", f"{layer}.hidden", [hidden, build.feed_forward(layer, block, normed)])
    if length > 1:
        hidden = build.graph.node("Gather", "last_hidden", [hidden, "last"], axis=1)
    normed = build.norm("final_norm", hidden, outside["final_norm"])
    build.linear("logits", outside["embedding" if spec.has_tied_head else "head"], normed)
    return build.graph.finish(*_values(spec, tensors.cos.shape[0], length))


def _values(spec: ModelSpec, capacity: int, length: int) -> tuple[Values, Values]:
    """Inputs and outputs."""

    def cache(name: str, tokens: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        shapes = ((1, spec.num_kv_heads, spec.head_dim, tokens), (1, spec.num_kv_heads, tokens, spec.head_dim))
        return {
            f"{name}_{part}.{layer}": ("FLOAT", shape)
            for layer in range(spec.num_layers)
            for part, shape in zip(CACHE_PARTS, shapes, strict=True)
        }

    inputs: dict[str, tuple[str, tuple[int, ...]]] = {
        "tokens": ("INT32", (1, length)),
        "positions": ("INT32", (length,)),
        "mask": ("FLOAT", (1, 1, length, capacity + length)),
    }
    last: dict[str, tuple[str, tuple[int, ...]]] = {"last": ("INT32", (1,))} if length > 1 else {}
    logits: dict[str, tuple[str, tuple[int, ...]]] = {"logits": ("FLOAT", (1, 1, spec.vocab_size))}
    return inputs | last | cache("past", capacity), logits | cache("new", length)


class _Build:
    """The parts of a graph, each a method that gives the name of what it computes."""

    def __init__(self, spec: ModelSpec, tensors: NpuTensors, length: int, *, spells_norms: bool) -> None:
        self.spec, self.tensors, self.length = spec, tensors, length
        self._spells_norms = spells_norms
        self.graph = GraphBuilder(tensors.data, EXACT)
        self._total = tensors.cos.shape[0] + length
        self._cos, self._sin = self._angles("cos", tensors.cos), self._angles("sin", tensors.sin)

    def embed(self) -> str:
        """The rows of the table (1, length, hidden_size), scaled."""
        graph, (_, groups) = self.graph, self.tensors.scales.shape
        group = self.spec.hidden_size // groups
        codes = graph.node("Gather", "embed_codes", [graph.array(self.tensors.codes), "tokens"])
        scales = graph.node("Gather", "embed_scales", [graph.array(self.tensors.scales), "tokens"])
        floats = graph.node("Cast", "embed_floats", [codes], to="FLOAT")
        split = self._reshape("embed_groups", floats, self._integers(1, self.length, groups, group))
        column = self._reshape("embed_column", scales, self._integers(1, self.length, groups, 1))
        scaled = graph.node("Mul", "embed_scaled", [split, column])
        return self._reshape("embed", scaled, self._integers(1, self.length, self.spec.hidden_size))

    def norm(self, name: str, values: str, place: TensorPlace) -> str:
        """``values`` normed along their last axis."""
        graph, weight = self.graph, self.graph.array(self.tensors.data.norms[place])
        if not self._spells_norms:
            return graph.node("RMSNormalization", name, [values, weight], epsilon=self.spec.norm_eps)
        squares = graph.node("Mul", f"{name}.squares", [values, values])
        mean = graph.node("ReduceMean", f"{name}.mean", [squares, self._integers(-1)], keepdims=1)
        above_zero = graph.constant("norm_epsilon", "FLOAT", self.spec.norm_eps)
        root = graph.node("Sqrt", f"{name}.root", [graph.node("Add", f"{name}.above_zero", [mean, above_zero])])
        return graph.node("Mul", name, [graph.node("Div", f"{name}.scaled", [values, root]), weight])

    def linear(self, name: str, place: TensorPlace, values: str) -> str:
        """``values`` (1, length, K) times a weight (N, K)."""
        whole, low = self.tensors.data.weights[place], self.tensors.low_halves.get(place)
        if low is None:
            return self.graph.linear(name, whole, values)
        halves = [self.graph.linear(f"{name}.{half}", w, values) for half, w in (("high", whole), ("low", low))]
        return self.graph.node("Add", name, halves)

    def attend(self, layer: int, block: Mapping[str, TensorPlace], normed: str) -> str:
        """What attention adds to the hidden states."""
        spec, graph = self.spec, self.graph
        share = spec.num_heads // spec.num_kv_heads
        query = self._head(f"{layer}.query", block["query"], block["query_norm"], normed, spec.num_heads, (0, 2, 1, 3))
        key = self._head(f"new_key.{layer}", block["key"], block["key_norm"], normed, spec.num_kv_heads, (0, 2, 3, 1))
        split = self._split(f"{layer}.value", self.linear(f"{layer}.value", block["value"], normed), spec.num_kv_heads)
        value = graph.node("Transpose", f"new_value.{layer}", [split], perm=(0, 2, 1, 3))
        keys = graph.node("Concat", f"{layer}.keys", [f"past_key.{layer}", key], axis=3)
        values = graph.node("Concat", f"{layer}.values", [f"past_value.{layer}", value], axis=2)
        scale = graph.constant("scale", "FLOAT", spec.head_dim**-0.5)
        scaled = graph.node("Mul", f"{layer}.scaled", [query, scale])
        # query heads that share keys become rows of one product
        rows = self._integers(1, spec.num_kv_heads, share * self.length, spec.head_dim)
        scores = graph.node("MatMul", f"{layer}.scores", [self._reshape(f"{layer}.rows", scaled, rows), keys])
        by_head = self._integers(spec.num_kv_heads, share, self.length, self._total)
        masked = graph.node("Add", f"{layer}.masked", [self._reshape(f"{layer}.by_head", scores, by_head), "mask"])
        weights = graph.node("Softmax", f"{layer}.weights", [masked], axis=-1)
        joined = self._integers(1, spec.num_kv_heads, share * self.length, self._total)
        mixed = graph.node("MatMul", f"{layer}.mixed", [self._reshape(f"{layer}.shares", weights, joined), values])
        heads = self._reshape(
            f"{layer}.mixed_heads", mixed, self._integers(1, spec.num_heads, self.length, spec.head_dim)
        )
        turned = graph.node("Transpose", f"{layer}.mixed_tokens", [heads], perm=(0, 2, 1, 3))
        flat = self._reshape(f"{layer}.mixed_flat", turned, self._integers(1, self.length, spec.query_width))
        return self.linear(f"{layer}.attention_output", block["attention_output"], flat)

    def feed_forward(self, layer: int, block: Mapping[str, TensorPlace], normed: str) -> str:
        """What the gated layers add to the hidden states."""
        gate, up = (self.linear(f"{layer}.{role}", block[role], normed) for role in ("gate", "up"))
        sigmoid = self.graph.node("Sigmoid", f"{layer}.sigmoid", [gate])
        swish = self.graph.node("Mul", f"{layer}.swish", [gate, sigmoid])
        return self.linear(f"{layer}.down", block["down"], self.graph.node("Mul", f"{layer}.product", [swish, up]))

    def _head(
        self, name: str, weight: TensorPlace, norm: TensorPlace, normed: str, num_heads: int, order: tuple[int, ...]
    ) -> str:
        """Queries or keys (1, length, heads, head_dim), normed and rotated as the family does, axes in ``order``."""
        heads = self._split(f"{name}.linear", self.linear(f"{name}.linear", weight, normed), num_heads)
        if family_of(self.spec.family).qk_norm == "before_rope":
            heads = self._rotate(name, self.norm(f"{name}.normed", heads, norm))
        else:
            heads = self.norm(f"{name}.normed", self._rotate(name, heads), norm)
        return self.graph.node("Transpose", name, [heads], perm=order)

    def _rotate(self, name: str, heads: str) -> str:
        """Channel c turns with channel c + head_dim / 2."""
        graph, (first, second) = self.graph, (f"{name}.first", f"{name}.second")
        graph.node("Split", first, [heads], more_outputs=[second], axis=3, num_outputs=2)

        def product(half: str, angle: str) -> str:
            return graph.node("Mul", f"{half}_{angle}", [half, angle])

        left = graph.node("Sub", f"{name}.left", [product(first, self._cos), product(second, self._sin)])
        right = graph.node("Add", f"{name}.right", [product(second, self._cos), product(first, self._sin)])
        return graph.node("Concat", f"{name}.rotated", [left, right], axis=3)

    def _angles(self, name: str, table: DataArray) -> str:
        """The rows (1, length, 1, head_dim / 2) of a table for the positions of this call."""
        rows = self.graph.node("Gather", f"{name}_rows", [self.graph.array(table), "positions"])
        return self._reshape(name, rows, self._integers(1, self.length, 1, self.spec.head_dim // 2))

    def _split(self, name: str, values: str, num_heads: int) -> str:
        """(1, length, heads * head_dim) to (1, length, heads, head_dim)."""
        return self._reshape(f"{name}.heads", values, self._integers(1, self.length, num_heads, self.spec.head_dim))

    def _reshape(self, name: str, values: str, shape: str) -> str:
        return self.graph.node("Reshape", name, [values, shape])

    def _integers(self, *numbers: int) -> str:
        """A shape, stored once."""
        return self.graph.integers("shape_" + "_".join(map(str, numbers)), numbers)
