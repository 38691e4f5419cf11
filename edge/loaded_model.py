"""A model that is ready to talk: its backend, its tokenizer, its dialect, and what ends its answers.

Knows: which tokenizer and dialect belong to a bundle and to a bare GGUF file. Does not know: prompts or answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.backends.base import Backend, BackendOptions, open_backend
from edge.model_source import ModelSource
from models.dialect import DIALECTS, Dialect, detect_dialect
from models.tokenizer import BpeChatTokenizer, ChatTokenizer, stop_token_ids

if TYPE_CHECKING:
    from models.bundle import Bundle
    from models.gguf_file import GgufHeader

DEFAULT_BACKEND = "llama_cpp"
GGUF_STOP_KEYS = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """``stop_ids`` end an answer; ``think_tag_ids`` are the think tags that are one token in this vocabulary."""

    name: str
    backend: Backend
    tokenizer: ChatTokenizer
    dialect: Dialect
    dialect_reason: str
    stop_ids: frozenset[int]
    think_tag_ids: tuple[int, ...]


def load_model(source: ModelSource, *, backend: str, options: BackendOptions, dialect: str | None) -> LoadedModel:
    """Open ``source`` on a backend (``"auto"``: llama.cpp) and find out how to talk to it.

    ``dialect`` overrides what the model says of itself. Raises what ``edge.engine.load`` raises.
    """
    if source.bundle is not None:
        ...
