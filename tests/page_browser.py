"""Debian's Chromium in front of the server's page, the size of a phone or of a desk.

Whatever the page complains about (console errors, exceptions, violations of its own policy, dialogs) is a problem, and
a test that ends with one fails.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PHONE = {"viewport": {"width": 360, "height": 800}, "is_mobile": True, "has_touch": True}
PATIENT_MS = 90_000  # the machine may be busy with much else; what works does not wait for it
DESK = {"viewport": {"width": 1280, "height": 800}}
_LOST = "Failed to load resource"  # said by the browser of every answer that is none, also where that is tested


@contextmanager
def chromium(*, microphone: Path | None = None) -> Iterator[Browser]:
    """microphone: a WAV file that is heard again and again."""
    with sync_playwright() as playwright:
        # As root, which is what CI is, Chromium does not start with its sandbox.
        arguments = ["--no-sandbox"]
        if microphone is not None:
            arguments += ["--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={microphone}"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@dataclass
class Visit:
    """Somebody looking at the page."""

    page: Page
    context: BrowserContext
    problems: list[str] = field(default_factory=list)

    def listen(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))

    def ask(self, text: str) -> None:
        self.page.fill("#input", text)
        self.page.click("#send")

    def answered(self, text: str) -> None:
        """Wait for an answer with this text to be finished."""
        self.page.locator(".answer:not(.grows)", has_text=text).locator(".facts").last.wait_for()

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and _LOST not in message.text:
            self.problems.append(message.text)


@contextmanager
def visiting(browser: Browser, url: str, *, locale: str = "en-GB", **options: object) -> Iterator[Visit]:
    context = browser.new_context(locale=locale, **(options or PHONE))  # type: ignore[arg-type]  # as the two above
    context.set_default_timeout(PATIENT_MS)
    expect.set_options(timeout=PATIENT_MS)
    visit = Visit(context.new_page(), context)
    visit.listen()
    visit.page.goto(url)
    visit.page.locator("#model option").first.wait_for(state="attached")
    yield visit
    context.close()
    assert visit.problems == []
