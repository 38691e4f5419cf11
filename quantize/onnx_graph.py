"""A decoder as a graph for ONNX Runtime: which operators there are, and which tensor each one reads.

Knows: operators, names and dimensions, which of the family's norms comes before the rotation.
Does not know: how tensors are laid or written; it is told where they lie.

Inputs and outputs, named as onnxruntime-genai wants them, float32 where nothing else is said:

    input_ids                (batch, length) int64: the tokens of this call
    attention_mask           (batch, total) int64: ones for the tokens that the cache holds before this call and then
                             for those of this call, so that total - length is where they begin; a row that holds
                             fewer tokens than others ends in zeros
    past_key_values.N.key    (batch, key heads, past, head_dim), and .value, for every block N
    present.N.key            (batch, key heads, present, head_dim), and .value
    logits                   (batch, 1, vocab_size): after the last token of every row

The cache may grow with every call (past = total - length, present = total), or be one buffer bound as past and as
present, of any size from total up to the positions that the graph was made for: the call then writes its ``length``
tokens in place, and a sequence is cut back by giving a smaller total. The cache is float32 because the CPU provider's
GroupQueryAttention runs on float32 what MatMulNBits hands it; with a float16 cache beside it the operator converts the
whole cache in every call (measured: six times slower at 512 tokens, and an error of 3e-4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.families import family_of
from models.spec import ModelSpec, TensorPlace
from quantize.decoder import frequencies_of, split_places
from quantize.onnx_nodes import CONTRIB, DataTensors, GraphBuilder, Values

if TYPE_CHECKING:
    from onnx import ModelProto

PAST_NAME, PRESENT_NAME = "past_key_values", "present"


def build_model(spec: ModelSpec, data: DataTensors, num_positions: int, accuracy_level: int) -> ModelProto:
    """The model of ``spec`` over ``data`` for up to ``num_positions`` tokens; ``accuracy_level`` is MatMulNBits' own.

    Raises ModelError when the ``onnx`` package is missing.
    """
    graph = GraphBuilder(data, accuracy_level)
    outside, blocks = split_places(spec)
    table = data.weights[outside["embedding"]]
    shared = _add_shared(graph, spec, num_positions)
    hidden = graph.gather("embed", table, "input_ids")
    first_norm = data.norms[blocks[0]["attention_norm"]]
    normed = graph.node("RMSNormalization", "first_norm", [hidden, graph.array(first_norm)], epsilon=spec.norm_eps)
    next_norms = [*(block["attention_norm"] for block in blocks[1:]), outside["final_norm"]]
    for layer, (block, next_norm) in enumerate(zip(blocks, next_norms, strict=True)):
        mixed = _add_attention(graph, spec, layer, block, normed, shared)
        norm = block["feed_forward_norm"]
        normed, hidden = _add_and_norm(graph, spec, f"{layer}.feed_forward_norm", hidden, mixed, norm)
        product = _add_feed_forward(graph, layer, block, normed)
        normed, hidden = _add_and_norm(graph, spec, f"{layer}.next_norm", hidden, product, next_norm)
    last = graph.node("GatherND", "last_token", [normed, shared.last], batch_dims=1)
    head = table if spec.has_tied_head else data.weights[outside["head"]]
    graph.linear("logits", head, last)
    inputs = {"input_ids": ("INT64", ("batch", "length")), "attention_mask": ("INT64", ("batch", "total"))}
    outputs = {"logits": ("FLOAT", ("batch", 1, spec.vocab_size))}
    past, present = _cache(spec, PAST_NAME, "past"), _cache(spec, PRESENT_NAME, "present")
    return graph.finish({**inputs, **past}, {**outputs, **present})


def _cache(spec: ModelSpec, name: str, length: str) -> Values:
    """One side of the cache."""
    names = [f"{name}.{layer}.{part}" for layer in range(spec.num_layers) for part in ("key", "value")]
    return {each: ("FLOAT", ("batch", spec.num_kv_heads, length, spec.head_dim)) for each in names}


@dataclass(frozen=True, slots=True)
class _Shared:
    """Values that all blocks share, made from the attention mask.

    ``seqlens`` (batch,) int32 and ``total`` () int32 as GroupQueryAttention wants them; ``last`` (batch, 1, 1) int64,
    the last token of every row of this call; ``rotation``, what rotates queries and keys in the family's own place.
    """

    seqlens: str
    total: str
    last: str
    rotation: tuple[str, ...]


def _add_shared(graph: GraphBuilder, spec: ModelSpec, num_positions: int) -> _Shared:
    one, column = graph.integers("one", 1), graph.integers("column", [1])
    length = graph.node("Shape", "length", ["input_ids"], start=1, end=2)
    total = graph.node("Shape", "total", ["attention_mask"], start=1, end=2)
    seen = graph.node("ReduceSum", "seen", ["attention_mask", column], keepdims=1)
    last = graph.node("Sub", "last_position", [graph.node("Min", "seen_here", [seen, length]), one])
    seqlens = graph.node("Squeeze", "seqlens", [graph.node("Sub", "seqlens_column", [seen, one]), column])
    rotation: tuple[str, ...] = _add_angles(graph, spec, num_positions)
    if _is_rotated_first(spec):
        rotation = (_add_positions(graph, seen, length), *rotation)
    return _Shared(
        seqlens=graph.node("Cast", "seqlens_k", [seqlens], to="INT32"),
        total=graph.node("Cast", "total_length", [graph.node("Squeeze", "total_scalar", [total])], to="INT32"),
        last=graph.node("Unsqueeze", "last", [last, column]),
        rotation=rotation,
    )


def _is_rotated_first(spec: ModelSpec) -> bool:
    """Whether the norm of queries and keys follows the rotation, which GroupQueryAttention then must not do."""
    return family_of(spec.family).qk_norm == "after_rope"


def _add_positions(graph: GraphBuilder, seen: str, length: str) -> str:
    """The position (batch, length) of every token; a row that ends in zeros begins at 0 as the others do."""
    zero, one = graph.integers("zero", 0), graph.integers("one", 1)
    begin = graph.node("Max", "begin", [graph.node("Sub", "seen_before", [seen, length]), zero])
    steps = graph.node("Range", "steps", [zero, graph.node("Squeeze", "length_scalar", [length]), one])
    return graph.node("Add", "positions", [begin, steps])


def _add_angles(graph: GraphBuilder, spec: ModelSpec, num_positions: int) -> tuple[str, str]:
    """Cosines and sines (positions, head_dim / 2). They depend on no input, so that a runtime computes them once.

    In float64 until the end: a float32 angle of some ten thousand is off by a thousandth.
    """
    limits = [graph.integers("zero", 0), graph.integers("num_positions", num_positions), graph.integers("one", 1)]
    every = graph.node("Cast", "every_position", [graph.node("Range", "every_integer", limits)], to="DOUBLE")
    rows = graph.node("Unsqueeze", "every_row", [every, graph.integers("column", [1])])
    angles = graph.node("Mul", "angles", [rows, graph.constant("frequencies", "DOUBLE", frequencies_of(spec).tolist())])
    cos, sin = (graph.node(operator, f"{operator}_double", [angles]) for operator in ("Cos", "Sin"))
    return graph.node("Cast", "cos", [cos], to="FLOAT"), graph.node("Cast", "sin", [sin], to="FLOAT")


def _add_attention(
    graph: GraphBuilder,
    spec: ModelSpec,
    layer: int,
    block: Mapping[str, TensorPlace],
    normed: str,
    shared: _Shared,
) -> str:
    """What attention adds to the hidden states."""
    is_rotated_first = _is_rotated_first(spec)
    heads = []
    for role, norm, width in (("query", "query_norm", spec.query_width), ("key", "key_norm", spec.key_width)):
        name = f"{layer}.{role}"
        head = graph.linear(name, graph.data.weights[block[role]], normed)
        if is_rotated_first:
            head = graph.node("RotaryEmbedding", f"{name}.rotated", [head, *shared.rotation], CONTRIB)
        heads.append(_add_head_norm(graph, spec, name, head, block[norm], width))
    value = graph.linear(f"{layer}.value", graph.data.weights[block["value"]], normed)
    past = [f"{PAST_NAME}.{layer}.{part}" for part in ("key", "value")]
    present = [f"{PRESENT_NAME}.{layer}.{part}" for part in ("key", "value")]
    mixed = graph.node(
        "GroupQueryAttention",
        f"{layer}.mixed",
        [*heads, value, *past, shared.seqlens, shared.total, *(() if is_rotated_first else shared.rotation)],
        CONTRIB,
        more_outputs=present,
        num_heads=spec.num_heads,
        kv_num_heads=spec.num_kv_heads,
        do_rotary=int(not is_rotated_first),
    )
    return graph.linear(f"{layer}.attention_output", graph.data.weights[block["attention_output"]], mixed)


def _add_head_norm(graph: GraphBuilder, spec: ModelSpec, name: str, values: str, place: TensorPlace, width: int) -> str:
    """Every head of ``values`` (batch, length, width) by itself."""
    by_head = graph.integers("by_head", [0, 0, -1, spec.head_dim])
    split = graph.node("Reshape", f"{name}.heads", [values, by_head])
    weight = graph.array(graph.data.norms[place])
    normed = graph.node("RMSNormalization", f"{name}.normed", [split, weight], epsilon=spec.norm_eps)
    joined = graph.integers(f"width_{width}", [0, 0, width])
    return graph.node("Reshape", f"{name}.joined", [normed, joined])


def _add_feed_forward(graph: GraphBuilder, layer: int, block: Mapping[str, TensorPlace], normed: str) -> str:
    gate, up = (graph.linear(f"{layer}.{role}", graph.data.weights[block[role]], normed) for role in ("gate", "up"))
    swish = graph.node("Mul", f"{layer}.swish", [gate, graph.node("Sigmoid", f"{layer}.sigmoid", [gate])])
    product = graph.node("Mul", f"{layer}.product", [swish, up])
    return graph.linear(f"{layer}.down", graph.data.weights[block["down"]], product)


def _add_and_norm(
    graph: GraphBuilder, spec: ModelSpec, name: str, hidden: str, added: str, norm: TensorPlace
) -> tuple[str, str]:
    """The norm of ``hidden`` + ``added``, and their sum."""
    total = f"{name}.sum"
    operator, unused = "SkipSimplifiedLayerNormalization", ""
    inputs, more_outputs = [hidden, added, graph.array(graph.data.norms[norm])], [unused, unused, total]
    return graph.node(operator, name, inputs, CONTRIB, more_outputs=more_outputs, epsilon=spec.norm_eps), total
