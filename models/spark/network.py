"""The network: a small Qwen3 or Hunyuan body in torch, with a KV cache, and its Hugging Face folder.

Knows tensors and shapes. Trained on contexts of at most 256 tokens; the config allows 8192 positions because the
rotary embedding does, not because longer contexts were learned.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.spark.bodies import BODIES, Body


@dataclass(frozen=True, slots=True)
class SparkConfig:
    """Body and shapes; every width is a multiple of 256 so that each 4-bit format fits."""

    vocab_size: int = 1024
    hidden_size: int = 256
    num_layers: int = 4
    num_heads: int = 4
    num_kv_heads: int = 4
    head_dim: int = 64
    intermediate_size: int = 768
    rope_base: float = 10000.0
    max_position_embeddings: int = 8192
    body: Body = BODIES["qwen3"]

    def to_hugging_face(self, eos_id: int, pad_id: int, bos_id: int | None) -> dict[str, Any]:
        """config.json for transformers."""
        return {
            "architectures": [self.body.architecture],
            "model_type": self.body.model_type,
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
            "num_key_value_heads": self.num_kv_heads,
            "head_dim": self.head_dim,
            "intermediate_size": self.intermediate_size,
            **self.body.rope_entries(self.rope_base, self.head_dim),
            "rms_norm_eps": self.body.rms_norm_eps,
            "max_position_embeddings": self.max_position_embeddings,
            "hidden_act": "silu",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "tie_word_embeddings": True,
            "use_cache": True,
            **self.body.settings,
            "initializer_range": 0.02,
            "bos_token_id": bos_id,
            "eos_token_id": eos_id,
            "pad_token_id": pad_id,
            "torch_dtype": "bfloat16",
        }

    @classmethod
    def from_hugging_face(cls, config: dict[str, Any]) -> SparkConfig:
        """Body and shapes from config.json."""
        body = BODIES[config["model_type"]]
        return cls(
            vocab_size=config["vocab_size"],
            hidden_size=config["hidden_size"],
            num_layers=config["num_hidden_layers"],
            num_heads=config["num_attention_heads"],
            num_kv_heads=config["num_key_value_heads"],
            head_dim=config["head_dim"],
            intermediate_size=config["intermediate_size"],
            rope_base=body.rope_base(config),
            max_position_embeddings=config["max_position_embeddings"],
            body=body,
        )


class RMSNorm(nn.Module):
    """x / rms(x) * weight over the last axis, in float32."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps) * self.weight).to(x.dtype)


def rope_tables(config: SparkConfig, positions: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin for split-half rotation, (..., head_dim), from integer positions (...)."""
    exponents = torch.arange(0, config.head_dim, 2, device=positions.device).float() / config.head_dim
    angles = positions.float()[..., None] * config.rope_base**-exponents
    angles = torch.cat((angles, angles), -1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Split-half rotary embedding of x (batch, heads, length, head_dim)."""
    first, second = x.chunk(2, -1)
    return (x.float() * cos + torch.cat((-second, first), -1).float() * sin).to(x.dtype)


class LayerCache:
    """Keys and values of one layer in a buffer (batch, kv heads, room, head_dim) that fills up."""

    def __init__(self, config: SparkConfig, batch: int, room: int, like: Tensor) -> None:
        shape = (batch, config.num_kv_heads, room, config.head_dim)
        self.keys = torch.empty(shape, dtype=like.dtype, device=like.device)
        self.values = torch.empty_like(self.keys)
        self.length = 0

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append and return everything held so far."""
        end = self.length + keys.shape[2]
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def keep(self, rows: Tensor) -> None:
        """Drop every sequence but `rows`."""
        self.keys, self.values = self.keys[rows], self.values[rows]


class Attention(nn.Module):
    """Grouped-query attention with q and k normalised per head, before or after the rotation."""

    def __init__(self, config: SparkConfig) -> None:
        super().__init__()
        self.config = config
        hidden, dim = config.hidden_size, config.head_dim
        self.q_proj = nn.Linear(hidden, config.num_heads * dim, bias=False)
        self.k_proj = nn.Linear(hidden, config.num_kv_heads * dim, bias=False)
        self.v_proj = nn.Linear(hidden, config.num_kv_heads * dim, bias=False)
        self.o_proj = nn.Linear(config.num_heads * dim, hidden, bias=False)
        self.q_norm = RMSNorm(dim, config.body.rms_norm_eps)
        self.k_norm = RMSNorm(dim, config.body.rms_norm_eps)

    def mix(
        self, x: Tensor, cos: Tensor, sin: Tensor, cache: LayerCache | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """What each position gathers from those before it, before the output projection. The cache grows."""
        batch, length, _ = x.shape
        dim = self.config.head_dim
        q = self._place(self.q_proj(x).view(batch, length, -1, dim), self.q_norm, cos, sin)
        k = self._place(self.k_proj(x).view(batch, length, -1, dim), self.k_norm, cos, sin)
        v = self.v_proj(x).view(batch, length, -1, dim).transpose(1, 2)
        if cache is not None:
            k, v = cache.extend(k, v)
        grouped = self.config.num_heads != self.config.num_kv_heads
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=grouped)
        return y.transpose(1, 2).reshape(batch, length, -1)

    def _place(self, heads: Tensor, norm: RMSNorm, cos: Tensor, sin: Tensor) -> Tensor:
        """Queries or keys (batch, length, heads, head_dim), normed and rotated, as (batch, heads, length, head_dim)."""
        if self.config.body.norms_after_rotation:
            return norm(rotate(heads.transpose(1, 2), cos, sin))
        return rotate(norm(heads).transpose(1, 2), cos, sin)


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, config: SparkConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Block(nn.Module):
    """Attention, then feed-forward, each behind its norm."""

    def __init__(self, config: SparkConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.body.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.body.rms_norm_eps)
        self.mlp = FeedForward(config)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, cache: LayerCache | None = None, mask: Tensor | None = None
    ) -> Tensor:
        return self.finish(x, self.self_attn.mix(self.input_layernorm(x), cos, sin, cache, mask))

    def finish(self, x: Tensor, mixed: Tensor) -> Tensor:
        """The part of the block that looks at one position at a time."""
        x = x + self.self_attn.o_proj(mixed)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class SparkNetwork(nn.Module):
    """ids -> hidden states -> logits with the embedding as head; parameter names follow Hugging Face under `model.`."""

    def __init__(self, config: SparkConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.norm = RMSNorm(config.hidden_size, config.body.rms_norm_eps)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                narrow = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(parameter, std=0.02 / (2 * config.num_layers) ** 0.5 if narrow else 0.02)

    def hidden(
        self, ids: Tensor, positions: Tensor, caches: list[LayerCache] | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Normed last hidden states (batch, length, hidden); without mask attention is causal. Caches grow."""
        cos, sin = rope_tables(self.config, positions)
        cos, sin = (table[None, None] if table.ndim == 2 else table[:, None] for table in (cos, sin))
        x = self.embed_tokens(ids)
        for at, layer in enumerate(self.layers):
            x = layer(x, cos, sin, caches[at] if caches else None, mask)
        out: Tensor = self.norm(x)
        return out

    def logits(self, hidden: Tensor) -> Tensor:
        """Tied head."""
        return F.linear(hidden, self.embed_tokens.weight)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits (batch, length, vocab)."""
        return self.logits(self.hidden(ids, torch.arange(ids.shape[1], device=ids.device)))

    def loss(self, ids: Tensor, weights: Tensor) -> Tensor:
        """Weighted mean next-token loss over ids (batch, length) where weights (batch, length) are above zero.

        The last block finishes only the positions that are learned, which saves a sixth of the work; their number is
        rounded up so that few shapes occur.
        """
        learned = F.pad(weights[:, 1:], (0, 1)).flatten().float()
        targets = F.pad(ids[:, 1:], (0, 1)).flatten()
        cos, sin = rope_tables(self.config, torch.arange(ids.shape[1], device=ids.device))
        x = self.embed_tokens(ids)
        for layer in self.layers[:-1]:
            x = layer(x, cos, sin)
        last = self.layers[-1]
        mixed = last.self_attn.mix(last.input_layernorm(x), cos, sin)
        chosen = learned.nonzero()[:, 0]
        chosen = F.pad(chosen, (0, min(-len(chosen) % 512, len(learned) - len(chosen))), value=len(learned) - 1)
        x = last.finish(x.flatten(0, 1)[chosen], mixed.flatten(0, 1)[chosen])
        logits = self.logits(self.norm(x)).float()
        losses = F.cross_entropy(logits, targets[chosen], reduction="none")
        return (losses * learned[chosen]).sum() / learned.sum().clamp(min=1.0)


def save_folder(network: SparkNetwork, folder: Path, eos_id: int, pad_id: int, bos_id: int | None = None) -> None:
    """Write model.safetensors (bf16), config.json and generation_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(network, folder)
    config = network.config.to_hugging_face(eos_id, pad_id, bos_id)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    generation = {"do_sample": False, "eos_token_id": [eos_id, pad_id], "pad_token_id": pad_id, "max_new_tokens": 512}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")


def save_weights(network: SparkNetwork, folder: Path) -> None:
    """Write model.safetensors (bf16) alone."""
    names = checkpoint_names(network)
    state = {
        names[name]: value.detach().cpu().to(torch.bfloat16).contiguous()
        for name, value in network.state_dict().items()
    }
    save_file(state, str(folder / "model.safetensors"), metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)


def load_folder(folder: Path) -> SparkNetwork:
    """Read what `save_folder` wrote, as float32."""
    network = SparkNetwork(SparkConfig.from_hugging_face(json.loads((folder / "config.json").read_text())))
    state = load_file(str(folder / "model.safetensors"))
    network.load_state_dict({name: state[stored].float() for name, stored in checkpoint_names(network).items()})
    return network


def checkpoint_names(network: SparkNetwork) -> dict[str, str]:
    """The name of each parameter in a checkpoint, where the q and k norms are called as the body calls them."""
    query_norm, key_norm = network.config.body.norm_names
    return {
        name: "model." + name.replace(".q_norm.", f".{query_norm}.").replace(".k_norm.", f".{key_norm}.")
        for name in network.state_dict()
    }
