"""Whether a JSON Schema is one, and whether what follows it can come to an end at all.

Knows: JSON Schema's ways to nest. Pure: no packages. Does not know: what a schema means otherwise; the compiler reports
everything else that is wrong.

A part that can only go on for ever sends the compiler's search for forced text round in circles, so it is refused here,
by the method of productive symbols: what can end is collected until nothing is added.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from models.errors import UsageError

_KEYWORDS = (
    "$ref $defs $schema $id definitions type enum const properties required additionalProperties patternProperties "
    "items prefixItems minItems maxItems minLength maxLength pattern format minimum maximum exclusiveMinimum "
    "exclusiveMaximum multipleOf anyOf oneOf allOf not if title description minProperties maxProperties"
)
KEYWORDS = frozenset(_KEYWORDS.split())
NESTED_IN_LIST = ("anyOf", "oneOf", "allOf", "prefixItems")
NESTED_BY_NAME = ("properties", "patternProperties")
NESTED = ("items", "additionalProperties")


def check_schema_ends(schema: Mapping[str, Any]) -> None:
    """Raises UsageError for an object that is no schema, and for one with a part that only an endless document has."""
    if schema and KEYWORDS.isdisjoint(schema):
        keys = ", ".join(map(repr, list(schema)[:3]))
        raise UsageError(f"The schema has none of JSON Schema's keywords (it has {keys}); check that it is one.")
    _SchemaEnds(schema).check()


def required_names(schema: Any) -> tuple[str, ...]:
    """The names that any part of ``schema`` requires, in its order, as JSON writes them without the quotes."""
    names: dict[str, None] = {}
    open_parts = [schema]
    while open_parts:
        part = open_parts.pop()
        if isinstance(part, Mapping):
            known = list(part.get("properties", {})) if isinstance(part.get("properties"), Mapping) else []
            required = [name for name in _as_list(part.get("required")) if isinstance(name, str)]
            ordered = sorted(required, key=lambda name: known.index(name) if name in known else len(known))
            names.update(dict.fromkeys(json.dumps(name, ensure_ascii=False)[1:-1] for name in ordered))
        open_parts += part.values() if isinstance(part, Mapping) else part if isinstance(part, list) else ()
    return tuple(names)


class _SchemaEnds:
    """Reads the parts of ``root`` that a document can reach, by their JSON pointers."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._parts: dict[str, Any] = {}
        self._ending: set[str] = set()

    def check(self) -> None:
        open_parts = ["#"]
        while open_parts:
            pointer = open_parts.pop()
            if pointer not in self._parts and (part := self._find(pointer)) is not None:
                self._parts[pointer] = part
                open_parts += self._nested(pointer, part)
        size = -1
        while size < len(self._ending):
            size = len(self._ending)
            self._ending |= {pointer for pointer, part in self._parts.items() if self._can_end(pointer, part)}
        for pointer, part in self._parts.items():
            _check_counted_names(pointer, part)
            if pointer not in self._ending and part is not False:
                raise UsageError(f"Nothing that follows the schema at {pointer} ever ends; give its nesting a way out.")

    def _find(self, pointer: str) -> Any:
        """What a local pointer points at; None where it does not, which the compiler reports."""
        part: Any = self._root
        for step in pointer.split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(part, Mapping) and name in part:
                part = part[name]
            elif isinstance(part, Sequence) and name.isdigit() and int(name) < len(part):
                part = part[int(name)]
            else:
                return None
        return part if isinstance(part, Mapping | bool) else None

    def _nested(self, pointer: str, part: Any) -> Iterator[str]:
        if not isinstance(part, Mapping):
            return
        if isinstance(reference := part.get("$ref"), str) and reference.startswith("#"):
            yield reference
        for key in NESTED_IN_LIST:
            yield from (f"{pointer}/{key}/{index}" for index in range(len(_as_list(part.get(key)))))
        for key in NESTED_BY_NAME:
            if isinstance(named := part.get(key), Mapping):
                yield from (_below(pointer, key, name) for name in named)
        yield from (f"{pointer}/{key}" for key in NESTED if key in part)

    def _can_end(self, pointer: str, part: Any) -> bool:
        if isinstance(part, bool):
            return part
        if "enum" in part or "const" in part:
            return True
        reference = part.get("$ref")
        if isinstance(reference, str) and not self._ends(reference):
            return False
        for key in ("anyOf", "oneOf"):
            choices = [f"{pointer}/{key}/{index}" for index in range(len(_as_list(part.get(key))))]
            if choices and not any(map(self._ends, choices)):
                return False
        if not all(self._ends(f"{pointer}/allOf/{index}") for index in range(len(_as_list(part.get("allOf"))))):
            return False
        kinds = part.get("type", "any")
        return any(self._kind_ends(kind, pointer, part) for kind in (kinds if isinstance(kinds, list) else [kinds]))

    def _kind_ends(self, kind: str, pointer: str, part: Mapping[str, Any]) -> bool:
        if kind == "object":
            return all(self._ends(_below(pointer, "properties", str(name))) for name in _as_list(part.get("required")))
        if kind == "array":
            least = part.get("minItems", 0)
            first = len(_as_list(part.get("prefixItems")))
            least = least if isinstance(least, int) else 0
            has_more = least > first
            return all(self._ends(f"{pointer}/prefixItems/{index}") for index in range(min(first, least))) and (
                not has_more or self._ends(f"{pointer}/items")
            )
        return True

    def _ends(self, pointer: str) -> bool:
        return pointer in self._ending or pointer not in self._parts


def _check_counted_names(pointer: str, part: Any) -> None:
    """Names of a document may come twice, so that a least number of them cannot be kept by counting."""
    least = part.get("minProperties") if isinstance(part, Mapping) else None
    if isinstance(least, int) and least > max(1, len(set(map(str, _as_list(part.get("required")))))):
        raise UsageError(
            f"The schema at {pointer} has minProperties {least}, which is not supported; name the required."
        )


def _below(pointer: str, key: str, name: str) -> str:
    return f"{pointer}/{key}/{name.replace('~', '~0').replace('/', '~1')}"


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
