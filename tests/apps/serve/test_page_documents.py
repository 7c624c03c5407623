"""Documents in the page, in a real browser: sent, read, asked, summarised, quoted, deleted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_server import Served, answering, serving
from document_files import W_NAMESPACE, column, docx_parts, paragraph, pdf_bytes, write_zip

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `dev`)")

from page_browser import CHROMIUM, Visit, chromium, visiting
from playwright.sync_api import Browser, FilePayload, expect

from pocketseek.apps.serve.access import Caller

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium (apt install chromium)")

BIRDS = pdf_bytes(
    [
        column(60, 780, ["Swifts sleep while they fly."]),
        column(60, 780, ["Herons stand in shallow water.", "They wait there for small fish."]),
    ]
)
ENCRYPTED = (Path(__file__).parents[1] / "doc" / "data" / "encrypted.pdf").read_bytes()  # its password is "secret"
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
        page.select_option("#summary-length", "short")
        page.fill("#summary-focus", "哪里有水?")
        page.locator("#summarize .main").click()
        visit.answered("Herons wait")
        expect(page.locator(".question .bubble")).to_have_text("总结“caves”\n哪里有水? · 短")
        expect(page.locator(".facts").last).to_contain_text(re.compile(r"已读全部 \d+ 部分"))
        visit.ask("Who was Mozart?")
        visit.answered("Not in the document.")
        page.locator(".sources .chip").click()
        visit.answered("Herons wait")
        expect(page.locator(".answer")).to_have_count(2)


def test_a_summary_that_is_not_wanted_asks_nothing(served: Served, browser: Browser) -> None:
    with visiting(browser, served.url) as visit:
        page = visit.page
        attach(visit)
        ready(visit)
        page.locator(".card .chip").click()
        page.locator("#summarize .closes").click()
        expect(page.locator("#summarize")).to_be_hidden()
        page.locator(".card .chip").click()
        page.keyboard.press("Escape")
        expect(page.locator(".question")).to_have_count(0)
        page.locator(".card .chip").click()
        page.locator("#summarize .main").click()
        visit.answered("Herons wait")
        page.locator('.answer use[href="#i-again"]').locator("xpath=ancestor::button").click()
        visit.answered("Herons wait")
        expect(page.locator(".facts").last).to_contain_text("all of it read")


def test_an_encrypted_document_asks_for_its_password_until_it_is_right(served: Served, browser: Browser) -> None:
    with visiting(browser, served.url) as visit:
        page = visit.page
        attach(visit, ENCRYPTED, "safe.pdf")
        page.locator("#password[open]").wait_for()
        expect(page.locator("#password-wrong")).to_be_hidden()
        page.fill("#password-input", "guess")
        page.keyboard.press("Enter")
        expect(page.locator("#password-wrong")).to_be_visible()
        expect(page.locator("#password-input")).to_have_value("")
        page.fill("#password-input", "secret")
        page.locator("#password .main").click()
        ready(visit)
        expect(page.locator(".card b")).to_have_text("safe")
        assert "secret" not in page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
        assert "secret" not in page.content()


def test_without_its_password_an_encrypted_document_is_not_kept(served: Served, browser: Browser) -> None:
    before = served.client.get("/v1/files").json()
    with visiting(browser, served.url, locale="zh-CN") as visit:
        attach(visit, ENCRYPTED + b"\n", "safe.pdf")  # other bytes: what was read once is known
        visit.page.locator("#password .closes").click()
        expect(visit.page.locator(".card")).to_have_count(0)
    assert served.client.get("/v1/files").json() == before


def test_a_chat_whose_document_was_never_opened_does_not_stay(
    served: Served, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it is encrypted comes out late, after the chat was made for it."""
    monkeypatch.setattr("pocketseek.apps.serve.files_api.READ_WAIT_S", 0.0)
    chats, files = (served.client.get(path).json() for path in ("/api/conversations", "/v1/files"))
    with visiting(browser, served.url) as visit:
        attach(visit, ENCRYPTED + b"\n\n\n", "safe.pdf")
        visit.page.locator("#password[open]").wait_for()
        assert len(served.client.get("/api/conversations").json()["conversations"]) == len(chats["conversations"]) + 1
        with visit.page.expect_response(
            lambda response: response.request.method == "DELETE" and "/api/" in response.url
        ):
            visit.page.locator("#password .closes").click()
        expect(visit.page.locator(".card")).to_have_count(0)
        expect(visit.page.locator("#welcome")).to_be_visible()
        assert served.client.get("/api/conversations").json() == chats
        assert served.client.get("/v1/files").json() == files


def test_a_document_that_waits_for_its_password_is_opened_from_its_card(served: Served, browser: Browser) -> None:
    assert served.services.files is not None
    store = served.services.files.of(Caller())
    path = store.new_place("safe.pdf")
    path.write_bytes(ENCRYPTED + b"\n\n")
    file = store.add(path, "user_data")
    store.settle(file.id, "safe.pdf is encrypted", "password_needed")  # as after a restart
    name = served.post("/api/conversations", {"documents": [file.id]}).json()["id"]
    with visiting(browser, f"{served.url}/#{name}") as visit:
        page = visit.page
        expect(page.locator(".card small")).to_have_text("It needs its password.")
        page.locator(".card .chip").click()
        page.fill("#password-input", "secret")
        page.keyboard.press("Enter")
        expect(page.locator(".card .chip")).to_have_text("Summarise")


def test_the_card_says_what_was_not_read_and_offers_to_read_it(
    served: Served, browser: Browser, tmp_path: Path
) -> None:
    body = '<w:p><w:r><w:t>Text</w:t><w:commentReference w:id="0"/></w:r></w:p>'
    note = f'<w:comments xmlns:w="{W_NAMESPACE}"><w:comment w:id="0">{paragraph("Remarkable")}</w:comment></w:comments>'
    path = write_zip(tmp_path / "a.docx", docx_parts(body) | {"word/comments.xml": note})
    with visiting(browser, served.url) as visit:
        page = visit.page
        attach(visit, path.read_bytes(), "a.docx")
        expect(page.locator(".card .remarks")).to_have_text("1 comment was left out")
        page.locator(".card .remarks").click()
        expect(page.locator("#sheet-lines li")).to_have_text("1 comment was left out")
        page.locator("#sheet-actions button").click()
        expect(page.locator(".card .remarks")).to_be_hidden()
        assert page.evaluate("document.documentElement.scrollWidth") == 360


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
