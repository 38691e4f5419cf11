"""A checkpoint's tokenizer files as the flat lists that a GGUF file holds.

Knows: tokenizer.json (byte-level BPE), tokenizer_config.json, the template files, and the ids named in the configs.
Does not know: how text is encoded, or what a dialect's tags mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from models.errors import CheckpointError
from models.families import family_of
from models.files import read_json_object
from models.spec import ModelSpec

QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# The first split rule of a tokenizer.json, and the name that GGUF readers have for the whole.
_PRE_TOKENIZERS = {QWEN2_SPLIT: "qwen2", r"\p{N}{1,3}": "hunyuan-dense"}


class TokenKind(IntEnum):
    """The kinds of token as GGUF numbers them."""

    NORMAL = 1
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """As many ``tokens`` as the embedding has rows, each with its kind; ids are positions.

    Normal tokens are spelled in byte-level letters, added ones as they are. ``adds_bos``: the tokenizer puts
    ``bos_token_id`` before every prompt.
    """

    tokens: tuple[str, ...]
    kinds: tuple[TokenKind, ...]
    merges: tuple[str, ...]
    pre_tokenizer: str
    bos_token_id: int | None
    adds_bos: bool
    chat_template: str | None


def read_vocabulary(folder: Path, spec: ModelSpec, config: Mapping[str, Any]) -> Vocabulary:
    """Read the tokenizer of a Hugging Face folder; ids above its own, up to the model's, become unused tokens.

    Raises CheckpointError for a missing, foreign or too large tokenizer.
    """
    path = folder / "tokenizer.json"
    tokenizer = read_json_object(path, CheckpointError)
    settings_path = folder / "tokenizer_config.json"
    settings = read_json_object(settings_path, CheckpointError) if settings_path.exists() else {}
    try:
        tokens, kinds = _tokens(tokenizer, spec.vocab_size)
        merges = tuple(rule if isinstance(rule, str) else " ".join(rule) for rule in tokenizer["model"]["merges"])
        splits = [split for split in _split_rules(tokenizer["pre_tokenizer"]) if split in _PRE_TOKENIZERS]
        adds_bos = bool(settings.get("add_bos_token", _starts_with_special(tokenizer.get("post_processor"))))
    except (KeyError, TypeError, AttributeError, ValueError) as exc:
        raise CheckpointError(
            f"{path} is not the tokenizer.json of a BPE vocabulary ({exc!r}); fetch it again."
        ) from exc
    bos_token_id = _bos_token_id(tokens, kinds, settings, config)
    return Vocabulary(
        tokens=tokens,
        kinds=kinds,
        merges=merges,
        pre_tokenizer=_PRE_TOKENIZERS[splits[0]] if splits else family_of(spec.family).gguf_pre_tokenizer,
        bos_token_id=bos_token_id,
        adds_bos=adds_bos and bos_token_id is not None,
        chat_template=_chat_template(folder, settings),
    )


def control_ids(kinds: Sequence[TokenKind], named: object) -> tuple[int, ...]:
    """Those of the ids ``named`` in a config (one id, a list, or null) that are control tokens.

    A config may name wrong ids; Hunyuan's ``bos_token_id: 1`` is an ordinary piece of text.
    """
    ids = named if isinstance(named, list) else [named]
    return tuple(
        token
        for token in ids
        if isinstance(token, int) and 0 <= token < len(kinds) and kinds[token] is TokenKind.CONTROL
    )


def _tokens(tokenizer: Mapping[str, Any], vocab_size: int) -> tuple[tuple[str, ...], tuple[TokenKind, ...]]:
    if tokenizer["model"]["type"] != "BPE":
        raise ValueError(f"its model is {tokenizer['model']['type']}")
    found: dict[int, tuple[str, TokenKind]] = {
        token: (text, TokenKind.NORMAL) for text, token in tokenizer["model"]["vocab"].items()
    }
    for entry in tokenizer["added_tokens"]:
        kind = TokenKind.CONTROL if entry["special"] else TokenKind.USER_DEFINED
        found[entry["id"]] = (entry["content"], kind)
    if max(found) >= vocab_size:
        raise CheckpointError(
            f"The tokenizer has the id {max(found)}, but the model only {vocab_size} rows; they do not belong together."
        )
    pairs = [found.get(token, (f"[PAD{token}]", TokenKind.UNUSED)) for token in range(vocab_size)]
    return tuple(text for text, _ in pairs), tuple(kind for _, kind in pairs)


def _split_rules(pre_tokenizer: Mapping[str, Any]) -> Iterator[str]:
    """The regular expressions of a pre-tokenizer in order, those inside a sequence too."""
    for inner in pre_tokenizer.get("pretokenizers", ()):
        yield from _split_rules(inner)
    if pre_tokenizer["type"] == "Split":
        yield pre_tokenizer["pattern"].get("Regex", "")


def _starts_with_special(post_processor: Mapping[str, Any] | None) -> bool:
    """Whether a post-processor puts a special token before a single text."""
    if post_processor is None:
        return False
    if post_processor["type"] == "Sequence":
        return any(_starts_with_special(inner) for inner in post_processor["processors"])
    return post_processor["type"] == "TemplateProcessing" and "SpecialToken" in post_processor["single"][0]


def _bos_token_id(
    tokens: tuple[str, ...], kinds: tuple[TokenKind, ...], settings: Mapping[str, Any], config: Mapping[str, Any]
) -> int | None:
    """The tokenizer's own BOS, else the one in config.json."""
    named = settings.get("bos_token")
    text = named.get("content") if isinstance(named, dict) else named
    if text in tokens:
        return tokens.index(text)
    return next(iter(control_ids(kinds, config.get("bos_token_id"))), None)


def _chat_template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    """The template in a file of its own, else the (default) one in tokenizer_config.json."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise CheckpointError(f"{path} cannot be read as text ({exc}); fetch it again.") from exc
    template = settings.get("chat_template")
    if isinstance(template, list):
        by_name = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = by_name.get("default")
    return template if isinstance(template, str) else None
