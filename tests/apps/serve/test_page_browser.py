"""The page in a real browser: asking, stopping, coming back, offline, two languages, hostile texts, keyboard alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_server import Served, serving
from page_script import Brake, answering

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `dev`)")

from page_browser import CHROMIUM, DESK, chromium, visiting
from playwright.sync_api import Browser, Route, expect

from pocketseek.apps.access_tokens import TokenStore
from pocketseek.apps.serve.services import ServeOptions

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium (apt install chromium)")

RICH = (
    "## Result\n\nSo $x^2 = 4$, *hence*:\n\n\\[ x = \\pm\\frac{4}{2} \\]\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n"
    "```python\nprint('two')\n```\n\nThat was all."
)
HOSTILE = (
    "<img src=x onerror=alert(1)> <script>alert(2)</script> [a](javascript:alert(3)) ![b](http://127.0.0.1:1/c.png)\n\n"
    "<svg onload=alert(4)>\n\n$\\text{<img src=x onerror=alert(5)>}$ [d](data:text/html,<script>alert(6)</script>)\n\n"
    '```"><img src=x onerror=alert(7)>\n</code><script>alert(8)</script>\n```\n\nThe end.'
)
LONG = "The first part is here.\n\n" + "and so on " * 20 + "\n\nThe last part."
REASONED = "<think>Let me see.</think>Here it is."
ATTACK = "<img src=x onerror=alert(9)>"
ANSWERS = {"Rich": RICH, "Hello": "Good day.", ATTACK: HOSTILE, "Long": LONG, "Why": REASONED, "Bye": "Farewell."}
HELD_AT = len("<|>Long<|>") + 40  # positions: in the middle of the first paragraph and a little later


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def brake() -> Brake:
    return Brake()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, brake: Brake) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("page")
    with serving(folder, logits=answering(ANSWERS), before_run=brake) as server:
        yield server
        brake.release()


@pytest.fixture(autouse=True)
def _released(brake: Brake) -> Iterator[None]:
    yield
    brake.release()


def test_first_answer_is_shown_with_its_formulas_tables_and_code(served: Served, browser: Browser) -> None:
    with visiting(browser, served.url) as visit:
        page = visit.page
        expect(page.locator("#welcome")).to_be_visible()
        visit.ask("Rich")
        visit.answered("That was all.")
        expect(page.locator("#welcome")).to_be_hidden()
        expect(page.locator(".answer h2", has_text="Result")).to_be_visible()
        expect(page.locator(".answer math")).to_have_count(2)
        expect(page.locator(".answer td.right")).to_have_text("2")
        expect(page.locator(".answer figure .k, .answer figure .b")).to_have_text("print")
        expect(page.locator("#title")).to_have_text("Rich")
        assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_the_gauge_is_whole_on_a_narrow_phone(served: Served, browser: Browser) -> None:
    status = {"tokens_per_s": 7.4, "memory_bytes": 1_312_000_000}
    with visiting(browser, served.url) as visit:
        page = visit.page
        page.route("**/api/status", lambda route: route.fulfill(json=status))
        page.evaluate("document.querySelector('#model option').textContent = 'DeepSeek-R1-Distill-Qwen-1.5B'")
        visit.ask("Hello")
        expect(page.locator("#gauge span")).to_have_text(["7.4 tokens/s", "1.3 GB"])
        gauge, send = page.locator("#gauge"), page.locator("#send").bounding_box()
        assert gauge.evaluate("e => e.scrollWidth <= e.clientWidth && e.scrollHeight <= e.clientHeight")
        assert send is not None
        assert send["x"] + send["width"] <= 360


def test_a_suggestion_is_a_question(served: Served, browser: Browser) -> None:
    with visiting(browser, served.url) as visit:
        visit.page.locator("#suggestions button").first.click()
        expect(visit.page.locator(".question .bubble")).to_contain_text("sky")
        visit.page.keyboard.press("Escape")
        visit.page.locator(".answer:not(.grows)").wait_for()


def test_stopping_keeps_what_came(served: Served, browser: Browser, brake: Brake) -> None:
    with visiting(browser, served.url) as visit:
        brake.set(HELD_AT)
        visit.ask("Long")
        visit.page.locator(".answer.grows", has_text="The first part").wait_for()
        with visit.page.expect_response("**/stop"):  # else the answer may be at its end first
            visit.page.get_by_role("button", name="Stop").click()
        brake.release()
        expect(visit.page.locator(".facts")).to_contain_text("stopped")
        expect(visit.page.get_by_role("button", name="Send")).to_be_visible()
        visit.page.reload()
        expect(visit.page.locator(".answer .text").last).to_contain_text("The first part")
        expect(visit.page.locator(".answer")).not_to_contain_text("The last part")


def test_reloading_keeps_the_conversation(served: Served, browser: Browser) -> None:
    with visiting(browser, served.url) as visit:
        visit.ask("Hello")
        visit.answered("Good day.")
        visit.page.reload()
        expect(visit.page.locator(".question .bubble")).to_have_text("Hello")
        expect(visit.page.locator(".answer")).to_contain_text("Good day.")


def test_an_answer_goes_on_while_nobody_looks_and_is_joined_again(
    served: Served, browser: Browser, brake: Brake
) -> None:
    with visiting(browser, served.url) as visit:
        brake.set(HELD_AT)
        visit.ask("Long")
        visit.page.locator(".answer.grows", has_text="The first part").wait_for()
        visit.page.reload()
        visit.page.locator(".answer.grows", has_text="The first part").wait_for()
        brake.release()
        visit.answered("The last part.")


def test_losing_the_network_for_a_while_loses_nothing(served: Served, browser: Browser, brake: Brake) -> None:
    with visiting(browser, served.url) as visit:
        brake.set(HELD_AT)
        visit.ask("Long")
        visit.page.locator(".answer.grows", has_text="The first part").wait_for()
        visit.context.set_offline(True)
        visit.page.evaluate("fetch('/health').catch(() => 0)")
        brake.release()
        visit.context.set_offline(False)
        visit.answered("The last part.")


def test_the_page_opens_offline_and_says_so(served: Served, browser: Browser) -> None:
    with visiting(browser, served.url) as visit:
        visit.page.evaluate("navigator.serviceWorker.ready.then(() => 0)")
        visit.page.wait_for_function("navigator.serviceWorker.controller !== null")
        visit.context.set_offline(True)
        visit.page.reload()
        expect(visit.page.locator("#offline")).to_be_visible()
        expect(visit.page.locator("#welcome h2")).to_be_visible()
        visit.context.set_offline(False)
        visit.page.get_by_role("button", name="Try again").click()
        expect(visit.page.locator("#offline")).to_be_hidden()
        visit.ask("Hello")
        visit.answered("Good day.")


def test_the_language_is_the_browsers_until_another_is_chosen(served: Served, browser: Browser) -> None:
    with visiting(browser, served.url, locale="zh-CN") as visit:
        page = visit.page
        expect(page.locator("#welcome h2")).to_have_text("想聊点什么？")
        assert page.get_attribute("html", "lang") == "zh"
        visit.ask("Hello")
        visit.answered("Good day.")
        expect(page.locator(".facts")).to_contain_text("个词元")
        page.get_by_role("button", name="对话列表").click()
        page.get_by_role("button", name="设置").click()
        page.select_option("#set-language", "en")
        page.get_by_role("button", name="完成").click()
        expect(page.get_by_role("button", name="Settings")).to_be_visible()
        page.reload()
        expect(page.locator("#input")).to_have_attribute("placeholder", "Ask something")


def test_neither_answers_nor_titles_can_do_anything(served: Served, browser: Browser) -> None:
    with visiting(browser, served.url) as visit:
        page = visit.page
        visit.ask(ATTACK)
        visit.answered("The end.")
        expect(page.locator("#title")).to_have_text(ATTACK)
        page.locator("#open-drawer").click()
        expect(page.locator("#list .name", has_text=ATTACK).first).to_be_visible()
        for root in ("#turns", "#list", "header"):
            assert page.locator(f"{root} :is(img, script, iframe, style, object, svg[onload])").count() == 0
        links = page.eval_on_selector_all("#turns a", "all => all.map(a => [a.protocol, a.rel, a.target])")
        assert links == [["http:", "noopener noreferrer nofollow", "_blank"]]
        page.reload()
        visit.answered("The end.")


def test_reasoning_is_folded_away(served: Served, browser: Browser) -> None:
    with visiting(browser, served.url) as visit:
        visit.ask("Why")
        visit.answered("Here it is.")
        thoughts = visit.page.locator(".reasoning .text")
        expect(thoughts).to_be_hidden()
        visit.page.get_by_text("Thoughts").click()
        expect(thoughts).to_have_text("Let me see.")


def test_editing_a_question_replaces_what_followed(served: Served, browser: Browser) -> None:
    with visiting(browser, served.url) as visit:
        visit.ask("Hello")
        visit.answered("Good day.")
        visit.page.get_by_role("button", name="Edit").click()
        visit.page.fill(".editor textarea", "Bye")
        visit.page.locator(".editor").get_by_role("button", name="Send").click()
        visit.answered("Farewell.")
        expect(visit.page.locator(".turn")).to_have_count(2)
        visit.page.reload()
        visit.answered("Farewell.")
        expect(visit.page.locator(".question .bubble")).to_have_text("Bye")


def test_another_answer_takes_the_place_of_the_last(served: Served, browser: Browser) -> None:
    with visiting(browser, served.url) as visit:
        visit.ask("Hello")
        visit.answered("Good day.")
        visit.page.get_by_role("button", name="Another answer").click()
        visit.answered("Good day.")
        expect(visit.page.locator(".turn")).to_have_count(2)


def test_conversations_are_found_renamed_and_deleted_with_time_to_undo(served: Served, browser: Browser) -> None:
    with visiting(browser, served.url) as visit:
        page = visit.page
        visit.ask("Bye")
        visit.answered("Farewell.")
        page.locator("#open-drawer").click()
        page.locator("#list li", has_text="Bye").first.get_by_role("button").click()
        page.get_by_role("button", name="Rename").click()
        page.fill("#rename-input", "Leaving <b>now</b>")
        page.keyboard.press("Enter")
        expect(page.locator("#title")).to_have_text("Leaving <b>now</b>")
        page.fill("#search", "leaving")
        expect(page.locator("#list li")).to_have_count(1)
        page.locator("#list li").get_by_role("button").click()
        page.get_by_role("button", name="Delete").click()
        expect(page.locator("#list li")).to_have_count(0)
        page.get_by_role("button", name="Undo").click()
        expect(page.locator("#list li")).to_have_count(1)


def test_what_was_deleted_is_gone_when_the_page_is_loaded_again_at_once(served: Served, browser: Browser) -> None:
    with visiting(browser, served.url) as visit:
        page = visit.page
        page.route(
            "**/api/conversations/*",
            lambda route: route.abort() if route.request.method == "DELETE" else route.continue_(),
        )
        visit.ask("Bye")
        visit.answered("Farewell.")
        name = page.url.partition("#")[2]
        page.locator("#open-drawer").click()
        page.locator(f'#list li:has(a[href="#{name}"])').get_by_role("button").click()
        page.get_by_role("button", name="Delete").click()
        page.reload()  # the deletion at leaving is lost
        page.unroute("**/api/conversations/*")
        page.reload()
        served.wait_until(
            lambda: served.client.get(f"/api/conversations/{name}").status_code == 404, "it is still there"
        )


def test_what_another_tab_wrote_is_shown_when_the_person_comes_back(served: Served, browser: Browser) -> None:
    with visiting(browser, served.url) as visit:
        page = visit.page
        visit.ask("Hello")
        visit.answered("Good day.")
        other = visit.context.new_page()
        other.goto(page.url)
        other.locator(".answer", has_text="Good day.").wait_for()
        other.fill("#input", "Bye")
        other.click("#send")
        expect(other.locator(".answer:not(.grows) .facts")).to_have_count(2)
        page.evaluate("dispatchEvent(new Event('focus'))")
        expect(page.locator("#turns")).to_contain_text("Bye")


def test_the_conversation_that_was_asked_for_last_is_shown(served: Served, browser: Browser) -> None:
    with visiting(browser, served.url) as visit:
        page = visit.page
        names = []
        for text, answer in (("Hello", "Good day."), ("Bye", "Farewell.")):
            visit.ask(text)
            visit.answered(answer)
            names.append(page.url.partition("#")[2])
            page.click("#new")
        held: list[Route] = []
        page.route(f"**/api/conversations/{names[0]}", lambda route: held.append(route))
        page.evaluate(f"location.hash = '{names[0]}'")
        page.wait_for_function("true")
        page.evaluate(f"location.hash = '{names[1]}'")
        visit.answered("Farewell.")
        for route in held:
            route.continue_()
        page.unroute(f"**/api/conversations/{names[0]}")
        expect(page.locator("#turns")).to_contain_text("Farewell.")
        expect(page.locator("#turns")).not_to_contain_text("Good day.")


def test_a_page_that_the_browser_kept_shows_the_answer_that_ended_meanwhile(
    served: Served, browser: Browser, brake: Brake
) -> None:
    with visiting(browser, served.url) as visit:
        brake.set(HELD_AT)
        visit.ask("Long")
        visit.page.locator(".answer.grows", has_text="The first part").wait_for()
        name = visit.page.url.partition("#")[2]
        visit.page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
        brake.release()
        served.wait_until(
            lambda: not served.client.get(f"/api/conversations/{name}").json()["running"], "it does not end"
        )
        visit.page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
        visit.answered("The last part.")


def test_an_edit_that_is_given_up_leaves_the_keyboard_where_it_was(served: Served, browser: Browser) -> None:
    with visiting(browser, served.url) as visit:
        visit.ask("Hello")
        visit.answered("Good day.")
        visit.page.get_by_role("button", name="Edit").focus()
        visit.page.keyboard.press("Enter")
        expect(visit.page.locator(".editor textarea")).to_be_focused()
        visit.page.keyboard.press("Escape")
        expect(visit.page.get_by_role("button", name="Edit")).to_be_focused()


def test_a_conversation_is_exported_as_a_file(served: Served, browser: Browser, tmp_path: Path) -> None:
    with visiting(browser, served.url) as visit:
        page = visit.page
        visit.ask("Hello")
        visit.answered("Good day.")
        page.locator("#open-drawer").click()
        page.locator("#list li", has_text="Hello").first.get_by_role("button").click()
        with page.expect_download() as download:
            page.get_by_role("button", name="Export as Markdown").click()
        assert download.value.suggested_filename == "Hello.md"
        download.value.save_as(tmp_path / "file.md")
        assert "Good day." in (tmp_path / "file.md").read_text()


def test_code_is_copied_as_it_was_written(served: Served, browser: Browser) -> None:
    with visiting(browser, served.url) as visit:
        visit.context.grant_permissions(["clipboard-read", "clipboard-write"])
        visit.ask("Rich")
        visit.answered("That was all.")
        visit.page.locator("figure").get_by_role("button", name="Copy").click()
        expect(visit.page.locator("#announcer")).to_have_text("Copied")
        assert visit.page.evaluate("navigator.clipboard.readText()") == "print('two')\n"


def test_keyboard_alone_is_enough(served: Served, browser: Browser, brake: Brake) -> None:
    with visiting(browser, served.url, **DESK) as visit:
        page, keys = visit.page, visit.page.keyboard
        expect(page.locator("#input")).to_be_focused()
        keys.type("Hello")
        keys.press("Enter")
        visit.answered("Good day.")
        page.locator(".skip").focus()
        expect(page.locator(".skip")).to_be_in_viewport()
        keys.press("Enter")
        expect(page.locator("#input")).to_be_focused()
        keys.type("one")
        keys.press("Shift+Enter")
        keys.type("two")
        assert page.input_value("#input") == "one\ntwo"
        page.get_by_role("button", name="New chat").first.focus()
        keys.press("Enter")
        brake.set(HELD_AT)
        page.locator("#input").fill("Long")
        keys.press("Control+Enter")
        page.locator(".answer.grows", has_text="The first part").wait_for()
        keys.press("Escape")
        expect(page.locator(".facts")).to_contain_text("stopped")
        brake.release()


def test_everything_that_can_be_pressed_has_a_name_and_the_page_has_landmarks(served: Served, browser: Browser) -> None:
    with visiting(browser, served.url) as visit:
        visit.ask("Rich")
        visit.answered("That was all.")
        unnamed = visit.page.eval_on_selector_all(
            "button, input, select, textarea, a",
            "all => all.filter(e => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length))"
            ".map(e => e.outerHTML)",
        )
        assert unnamed == []
        for landmark in ("main", "nav", "header", "form#composer"):
            assert visit.page.locator(landmark).count() == 1
        expect(visit.page.locator("#announcer")).to_contain_text("That was all.")


def test_a_server_that_wants_a_token_is_given_one(browser: Browser, tmp_path: Path) -> None:
    tokens = TokenStore(tmp_path / "tokens.json")
    _, secret = tokens.create("phone")
    options = ServeOptions(require_token=True)
    with serving(tmp_path / "s", logits=answering(ANSWERS), options=options, tokens=tokens) as served:
        context = browser.new_context(locale="en-GB")
        page = context.new_page()
        page.goto(served.url)
        expect(page.locator("#token-note")).to_be_visible()
        expect(page.locator("#set-token")).to_be_focused()
        page.fill("#set-token", secret)
        page.keyboard.press("Enter")
        page.fill("#input", "Hello")
        page.click("#send")
        expect(page.locator(".answer")).to_contain_text("Good day.")
        context.close()


def test_an_error_is_shown_with_a_way_to_try_again(browser: Browser, tmp_path: Path) -> None:
    with (
        serving(tmp_path / "s", logits=answering(ANSWERS), context_length=64) as served,
        visiting(browser, served.url) as visit,
    ):
        visit.ask("x" * 100)
        expect(visit.page.get_by_role("alert")).to_contain_text("context")
        expect(visit.page.get_by_role("button", name="Try again").last).to_be_visible()
