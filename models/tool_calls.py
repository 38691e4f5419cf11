"""Tools: what a model may call, how a dialect writes it down, and how a call is read back.

Knows: OpenAI-style function definitions, the fixed texts around tools, calls and results, and the words of a call.
Does not know: who runs a tool, chat marks, or where in a stream a call stands.
"""

from __future__ import annotations

import json
import re
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


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """The fixed texts of a dialect: ``definitions`` stand around the tools, in the system turn, one JSON a line;
    ``call`` and ``result`` are the tags around a call and around what came of it, ``calls`` and ``results`` those
    around all of one turn.

    A call is JSON, and has lines of its own between its tags; or, where ``is_fenced``, a name and a block of JSON with
    the arguments, close to its tags.
    """

    definitions: tuple[str, str]
    call: tuple[str, str]
    result: tuple[str, str]
    calls: tuple[str, str] = ("", "")
    results: tuple[str, str] = ("", "")
    is_fenced: bool = False

    @property
    def margin(self) -> str:
        """What stands between a tag and the words inside it, and between an answer and its first call."""
        return "" if self.is_fenced else "\n"

    @property
    def call_tags(self) -> tuple[str, ...]:
        """The tags that open and close a call, then those around several."""
        return (*self.call, *(tag for tag in self.calls if tag))

    def write(self, call: ToolCall) -> str:
        """The words of ``call``: the model's own where it spoke this way, so that a cached turn stays true."""
        spoken = call.raw.strip()
        if spoken and spoken.startswith("{") is not self.is_fenced:
            return spoken
        if self.is_fenced:
            return f"{call.name}\n```json\n{json.dumps(call.arguments, ensure_ascii=False)}\n```"
        return json.dumps({"name": call.name, "arguments": call.arguments}, ensure_ascii=False)


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

# As the chat template of the dense Hunyuan models writes it, the run-together sentences included.
HUNYUAN_TOOLS = ToolFormat(
    definitions=(
        "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
        "You are provided with function signatures within <tools></tools> XML tags:\n<tools>",
        "\n</tools>\n\nFor function call returns, you should first print <tool_calls>"
        "For each function call, you should return object like:\n"
        "<tool_call>function_name\n```json\nfunction_arguments_in_json_format\n```</tool_call>"
        "At the end of function call returns, you should print </tool_calls>",
    ),
    call=("<tool_call>", "</tool_call>"),
    result=("<tool_response>", "</tool_response>"),
    calls=("<tool_calls>", "</tool_calls>"),
    results=("<tool_responses>", "</tool_responses>"),
    is_fenced=True,
)

_FENCED = re.compile(r"\s*([^\s`{<]+)\s*```(?:json)?\s*(.*?)\s*```\s*", re.DOTALL)
_BEGUN = re.compile(r"\s*(\{.*|[^\s`{<]+\s*(`{1,2}|```.*)?)?", re.DOTALL)


def may_become_call(text: str) -> bool:
    """Whether ``text``, what follows the opening tag so far, may still become a call; talk of a tag may not."""
    return _BEGUN.fullmatch(text) is not None


def read_tool_call(text: str) -> ToolCall | None:
    """The call that ``text``, the part between the tags, is, in either form; None where it is none.

    Arguments written as a JSON string of an object, as some models do, are taken as that object.
    """
    fenced = _FENCED.fullmatch(text)
    try:
        call = json.loads(text) if fenced is None else {"name": fenced[1], "arguments": json.loads(fenced[2] or "{}")}
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            return None
        arguments = call.get("arguments", {})
        if isinstance(arguments, str):
            arguments = json.loads(arguments)
    except (ValueError, RecursionError):
        return None
    return ToolCall(call["name"], arguments, text) if isinstance(arguments, dict) else None


def parse_tools(text: str) -> list[Any]:
    """The function definitions in ``text``, a JSON list; ``check_tools`` looks inside. Raises UsageError."""
    try:
        tools = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise UsageError(f"The tools are not JSON ({exc}); write a list of function definitions.") from exc
    if not isinstance(tools, list) or not tools:
        raise UsageError(f"The tools are {text.strip()[:40]!r}; write a JSON list with at least one definition.")
    return tools


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
