"""What a model's files say of it, as text: all that a bundle reports, or the header of a GGUF file.

Knows: how facts and tables become lines. Does not know: which facts there are (models.summary does), or how a model is
loaded.
"""

from __future__ import annotations

from pathlib import Path

from edge.doctor import model_facts
from edge.model_source import find_model
from models.summary import Section, summarize


def describe_model(model: str | Path) -> str:
    """What a bundle or a GGUF file holds, a line a fact. Raises BundleError for what is neither."""
    source = find_model(model)
    if source.bundle is not None:
        return "\n\n".join(_section_text(section) for section in summarize(source.bundle.manifest))
    return _section_text(Section("Model", tuple((name, str(fact)) for name, fact in model_facts(source).items())))


def _section_text(section: Section) -> str:
    facts = [f"  {name.replace('_', ' ')}: {fact}" for name, fact in section.facts]
    return "\n".join([section.title, *facts, *_table_lines(section.table)])


def _table_lines(table: tuple[tuple[str, ...], ...]) -> list[str]:
    """Columns as wide as their widest cell; numbers to the right, by their header's first row below."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    is_number = [_is_number(cell) for cell in table[1]] if len(table) > 1 else [False] * len(widths)
    return [
        "  "
        + "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, is_number, strict=True)
        ).rstrip()
        for row in table
    ]


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "").replace(" > ", "").isdigit()
