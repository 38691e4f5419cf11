"""The operator's notes: cut into passages, found by what a question is about, in English and in Chinese."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.server.notes import MAX_NOTE_BYTES, Notes
from edge.server.passages import PASSAGE_CHARACTERS, cut_text, split_note, terms_of
from models.errors import UsageError

LIBRARY = """# Opening hours

The library is open from 9:00 to 18:00 on weekdays.
On Saturdays it closes at 13:00.

# Rooms
## Second floor

The toilets and the reading room for children are here.
"""
MUSEUM = "展览馆周一闭馆，其余日子九点开门，十七点关门。\n\n洗手间（厕所）在二楼电梯旁边。"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "notes"
    (path / "more").mkdir(parents=True)
    (path / "library.md").write_text(LIBRARY)
    (path / "展览馆.txt").write_text(MUSEUM, encoding="utf-8")
    (path / "more" / "parking.txt").write_text("Bicycles stand behind the house. Cars park in Mill Street.")
    return path


def first_text(notes: Notes, question: str) -> str:
    found = notes.search(question, 3)
    return found[0].text if found else ""


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("When does the library close on Saturday?", "On Saturdays it closes at 13:00."),
        ("where's the toilet", "toilets"),
        ("Where can I leave my bicycle?", "Bicycles"),
        ("请问展览馆周一开门吗？", "周一闭馆"),
        ("厕所在哪里？", "厕所"),
        ("ＬＩＢＲＡＲＹ", "library"),
    ],
)
def test_questions_find_their_passage(folder: Path, question: str, text: str) -> None:
    """Plurals, full-width letters, and Chinese, which has no spaces between its words."""
    assert text in first_text(Notes(folder), question)


@pytest.mark.parametrize("question", ["", "???", "What is 9+18?", "Who was Napoleon?", "你是谁？", "今天天气怎么样"])
def test_other_questions_find_nothing(folder: Path, question: str) -> None:
    """A quote about something else costs time and misleads; numbers and words of any question are no subject."""
    assert Notes(folder).search(question, 3) == ()


def test_a_passage_names_its_note_and_headings(folder: Path) -> None:
    (passage,) = Notes(folder).search("Where is the reading room for children?", 1)
    assert (passage.source, passage.heading) == ("library.md", "Rooms · Second floor")
    assert [one.source for one in Notes(folder).search("cars", 1)] == ["more/parking.txt"]


def test_changed_notes_are_seen(folder: Path) -> None:
    """An operator who corrects a note must not have to start the server again."""
    notes = Notes(folder)
    assert not notes.search("giraffe", 3)
    (folder / "zoo.md").write_text("The giraffe is called Ada.")
    assert "Ada" in first_text(notes, "What is the giraffe called?")
    (folder / "zoo.md").write_text("The giraffe is called Bob.")
    os.utime(folder / "zoo.md", ns=(1, 1))  # whatever the clock's grain
    assert "Bob" in first_text(notes, "What is the giraffe called?")
    (folder / "zoo.md").unlink()
    assert not notes.search("giraffe", 3)


def test_what_cannot_be_read_is_said_and_skipped(folder: Path, tmp_path: Path) -> None:
    (folder / "large.txt").write_bytes(b"x" * (MAX_NOTE_BYTES + 1))
    (folder / "latin.txt").write_bytes("Käse".encode("latin-1"))
    (folder / ".draft.md").write_text("draft")
    (folder / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / "secret.txt").write_text("The password is swordfish.")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    notes = Notes(folder)
    assert [line.split()[0] for line in notes.skipped] == ["large.txt", "latin.txt"]
    assert not notes.search("password swordfish", 3) and not notes.search("draft", 3)
    assert notes.search("library", 3)


def test_an_empty_folder_finds_nothing(tmp_path: Path) -> None:
    assert Notes(tmp_path).search("library", 3) == ()
    (tmp_path / "empty.md").write_text("# \n\n...\n")
    assert Notes(tmp_path).search("library", 3) == ()


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        Notes(tmp_path / "nowhere")


def test_long_notes_are_cut_at_sentences() -> None:
    text = " ".join(f"Sentence number {number} ends here." for number in range(100))
    pieces = [passage.text for passage in split_note("long.txt", text)]
    assert " ".join(pieces) == text
    assert all(piece.endswith(".") and len(piece) <= PASSAGE_CHARACTERS for piece in pieces)


@given(st.text(alphabet="ab .。\n#馆", max_size=400), st.integers(1, 60))
def test_cutting_loses_nothing(text: str, most: int) -> None:
    """An endless loop, an empty piece or a lost word in any text that a folder may hold."""
    pieces = list(cut_text(text, most))
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(piece and len(piece) <= most for piece in pieces)


@given(st.text(max_size=300))
def test_any_text_has_terms(text: str) -> None:
    terms = terms_of(text)
    assert all(terms)
    assert list(split_note("note.md", text)) is not None


def test_terms_of_both_scripts() -> None:
    assert terms_of("The libraries' buses on 3 glasses of ice") == ["library", "buse", "3", "glasse", "ice"]
    assert terms_of("图书馆WiFi，店") == ["图书", "书馆", "wifi", "店"]
