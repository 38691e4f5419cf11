"""Who a checkpoint is beside its weights: its vocabulary, its dialect, what ends its answers, how it is sampled.

Knows: the small files of a Hugging Face folder. Does not know: weights, recipes, or what is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace as with_changes
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from models.checkpoint import Checkpoint
from models.dialect import Dialect, Sampling, detect_dialect
from models.errors import CheckpointError
from models.files import read_json_object
from models.manifest import Manifest
from models.spec import ModelSpec
from models.tokenizer import BpeChatTokenizer, stop_token_ids
from quantize.vocabulary import TokenKind, Vocabulary, control_ids, read_vocabulary

TOKENIZER_NAME = "tokenizer.json"
NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Identity:
    """What a bundle says beside its weights."""

    name: str
    origin: str
    vocabulary: Vocabulary
    dialect: Dialect
    dialect_reason: str
    tokenizer: BpeChatTokenizer
    sampling: Sampling
    stop_token_ids: tuple[int, ...]

    @property
    def bos_token_id(self) -> int | None:
        """The id that starts every prompt; None: no such token."""
        return self.vocabulary.bos_token_id if self.vocabulary.adds_bos else None

    def manifest(
        self,
        spec: ModelSpec,
        recipe: Mapping[str, Any],
        tensor_errors: Mapping[str, float] = NOTHING,
        report: Mapping[str, Any] = NOTHING,
    ) -> Manifest:
        """The manifest of a bundle of this model, without its files, which models.bundle measures."""
        return Manifest(
            name=self.name,
            spec=spec,
            dialect=self.dialect.name,
            dialect_reason=self.dialect_reason,
            bos_token_id=self.bos_token_id,
            stop_token_ids=self.stop_token_ids,
            sampling=self.sampling,
            recipe=recipe,
            tensor_errors=tensor_errors,
            report=report,
            source=self.origin,
            created_by=f"edge-think {own_version()}",
            files={},
        )


def identify(checkpoint: Checkpoint, name: str | None, dialect_name: str | None, origin: str | None) -> Identity:
    """Read what the folder says beside its weights; ``name``, ``dialect_name`` and ``origin`` replace what it says.

    Raises CheckpointError for files that are damaged or name no stop token, UnknownFamilyError for another dialect.
    """
    folder = checkpoint.folder
    vocabulary = read_vocabulary(folder, checkpoint.spec, checkpoint.config)
    dialect, reason = detect_dialect(vocabulary.chat_template, vocabulary.tokens.__contains__, name=dialect_name)
    bos_token_id = vocabulary.bos_token_id if vocabulary.adds_bos else None
    tokenizer = BpeChatTokenizer.from_file(folder / TOKENIZER_NAME, dialect.control_texts, bos_token_id)
    generation = _generation_config(folder)
    return Identity(
        name=name or folder.resolve().name,
        origin=origin or f"checkpoint {folder.resolve().name}",
        vocabulary=vocabulary,
        dialect=dialect,
        dialect_reason=reason,
        tokenizer=tokenizer,
        sampling=_sampling(generation, dialect),
        stop_token_ids=_stop_ids(checkpoint, dialect, tokenizer, vocabulary.kinds, generation),
    )


def _generation_config(source: Path) -> dict[str, Any]:
    """generation_config.json, which not every checkpoint has."""
    path = source / "generation_config.json"
    return read_json_object(path, CheckpointError) if path.exists() else {}


def _sampling(generation: dict[str, Any], dialect: Dialect) -> Sampling:
    """The checkpoint's own sampling, the dialect's where it names none. Raises CheckpointError for a wrong value."""
    if "do_sample" not in generation:
        return dialect.sampling
    if not generation["do_sample"]:
        return Sampling(temperature=0.0, top_k=0, top_p=1.0)
    own = {field: generation.get(field) for field in ("temperature", "top_k", "top_p")}
    for field, value in own.items():
        if isinstance(value, bool) or not isinstance(value, int | float | None) or (value is not None and value < 0):
            raise CheckpointError(f"generation_config.json has {field} = {value!r}, which must be a number from 0 up.")
    return with_changes(dialect.sampling, **{field: value for field, value in own.items() if value is not None})


def _stop_ids(
    checkpoint: Checkpoint,
    dialect: Dialect,
    tokenizer: BpeChatTokenizer,
    kinds: tuple[TokenKind, ...],
    generation: dict[str, Any],
) -> tuple[int, ...]:
    """What ends an answer: the dialect's own stop texts first, in its order, then what the configs name beside them."""
    in_order = [tokenizer.token_id(text) for text in dialect.stop_tokens]
    known = stop_token_ids(dialect, tokenizer, checkpoint.spec.vocab_size)
    named = [
        *control_ids(kinds, generation.get("eos_token_id")),
        *control_ids(kinds, checkpoint.config.get("eos_token_id")),
    ]
    ids = tuple(dict.fromkeys(token for token in (*in_order, *sorted(known), *named) if token is not None))
    if not ids:
        raise CheckpointError(
            f"{checkpoint.folder} names no token that ends an answer: its tokenizer has none of "
            f"{', '.join(dialect.stop_tokens)}, and no config names a control token as eos_token_id."
        )
    return ids


def own_version() -> str:
    """The version of this package, for people."""
    try:
        return version("edge-think")
    except PackageNotFoundError:
        return "(not installed)"
