"""The small files beside a model's weights that programs of the Hugging Face world want to find.

Knows: tokenizer_config.json and generation_config.json. Does not know: weights.
"""

from __future__ import annotations

from typing import Any

from quantize.stored import ModelFacts

TOKENIZER_CONFIG_NAME, GENERATION_CONFIG_NAME = "tokenizer_config.json", "generation_config.json"


def tokenizer_config(facts: ModelFacts) -> dict[str, Any]:
    """tokenizer_config.json: what a tokenizer.json leaves open."""
    vocabulary = facts.vocabulary
    begin = vocabulary.bos_token_id
    end = vocabulary.tokens[facts.stop_token_ids[0]]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": facts.spec.context_length,
        "add_bos_token": vocabulary.adds_bos,
        "bos_token": None if begin is None else vocabulary.tokens[begin],
        "eos_token": end,
        "pad_token": end,
        **({} if vocabulary.chat_template is None else {"chat_template": vocabulary.chat_template}),
    }


def generation_config(facts: ModelFacts) -> dict[str, Any]:
    """generation_config.json: what ends an answer, and the model's own sampling."""
    sampling, begin = facts.sampling, facts.vocabulary.bos_token_id
    chosen = {"temperature": sampling.temperature, "top_k": sampling.top_k, "top_p": sampling.top_p}
    return {
        **({} if begin is None else {"bos_token_id": begin}),
        "eos_token_id": list(facts.stop_token_ids),
        "do_sample": sampling.temperature > 0,
        **(chosen if sampling.temperature > 0 else {}),
    }
