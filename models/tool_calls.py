"""Tools: what a model may call, how a dialect writes it down, and how a call is read back.

Knows: OpenAI-style function definitions, the fixed texts around tools, calls and results, and the JSON of a call.
Does not know: who runs a tool, chat marks, or where in a stream a call stands.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.errors import UsageError


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool. ``raw`` is what the model wrote between the tags; empty for a call made by hand."""

    name: str
    arguments: dict[str, Any]
    raw: str = ""

    @property
    def text(self) -> str:
        """The JSON of the call: the model's own words where there are any, so that a cached turn stays true."""
        spoken = self.raw.strip()
        return spoken or json.dumps({"name": self.name, "arguments": self.arguments}, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """The fixed texts of a dialect: ``definitions`` stand around the tools, in the system turn, one JSON a line;
    ``call`` and ``result`` are the tags around a call and around what came of it.
    """

    definitions: tuple[str, str]
    call: tuple[str, str]
    result: tuple[str, str]


# Hermes style, as the chat template of Qwen3 writes it.
HERMES = ToolFormat(
    definitions=(
        "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
        "You are provided with function signatures within <tools></tools> XML tags:\n<tools>",
        "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
        '<tool_call></tool_call> XML tags:\n<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n'
        "</tool_call>",
    ),
    call=("<tool_call>", "</tool_call>"),
    result=("<tool_response>", "</tool_response>"),
)


def read_tool_call(text: str) -> ToolCall | None:
    """The call that ``text``, the part between the tags, is; None where it is none.

    Arguments written as a JSON string of an object, as some models do, are taken as that object.
    """
    try:
        call = json.loads(text)
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            return None
        arguments = call.get("arguments", {})
        if isinstance(arguments, str):
            arguments = json.loads(arguments)
    except (ValueError, RecursionError):
        return None
    return ToolCall(call["name"], arguments, text) if isinstance(arguments, dict) else None


def check_tools(tools: Sequence[Mapping[str, Any]]) -> None:
    """Raises UsageError for a definition that is not ``{"type": "function", "function": {"name": …, …}}``."""
    names: set[str] = set()
    for number, tool in enumerate(tools, 1):
        function = tool.get("function") if isinstance(tool, Mapping) else None
        name = function.get("name") if isinstance(function, Mapping) else None
        if not isinstance(name, str) or not name or tool.get("type") != "function":
            raise UsageError(
                f'Tool {number} is not of the form {{"type": "function", "function": {{"name": "…"}}}}; correct it.'
            )
        if name in names:
            raise UsageError(f"There are two tools called {name!r}; give each a name of its own.")
        names.add(name)
        try:
            json.dumps(tool)
        except (TypeError, ValueError) as exc:
            raise UsageError(f"Tool {name!r} cannot be written as JSON ({exc}); use plain values.") from exc
