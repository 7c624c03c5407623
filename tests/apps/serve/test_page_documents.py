"""Documents in the page, in a real browser: sent, read, asked, summarised, quoted, deleted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_server import Served, answering, serving
from document_files import column, pdf_bytes

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `dev`)")

from page_browser import CHROMIUM, Visit, chromium, visiting
from playwright.sync_api import Browser, FilePayload, expect

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium (apt install chromium)")

BIRDS = pdf_bytes(
    [
        column(60, 780, ["Swifts sleep while they fly."]),
        column(60, 780, ["Herons stand in shallow water.", "They wait there for small fish."]),
    ]
)
CAVES = "\n\n".join(f"Cave {number} of the limestone hills has water in it." for number in range(600))
ANSWER = "Herons wait in shallow water [1]."


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("page")
    with serving(folder, logits=answering(ANSWER.encode()), context_length=8192, num_pages=128) as server:
        yield server


def attach(visit: Visit, data: bytes = BIRDS, name: str = "birds.pdf") -> None:
    visit.page.set_input_files("#file", FilePayload(name=name, mimeType="application/octet-stream", buffer=data))


def ready(visit: Visit) -> None:
    visit.page.locator(".card .chip:visible").wait_for()


def test_a_citation_opens_the_quote_with_its_page(served: Served, browser: Browser) -> None:
    with visiting(browser, served.url) as visit:
        page = visit.page
        attach(visit)
        ready(visit)
        expect(page.locator(".card b")).to_have_text("birds")
        expect(page.locator(".card small")).to_contain_text("2 pages")
        visit.ask("Where do herons stand?")
        visit.answered("Herons wait in shallow water")
        expect(page.locator(".answer > .text")).not_to_contain_text("[1]")
        page.locator(".answer .mark").click()
        expect(page.locator("#source-place")).to_have_text("page 2")
        expect(page.locator("#source-text mark")).to_contain_text("Herons stand in shallow water.")
        page.keyboard.press("Escape")
        expect(page.locator(".sources .chip")).to_have_text("1birds · page 2")
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        page.reload()
        page.locator(".answer .mark").click()
        expect(page.locator("#source-text mark")).to_contain_text("Herons stand in shallow water.")


def test_a_document_is_summarised_and_what_is_not_in_it_is_looked_for_in_all_of_it(
    served: Served, browser: Browser
) -> None:
    with visiting(browser, served.url, locale="zh-CN") as visit:
        page = visit.page
        attach(visit, CAVES.encode(), "caves.txt")
        ready(visit)
        page.locator(".card .chip").click()
        visit.answered("Herons wait")
        expect(page.locator(".question .bubble")).to_have_text("总结“caves”")
        expect(page.locator(".facts").last).to_contain_text(re.compile(r"已读全部 \d+ 部分"))
        visit.ask("Who was Mozart?")
        visit.answered("Not in the document.")
        page.locator(".sources .chip").click()
        visit.answered("Herons wait")
        expect(page.locator(".answer")).to_have_count(2)


def test_what_is_no_document_is_refused_in_one_line(served: Served, browser: Browser) -> None:
    with visiting(browser, served.url) as visit:
        attach(visit, b"\x89PNG\r\n\x1a\n" + bytes(50), "photo.png")
        expect(visit.page.locator("#snack")).to_contain_text("photo.png is a picture")
        expect(visit.page.locator(".card")).to_have_count(0)
        expect(visit.page.locator("#documents")).to_be_hidden()


def test_a_deleted_document_is_gone_and_its_quotes_stay_in_the_chat(served: Served, browser: Browser) -> None:
    with visiting(browser, served.url) as visit:
        page = visit.page
        before = len(served.client.get("/v1/files").json()["data"])
        attach(visit)
        ready(visit)
        visit.ask("Where do herons stand?")
        visit.answered("Herons wait in shallow water")
        page.locator(".card .icon").click()
        page.locator("#sheet-actions button").click()
        expect(page.locator(".card")).to_have_count(0)
        served.wait_until(lambda: len(served.client.get("/v1/files").json()["data"]) == before, "the file stays")
        page.locator(".answer .mark").click()
        expect(page.locator("#source-place")).to_contain_text("not here any more")
        expect(page.locator("#source-text")).to_contain_text("Herons stand in shallow water.")


def test_another_chat_has_its_own_documents(served: Served, browser: Browser) -> None:
    with visiting(browser, served.url) as visit:
        page = visit.page
        attach(visit)
        ready(visit)
        expect(page.locator("#title")).to_have_text("birds.pdf")
        page.locator("#new").click()
        expect(page.locator(".card")).to_have_count(0)
        page.go_back()
        expect(page.locator(".card b")).to_have_text("birds")
