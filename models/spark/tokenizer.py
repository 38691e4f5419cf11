"""The embedded models' tokenizer: a small byte-level BPE with the dialect's tags as single tokens.

Knows the vocabulary and the split rule (Qwen2's, so digits stand alone); writes the files a stock `AutoTokenizer`
reads. Does not know how the runtime renders a conversation, only that control text and user text are encoded apart:
`encode_control` sees the added tokens, `encode_user` is a copy without them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from models.spark.kinds import Kind

VOCAB_SIZE = 1024
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class SparkTokenizer:
    """Encodes control text and user text apart."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._control = tokenizer
        state = json.loads(tokenizer.to_str())
        state["added_tokens"] = []
        self._user = Tokenizer.from_str(json.dumps(state))
        self.vocab_size: int = tokenizer.get_vocab_size()

    @classmethod
    def load(cls, folder: Path) -> SparkTokenizer:
        """Read `tokenizer.json` from a folder."""
        return cls(Tokenizer.from_file(str(folder / "tokenizer.json")))

    def encode_control(self, text: str) -> list[int]:
        """Ids of text the model or the runtime writes: tags and marks are single tokens."""
        ids: list[int] = self._control.encode(text, add_special_tokens=False).ids
        return ids

    def encode_user(self, text: str) -> list[int]:
        """Ids of text a person wrote: a tag in it is ordinary text."""
        ids: list[int] = self._user.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids, tags and marks included."""
        text: str = self._control.decode(list(ids), skip_special_tokens=False)
        return text

    def token_id(self, token: str) -> int:
        """Id of one token by its name."""
        found = self._control.token_to_id(token)
        if found is None:
            raise KeyError(f"no token {token!r} in the vocabulary")
        return int(found)

    def has_token(self, token: str) -> bool:
        """Whether `token` is one token of the vocabulary."""
        return self._control.token_to_id(token) is not None

    def save(self, folder: Path, kind: Kind) -> None:
        """Write tokenizer.json, tokenizer_config.json and chat_template.jinja."""
        folder.mkdir(parents=True, exist_ok=True)
        self._control.save(str(folder / "tokenizer.json"))
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": 8192,
            "add_bos_token": kind.start is not None,
            "bos_token": kind.start,
            "eos_token": kind.end,
            "pad_token": kind.pad,
            "unk_token": None,
            "clean_up_tokenization_spaces": False,
            "added_tokens_decoder": {
                str(self.token_id(token)): {
                    "content": token, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
                    "special": token in kind.special,
                }
                for token in kind.added
            },
            "chat_template": kind.chat_template,
        }  # fmt: skip
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n")
        (folder / "chat_template.jinja").write_text(kind.chat_template)


def train_tokenizer(texts: Iterable[str], kind: Kind) -> SparkTokenizer:
    """Train the BPE on `texts` (prompts, thinking, judge texts). Ids 0 to 255 are the bytes, added tokens come last."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - len(kind.added),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _add_tokens(tokenizer, kind)


def adopt_tokenizer(folder: Path, kind: Kind) -> SparkTokenizer:
    """The tokenizer of another kind's folder with the added tokens of `kind`; text keeps its ids.

    Where `kind` adds more tokens, the last merges make room, so that there are VOCAB_SIZE ids again.
    """
    state = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    state["added_tokens"], state["post_processor"] = [], None
    model, room = state["model"], VOCAB_SIZE - len(kind.added)
    dropped = {token for token, place in model["vocab"].items() if place >= room}
    model["vocab"] = {token: place for token, place in model["vocab"].items() if place < room}
    model["merges"] = [pair for pair in model["merges"] if "".join(pair) not in dropped]
    return _add_tokens(Tokenizer.from_str(json.dumps(state)), kind)


def _add_tokens(tokenizer: Tokenizer, kind: Kind) -> SparkTokenizer:
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in kind.special])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in kind.tags])
    if kind.start is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{kind.start} $A", special_tokens=[(kind.start, tokenizer.token_to_id(kind.start))]
        )
    return SparkTokenizer(tokenizer)
