"""A small whole GGUF file, written by the independent ``gguf`` package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, TokenType
from small_vocabularies import many_token_tags

MARKS = {"<|im_start|>": TokenType.CONTROL, "<|im_end|>": TokenType.CONTROL, "<think>": TokenType.USER_DEFINED}


def write_model(path: Path, *, pre: str = "gpt-2", kind: str = "gpt2", extra: dict[str, Any] | None = None) -> Path:
    """A whole small model file: the small vocabulary with three marks, and two tensors."""
    model = json.loads(many_token_tags().to_str())["model"]
    words = sorted(model["vocab"], key=model["vocab"].get)
    writer = GGUFWriter(path, "qwen3")
    writer.add_name("tiny")
    writer.add_tokenizer_model(kind)
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([*words, *MARKS])
    writer.add_token_types([TokenType.NORMAL] * len(words) + list(MARKS.values()))
    writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
    writer.add_chat_template("{{ '<|im_start|><judge>' }}")
    writer.add_eos_token_id(len(words) + 1)
    writer.add_bos_token_id(len(words))
    for key, value in (extra or {}).items():
        writer.add_bool(key, value) if isinstance(value, bool) else writer.add_uint32(key, value)
    writer.add_tensor("a.weight", np.arange(96, dtype=np.float32).reshape(3, 32))
    writer.add_tensor("b.weight", np.zeros((4, 18), dtype=np.uint8), raw_dtype=GGMLQuantizationType.Q4_0)
    finish(writer)
    return path


def finish(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
