"""What a model is in numbers, read once from its config.json.

Knows: widths, the base of the rotation, and which tensors a model of these widths has.
Does not know: weights, files, or how the model talks (that is the dialect; body and dialect are two things).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from models.errors import CheckpointError
from models.families import Family, TensorKind, TensorRow, family_of

BLOCK_WIDTH = 32  # weights of a row that share one block in every 4-bit and 8-bit format used here

# Settings that change the arithmetic: any other value would be ignored in silence, so it is refused.
_ACCEPTED_SETTINGS: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu",),
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
    "use_sliding_window": (False, None),
    "use_qk_norm": (True, None),
    "use_cla": (False, None),
    "num_experts": (0, 1, None),
}


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """One tensor of one model: role, block (None outside the blocks), shape as numpy sees it, and its two names."""

    role: str
    layer: int | None
    kind: TensorKind
    shape: tuple[int, ...]
    checkpoint_name: str
    gguf_name: str


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The body of a model. Widths are in values, ``rope_base`` is the base that is used (scaling already applied).

    Raises CheckpointError for numbers that do not fit together, UnknownFamilyError for a family without a row.
    """

    family: str
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    feed_forward_size: int
    vocab_size: int
    context_length: int  # tokens the model was made for
    norm_eps: float
    rope_base: float
    has_tied_head: bool

    def __post_init__(self) -> None:
        family_of(self.family)
        for name in ("hidden_size", "query_width", "feed_forward_size"):
            if getattr(self, name) % BLOCK_WIDTH:
                raise CheckpointError(
                    f"{name} is {getattr(self, name)}, not a multiple of {BLOCK_WIDTH}; "
                    "the 4-bit formats have no block for the rest, so this model cannot be packed."
                )
        if self.num_heads % self.num_kv_heads:
            raise CheckpointError(
                f"{self.num_heads} heads cannot share {self.num_kv_heads} key-value heads evenly; check config.json."
            )
        if self.head_dim % 2:
            raise CheckpointError(f"head_dim is {self.head_dim}, an odd number that cannot be rotated in halves.")

    @property
    def query_width(self) -> int:
        """Values of all query heads of one token; may differ from ``hidden_size``."""
        return self.num_heads * self.head_dim

    @property
    def key_width(self) -> int:
        """Values of all key (or value) heads of one token."""
        return self.num_kv_heads * self.head_dim

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of a float16 key-value cache for one token."""
        return 2 * 2 * self.num_layers * self.key_width

    def places(self) -> tuple[TensorPlace, ...]:
        """Every tensor of this model, in file order: embedding, blocks, final norm, head (if it is not tied)."""
        rows = family_of(self.family).rows
        block = [row for row in rows if row.is_in_block]
        outside = [row for row in rows if not row.is_in_block and not (row.role == "head" and self.has_tied_head)]
        return (
            self._place(outside[0], None),
            *(self._place(row, layer) for layer in range(self.num_layers) for row in block),
            *(self._place(row, None) for row in outside[1:]),
        )

    def _place(self, row: TensorRow, layer: int | None) -> TensorPlace:
        return TensorPlace(
            role=row.role,
            layer=layer,
            kind=row.kind,
            shape=tuple(getattr(self, width) for width in row.widths),
            checkpoint_name=row.checkpoint_name.format(layer=layer),
            gguf_name=row.gguf_name.format(layer=layer),
        )


def spec_from_config(config: Mapping[str, Any]) -> ModelSpec:
    """Read a Hugging Face ``config.json`` object.

    Raises UnknownFamilyError for a ``model_type`` without a row, CheckpointError for a missing key, a value of the
    wrong kind, or a setting that changes the arithmetic and is not known here.
    """
    family = family_of(config.get("model_type"))
    for key, accepted in _ACCEPTED_SETTINGS.items():
        if key in config and config[key] not in accepted:
            raise CheckpointError(
                f"config.json sets {key} to {config[key]!r}, which {family.model_type} has no row for."
            )
    # hidden_size / num_heads is wrong where the query width differs from hidden_size, so head_dim must be given.
    head_dim = _positive_integer(config, "head_dim", "attention_head_dim")
    return ModelSpec(
        family=family.model_type,
        hidden_size=_positive_integer(config, "hidden_size"),
        num_layers=_positive_integer(config, "num_hidden_layers"),
        num_heads=_positive_integer(config, "num_attention_heads"),
        num_kv_heads=_positive_integer(config, "num_key_value_heads"),
        head_dim=head_dim,
        feed_forward_size=_positive_integer(config, "intermediate_size"),
        vocab_size=_positive_integer(config, "vocab_size"),
        context_length=_positive_integer(config, "max_position_embeddings"),
        norm_eps=_positive_number(config, "rms_norm_eps"),
        rope_base=_rope_base(config, family, head_dim),
        has_tied_head=_has_tied_head(config),
    )


def spec_from_json(value: object) -> ModelSpec:
    """Read back ``dataclasses.asdict(spec)``; keys must be exactly the fields. Raises as spec_from_config does."""
    if not isinstance(value, dict) or set(value) != {field.name for field in fields(ModelSpec)}:
        raise CheckpointError(
            "The spec does not hold exactly the fields of a model spec; the file is damaged or foreign."
        )
    family_of(value["family"])
    if not isinstance(value["has_tied_head"], bool):
        raise CheckpointError(f"has_tied_head is {value['has_tied_head']!r}; it must be true or false.")
    numbers = {name: _positive_number(value, name) for name in ("norm_eps", "rope_base")}
    for name in value.keys() - numbers.keys() - {"family", "has_tied_head"}:
        _positive_integer(value, name)
    return ModelSpec(**{**value, **numbers})


def _positive_integer(config: Mapping[str, Any], *keys: str) -> int:
    value = _first(config, keys)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise CheckpointError(f"{keys[0]} is {value!r}; it must be an integer of 1 or more, check config.json.")
    return value


def _positive_number(config: Mapping[str, Any], *keys: str) -> float:
    value = _first(config, keys)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e15:
        raise CheckpointError(f"{keys[0]} is {value!r}; it must be a number above 0 and below 1e15, check config.json.")
    return float(value)


def _first(config: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    for key in keys:
        if config.get(key) is not None:
            return config[key]
    raise CheckpointError(f"config.json has no {' and no '.join(keys)}; the checkpoint is incomplete, fetch it again.")


def _has_tied_head(config: Mapping[str, Any]) -> bool:
    value = config.get("tie_word_embeddings", False)  # both families leave the key out where the head is its own
    if not isinstance(value, bool):
        raise CheckpointError(f"tie_word_embeddings is {value!r}; it must be true or false, check config.json.")
    return value


def _rope_base(config: Mapping[str, Any], family: Family, head_dim: int) -> float:
    """The rotation's base. Hunyuan calls its static NTK-alpha rule "dynamic": base = theta * alpha^(d / (d - 2))."""
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(scaling, dict):
        raise CheckpointError(f"rope_scaling is {scaling!r}; it must be an object or null, check config.json.")
    theta = _positive_number({"rope_theta": scaling.get("rope_theta", config.get("rope_theta"))}, "rope_theta")
    rule = scaling.get("rope_type", scaling.get("type")) or "default"
    if rule == "default":
        return theta
    if rule == "dynamic" and family.rope_rule == "ntk_alpha" and head_dim > 2:
        alpha = _positive_number(scaling, "alpha")
        return theta * math.pow(alpha, head_dim / (head_dim - 2))
    raise CheckpointError(f"config.json asks for rope scaling {rule!r}, which {family.model_type} has no rule for.")
