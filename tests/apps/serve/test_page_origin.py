"""The settings of the page tell where the chosen model comes from."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_server import serving
from page_browser import CHROMIUM, chromium, visiting
from playwright.sync_api import Browser

from pocketseek.apps.model_state import ModelState

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
FINGERPRINT = "i37h-mo72-ghej-jhyb-3ixc-nfyj-5ajm-bb7j"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def shown(browser: Browser, folder: Path, state: ModelState | None, locale: str = "en-GB") -> str:
    with serving(folder, state_of=lambda model: state) as server, visiting(browser, server.url, locale=locale) as visit:
        visit.page.click("#open-drawer")
        with visit.page.expect_response("**/v1/models/fake"):
            visit.page.click("#open-settings")
        if state is None:
            assert not visit.page.locator("#origin").is_visible()
            return ""
        visit.page.locator("#origin dd").first.wait_for()
        assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        return visit.page.locator("#origin").inner_text()


def test_a_trusted_model_shows_signer_fingerprint_and_version(browser: Browser, tmp_path: Path) -> None:
    state = ModelState("trusted", "alice", FINGERPRINT, trusted_since_s=1_790_000_000, version=7, verified_s=None)
    text = shown(browser, tmp_path, state)
    for words in ("fake", "trusted since", "alice", FINGERPRINT, "7", "not since they changed"):
        assert words in text


def test_a_model_that_may_not_be_used_says_so(browser: Browser, tmp_path: Path) -> None:
    assert "it may not be used" in shown(browser, tmp_path / "a", ModelState("revoked", "mallory", FINGERPRINT))
    assert "不可使用" in shown(browser, tmp_path / "b", ModelState("refused"), "zh-CN")


def test_a_name_is_text_and_nothing_else(browser: Browser, tmp_path: Path) -> None:
    assert "<b>bold</b>" in shown(browser, tmp_path, ModelState("unknown", "<b>bold</b>", FINGERPRINT))


def test_where_nothing_is_told_nothing_is_shown(browser: Browser, tmp_path: Path) -> None:
    assert shown(browser, tmp_path, None) == ""
