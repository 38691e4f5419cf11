"""The table of model families: what all models of one ``model_type`` share, as data.

Knows: norm order, rope rule, which tensors share an input, every tensor's name in a checkpoint and in a GGUF file.
Does not know: the numbers of one model. Adding a family is a row here; no algorithm elsewhere names a model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.errors import UnknownFamilyError

TensorKind = Literal["table", "linear", "norm"]
QkNorm = Literal["before_rope", "after_rope"]
RopeRule = Literal["plain", "ntk_alpha"]


@dataclass(frozen=True, slots=True)
class TensorRow:
    """One kind of tensor of a family. ``{layer}`` in a name is the block; ``widths`` are attributes of ModelSpec."""

    role: str
    kind: TensorKind
    widths: tuple[str, ...]
    checkpoint_name: str
    gguf_name: str

    @property
    def is_in_block(self) -> bool:
        """Whether every block has one."""
        return "{layer}" in self.checkpoint_name


@dataclass(frozen=True, slots=True)
class ScaleGroup:
    """Linear layers of a block that read one input, and the tensor whose rows (or values) produce that input.

    Channels may move between the two: dividing the producer and multiplying the consumers by one scale per channel
    changes nothing, where both have as many channels.
    """

    producer: str
    consumers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Family:
    """What all models of one ``model_type`` share."""

    model_type: str
    gguf_architecture: str
    genai_type: str  # what onnxruntime-genai calls it
    gguf_pre_tokenizer: str  # used where the tokenizer's own pattern is not one llama.cpp has a name for
    qk_norm: QkNorm  # RMSNorm over head_dim of queries and keys, before or after the rotation
    rope_rule: RopeRule
    rows: tuple[TensorRow, ...]
    scale_groups: tuple[ScaleGroup, ...]  # every linear layer of a block is a consumer in exactly one


def _block_row(role: str, kind: TensorKind, widths: tuple[str, ...], name: str, gguf_name: str) -> TensorRow:
    return TensorRow(role, kind, widths, f"model.layers.{{layer}}.{name}.weight", f"blk.{{layer}}.{gguf_name}.weight")


def _decoder_rows(query_norm: str, key_norm: str) -> tuple[TensorRow, ...]:
    """The tensors of a SwiGLU decoder with grouped heads and q/k norms, of which only the two norms' names vary."""
    return (
        TensorRow(
            "embedding", "table", ("vocab_size", "hidden_size"), "model.embed_tokens.weight", "token_embd.weight"
        ),
        _block_row("attention_norm", "norm", ("hidden_size",), "input_layernorm", "attn_norm"),
        _block_row("query", "linear", ("query_width", "hidden_size"), "self_attn.q_proj", "attn_q"),
        _block_row("key", "linear", ("key_width", "hidden_size"), "self_attn.k_proj", "attn_k"),
        _block_row("value", "linear", ("key_width", "hidden_size"), "self_attn.v_proj", "attn_v"),
        _block_row("query_norm", "norm", ("head_dim",), f"self_attn.{query_norm}", "attn_q_norm"),
        _block_row("key_norm", "norm", ("head_dim",), f"self_attn.{key_norm}", "attn_k_norm"),
        _block_row("attention_output", "linear", ("hidden_size", "query_width"), "self_attn.o_proj", "attn_output"),
        _block_row("feed_forward_norm", "norm", ("hidden_size",), "post_attention_layernorm", "ffn_norm"),
        _block_row("gate", "linear", ("feed_forward_size", "hidden_size"), "mlp.gate_proj", "ffn_gate"),
        _block_row("up", "linear", ("feed_forward_size", "hidden_size"), "mlp.up_proj", "ffn_up"),
        _block_row("down", "linear", ("hidden_size", "feed_forward_size"), "mlp.down_proj", "ffn_down"),
        TensorRow("final_norm", "norm", ("hidden_size",), "model.norm.weight", "output_norm.weight"),
        TensorRow("head", "table", ("vocab_size", "hidden_size"), "lm_head.weight", "output.weight"),
    )


_DECODER_SCALE_GROUPS = (
    ScaleGroup("attention_norm", ("query", "key", "value")),
    ScaleGroup("value", ("attention_output",)),  # attention only mixes the rows of values
    ScaleGroup("feed_forward_norm", ("gate", "up")),
    ScaleGroup("up", ("down",)),  # the gate multiplies the rows of up
)

FAMILIES: dict[str, Family] = {
    family.model_type: family
    for family in (
        Family(
            "qwen3",
            "qwen3",
            "qwen3",
            "qwen2",
            "before_rope",
            "plain",
            _decoder_rows("q_norm", "k_norm"),
            _DECODER_SCALE_GROUPS,
        ),
        Family(
            "hunyuan_v1_dense",
            "hunyuan-dense",
            "hunyuandensev1",
            "hunyuan-dense",
            "after_rope",
            "ntk_alpha",
            _decoder_rows("query_layernorm", "key_layernorm"),
            _DECODER_SCALE_GROUPS,
        ),
    )
}


def family_of(model_type: object) -> Family:
    """The row of FAMILIES. Raises UnknownFamilyError naming ``model_type`` and the known ones."""
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise UnknownFamilyError(
            f"There is no row for the model family {model_type!r}; known families are {', '.join(FAMILIES)}."
        )
    return FAMILIES[model_type]
