"""The page in a real browser: what a passer-by sees and does, in every state that it has."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from served import Served, served
from thinking_models import thinking_engine
from visitor import PHONE, PORTRAIT, chromium, visitor

from edge.engine import Engine

pytestmark = pytest.mark.browser

WORDS = {
    "page": True,
    "welcome": ("en: Welcome to the library", "zh: 欢迎来到图书馆"),
    "suggestion": ("en: When does it close on Saturday?", "en: Where are the toilets?", "zh: 图书馆几点关门？"),
    "deadline_s": 60.0,
    "idle_s": 600.0,  # a busy machine takes its time between two steps of a test
}
REPLY = "It closes at **18:00**.\n\n- Monday: 9 to 18\n- <b>Tuesday</b>: closed\n\n1. one\n2. `two`"


def quick_engine() -> Engine:
    return thinking_engine(REPLY, "Opening hours.", step_s=0.0)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("notes")
    (folder / "library.md").write_text("# Opening hours\n\nThe library closes at 18:00, on Saturday at 13:00.")
    (folder / "图书馆.txt").write_text("图书馆十八点关门，周六十三点关门。", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def quick(notes: Path) -> Iterator[Served]:
    """Thinks for a moment, and quotes its notes."""
    with served(quick_engine(), notes=str(notes), **WORDS) as running:
        yield running


@pytest.fixture
def slow() -> Iterator[Served]:
    """Thinks for longer than anybody waits; a new one each time, which has not learned how long it takes."""
    with served(thinking_engine(), **WORDS) as running:
        yield running


@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        ("laptop", (1280, 800), {}),
        ("portrait", PORTRAIT, {"has_touch": True}),
        ("phone_dark", PHONE, {"color_scheme": "dark", "has_touch": True}),
        ("narrow", (320, 640), {}),
        ("forced_colours", (1280, 800), {"forced_colors": "active"}),
    ],
)
def test_welcome_and_answer(browser: Any, quick: Served, name: str, size: tuple[int, int], options: Any) -> None:
    with visitor(browser, quick.url, size, **options) as somebody:
        assert somebody.page.get_by_role("heading", name="Welcome to the library").is_visible()
        somebody.look(f"welcome_{name}")
        somebody.page.get_by_role("button", name="When does it close on Saturday?").click()
        somebody.wait_for(".about")
        somebody.look(f"answer_{name}")


def test_markdown_is_shown_and_nothing_becomes_markup(browser: Any, quick: Served) -> None:
    """A model, a note or a user that writes HTML must see it again as text."""
    with visitor(browser, quick.url) as somebody:
        somebody.ask("<img src=x onerror=alert(1)> library")
        somebody.wait_for(".about")
        assert somebody.page.locator(".asked").inner_text().endswith("<img src=x onerror=alert(1)> library")
        answer = somebody.page.locator(".answer")
        assert answer.locator("strong").all_inner_texts() == ["18:00"]
        assert answer.locator("ul li").all_inner_texts() == ["Monday: 9 to 18", "<b>Tuesday</b>: closed"]
        assert answer.locator("ol li code").all_inner_texts() == ["two"]
        assert not somebody.page.locator(".turn :is(img, b)").count()


def test_sources_and_the_decision_unfold(browser: Any, quick: Served) -> None:
    with visitor(browser, quick.url, PORTRAIT) as somebody:
        somebody.ask("When does the library close on Saturday?")
        somebody.wait_for(".about summary").click()
        somebody.page.get_by_text("From the notes here: 1 quote").click()
        assert somebody.page.locator("blockquote").inner_text() == "The library closes at 18:00, on Saturday at 13:00."
        assert "library.md · Opening hours" in somebody.page.locator("figcaption").inner_text()
        assert somebody.page.locator(".about summary").inner_text().startswith(("It answered at once", "It thought"))
        somebody.look("sources")


def test_the_ring_runs_down_and_thoughts_unfold(browser: Any, slow: Served) -> None:
    with visitor(browser, slow.url, PORTRAIT) as somebody:
        somebody.ask("Is it far?")
        ring = somebody.wait_for(".ring")
        first = int(re.findall(r"\d+", ring.get_attribute("aria-label"))[0])
        just_answer = somebody.wait_for("button:text('Just answer')")
        thoughts = somebody.page.locator(".thoughts")
        assert thoughts.is_hidden(), "folded until it is touched"
        somebody.look("thinking")
        somebody.page.get_by_text("What it is thinking").click()
        assert "1+1=2" in somebody.wait_for(".thoughts:has-text('1+1=2')").inner_text()
        somebody.look("thinking_unfolded")
        assert int(re.findall(r"\d+", ring.get_attribute("aria-label"))[0]) < first <= 60
        just_answer.click()
        somebody.wait_for(".about")
        assert somebody.page.locator(".answer").inner_text() == "42"
        assert somebody.page.get_by_text("It thought until you asked for the answer.").is_visible()
        assert not somebody.page.locator(".ring").count()
        somebody.look("just_answered")


def test_stop_ends_the_answer_and_frees_the_device(browser: Any, slow: Served) -> None:
    with visitor(browser, slow.url) as somebody:
        somebody.ask("Is it far?")
        somebody.wait_for(".thinking")
        somebody.page.get_by_role("button", name="Stop").click()
        assert somebody.wait_for(".note").inner_text() == "You stopped the answer."
        assert somebody.page.get_by_role("button", name="Ask").is_visible()
        somebody.look("stopped")
    assert slow.ask("/health").json["queue"] == 0


def test_the_conversation_goes_on_and_starts_over(browser: Any, quick: Served) -> None:
    with visitor(browser, quick.url) as somebody:
        sent: list[Any] = []
        somebody.page.on("request", lambda one: sent.append(one.post_data_json) if one.method == "POST" else None)
        for number in (1, 2):
            somebody.ask(f"Question {number}")
            somebody.wait_for(f".turn:nth-of-type({number}) .about")
        assert [message["role"] for message in sent[1]["messages"]] == ["user", "assistant", "user"]
        somebody.page.get_by_role("button", name="Start over").click()
        assert somebody.page.get_by_role("heading", name="Welcome").is_visible()
        somebody.ask("Question 3")
        somebody.wait_for(".about")
        assert somebody.page.locator(".answer").inner_text().startswith("It closes at 18:00.")
        assert len(sent[2]["messages"]) == 1, "what was forgotten is not sent again"


def test_it_forgets_after_a_minute_and_says_so_before(browser: Any) -> None:
    with (
        served(quick_engine(), **WORDS | {"idle_s": 60.0}) as running,
        visitor(browser, running.url, PORTRAIT) as somebody,
    ):
        page = somebody.page
        page.clock.install()
        page.reload()
        page.wait_for_selector("body.ready")
        somebody.ask("My secret question")
        somebody.wait_for(".about")
        dialog = page.get_by_role("alertdialog")
        page.mouse.click(5, 5)
        page.clock.fast_forward(30_000)
        assert dialog.is_hidden()
        page.clock.fast_forward(12_000)
        assert dialog.is_visible()
        somebody.look("countdown")
        page.mouse.click(5, 5)  # anywhere
        assert dialog.is_hidden() and page.get_by_text("My secret question").is_visible()
        page.clock.fast_forward(45_000)
        assert dialog.is_visible()
        page.keyboard.press("Shift")
        assert dialog.is_hidden()
        page.clock.fast_forward(45_000)
        page.clock.fast_forward(20_000)
        assert page.get_by_role("heading", name="Welcome").is_visible() and dialog.is_hidden()
        assert not page.get_by_text("My secret question").count()
        page.clock.fast_forward(300_000)
        assert dialog.is_hidden(), "there is nothing to forget"


def test_a_restart_is_survived_and_said(browser: Any) -> None:
    """The server is killed in the midst of an answer, and comes back: nothing on the screen is lost."""
    with slow_elsewhere() as (process, port), visitor(browser, f"http://127.0.0.1:{port}/") as somebody:
        somebody.ask("Is it far?")
        somebody.wait_for(".thinking")
        process.kill()
        assert "interrupted" in somebody.wait_for(".note").inner_text()
        somebody.wait_for("#trouble:text('does not respond')")
        somebody.look("lost")
        with served(quick_engine(), port=port, **WORDS):
            somebody.wait_for("#trouble:text('was started again')")
            somebody.look("restarted")
            somebody.page.get_by_role("button", name="Ask again").click()
            somebody.wait_for(".about")
            assert "18:00" in somebody.page.locator(".answer").last.inner_text()


@contextmanager
def slow_elsewhere() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A slow server in a process of its own, and its port."""
    script = """
import signal, served, test_kiosk_browser as test
with served.served(test.thinking_engine(), **test.WORDS) as running:
    print(running.port, flush=True)
    signal.pause()
"""
    root = Path(__file__).parent.parent
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=root / "tests",
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def test_chinese(browser: Any, quick: Served) -> None:
    """By the browser's language, and by the button; what is there already is said again."""
    with visitor(browser, quick.url, PORTRAIT, locale="zh-CN") as somebody:
        assert somebody.page.locator("html").get_attribute("lang") == "zh-Hans"
        somebody.look("welcome_chinese")
        somebody.page.get_by_role("button", name="图书馆几点关门？").click()
        somebody.wait_for(".about")
        somebody.page.get_by_text("引自本地资料").click()
        assert "周六十三点" in somebody.page.locator("blockquote").inner_text()
        somebody.look("answer_chinese")
        somebody.page.get_by_role("button", name="English").click()
        assert somebody.page.locator(".about summary").inner_text().startswith("It ")
        assert somebody.page.get_by_role("button", name="Ask").is_visible()


def test_with_the_keyboard_alone(browser: Any, slow: Served) -> None:
    """Every step of a visit, and the focus is never lost."""
    with visitor(browser, slow.url) as somebody:
        keyboard, focused = somebody.page.keyboard, "document.activeElement.matches"
        keyboard.press("Tab")
        assert somebody.page.evaluate(f"{focused}('.skip')")
        keyboard.press("Enter")
        keyboard.press("Tab") if not somebody.page.evaluate(f"{focused}('#question')") else None
        assert somebody.page.evaluate(f"{focused}('#question')")
        keyboard.type("Is it")
        keyboard.press("Shift+Enter")
        keyboard.type("far?")
        keyboard.press("Enter")
        somebody.wait_for("button:text('Just answer')")
        for _ in range(12):
            keyboard.press("Shift+Tab")
            if somebody.page.evaluate(f"{focused}('.running button')"):
                break
        keyboard.press("Enter")
        somebody.wait_for(".about")
        somebody.look("keyboard")
        assert somebody.page.locator("[role=status]").inner_text() == "The answer is ready. 42"


def test_colours_and_size_can_be_changed(browser: Any, quick: Served) -> None:
    with visitor(browser, quick.url, PHONE) as somebody:
        paper = "getComputedStyle(document.body).backgroundColor"
        light, large = somebody.page.evaluate(paper), somebody.page.get_by_role("button", name="Larger text")
        somebody.page.get_by_role("button", name="Dark colours").click()
        large.click()
        assert somebody.page.evaluate(paper) != light and large.get_attribute("aria-pressed") == "true"
        somebody.look("large_dark")
        somebody.ask("library")
        somebody.wait_for(".about")
        somebody.look("large_dark_answer")


def test_a_full_queue_is_said_in_plain_words(browser: Any) -> None:
    with served(thinking_engine(), queue=1, **WORDS) as running, visitor(browser, running.url) as first:
        first.ask("one")
        first.wait_for(".thinking")
        with visitor(browser, running.url) as second, visitor(browser, running.url, PHONE) as third:
            second.ask("two")
            second.look("waiting")
            third.ask("three")
            assert third.wait_for(".note").inner_text().startswith("Many are asking")
            third.look("full")
            assert third.page.get_by_role("button", name="Ask again").is_visible()


def test_a_key_is_taken_from_the_address(browser: Any) -> None:
    """Without it the page says so; with it, it is not left in the address."""
    with served(quick_engine(), api_key=("secret",), **WORDS) as running:
        with visitor(browser, running.url) as nobody:
            nobody.ask("library")
            assert "key" in nobody.wait_for(".note").inner_text()
            nobody.look("no_key")
        with visitor(browser, f"{running.url}/#key=secret") as somebody:
            assert "secret" not in somebody.page.url
            somebody.ask("library")
            somebody.wait_for(".about")


def test_motion_is_reduced_where_it_is_asked_for(browser: Any, slow: Served) -> None:
    with visitor(browser, slow.url, reduced_motion="reduce") as somebody:
        somebody.ask("Is it far?")
        somebody.wait_for(".ring")
        moving = (
            "[...document.querySelectorAll('*')].filter((one) => parseFloat(getComputedStyle(one).transitionDuration))"
        )
        assert somebody.page.evaluate(f"{moving}.length") == 0
        assert somebody.page.evaluate("document.getAnimations().length") == 0


def test_nothing_leaves_the_machine(browser: Any, quick: Served) -> None:
    with visitor(browser, quick.url) as somebody:
        asked: list[str] = []
        somebody.page.on("request", lambda one: asked.append(one.url))
        somebody.page.reload()
        somebody.page.wait_for_selector("body.ready")
        somebody.ask("library")
        somebody.wait_for(".about")
        assert len(asked) > 5 and all(url.startswith(quick.url) for url in asked)
