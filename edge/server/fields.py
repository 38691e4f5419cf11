"""What becomes of each field of a request: honoured, ignored and said so, or refused by name.

Knows: the three treatments, and how a JSON object is held against a typed model. Does not know: any field; the models
carry them, and docs/server.md is written from the models, so that no table can differ from the code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from edge.server.refusal import bad_request


# Told apart by identity: typing hands out one Annotated for two marks that are equal, as (0,) and (False,) are.
@dataclass(frozen=True, slots=True, eq=False)
class Honoured:
    """The field does what ``how`` says."""

    how: str


@dataclass(frozen=True, slots=True, eq=False)
class Ignored:
    """The field changes nothing here; the reply lists it. ``why`` that does no harm."""

    why: str


@dataclass(frozen=True, slots=True, eq=False)
class Refused:
    """The answer would be another one if the field were ignored; values in ``neutral`` change nothing and pass."""

    why: str
    neutral: tuple[Any, ...] = ()


Treatment = Honoured | Ignored | Refused


class Fields(BaseModel):
    """The fields of an object in a request; every one is annotated with its treatment. null stands for absent."""

    model_config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)


Model = TypeVar("Model", bound=Fields)


def read_fields(model: type[Model], value: Any) -> tuple[Model, tuple[str, ...]]:
    """``value`` as ``model``, and the names of the fields that are ignored. Raises Refusal for anything else."""
    if not isinstance(value, dict):
        raise bad_request(f"The request is {_kind(value)}; send a JSON object.")
    try:
        fields = model.model_validate(_without_nulls(value))
    except ValidationError as exc:
        raise _complaint(exc) from None
    except RecursionError:
        raise bad_request("The request is nested too deeply; make it flatter.") from None
    return fields, tuple(_check(fields, ""))


def treatment_of(model: type[Fields], name: str) -> Treatment:
    """The treatment that a field is annotated with."""
    return next(mark for mark in model.model_fields[name].metadata if isinstance(mark, Treatment))


def _without_nulls(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry for name, entry in value.items() if entry is not None}


def _check(fields: Fields, path: str) -> Iterator[str]:
    """The ignored fields of ``fields``, nested ones too. Raises Refusal for one that is refused."""
    for name in sorted(fields.model_fields_set):
        treatment, value = treatment_of(type(fields), name), getattr(fields, name)
        if isinstance(treatment, Ignored):
            yield f"{path}{name}"
        elif isinstance(treatment, Refused) and not _is_neutral(value, treatment.neutral):
            raise bad_request(f"{path}{name} is not supported here ({treatment.why}); leave it out.", f"{path}{name}")
        for part, where in _nested(value, f"{path}{name}"):
            yield from _check(part, f"{where}.")


def _nested(value: Any, path: str) -> Iterator[tuple[Fields, str]]:
    if isinstance(value, Fields):
        yield value, path
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _nested(part, f"{path}[{index}]")


def _is_neutral(value: Any, neutral: tuple[Any, ...]) -> bool:
    """1 and 1.0 are the same, 1 and True are not."""
    return value is None or any(
        value == other and isinstance(value, bool) == isinstance(other, bool) for other in neutral
    )


def _complaint(error: ValidationError) -> Exception:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    name = ".".join(str(step) for step in first["loc"])
    if first["type"] == "extra_forbidden":
        return bad_request(f"There is no field {name!r} here; leave it out (docs/server.md has the list).", name)
    message = first["msg"].removeprefix("Input ").rstrip(".")
    return bad_request(f"{name or 'The request'} {message}; correct it.", name or None)


def _kind(value: Any) -> str:
    return {list: "a JSON list", str: "a JSON string", type(None): "null"}.get(type(value), "no JSON object")
