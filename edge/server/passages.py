"""Notes cut into passages short enough to quote, and the terms that they are found by.

Knows: Markdown's headings, ends of sentences, words of Latin scripts and of Chinese. Pure. Does not know: files, or how
passages are ranked (``notes``).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

PASSAGE_CHARACTERS = 600  # a paragraph or two; a longer one is cut at the end of a sentence

HEADING = re.compile(r"#{1,6}\s+(.*?)\s*#*\s*$")
SENTENCE_END = re.compile(r"[.!?](?=\s)|[。！？；]|\n")
WORD = re.compile(r"[a-z0-9\u00c0-\u024f\u0370-\u052f]+(?:['’][a-z]+)?|[\u3400-\u9fff\uf900-\ufaff]+")

# Words of questions, which every note may have and none is about, beside those that the library leaves out.
QUESTIONS = """
    i you he she we me my your our us am do does did have has had can could would should may what which who whom whose
    where when why how much many any some please tell about from there here than so it's what's i'm
    什么 怎么 怎样 如何 哪里 哪儿 哪个 哪些 多少 几点 是否 请问 可以 可否 能否 有没 没有 我想 想问
    一下 告诉 诉我 这里 这个 那个
"""


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of one note; ``heading`` are the headings above it, outermost first, where the note has any."""

    source: str  # the note's name in its folder
    heading: str
    text: str


def split_note(source: str, text: str) -> Iterator[Passage]:
    """The passages of a note, in order: neighbouring paragraphs under one heading, joined while they are short."""
    headings: list[tuple[int, str]] = []
    held = ""
    for paragraph in _paragraphs(text):
        heading = HEADING.match(paragraph)
        if heading is None and len(held) + len(paragraph) + 2 <= PASSAGE_CHARACTERS:
            held = f"{held}\n\n{paragraph}" if held else paragraph
            continue
        above = " · ".join(title for _, title in headings)
        yield from (Passage(source, above, piece) for piece in cut_text(held, PASSAGE_CHARACTERS))
        held = "" if heading else paragraph
        if heading:
            depth = paragraph.index(" ") if " " in paragraph else len(paragraph)
            headings = [*((level, title) for level, title in headings if level < depth), (depth, heading[1])]
    above = " · ".join(title for _, title in headings)
    yield from (Passage(source, above, piece) for piece in cut_text(held, PASSAGE_CHARACTERS))


def _paragraphs(text: str) -> Iterator[str]:
    """Paragraphs without the blank lines between them; a heading is one of its own."""
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        is_heading = HEADING.match(line) is not None
        if lines and (is_heading or not line.strip()):
            yield "\n".join(lines)
            lines = []
        if is_heading:
            yield line.strip()
        elif line.strip():
            lines.append(line.rstrip())


def cut_text(text: str, most: int) -> Iterator[str]:
    """``text`` in pieces of at most ``most`` characters, ending with a sentence where one ends in the second half."""
    text = text.strip()
    while len(text) > most:
        ends = [end.end() for end in SENTENCE_END.finditer(text, most // 2, most)]
        spaces = [text.rfind(" ", most // 2, most)]
        end = next((place for place in (*ends[::-1], *spaces) if place > 0), most)
        yield text[:end].strip()
        text = text[end:].strip()
    if text:
        yield text


def terms_of(text: str) -> list[str]:
    """What a text is found by: words without their plural, and of Chinese every two neighbouring characters.

    Pairs need no dictionary and find words of any length (Nie and Ren, 1999). Words of any question are left out.
    """
    common = _common_words()
    terms: list[str] = []
    for run in WORD.findall(unicodedata.normalize("NFKC", text).casefold()):
        if run[0] < "\u3400":
            if run not in common:
                terms.append(_singular(re.split("['’]", run)[0]))
        else:
            pairs = [run[place : place + 2] for place in range(len(run) - 1)] or [run]
            terms += [pair for pair in pairs if pair not in common]
    return terms


def _singular(word: str) -> str:
    """An English word without the s of its plural (Harman, 1991)."""
    if len(word) < 4 or not word.endswith("s") or word.endswith(("us", "ss")):
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return f"{word[:-3]}y"
    return word[:-1]


@lru_cache(maxsize=1)
def _common_words() -> frozenset[str]:
    from bm25s.stopwords import STOPWORDS_EN

    return frozenset([*QUESTIONS.split(), *STOPWORDS_EN])
