"""Tiny Hugging Face checkpoints of both families, seeded, written with the safetensors package.

Knows: the smallest widths that still tell mistakes apart (grouped heads, a query width that differs from hidden_size).
Does not know: our own readers and writers, so that their bugs cannot hide here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save, save_file
from tiny_models import byte_alphabet

HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD_DIM, FEED_FORWARD = 64, 2, 4, 2, 32, 96
SPECIAL = {
    "qwen3": ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    "hunyuan_v1_dense": (
        "<｜hy_begin▁of▁sentence｜>",
        "<｜hy_User｜>",
        "<｜hy_Assistant｜>",
        "<｜hy_place▁holder▁no▁2｜>",
        "<｜hy_place▁holder▁no▁3｜>",
        "<｜hy_place▁holder▁no▁8｜>",
    ),
}
TAGS = {
    "qwen3": ("<judge>", "</judge>", "<think_on>", "<think_off>", "<think>", "</think>", "<answer>", "</answer>"),
    "hunyuan_v1_dense": ("<think>", "</think>", "<answer>", "</answer>", "/think", "/no_think"),
}
TEMPLATES = {
    "qwen3": "{{ '<|im_start|>' }}{{ messages[0]['content'] }}<|im_end|>\n<|im_start|>assistant\n<judge>\n",
    "hunyuan_v1_dense": "{{ '<｜hy_User｜>' + messages[0]['content'] + '<｜hy_Assistant｜>' }}",
}
QK_NORMS = {"qwen3": ("q_norm", "k_norm"), "hunyuan_v1_dense": ("query_layernorm", "key_layernorm")}
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
MERGES = [("h", "e"), ("l", "l"), ("he", "ll"), ("1", "2"), ("<", "|"), ("e", "n"), ("U", "s"), ("s", "s")]
PADDING = 5  # rows of the embedding beyond the tokenizer's ids


def tiny_config(family: str = "qwen3", *, tied: bool = True, **changes: Any) -> dict[str, Any]:
    """A config.json object; ``changes`` replace keys, None removes one."""
    config: dict[str, Any] = {
        "model_type": family,
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "intermediate_size": FEED_FORWARD,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_DIM,
        "vocab_size": len(tiny_tokens(family)) + PADDING,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": tied,
        "bos_token_id": 1,  # an ordinary token, as in the real Hunyuan configs
    }
    if family == "hunyuan_v1_dense":
        config["rope_scaling"] = {"type": "dynamic", "alpha": 1000.0, "factor": 1.0}
    return {key: value for key, value in (config | changes).items() if value is not None}


def tiny_weights(family: str = "qwen3", *, tied: bool = True, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """All tensors by name. Linear weights lie on the 4-bit grid and tables on the 8-bit grid, so rounding is exact."""
    random = np.random.default_rng(seed)
    query_norm, key_norm = QK_NORMS[family]
    vocab_size, width = len(tiny_tokens(family)) + PADDING, HEADS * HEAD_DIM
    weights = {"model.embed_tokens.weight": _grid(random, vocab_size, HIDDEN, 127)}
    for layer in range(LAYERS):
        block = f"model.layers.{layer}"
        weights |= {
            f"{block}.input_layernorm.weight": _norm(random, HIDDEN),
            f"{block}.self_attn.q_proj.weight": _grid(random, width, HIDDEN, 8),
            f"{block}.self_attn.k_proj.weight": _grid(random, KV_HEADS * HEAD_DIM, HIDDEN, 8),
            f"{block}.self_attn.v_proj.weight": _grid(random, KV_HEADS * HEAD_DIM, HIDDEN, 8),
            f"{block}.self_attn.o_proj.weight": _grid(random, HIDDEN, width, 8),
            f"{block}.self_attn.{query_norm}.weight": _qk_norm(random),
            f"{block}.self_attn.{key_norm}.weight": _qk_norm(random),
            f"{block}.post_attention_layernorm.weight": _norm(random, HIDDEN),
            f"{block}.mlp.gate_proj.weight": _grid(random, FEED_FORWARD, HIDDEN, 8),
            f"{block}.mlp.up_proj.weight": _grid(random, FEED_FORWARD, HIDDEN, 8),
            f"{block}.mlp.down_proj.weight": _grid(random, HIDDEN, FEED_FORWARD, 8),
        }
    weights["model.norm.weight"] = _norm(random, HIDDEN)
    if not tied:
        weights["lm_head.weight"] = _grid(random, vocab_size, HIDDEN, 127)
    return weights


def _grid(random: np.random.Generator, num_rows: int, num_columns: int, largest: int) -> NDArray[np.float32]:
    """Weights code * scale whose first code in every group of 32 is -largest: a grid that rounding must find."""
    codes = random.integers(-largest, largest, (num_rows, num_columns // 32, 32))
    codes[..., 0] = -largest
    scales = random.integers(100, 200, (num_rows, num_columns // 32, 1)) / (largest * 2.0**9)
    return (codes * scales.astype(np.float16).astype(np.float32)).reshape(num_rows, num_columns).astype(np.float32)


def _norm(random: np.random.Generator, width: int) -> NDArray[np.float32]:
    return (random.integers(64, 192, width) / 128).astype(np.float32)


def _qk_norm(random: np.random.Generator) -> NDArray[np.float32]:
    """Large and of both signs: attention is sharp, so the order of norm and rotation shows in the logits."""
    return (random.integers(-512, 512, HEAD_DIM) / 128).astype(np.float32)


def tiny_tokens(family: str) -> list[str]:
    """Every token of the tokenizer, by id: the bytes, the merges, the special ones, the tags."""
    return [*byte_alphabet(), *("".join(pair) for pair in MERGES), *SPECIAL[family], *TAGS[family]]


def tiny_tokenizer(family: str) -> dict[str, Any]:
    """A tokenizer.json object."""
    tokens = tiny_tokens(family)
    num_plain = 256 + len(MERGES)
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = [
        {"id": token, "content": tokens[token], "special": tokens[token] in SPECIAL[family], **flags}
        for token in range(num_plain, len(tokens))
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": QWEN_SPLIT}, "behavior": "Isolated", "invert": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {text: token for token, text in enumerate(tokens[:num_plain])},
            "merges": [list(pair) for pair in MERGES],
        },
    }


def write_tensors(path: Path, weights: dict[str, NDArray[np.float32]], dtype: str = "float32") -> None:
    """A safetensors file through the package itself; ``dtype`` is float32, float16 or bfloat16 (truncated)."""
    if dtype != "bfloat16":
        save_file({name: array.astype(dtype) for name, array in weights.items()}, str(path))
        return
    # numpy has no bfloat16: save the upper halves as uint16, then correct the type in the header
    data = save({name: (array.view(np.uint32) >> 16).astype(np.uint16) for name, array in weights.items()})
    header = data[8 : 8 + int.from_bytes(data[:8], "little")]
    corrected = header.replace(b'"U16"', b'"BF16"')
    path.write_bytes(len(corrected).to_bytes(8, "little") + corrected + data[8 + len(header) :])


def write_tiny_checkpoint(
    folder: Path,
    family: str = "qwen3",
    *,
    tied: bool = True,
    dtype: str = "float32",
    seed: int = 0,
    num_shards: int = 1,
) -> Path:
    """A whole checkpoint folder: weights, config, tokenizer, chat template, generation config."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = tiny_weights(family, tied=tied, seed=seed)
    if num_shards == 1:
        write_tensors(folder / "model.safetensors", weights, dtype)
    else:
        names = list(weights)
        shards = {f"model-{number:05d}.safetensors": names[number::num_shards] for number in range(num_shards)}
        for file, part in shards.items():
            write_tensors(folder / file, {name: weights[name] for name in part}, dtype)
        write_json(
            folder / "model.safetensors.index.json",
            {"weight_map": {name: file for file, part in shards.items() for name in part}},
        )
    tokens = tiny_tokens(family)
    bos = SPECIAL[family][0] if family == "hunyuan_v1_dense" else None
    stop_ids = [tokens.index(text) for text in SPECIAL[family][-1:]]
    write_json(folder / "config.json", tiny_config(family, tied=tied))
    write_json(folder / "tokenizer.json", tiny_tokenizer(family))
    write_json(folder / "generation_config.json", {"eos_token_id": stop_ids})
    write_json(
        folder / "tokenizer_config.json",
        {"bos_token": bos, "add_bos_token": bos is not None, "chat_template": TEMPLATES[family]},
    )
    return folder


def write_json(path: Path, value: Any) -> None:
    """``value`` as a JSON file."""
    path.write_text(json.dumps(value), encoding="utf-8")
