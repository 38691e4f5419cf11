"""genai_config.json, by which onnxruntime-genai knows a graph, its cache and the model's own sampling.

Knows: its keys. Does not know: the graph beyond its names, or how files are written.
"""

from __future__ import annotations

from typing import Any

from models.families import family_of
from models.spec import ModelSpec
from quantize.onnx_graph import PAST_NAME, PRESENT_NAME
from quantize.stored import ModelFacts

ONNX_NAME, GENAI_NAME = "model.onnx", "genai_config.json"
MOST_POSITIONS = 32768  # float32 angles for the 262144 that some models name would take 134 MB of memory
MOST_TOKENS = 4096  # onnxruntime-genai makes room for all tokens of its limit at once; a caller can raise it


def num_positions(spec: ModelSpec) -> int:
    """Tokens that a graph of ``spec`` can hold: those the model was made for, as far as there are angles."""
    return min(spec.context_length, MOST_POSITIONS)


def genai_config(facts: ModelFacts) -> dict[str, Any]:
    """genai_config.json: what onnxruntime-genai has to know of the graph, and the model's own sampling."""
    spec, sampling = facts.spec, facts.sampling
    begin = facts.vocabulary.bos_token_id
    decoder = {
        "session_options": {"provider_options": []},
        "filename": ONNX_NAME,
        "hidden_size": spec.hidden_size,
        "head_size": spec.head_dim,
        "num_hidden_layers": spec.num_layers,
        "num_attention_heads": spec.num_heads,
        "num_key_value_heads": spec.num_kv_heads,
        "inputs": {
            "input_ids": "input_ids",
            "attention_mask": "attention_mask",
            "past_key_names": f"{PAST_NAME}.%d.key",
            "past_value_names": f"{PAST_NAME}.%d.value",
        },
        "outputs": {
            "logits": "logits",
            "present_key_names": f"{PRESENT_NAME}.%d.key",
            "present_value_names": f"{PRESENT_NAME}.%d.value",
        },
    }
    model = {
        "type": family_of(spec.family).genai_type,
        "vocab_size": spec.vocab_size,
        "context_length": num_positions(spec),
        **({} if begin is None else {"bos_token_id": begin}),
        "eos_token_id": list(facts.stop_token_ids),
        "pad_token_id": facts.stop_token_ids[0],
        "decoder": decoder,
    }
    search = {
        "do_sample": sampling.temperature > 0,
        "temperature": sampling.temperature or 1.0,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "max_length": min(num_positions(spec), MOST_TOKENS),
        "past_present_share_buffer": True,
    }
    return {"model": model, "search": search}
