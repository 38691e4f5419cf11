"""The page's files, headers and settings, as a browser gets them; what it does with them is in test_kiosk_browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted_models import scripted_model
from served import Served, served
from typer.testing import CliRunner

from edge.cli import app
from edge.cli_kiosk import TOUCH
from edge.engine import Engine
from edge.server.kiosk import by_language
from edge.server.settings import Settings, make_settings
from models.errors import UsageError

PAGE = Path(__file__).parent.parent / "edge" / "server" / "page"
OPTIONS = {
    "page": True,
    "welcome": ("en: Hello", "zh: 你好"),
    "suggestion": ("2+3=?", "zh: 你是谁？"),
    "idle_s": 90.0,
    "deadline_s": 7.0,
}


@pytest.fixture(scope="module")
def kiosk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("notes")
    (folder / "library.md").write_text("The library closes at 18:00.")
    engine = Engine(scripted_model("<answer>\n18\n</answer>", context_size=4096))
    with served(engine, notes=str(folder), system="Be brief.", **OPTIONS) as running:
        yield running


def test_the_page_and_all_that_it_names(kiosk: Served) -> None:
    page = kiosk.ask("/")
    assert page.status == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
    named = re.findall(r'(?:src|href)="(page/[^"]+)"', page.body.decode())
    imported = {
        f"page/{name}" for path in PAGE.glob("*.js") for name in re.findall(r'"\./(\w+\.js)"', path.read_text())
    }
    assert len(named) >= 3 and len(imported) >= 6
    for path in {*named, *imported}:
        assert kiosk.ask(f"/{path}").status == 200, path


def test_every_word_is_there_in_both_languages_and_used() -> None:
    """A word that is missing in one language shows as "undefined" to those who speak it."""
    sections = re.split(r"^  (?:en|zh): \{$", (PAGE / "words.js").read_text(), flags=re.MULTILINE)[1:]
    english, chinese = (re.findall(r"^ {4,6}\"?([\w/]+)\"?:", section, re.MULTILINE) for section in sections)
    assert english == chinese and len(english) > 40
    others = "".join(path.read_text() for path in PAGE.iterdir() if path.name != "words.js")
    named = set(re.findall(r"""["']([A-Za-z]+)["']""", others))
    top = set(re.findall(r"^ {4}(\w+):", sections[0], re.MULTILINE))
    assert top - named == {"title"}
    assert set(re.findall(r"""(?:word\(|data-word=|this\.(?:say|trouble)\()"(\w+)\"""", others)) <= top


def test_nothing_else_may_run_or_be_reached(kiosk: Served) -> None:
    """No inline script or style, no other host: neither in the policy nor in what it guards."""
    policy = kiosk.ask("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    for path in PAGE.iterdir():
        text = path.read_text()
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|\binnerHTML\b|\beval\(|\sstyle=|\son\w+=", text), path
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style", (PAGE / "index.html").read_text())


@pytest.mark.parametrize("path", ["/", "/page/main.js"])
def test_headers_that_keep_a_browser_safe(kiosk: Served, path: str) -> None:
    headers = kiosk.ask(path).headers
    assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
    assert (headers["referrer-policy"], headers["cross-origin-opener-policy"]) == ("no-referrer", "same-origin")
    assert "microphone=()" in headers["permissions-policy"]


def test_what_has_not_changed_is_not_sent_again(kiosk: Served) -> None:
    tag = kiosk.ask("/page/style.css").headers["etag"]
    again = kiosk.ask("/page/style.css", headers={"If-None-Match": tag})
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("path", ["/page/nothing.js", "/page/..%2fkiosk.py", "/page/../kiosk.py", "/page/"])
def test_no_other_file_is_served(kiosk: Served, path: str) -> None:
    assert kiosk.ask(path).status == 404


def test_settings_by_language(kiosk: Served) -> None:
    settings = kiosk.ask("/page/settings").json
    assert settings["welcome"] == {"en": ["Hello"], "zh": ["你好"]}
    assert settings["suggestions"] == {"en": ["2+3=?"], "zh": ["2+3=?", "你是谁？"]}
    assert (settings["idle_s"], settings["deadline_s"], settings["has_notes"]) == (90.0, 7.0, True)
    assert "Be brief." not in str(settings), "the system prompt stays with the server"


def test_words_keep_their_colons() -> None:
    assert by_language(["Hours: 9 to 5", "zh:你好"]) == {"en": ["Hours: 9 to 5"], "zh": ["Hours: 9 to 5", "你好"]}


def test_sources_come_with_the_answer(kiosk: Served) -> None:
    body = {"messages": [{"role": "user", "content": "When does the library close?"}], "edge": {"notes": True}}
    reply = kiosk.ask("/v1/chat/completions", body).json
    assert [source["source"] for source in reply["edge"]["sources"]] == ["library.md"]
    ollama = kiosk.ask("/api/chat", {**body, "model": "scripted", "stream": False}).json
    assert ollama["edge"]["sources"] == reply["edge"]["sources"]


def test_without_the_option_there_is_no_page() -> None:
    with served(Engine(scripted_model("1"))) as plain:
        assert [plain.ask(path).status for path in ("/", "/page/settings")] == [404, 404]
        body = {"messages": [{"role": "user", "content": "2+3=?"}], "edge": {"notes": True}}
        assert plain.ask("/v1/chat/completions", body).json["error"]["param"] == "edge.notes"


def test_with_a_key_the_page_opens_and_answers_do_not() -> None:
    """A browser cannot send a key before it has the page."""
    with served(Engine(scripted_model("1")), page=True, api_key=("secret",)) as kiosk:
        assert [kiosk.ask(path).status for path in ("/", "/page/main.js", "/page/settings")] == [200, 200, 200]
        assert kiosk.ask("/v1/models").status == 401
        assert kiosk.ask("/v1/models", headers={"Authorization": "Bearer secret"}).status == 200


def test_another_host_gets_no_page(kiosk: Served) -> None:
    """A name that an attacker points to this machine must not show the page as its own."""
    assert kiosk.ask("/", headers={"Host": "evil.example"}).status == 403


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(UsageError, match="language"), served(Engine(scripted_model("1")), page=True, language="tlh"):
        pass


def test_kiosk_is_serve_with_other_defaults(tmp_path: Path) -> None:
    file = tmp_path / "kiosk.toml"
    file.write_text('deadline = "9s"\nidle = "none"\nwelcome = "Hi"\nnotes = "notes"\n')
    settings = make_settings({"port": 1}, file, TOUCH)
    assert (settings.page, settings.deadline_s, settings.longest_s, settings.port) == (True, 9.0, TOUCH.longest_s, 1)
    assert (settings.idle_s, settings.welcome, settings.notes) == (None, ("Hi",), "notes")
    assert not make_settings({}, file).page
    shown = CliRunner().invoke(app, ["kiosk", "--help"]).output
    assert "[default: 20s]" in shown and "--suggestion" in shown
    assert Settings().deadline_s != TOUCH.deadline_s
