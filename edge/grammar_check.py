"""Whether a grammar can come to an end at all.

Knows: as much of the Lark syntax, as llguidance reads it, as says which rule needs which. Pure: no packages.
Does not know: what a grammar means otherwise; the compiler reports everything else that is wrong.

A rule that can only go on for ever sends the compiler's search for forced text round in circles, so it is refused here,
by the method of productive symbols: what can end is collected until nothing is added.
"""

from __future__ import annotations

import re
from typing import Any

from models.errors import UsageError

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
    endless = reached - ending
    if endless:  # the one at the bottom of it needs the fewest of the others
        needs = {name: {word for kind, word in rules[name] if kind == "name"} & endless - {name} for name in endless}
        name = min(sorted(endless), key=lambda name: len(needs[name]))
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
            tokens.append((match.lastgroup, match[0].lstrip("?!") if match.lastgroup == "name" else match[0]))
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
            following[:1] != []
            and following[0][0] == "repeat"
            and re.match(r"\{\s*0*\s*,", following[0][1]) is not None
        )
        return can_end or is_optional
