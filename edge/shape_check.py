"""Whether a schema or a grammar can come to an end at all, told before anything is generated.

Knows: JSON Schema's ways to nest, and as much of the Lark syntax as says which rule needs which. Pure: no packages.
Does not know: what a schema or a grammar means otherwise; the compiler reports everything else that is wrong.

A rule that can only go on for ever sends the compiler's search for forced text round in circles, so it is refused here.
The method is that of productive symbols: what can end is collected until nothing is added.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from models.errors import UsageError

KEYWORDS = frozenset(
    "$ref $defs $schema $id definitions type enum const properties required additionalProperties patternProperties items "
    "prefixItems minItems maxItems minLength maxLength pattern format minimum maximum exclusiveMinimum exclusiveMaximum "
    "multipleOf anyOf oneOf allOf not if title description minProperties maxProperties".split()
)
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
            if choices := _as_list(part.get(key)):
                if not any(self._ends(f"{pointer}/{key}/{index}") for index in range(len(choices))):
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
        raise UsageError(f"The schema at {pointer} has minProperties {least}, which is not supported; name the required.")


def _below(pointer: str, key: str, name: str) -> str:
    return f"{pointer}/{key}/{name.replace('~', '~0').replace('/', '~1')}"


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


_TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*|\#[^\n]*)
    |(?P<leaf>"(?:\\.|[^"\\\n])*"i?|/(?!/)(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n])+/[imslux]*|<[^>\s]*>|~\s*\d+(?:\s*\.\.\s*\d+)?|\.\.)
    |(?P<inline>%(?:json|regex|lark)\s*(?=\{))
    |(?P<directive>%[^\n]*)
    |(?P<repeat>\{\s*\d*\s*,?\s*\d*\s*\})
    |(?P<name>[?!]?[A-Za-z_][\w-]*(?:\.-?\d+)?)
    |(?P<mark>[|()\[\]?*+:&~])
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
Token = tuple[str, str]


def check_grammar_ends(text: str) -> None:
    """Raises UsageError for a grammar with a rule, within reach of ``start``, that can never end."""
    rules = _rules(_tokens(text))
    if rules is None or "start" not in rules:
        return  # the compiler knows more of the syntax, and says what is wrong
    ending: set[str] = set()
    size = -1
    while size < len(ending):
        size = len(ending)
        ending |= {name for name, body in rules.items() if _Body(body, rules.keys(), ending).can_end()}
    reached, open_names = set(), ["start"]
    while open_names:
        if (name := open_names.pop()) not in reached:
            reached.add(name)
            open_names += [word for kind, word in rules[name] if kind == "name" and word in rules]
    for name in rules:
        if name in reached and name not in ending:
            raise UsageError(f"The rule {name!r} of the grammar can never end; give it an alternative without itself.")


def _tokens(text: str) -> list[Token]:
    tokens, position = [], 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        assert match is not None and match.lastgroup is not None
        position = match.end()
        if match.lastgroup == "inline":
            position = _end_of_braces(text, position)
            tokens.append(("leaf", ""))
        elif match.lastgroup not in ("skip", "directive"):
            tokens.append((match.lastgroup, match[0].lstrip("?!")))
    return tokens


def _end_of_braces(text: str, position: int) -> int:
    depth = 0
    for match in re.compile(r'"(?:\\.|[^"\\])*"|[{}]', re.DOTALL).finditer(text, position):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return match.end()
    return len(text)


def _rules(tokens: list[Token]) -> dict[str, list[Token]] | None:
    """The body of every rule by its name; None for a syntax that is not understood here."""
    rules: dict[str, list[Token]] = {}
    body: list[Token] = []
    position = 0
    while position < len(tokens):
        kind, word = tokens[position]
        if kind == "other":
            return None
        head = _length_of_head(tokens, position) if kind == "name" else 0
        if head:
            body = rules[word.partition(".")[0]] = []
        else:
            body.append((kind, word))
        position += head or 1
    return rules


def _length_of_head(tokens: list[Token], position: int) -> int:
    """How many tokens ``name:`` or ``name[attributes]:`` takes; 0 where none begins."""
    end = position + 1
    if tokens[end : end + 1] == [("mark", "[")] and ("mark", "]") in tokens[end:]:
        end = tokens.index(("mark", "]"), end) + 1
    return end + 1 - position if tokens[end : end + 1] == [("mark", ":")] else 0


class _Body:
    """Reads one rule's alternatives: what they need must be among ``ending``."""

    def __init__(self, tokens: list[Token], names: Any, ending: set[str]) -> None:
        self._tokens = tokens
        self._names = names
        self._ending = ending
        self._position = 0

    def can_end(self) -> bool:
        """Whether one of the alternatives up to the closing bracket, or the end, can."""
        found, all_so_far = False, True
        while self._position < len(self._tokens):
            kind, word = self._tokens[self._position]
            self._position += 1
            if (kind, word) == ("mark", "|"):
                found, all_so_far = found or all_so_far, True
            elif kind == "mark" and word in ")]":
                break
            else:
                all_so_far &= self._item(kind, word)
        return found or all_so_far

    def _item(self, kind: str, word: str) -> bool:
        can_end = word in self._ending if kind == "name" and word in self._names else True
        if kind == "mark" and word in "([":
            can_end = self.can_end() or word == "["
        following = self._tokens[self._position : self._position + 1]
        is_optional = following in ([("mark", "?")], [("mark", "*")]) or (
            following[:1] != [] and following[0][0] == "repeat" and re.match(r"\{\s*0*\s*,", following[0][1]) is not None
        )
        return can_end or is_optional
