"""The real Qwen vocabulary as a ``tokenizers`` tokenizer, for tests; it lies beside the project, never inside it.

Its published form is a list of ranks (base64 token, rank) without merges, so the merges are found again: the two parts
that byte-pair merging below a token's own rank leaves of it are the merge that made it.
"""

from __future__ import annotations

import base64
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from models.tokenizer import LETTER_OF_BYTE

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "qwen_tokenizer"
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")  # 151643, 151644, 151645

needs_qwen = pytest.mark.skipif(not FOLDER.exists(), reason="the Qwen vocabulary is not beside the project")


@lru_cache(maxsize=1)
def vocabulary_and_merges() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Byte-level letters to id, and the merges in order. Takes some seconds, once a session."""
    lines = (line.split() for line in (FOLDER / "qwen.tiktoken").read_bytes().splitlines())
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    merges = [_letters_of_parts(_parts(token, rank, ranks)) for token, rank in ranks.items() if len(token) > 1]
    return {_letters(token): rank for token, rank in ranks.items()}, merges


def qwen_tokenizer() -> Tokenizer:
    """A fresh tokenizer with the three special tokens; tags such as ``<think>`` are ordinary text in it."""
    vocabulary, merges = vocabulary_and_merges()
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(SPLIT), "isolated"), byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in SPECIAL_TOKENS])
    return tokenizer


def vectors() -> list[tuple[str, list[int]]]:
    """llama.cpp's test texts for this vocabulary, with their ids."""
    texts = (FOLDER / "qwen2_vectors.inp").read_text(encoding="utf-8").split("\n__ggml_vocab_test__\n")
    ids = (FOLDER / "qwen2_vectors.out").read_text(encoding="utf-8").split("\n")
    return [(text, [int(token) for token in line.split()]) for text, line in zip(texts, ids, strict=True)]


def _parts(token: bytes, rank: int, ranks: dict[bytes, int]) -> list[bytes]:
    """Merge the bytes of ``token`` with all merges older than its own."""
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        older = [(ranks.get(left + right, rank), index) for index, (left, right) in enumerate(pairwise(parts))]
        best, index = min(older)
        assert best < rank, token
        parts[index : index + 2] = [parts[index] + parts[index + 1]]
    return parts


def _letters(token: bytes) -> str:
    return "".join(LETTER_OF_BYTE[byte] for byte in token)


def _letters_of_parts(parts: list[bytes]) -> tuple[str, str]:
    left, right = parts
    return _letters(left), _letters(right)
