"""A layout that is the model's own chat template (jinja2).

Knows: how to run a shipped template in a sandbox and find the messages again in what it wrote.
Does not know: what its marks mean. jinja2 is imported at the first rendering.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from models.dialect_layout import Message, Part, join_parts
from models.errors import ModelError

if TYPE_CHECKING:
    from jinja2 import Template

_SLOT = re.compile(r"edgeslot(\d{6})end")


@dataclass(frozen=True, slots=True)
class TemplateLayout:
    """Renders ``template`` with a slot in place of every content, so that user text never meets the template.

    ``bos_token`` and ``eos_token`` are the texts a template may ask for.
    """

    template: str
    bos_token: str = ""
    eos_token: str = ""

    @property
    def tool_format(self) -> None:
        """None: a template of unknown make gets no tools."""
        return None

    def lay_out(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> tuple[Part, ...]:
        """The template's own text as control parts, contents as user parts.

        A system message that the template refuses or drops goes in front of the first user message.
        Raises ModelError when the template cannot be used.
        """
        try:
            return self._lay_out(messages)
        except ModelError:
            if messages[0].role != "system" or len(messages) < 2:
                raise
            joined = Message(messages[1].role, f"{messages[0].content}\n\n{messages[1].content}")
            return self._lay_out((joined, *messages[2:]))

    def _lay_out(self, messages: Sequence[Message]) -> tuple[Part, ...]:
        slotted = [{"role": message.role, "content": f"edgeslot{i:06}end"} for i, message in enumerate(messages)]
        pieces = _SLOT.split(self._run(slotted))  # text, number, text, number, …, text
        found = {int(number) for number in pieces[1::2]}
        for index, message in enumerate(messages):
            if index not in found:
                raise ModelError(
                    f"The model's chat template drops the text of a {message.role} message; set the dialect by name."
                )
        return join_parts(
            Part(messages[int(piece)].content, is_control=False) if index % 2 else Part(piece, is_control=True)
            for index, piece in enumerate(pieces)
        )

    def _run(self, slotted: list[dict[str, str]]) -> str:
        from jinja2 import TemplateError

        try:
            return _compiled(self.template).render(
                messages=slotted, add_generation_prompt=True, bos_token=self.bos_token, eos_token=self.eos_token
            )
        except (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as exc:
            reason = str(exc).rstrip(".") or type(exc).__name__
            raise ModelError(f"The model's chat template fails ({reason}); set the dialect by name.") from exc


@lru_cache(maxsize=8)
def _compiled(template: str) -> Template:
    """The compiled template, in the environment that chat templates are written for."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(template)


def _raise_exception(message: str) -> NoReturn:
    from jinja2 import TemplateError

    raise TemplateError(message)
