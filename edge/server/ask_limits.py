"""How much one request may ask for, and of which model.

Knows: the limits of messages, tokens, stop texts and schemas. Does not know: bytes and connections (``body``,
``connections``), or deadlines (``device``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from edge.server.ask import Ask
from edge.server.refusal import NOT_FOUND, TOO_LARGE, Refusal, bad_request

MAX_STOPS, MAX_STOP_CHARACTERS = 16, 256


@dataclass(frozen=True, slots=True)
class AskLimits:
    """``names`` are what the loaded model is called; ``schema_values`` counts all parts of a schema, tools' too.

    ``tokens`` is the most that one answer may generate (None: what the context holds).
    """

    names: tuple[str, ...]
    messages: int
    tokens: int | None
    schema_values: int
    schema_depth: int

    def checked(self, model: str | None, ask: Ask) -> Ask:
        """``ask``, its tokens within the limit. Raises Refusal for an unknown model, and for what is too much."""
        self.check_model(model)
        if len(ask.messages) > self.messages:
            raise Refusal(
                TOO_LARGE,
                "too_many_messages",
                f"There are {len(ask.messages)} messages; send {self.messages} or fewer.",
            )
        if len(ask.stops) > MAX_STOPS:
            raise bad_request(f"There are {len(ask.stops)} stop texts; send {MAX_STOPS} or fewer.", "stop")
        if any(not 0 < len(stop) <= MAX_STOP_CHARACTERS for stop in ask.stops):
            raise bad_request(f"A stop text has 1 to {MAX_STOP_CHARACTERS} characters; correct it.", "stop")
        for name, value in (("schema", ask.options.schema), ("tools", ask.options.tools)):
            self._check_nesting(name, value)
        most = self.tokens
        if most is not None and (ask.options.max_tokens or most) > most:
            raise bad_request(
                f"At most {most:,} tokens may be asked for; {ask.options.max_tokens:,} were.", "max_tokens"
            )
        if most is not None and ask.options.max_tokens is None:
            return replace(ask, options=replace(ask.options, max_tokens=most))
        return ask

    def check_model(self, model: str | None) -> None:
        """Raises Refusal unless ``model`` is the one that is loaded (None: whichever is)."""
        if model is not None and model.removesuffix(":latest") not in self.names:
            raise Refusal(
                NOT_FOUND,
                "model_not_found",
                f"There is no model {model!r} here; ask for {self.names[0]!r}.",
                field="model",
            )

    def _check_nesting(self, name: str, value: Any) -> None:
        for num_values, depth in enumerate(_depths(value), 1):
            if depth > self.schema_depth:
                raise Refusal(TOO_LARGE, "too_deep", f"The {name} is nested more than {self.schema_depth} deep.")
            if num_values > self.schema_values:
                raise Refusal(TOO_LARGE, "too_large", f"The {name} has more than {self.schema_values:,} parts.")


def _depths(value: Any) -> Iterator[int]:
    """The depth of each part of a JSON value, without recursion."""
    parts = [(value, 0)]
    while parts:
        part, depth = parts.pop()
        yield depth
        if isinstance(part, Mapping):
            parts += [(inner, depth + 1) for inner in part.values()]
        elif isinstance(part, list | tuple):
            parts += [(inner, depth + 1) for inner in part]
