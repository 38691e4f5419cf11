"""bundle.json: what a bundle says about itself, checked field by field.

Knows: the fields, their types and limits, and the format version. Does not know: folders, files on a disk, hashing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from models.dialect_base import Sampling
from models.errors import BundleError, CheckpointError, UnknownFamilyError
from models.spec import ModelSpec, spec_from_json

FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)  # the first had no report
MANIFEST_NAME = "bundle.json"
MAX_TEMPERATURE = 10
MAX_RELATIVE_ERROR = 1000

# A plain name cannot leave the folder: no separator, no leading dot.
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file of a bundle. ``role`` says what it is for: gguf, tokenizer, or another name a reader may not know."""

    role: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """All of bundle.json but its version. Two runs on the same input write the same bytes, so it holds no time."""

    name: str
    spec: ModelSpec
    dialect: str
    dialect_reason: str  # how the dialect was told, one sentence
    bos_token_id: int | None  # the id that starts every prompt; None: no such token
    stop_token_ids: tuple[int, ...]
    sampling: Sampling  # what a caller gets who asks for nothing else
    recipe: Mapping[str, Any]  # how it was quantized
    tensor_errors: Mapping[str, float]  # relative rounding error by GGUF tensor name: |rounded - float| / |float|
    source: str  # where the weights came from, for people
    created_by: str
    files: Mapping[str, FileRecord]  # by file name, bundle.json itself left out
    report: Mapping[str, Any] = field(default_factory=dict)  # what was measured while it was made, for people


def manifest_to_json(manifest: Manifest) -> dict[str, Any]:
    """The object that bundle.json holds, keys in field order."""
    return {"format_version": FORMAT_VERSION, **asdict(manifest)}


def manifest_from_json(value: Mapping[str, Any]) -> Manifest:
    """Read bundle.json strictly: exactly the known fields, each of its type.

    Raises BundleError naming the field; the version is looked at first, so that a newer format is called newer.
    """
    version = value.get("format_version")
    if version not in READABLE_VERSIONS or isinstance(version, bool):
        raise BundleError(
            f"{MANIFEST_NAME} has format version {version!r}, this program reads up to {FORMAT_VERSION}; "
            "update the program or make the bundle again."
        )
    if version == 1:
        value = {"report": {}, **value}
    _same_keys("the manifest", value, {"format_version", *(entry.name for entry in fields(Manifest))})
    spec = _spec(value["spec"])
    return Manifest(
        name=_text(value, "name"),
        spec=spec,
        dialect=_text(value, "dialect"),
        dialect_reason=_text(value, "dialect_reason"),
        bos_token_id=None if value["bos_token_id"] is None else _token_id("bos_token_id", value["bos_token_id"], spec),
        stop_token_ids=_stop_token_ids(value["stop_token_ids"], spec),
        sampling=_sampling(_object(value, "sampling")),
        recipe=_object(value, "recipe"),
        tensor_errors={name: _error(name, error) for name, error in _object(value, "tensor_errors").items()},
        source=_text(value, "source"),
        created_by=_text(value, "created_by"),
        files={name: _file_record(name, record) for name, record in _object(value, "files").items()},
        report=_object(value, "report"),
    )


def _wrong(field: str, value: object, wanted: str) -> BundleError:
    return BundleError(f"{MANIFEST_NAME} has {field} = {str(value)[:80]!r}, which must be {wanted}; it is damaged.")


def _same_keys(field: str, value: Mapping[str, Any], wanted: set[str]) -> None:
    if missing := sorted(wanted - value.keys()):
        raise BundleError(f"{MANIFEST_NAME} lacks {missing[0]!r} in {field}; it is damaged, make the bundle again.")
    if unknown := sorted(value.keys() - wanted):
        raise BundleError(f"{MANIFEST_NAME} has the unknown key {unknown[0]!r} in {field}; it is damaged or foreign.")


def _text(value: Mapping[str, Any], field: str) -> str:
    text = value[field]
    if not isinstance(text, str) or not text:
        raise _wrong(field, text, "a text")
    return text


def _object(value: Mapping[str, Any], field: str) -> dict[str, Any]:
    inner = value[field]
    if not isinstance(inner, dict):
        raise _wrong(field, inner, "an object")
    return inner


def _spec(value: object) -> ModelSpec:
    try:
        return spec_from_json(value)
    except (CheckpointError, UnknownFamilyError) as exc:
        raise BundleError(f"{MANIFEST_NAME} has a wrong spec: {exc}") from exc


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _token_id(field: str, value: Any, spec: ModelSpec) -> int:
    if not _is_count(value) or value >= spec.vocab_size:
        raise _wrong(field, value, f"a token id below {spec.vocab_size}")
    return int(value)


def _stop_token_ids(value: object, spec: ModelSpec) -> tuple[int, ...]:
    if not isinstance(value, list) or not value:
        raise _wrong("stop_token_ids", value, "a list of token ids, not empty (without one no answer ever ends)")
    return tuple(_token_id("stop_token_ids", token, spec) for token in value)


def _sampling(value: Mapping[str, Any]) -> Sampling:
    _same_keys("sampling", value, {entry.name for entry in fields(Sampling)})
    for name, most in (("temperature", MAX_TEMPERATURE), ("top_p", 1)):
        number = value[name]
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= most:
            raise _wrong(f"sampling.{name}", number, f"a number from 0 to {most}")
    if not _is_count(value["top_k"]):
        raise _wrong("sampling.top_k", value["top_k"], "a whole number")
    return Sampling(float(value["temperature"]), value["top_k"], float(value["top_p"]))


def _error(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_RELATIVE_ERROR:
        raise _wrong(f"tensor_errors[{name!r}]", value, f"a number from 0 to {MAX_RELATIVE_ERROR}")
    return float(value)


def _file_record(name: str, value: Any) -> FileRecord:
    if not _FILE_NAME.fullmatch(name) or name == MANIFEST_NAME:
        raise BundleError(
            f"{MANIFEST_NAME} names the file {name!r}, not a plain name inside the bundle; do not trust it."
        )
    if not isinstance(value, dict):
        raise _wrong(f"files[{name!r}]", value, "an object")
    _same_keys(f"files[{name!r}]", value, {entry.name for entry in fields(FileRecord)})
    if not _is_count(value["bytes"]):
        raise _wrong(f"the bytes of {name}", value["bytes"], "a whole number")
    if not isinstance(value["sha256"], str) or not _SHA256.fullmatch(value["sha256"]):
        raise _wrong(f"the sha256 of {name}", value["sha256"], "64 hexadecimal digits")
    return FileRecord(_text(value, "role"), value["bytes"], value["sha256"])
