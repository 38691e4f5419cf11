"""The two bodies that the embedded models have: what differs between them, as data.

Knows: the order of norm and rotation, names in a checkpoint, and what config.json says beside the widths.
Does not know: widths, weights, or how a model talks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Body:
    """One ``model_type`` of transformers.

    ``norm_names`` are the checkpoint's names of the q and k norms. ``rope_alpha`` is that of the static NTK rule, by
    which the base of the rotation is theta * alpha^(d / (d - 2)); None: the base is theta. ``settings`` are further
    entries of config.json.
    """

    model_type: str
    architecture: str
    norm_names: tuple[str, str]
    norms_after_rotation: bool
    rms_norm_eps: float
    rope_alpha: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def rope_entries(self, base: float, head_dim: int) -> dict[str, Any]:
        """What config.json says so that the rotation's base is ``base``."""
        if self.rope_alpha is None:
            return {"rope_theta": base, "rope_scaling": None}
        theta = base / self.rope_alpha ** (head_dim / (head_dim - 2))
        return {"rope_theta": theta, "rope_scaling": {"type": "dynamic", "alpha": self.rope_alpha, "factor": 1.0}}

    def rope_base(self, config: Mapping[str, Any]) -> float:
        """The base that ``config``, a config.json of this body, asks for."""
        theta, dim = float(config["rope_theta"]), int(config["head_dim"])
        return theta if self.rope_alpha is None else theta * float(self.rope_alpha) ** (dim / (dim - 2))


BODIES: dict[str, Body] = {
    body.model_type: body
    for body in (
        Body(
            "qwen3",
            "Qwen3ForCausalLM",
            ("q_norm", "k_norm"),
            norms_after_rotation=False,
            rms_norm_eps=1e-6,
            settings={"use_sliding_window": False, "sliding_window": None},
        ),
        Body(
            "hunyuan_v1_dense",
            "HunYuanDenseV1ForCausalLM",
            ("query_layernorm", "key_layernorm"),
            norms_after_rotation=True,
            rms_norm_eps=1e-5,
            rope_alpha=1000.0,
            settings={"use_qk_norm": True, "mlp_bias": False},
        ),
    )
}
