"""The generated parts of the README: how they are put in, and that those of this tree are fresh."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from bench_edge import readme
from bench_edge.readme import PAGES, PROMISED, ROOT, main, promised_part, regenerate, split_at_part
from edge.cli import chat_app
from models.errors import UsageError

TEXT = "Top.\n<!-- begin a -->\nold\n<!-- end a -->\nMiddle.\n<!-- begin b -->\n\n<!-- end b -->\nEnd.\n"
is_measured = pytest.mark.skipif(
    not all((readme.MEASURED_FOLDER / f"{bench}.json").exists() for bench in ("think", "speed")),
    reason="docs/measured holds no bench lines; make bench writes them, and the README's parts with them",
)


def test_parts_are_replaced_and_the_rest_is_kept() -> None:
    made = regenerate(TEXT, {"a": lambda: "new\nlines", "b": lambda: "filled"})
    assert made == (
        "Top.\n<!-- begin a -->\nnew\nlines\n<!-- end a -->\nMiddle.\n<!-- begin b -->\nfilled\n<!-- end b -->\nEnd.\n"
    )
    assert regenerate(made, {"a": lambda: "new\nlines", "b": lambda: "filled"}) == made


@pytest.mark.parametrize(
    "text", ["", TEXT + TEXT, TEXT.replace("<!-- end a -->", ""), "\n<!-- end a -->\n<!-- begin a -->\n"]
)
def test_a_part_without_its_two_marks_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="exactly one part called a"):
        regenerate(text, {"a": lambda: "new"})


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A README of one part, in place of ours."""
    path = tmp_path / "README.md"
    path.write_text("<!-- begin a -->\nold\n<!-- end a -->\n")
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    monkeypatch.setattr(readme, "PAGES", {"README.md": {"a": lambda: "new"}})
    return path


def test_check_only_says_and_write_writes(made_up: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 1
    assert "Out of date: README.md" in capsys.readouterr().err and "old" in made_up.read_text()
    assert main(["--write"]) == main(["--check"]) == 0
    assert "new" in made_up.read_text()


@pytest.mark.parametrize("arguments", [[], ["--chekc"], ["--check", "--write"]])
def test_arguments_are_read_before_anything_is_made(
    arguments: list[str], made_up: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong flag was noticed only after every part had been made."""
    monkeypatch.setattr(readme, "regenerate", lambda text: pytest.fail("made parts"))
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "usage:" in capsys.readouterr().err


def store(folder: Path, promised: tuple[str, ...]) -> None:
    """Bench lines with nothing but checks."""
    line: dict[str, Any] = {"command": "c", "device": "d", "commit": "0", "results": {}}
    checks = [{"id": name, "name": "n", "value": 1.0, "bar": 1.0, "holds": True} for name in promised]
    (folder / "think.json").write_text(json.dumps({**line, "checks": checks}))
    (folder / "speed.json").write_text(json.dumps({**line, "checks": []}))


@pytest.mark.parametrize("name", PROMISED)
def test_a_promised_figure_that_was_not_measured_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bench run without its reference left A.int4 out of the README in silence."""
    monkeypatch.setattr(readme, "MEASURED_FOLDER", tmp_path)
    store(tmp_path, tuple(other for other in PROMISED if other != name))
    with pytest.raises(UsageError, match=f"lack {name};"):
        promised_part()


def test_quant_counts_once_it_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of it, stored by hand, would leave the other promises out in silence."""
    monkeypatch.setattr(readme, "MEASURED_FOLDER", tmp_path)
    store(tmp_path, PROMISED)
    line: dict[str, Any] = {"command": "edge bench quant", "device": "d", "commit": "0", "results": {}}
    (tmp_path / "quant.json").write_text(json.dumps({**line, "checks": []}))
    with pytest.raises(UsageError, match=r"lack B\.awq_time, "):
        promised_part()


def test_a_bench_that_was_never_stored_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readme, "MEASURED_FOLDER", tmp_path)
    with pytest.raises(UsageError, match="run make bench"):
        promised_part()


@is_measured
@pytest.mark.parametrize(
    ("page", "name"), [(page, name) for page, parts in PAGES.items() for name in parts if name != "help"]
)
def test_our_pages_are_fresh(page: str, name: str) -> None:
    """The figures were measured anew, or a module came or went, and the page still told the old story."""
    assert split_at_part((ROOT / page).read_text("utf-8"), name)[1] == PAGES[page][name]()


@is_measured
def test_our_readme_names_every_option() -> None:
    """The layout of the help depends on typer's version, so only the names are compared."""
    shown = split_at_part((ROOT / "README.md").read_text("utf-8"), "help")[1]
    command = typer.main.get_command(chat_app)
    visible = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    options = [option for parameter in visible for option in parameter.opts if option.startswith("--")]
    assert len(options) > 10
    assert not [option for option in options if option not in shown]
