"""Tiny GGUF files with random weights, written straight with the ``gguf`` package: what backend tests load.

Knows: the smallest models that llama.cpp runs. Does not know: our own writers, so that their bugs cannot hide here.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

CONTROL_TEXTS = ("<|im_start|>", "<|im_end|>")
USER_DEFINED_TEXTS = ("<think>", "</think>")
CONTEXT_TRAINED = 4096
HIDDEN, HEADS, KV_HEADS, HEAD_SIZE, FEED_FORWARD = 256, 4, 2, 64, 512


def write_tiny_qwen3(
    path: Path,
    *,
    vocabulary: str = "bpe",
    weights: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.Q4_0,
    num_layers: int = 2,
    seed: int = 0,
) -> Path:
    """A Qwen3 of about 1 M parameters; ``vocabulary`` is ``bpe`` (byte-level) or ``spm`` (sentence pieces)."""
    writer = gguf.GGUFWriter(path, "qwen3")
    writer.add_block_count(num_layers)
    writer.add_context_length(CONTEXT_TRAINED)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(HEAD_SIZE)
    writer.add_value_length(HEAD_SIZE)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    vocab_size = _add_bpe(writer) if vocabulary == "bpe" else _add_spm(writer)
    random = np.random.default_rng(seed)
    for name, shape in _qwen3_shapes(vocab_size, num_layers).items():
        array = (random.standard_normal(shape) * 0.3).astype(np.float32)
        if "norm" in name:
            writer.add_tensor(name, np.ones(shape, np.float32))
        else:
            writer.add_tensor(name, gguf.quants.quantize(array, weights), raw_dtype=weights)
    return _close(writer, path)


def write_tiny_mamba(path: Path, seed: int = 0) -> Path:
    """A Mamba, whose memory cannot be cut in the middle."""
    hidden, inner, state, convolution, rank = 64, 128, 16, 4, 4
    writer = gguf.GGUFWriter(path, "mamba")
    writer.add_block_count(2)
    writer.add_context_length(CONTEXT_TRAINED)
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_ssm_conv_kernel(convolution)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(rank)
    writer.add_layer_norm_rms_eps(1e-6)
    vocab_size = _add_bpe(writer)
    shapes = {"token_embd.weight": (vocab_size, hidden), "output_norm.weight": (hidden,)}
    for layer in range(2):
        block = f"blk.{layer}"
        shapes |= {
            f"{block}.attn_norm.weight": (hidden,),
            f"{block}.ssm_in.weight": (2 * inner, hidden),
            f"{block}.ssm_conv1d.weight": (inner, convolution),
            f"{block}.ssm_conv1d.bias": (inner,),
            f"{block}.ssm_x.weight": (rank + 2 * state, inner),
            f"{block}.ssm_dt.weight": (inner, rank),
            f"{block}.ssm_dt.bias": (inner,),
            f"{block}.ssm_a": (inner, state),
            f"{block}.ssm_d": (inner,),
            f"{block}.ssm_out.weight": (hidden, inner),
        }
    random = np.random.default_rng(seed)
    for name, shape in shapes.items():
        array = (random.standard_normal(shape) * 0.3).astype(np.float32)
        writer.add_tensor(name, -np.abs(array) if name.endswith("ssm_a") else array)
    return _close(writer, path)


def byte_alphabet() -> list[str]:
    """The 256 characters by which byte-level BPE writes the 256 bytes (GPT-2's table), in byte order."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return [chr(byte if byte in printable else 256 + hidden.index(byte)) for byte in range(256)]


def _qwen3_shapes(vocab_size: int, num_layers: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (vocab_size, HIDDEN), "output_norm.weight": (HIDDEN,)}
    for layer in range(num_layers):
        block = f"blk.{layer}"
        shapes |= {
            f"{block}.attn_norm.weight": (HIDDEN,),
            f"{block}.attn_q.weight": (HEADS * HEAD_SIZE, HIDDEN),
            f"{block}.attn_k.weight": (KV_HEADS * HEAD_SIZE, HIDDEN),
            f"{block}.attn_v.weight": (KV_HEADS * HEAD_SIZE, HIDDEN),
            f"{block}.attn_output.weight": (HIDDEN, HEADS * HEAD_SIZE),
            f"{block}.attn_q_norm.weight": (HEAD_SIZE,),
            f"{block}.attn_k_norm.weight": (HEAD_SIZE,),
            f"{block}.ffn_norm.weight": (HIDDEN,),
            f"{block}.ffn_gate.weight": (FEED_FORWARD, HIDDEN),
            f"{block}.ffn_up.weight": (FEED_FORWARD, HIDDEN),
            f"{block}.ffn_down.weight": (HIDDEN, FEED_FORWARD),
        }
    return shapes


def _add_bpe(writer: gguf.GGUFWriter) -> int:
    """All bytes, two merges, the control and the user-defined tokens; returns the vocabulary's size."""
    tokens = [*byte_alphabet(), "he", "ll", *CONTROL_TEXTS, *USER_DEFINED_TEXTS]
    kinds = [gguf.TokenType.NORMAL] * 258 + [gguf.TokenType.CONTROL] * 2 + [gguf.TokenType.USER_DEFINED] * 2
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(["h e", "l l"])
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_add_bos_token(False)
    return len(tokens)


def _add_spm(writer: gguf.GGUFWriter) -> int:
    """Sentence pieces: unknown, begin, end, all bytes, letters, a few pieces and the user-defined tokens."""
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    pieces = ["▁", "▁he", "he", "ll", "hello", "▁hello", *letters]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *pieces, *USER_DEFINED_TEXTS]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    kinds += [gguf.TokenType.BYTE] * 256 + [gguf.TokenType.NORMAL] * len(pieces) + [gguf.TokenType.USER_DEFINED] * 2
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(len(tokens) - len(token) * 10) for token in tokens])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    return len(tokens)


def _close(writer: gguf.GGUFWriter, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def random_tokens(count: int, seed: int = 0) -> list[int]:
    """``count`` byte tokens, the same ones for the same seed."""
    ids: NDArray[np.int64] = np.random.default_rng(seed).integers(0, 256, count)
    return [int(token) for token in ids]
