"""Two small byte-level BPE tokenizers trained on the spot: one where every tag is a token, one where tags are text."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

WORDS = (
    "judge think think_on think_off no_think answer im_start im_end endoftext begin of sentence user User: "
    "Assistant Assistant: system place holder no_2 no_3 no_8 eot_id end end_of_turn hello world step by step number "
    "你好 世界 问题 答案 the quick brown fox jumps over the lazy dog 0 1 2 3 4 5 6 7 8 9"
)


def many_token_tags() -> Tokenizer:
    """Tags are several ordinary tokens each, as HiPO's are in Qwen's vocabulary."""
    return Tokenizer.from_str(_trained_json())


def one_token_tags(tags: Iterable[str]) -> Tokenizer:
    """Every tag is one added token that is not special, as in Hunyuan's vocabulary."""
    tokenizer = many_token_tags()
    tokenizer.add_tokens([AddedToken(tag, normalized=False) for tag in tags])
    return tokenizer


@lru_cache(maxsize=1)
def _trained_json() -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False, min_frequency=1)
    tokenizer.train_from_iterator([WORDS] * 4, trainer)
    return str(tokenizer.to_str())
