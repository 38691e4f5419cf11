"""A byte-level BPE tokenizer rebuilt from the metadata of a GGUF file.

Knows: how llama.cpp's pre-tokenizer types split text; like llama.cpp it leaves text unnormalized.
Does not know: the file format, dialects.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from models.errors import BundleError
from models.gguf_file import GgufHeader
from models.tokenizer import BpeChatTokenizer


@dataclass(frozen=True, slots=True)
class _Split:
    """How a pre-tokenizer type splits text, patterns applied in turn, and whether whole words skip the merges."""

    patterns: tuple[str, ...]
    ignores_merges: bool = False


_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SPLITS = {
    "gpt-2": _Split((r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",)),
    "qwen2": _Split((rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_TAIL}",)),
    "llama-bpe": _Split(
        (rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_TAIL}",), ignores_merges=True
    ),
    "hunyuan-dense": _Split(
        (
            r"\p{N}{1,3}",
            r"[一-龥぀-ゟ゠-ヿ]+",
            r"[!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
            r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        )
    ),
}


def tokenizer_from_gguf(header: GgufHeader, control_texts: Iterable[str]) -> BpeChatTokenizer | None:
    """The file's own byte-level BPE tokenizer, or None where ``why_not_rebuilt`` has a reason.

    Raises BundleError for a vocabulary that contradicts itself.
    """
    if why_not_rebuilt(header):
        return None
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    split = _SPLITS[header.tokenizer_text("pre")]
    vocabulary = {text: token for token, text in enumerate(header.tokens)}
    merges = [_merge(entry) for entry in header.tokenizer_array("merges", str)]
    try:
        model = models.BPE(vocab=vocabulary, merges=merges, ignore_merges=split.ignores_merges)
    except Exception as exc:  # tokenizers raises bare Exception
        raise BundleError(f"The vocabulary in {header.path} is damaged ({exc}); download the file again.") from exc
    tokenizer = Tokenizer(model)
    patterns = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in split.patterns]
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*patterns, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    control = header.control_tokens
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=text in control) for text in header.added_tokens])
    return BpeChatTokenizer(tokenizer, control_texts, header.bos_token_id)


def why_not_rebuilt(header: GgufHeader) -> str | None:
    """Why the tokenizer cannot be rebuilt exactly and the runtime's own must serve; None when it can.

    A pre-tokenizer type without a row is never guessed: a wrong split gives other tokens than the model was trained on.
    """
    kind, pre = header.tokenizer_text("model"), header.tokenizer_text("pre")
    if kind != "gpt2":
        return f"its tokenizer is of the kind {kind!r}, not byte-level BPE"
    if pre not in _SPLITS:
        return f"its pre-tokenizer type is {pre!r}; known are {', '.join(_SPLITS)}"
    if not header.added_tokens:
        return "it does not say which tokens are control tokens"
    return None


def _merge(entry: str) -> tuple[str, str]:
    left, _, right = entry.partition(" ")
    return left, right
