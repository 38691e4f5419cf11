"""The operator's notes: a folder of plain-text and Markdown files, searched for what a question is about.

Knows: the files, and how passages are ranked (BM25). Does not know: prompts, or who asks. Files that are added, changed
or removed while the server runs are seen at the next question.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from edge.server.passages import Passage, split_note, terms_of
from models.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

SUFFIXES = (".txt", ".md", ".markdown")
MAX_NOTES, MAX_NOTE_BYTES = 2000, 2**20
LOOKED_AT = 8  # passages with the best scores
LEAST_SHARE = 0.15  # of what a question's words tell, numbers not counted; a passage with less is about something else
LEAST_OF_BEST = 0.4  # of the best passage's score; a passage with less adds nothing to it

Stamp = tuple[tuple[str, int, int], ...]  # name, time of change in ns and bytes of every note


class Notes:
    """The notes in ``folder`` and in its folders; safe from any thread. Raises UsageError where it cannot be read.

    ``skipped`` are sentences about files that cannot be used: too large, or not UTF-8.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UsageError(f"The notes {folder} are no folder; name one that holds .txt or .md files.")
        self._folder = folder
        self._lock = Lock()
        self._stamp: Stamp | None = None
        self._index = _Index(())
        self.skipped: tuple[str, ...] = ()
        self._look_again()

    @property
    def num_passages(self) -> int:
        """Passages that can be found."""
        return len(self._index.passages)

    def search(self, question: str, most: int) -> tuple[Passage, ...]:
        """At most ``most`` passages that ``question`` is about, the best first."""
        with self._lock:
            self._look_again()
            index = self._index
        return index.search(terms_of(question), most)

    def _look_again(self) -> None:
        """Read all notes where one of them has changed; where the folder is gone for now, the last ones stay."""
        try:
            stamp = tuple(_stamps(self._folder))
        except OSError:
            return
        if stamp == self._stamp:
            return
        passages: list[Passage] = []
        skipped: list[str] = []
        for name, _, num_bytes in stamp:
            if num_bytes > MAX_NOTE_BYTES:
                skipped.append(f"{name} has {num_bytes:,} bytes, more than {MAX_NOTE_BYTES:,}; cut it into several.")
                continue
            try:
                passages += split_note(name, (self._folder / name).read_text(encoding="utf-8-sig"))
            except (OSError, UnicodeDecodeError) as exc:
                skipped.append(f"{name} cannot be read as UTF-8 text ({type(exc).__name__}); save it as that.")
        self._stamp, self._index, self.skipped = stamp, _Index(tuple(passages)), tuple(skipped)


def _stamps(folder: Path) -> Iterator[tuple[str, int, int]]:
    """Every note by its name in ``folder``; hidden ones are none, and neither is what a link leads out to."""
    found = 0
    inside = folder.resolve()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.suffix.lower() not in SUFFIXES or any(part.startswith(".") for part in name.parts):
            continue
        if not path.is_file() or not path.resolve().is_relative_to(inside):
            continue
        facts = path.stat()
        yield name.as_posix(), facts.st_mtime_ns, facts.st_size
        found += 1
        if found == MAX_NOTES:
            return


@dataclass(frozen=True, slots=True)
class _Ranking:
    """The library's index, and in how many passages each term stands."""

    bm25: Any
    frequency: Counter[str]
    terms: tuple[frozenset[str], ...]  # of each passage


class _Index:
    """Passages with their ranking; without any passage it finds nothing."""

    def __init__(self, passages: tuple[Passage, ...]) -> None:
        self.passages = passages
        listed = [terms_of(f"{Path(one.source).stem} {one.heading} {one.text}") for one in passages]
        self._ranking = _rank(listed) if any(listed) else None

    def search(self, terms: Sequence[str], most: int) -> tuple[Passage, ...]:
        ranking = self._ranking
        if ranking is None:
            return ()
        known = [term for term in terms if term in ranking.frequency]
        if not known:
            return ()
        scores = ranking.bm25.get_scores(known)
        best = [int(place) for place in scores.argsort(kind="stable")[::-1][:LOOKED_AT]]
        weights = {term: self._weight(ranking, term) for term in set(terms) if not term.isdecimal()}
        least, told = LEAST_OF_BEST * float(scores[best[0]]), sum(weights.values())
        found = [
            place
            for place in best
            if scores[place] >= least
            and sum(weights[term] for term in ranking.terms[place] & weights.keys()) > LEAST_SHARE * told
        ]
        return tuple(self.passages[place] for place in found[:most])

    def _weight(self, ranking: _Ranking, term: str) -> float:
        """What a term tells: the rarer it is, the more (its inverse document frequency)."""
        frequency = ranking.frequency[term]
        return math.log1p((len(self.passages) - frequency + 0.5) / (frequency + 0.5))


def _rank(listed: list[list[str]]) -> _Ranking:
    import bm25s

    bm25 = bm25s.BM25(method="lucene")
    bm25.index(listed, show_progress=False)
    terms = tuple(frozenset(one) for one in listed)
    return _Ranking(bm25, Counter(term for one in terms for term in one), terms)
