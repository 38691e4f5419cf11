"""The embedded model's tokenizer: a small byte-level BPE with the dialect's tags as single tokens.

Knows the vocabulary, the split rule (Qwen2's, so digits stand alone) and the chat template; writes the files a stock
`AutoTokenizer` reads. Does not know how the runtime renders a conversation, only that control text and user text are
encoded apart: `encode_control` sees the added tokens, `encode_user` is a copy without them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

VOCAB_SIZE = 1024
END_OF_TEXT, IM_START, IM_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL = (END_OF_TEXT, IM_START, IM_END)
TAGS = ("<judge>", "</judge>", "<think_on>", "<think_off>", "<think>", "</think>", "<answer>", "</answer>")
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEFAULT_SYSTEM = "You are a helpful assistant."
CHAT_TEMPLATE = (
    "{%- if messages and messages[0]['role'] == 'system' -%}"
    "{%- set system = messages[0]['content'] -%}{%- set turns = messages[1:] -%}"
    "{%- else -%}"
    "{%- set system = '" + DEFAULT_SYSTEM + "' -%}{%- set turns = messages -%}"
    "{%- endif -%}"
    "{{- '<|im_start|>system\\n' + system + '<|im_end|>\\n' -}}"
    "{%- for message in turns -%}"
    "{%- set content = message['content'] -%}"
    "{%- if message['role'] == 'assistant' -%}"
    "{%- if '<answer>\\n' in content -%}{%- set content = content.split('<answer>\\n')[-1].split('\\n</answer>')[0] -%}"
    "{%- elif '<think_off>' in content -%}{%- set content = content.split('<think_off>')[-1].strip('\\n') -%}"
    "{%- elif '</think>' in content -%}{%- set content = content.split('</think>')[-1].strip('\\n') -%}"
    "{%- endif -%}"
    "{%- endif -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + content + '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n<judge>\\n' -}}{%- endif -%}"
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

    def save(self, folder: Path) -> None:
        """Write tokenizer.json, tokenizer_config.json and chat_template.jinja."""
        folder.mkdir(parents=True, exist_ok=True)
        self._control.save(str(folder / "tokenizer.json"))
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": 8192,
            "add_bos_token": False,
            "bos_token": None,
            "eos_token": IM_END,
            "pad_token": END_OF_TEXT,
            "unk_token": None,
            "clean_up_tokenization_spaces": False,
            "added_tokens_decoder": {
                str(self.token_id(token)): {
                    "content": token, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
                    "special": token in SPECIAL,
                }
                for token in SPECIAL + TAGS
            },
            "chat_template": CHAT_TEMPLATE,
        }  # fmt: skip
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n")
        (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)


def train_tokenizer(texts: Iterable[str]) -> SparkTokenizer:
    """Train the BPE on `texts` (prompts, thinking, judge texts). Ids 0 to 255 are the bytes, added tokens come last."""
    num_added = len(SPECIAL) + len(TAGS)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - num_added,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in TAGS])
    return SparkTokenizer(tokenizer)
