"""A model that is ready to talk: its backend, its tokenizer, its dialect, and what ends its answers.

Knows: which tokenizer and dialect belong to a bundle and to a bare GGUF file. Does not know: prompts or answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from edge.backend_choice import open_best
from edge.backends.base import Backend, BackendOptions, find_backend, open_backend
from edge.calibrated import Owner, find_refit, owner_of
from edge.model_source import ModelSource
from models.dialect import DIALECTS, Dialect, Sampling, detect_dialect
from models.gguf_file import read_gguf_header
from models.gguf_tokenizer import tokenizer_from_gguf
from models.tokenizer import BpeChatTokenizer, ChatTokenizer, stop_token_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.backends.llama_cpp import LlamaCppBackend
    from edge.chat_types import Message
    from edge.think.refit import Refit
    from edge.think.router import Difficulty


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """``stop_ids`` end an answer; ``think_tag_ids`` are the think tags that are one token in this vocabulary.

    ``sampling`` is what a caller gets who asks for nothing else: the bundle's own, or the dialect's for a bare file.
    """

    name: str
    path: Path  # the file with the weights
    backend: Backend
    tokenizer: ChatTokenizer
    dialect: Dialect
    dialect_reason: str  # half a sentence
    stop_ids: frozenset[int]
    think_tag_ids: tuple[int, ...]
    sampling: Sampling
    backend_reason: str = "it was asked for"  # half a sentence
    notes: tuple[str, ...] = ()  # sentences that a user should see once: a backend that was passed over
    owner: Owner | None = None  # whose outcomes edge calibrate measures here; None: of a model without files
    refit: Refit | None = None  # what it found for this model

    @property
    def judge_marker_ids(self) -> tuple[int, int] | None:
        """The tokens with which a judge says on and off; None where there are none, or they are no single tokens."""
        texts = {tag.think: text for text, tag in self.dialect.tags.items() if tag.think is not None}
        ids = [self.tokenizer.token_id(texts[think]) for think in (True, False) if think in texts]
        found = [token for token in ids if token is not None]
        return (found[0], found[1]) if len(found) == 2 else None

    def difficulty(self, messages: Sequence[Message]) -> Difficulty | None:
        """What a router that may speak for this model makes of the conversation's last question; None: there is none.

        The one that ships with the package speaks for models without a judge.
        """
        if self.refit is not None:
            return self.refit.router().route(messages)
        if self.dialect.has_judge:
            return None
        from edge.think.router import route

        return route(messages)


def load_model(source: ModelSource, *, backend: str, options: BackendOptions, dialect: str | None) -> LoadedModel:
    """Open ``source`` on a backend (``"auto"``: the fastest that works) and find out how to talk to it.

    ``dialect`` overrides what the model says of itself. Raises what ``edge.engine.load`` raises.
    """
    spoken, reason = find_dialect(source, dialect)  # before the backend: it refuses damaged files without loading them
    if backend == "auto":
        device, candidate, notes = open_best(source, options)
        backend, because = candidate.name, candidate.reason
    else:
        device = open_backend(backend, source.weights_path(find_backend(backend).weights_role), options)
        because, notes = "it was asked for", ()
    try:
        tokenizer, named_stop_ids = _find_tokenizer(source, spoken, device)
    except BaseException:
        device.close()
        raise
    tag_ids = (tokenizer.token_id(tag) for tag in spoken.think_tags)
    weights_path = source.weights_path(find_backend(backend).weights_role)
    owner = owner_of(source, spoken.name)
    refit, told = find_refit(owner, source.bundle)
    return LoadedModel(
        name=source.name,
        path=weights_path,
        backend=device,
        tokenizer=tokenizer,
        dialect=spoken,
        dialect_reason=reason,
        stop_ids=stop_token_ids(spoken, tokenizer, device.vocab_size) | named_stop_ids,
        think_tag_ids=tuple(token for token in tag_ids if token is not None),
        sampling=spoken.sampling if source.bundle is None else source.bundle.manifest.sampling,
        backend_reason=because,
        notes=(*notes, *told),
        owner=owner,
        refit=refit,
    )


def find_dialect(source: ModelSource, asked: str | None) -> tuple[Dialect, str]:
    """The dialect of a model and why, half a sentence. Raises UnknownFamilyError, or BundleError for a damaged file."""
    bundle = source.bundle
    name = asked or (bundle.dialect_name if bundle else None)
    if bundle and name in DIALECTS and name != "plain":  # the model file need not be read
        return DIALECTS[name], bundle.manifest.dialect_reason if asked is None else "it was asked for"
    header = read_gguf_header(source.gguf_path)
    return detect_dialect(
        header.chat_template,
        frozenset(header.tokens).__contains__,
        name=name,
        bos_token=header.token_text("bos"),
        eos_token=header.token_text("eos"),
    )


def _find_tokenizer(source: ModelSource, dialect: Dialect, backend: Backend) -> tuple[ChatTokenizer, frozenset[int]]:
    """The tokenizer, and the stop ids that the model itself names."""
    bundle = source.bundle
    if bundle is not None:
        tokenizer = BpeChatTokenizer.from_file(bundle.tokenizer_path, dialect.control_texts, bundle.bos_token_id)
        return tokenizer, frozenset(bundle.stop_token_ids)
    header = read_gguf_header(source.gguf_path)
    rebuilt = tokenizer_from_gguf(header, dialect.control_texts)
    if rebuilt is not None:
        return rebuilt, header.stop_token_ids
    return cast("LlamaCppBackend", backend).tokenizer(dialect.control_texts), header.stop_token_ids
