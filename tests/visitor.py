"""Somebody in front of the page: a Chromium window without a screen, looked at by axe-core in every state.

Knows: Playwright, Debian's Chromium, where pictures are kept. Does not know: the page's own code.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

playwright_api = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or ""
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
PICTURES = Path(__file__).parent.parent / "build" / "screenshots"
STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
AXE_OPTIONS = {
    "runOnly": {"type": "tag", "values": STANDARDS},
    "rules": {"target-size": {"enabled": True}},  # WCAG 2.2's, which is off unless it is named
    "resultTypes": ["violations"],
}
SMALLEST_TARGET_PX = 48
TARGETS = "button:visible, summary:visible, textarea:visible"
PORTRAIT, PHONE, LAPTOP = (1080, 1920), (390, 844), (1280, 800)


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser. Skips the test where there is none."""
    if not CHROMIUM:
        pytest.skip("there is no chromium on the path; install it, or name it by CHROMIUM=")
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@dataclass
class Visitor:
    """``page`` is Playwright's. ``errors`` are whatever the page's scripts or its policy complained about."""

    page: Any
    errors: list[str] = field(default_factory=list)

    def ask(self, question: str) -> None:
        """Write a question, and touch the button."""
        self.page.locator("#question").fill(question)
        self.page.locator("#send").click()

    def wait_for(self, selector: str, **options: Any) -> Any:
        """The element, once it is there."""
        found = self.page.locator(selector).last
        found.wait_for(**options)
        return found

    def look(self, name: str) -> None:
        """Keep a picture of this state, and hold it against WCAG 2.2 AA and against fingers."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=PICTURES / f"{name}.png")
        size = self.page.viewport_size
        height = self.page.evaluate("document.documentElement.scrollHeight")
        self.page.set_viewport_size({**size, "height": max(size["height"], height)})  # nothing is scrolled half away
        self.page.evaluate("scrollTo({top: 0, behavior: 'instant'})")
        found = axe.Axe().run(self.page, options=AXE_OPTIONS).response["violations"]
        self.page.set_viewport_size(size)
        _write_down(name, found)
        assert not found, [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]
        boxes = [(target.inner_text(), target.bounding_box()) for target in self.page.locator(TARGETS).all()]
        small = [(text, box) for text, box in boxes if min(box["width"], box["height"]) < SMALLEST_TARGET_PX]
        assert not small, small
        assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"


@contextmanager
def visitor(browser: Any, url: str, size: tuple[int, int] = LAPTOP, **options: Any) -> Iterator[Visitor]:
    """A new visitor at ``url``; its scripts must not have failed at the end."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **{"locale": "en-GB", **options})
    page = context.new_page()
    somebody = Visitor(page)
    page.on("pageerror", lambda error: somebody.errors.append(str(error)))
    page.on("console", lambda line: somebody.errors.append(line.text) if "Content Security" in line.text else None)
    try:
        page.goto(url)
        page.wait_for_selector("body.ready")
        yield somebody
        assert not somebody.errors
    finally:
        context.close()


def _write_down(name: str, violations: list[Any]) -> None:
    """The count of this state into axe.json, beside the pictures."""
    path = PICTURES / "axe.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**known, name: len(violations)}, indent=1, sort_keys=True))
