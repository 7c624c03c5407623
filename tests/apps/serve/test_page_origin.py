"""The settings of the page tell the state of the chosen model, and look for an update of it when somebody asks."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from api_server import serving
from page_browser import CHROMIUM, Visit, chromium, visiting
from playwright.sync_api import Browser, Page, expect

from pocketseek.apps.model_state import ModelState
from pocketseek.apps.model_updates import ModelUpdates, UpdateFound, UpdateRun
from pocketseek.apps.repository.state import PackageState
from pocketseek.errors import BusyError, DownloadError
from pocketseek.package.origin import Origin
from pocketseek.settings import NetworkSettings, Settings

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


def test_seal_checks_and_damage_are_shown(browser: Browser, tmp_path: Path) -> None:
    health = PackageState(None, 12, 7, 1_790_000_000, ("a" * 64, "b" * 64))
    state = ModelState("unsigned", seal="sealed", num_bytes=82_800_000, health=health)
    text = shown(browser, tmp_path / "a", state)
    for words in ("sealed", "82.8 MB", "whenever they are read", "7 of 12 parts since", "2 of 12 parts"):
        assert words in text
    assert "已加密" in shown(browser, tmp_path / "b", state, "zh-CN")


class PlannedUpdates(ModelUpdates):
    """An update of 50 MB that a test lets arrive, piece by piece."""

    def __init__(self, folder: Path, *, metered: str = "no") -> None:
        super().__init__(Settings(folder, None, 1, "en"), NetworkSettings)
        self.metered = metered
        self.run = UpdateRun()
        self.asked: list[object] = []
        self.problem: Exception | None = None
        self.fetch_bytes = 12_300_000
        self.lock = threading.Lock()

    def origin(self, path: Path) -> Origin | None:
        return Origin("https://example.org/models/<b>fake</b>", "2026-01-31T12:00:00Z")

    def find(self, path: Path) -> UpdateFound:
        if self.problem is not None:
            raise self.problem
        done = self.run.state == "done"
        return UpdateFound(done, "n" * 64, 8, self.fetch_bytes, 80_000_000, 92_300_000, self.metered, "example.org")  # type: ignore[arg-type]

    def start(self, path: Path, new: str, *, allow_metered: bool = False) -> UpdateRun:
        self.asked.append((new, allow_metered))
        self.run = UpdateRun("running", 0, 12_300_000)
        return self.run

    def state(self, path: Path) -> UpdateRun:
        return self.run

    def stop(self, path: Path) -> None:
        self.run = UpdateRun("stopped")


@contextmanager
def settings_of(browser: Browser, updates: PlannedUpdates, folder: Path, locale: str = "en-GB") -> Iterator[Visit]:
    state = ModelState("unsigned", seal="plain", num_bytes=82_800_000)
    with (
        closing(updates),
        serving(folder, state_of=lambda model: state, updates=updates) as server,
        visiting(browser, server.url, locale=locale) as visit,
    ):
        open_settings(visit.page)
        yield visit


def open_settings(page: Page) -> None:
    page.click("#open-drawer")
    page.click("#open-settings")
    page.locator("#update button").wait_for()


def test_an_update_is_looked_for_when_asked_with_its_size_and_then_installed(browser: Browser, tmp_path: Path) -> None:
    updates = PlannedUpdates(tmp_path)
    with settings_of(browser, updates, tmp_path / "server") as visit:
        page, place = visit.page, visit.page.locator("#update")
        expect(place).to_contain_text("Nothing is asked there before you say so.")
        expect(page.locator("#origin")).to_contain_text("<b>fake</b>")
        place.get_by_role("button").click()
        expect(place).to_contain_text("version 8: 12.3 MB to fetch (80 MB without differences)")
        assert updates.asked == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        place.get_by_role("button").click()
        expect(place).to_contain_text("0 kB of 12.3 MB")  # it has begun
        updates.run = UpdateRun("running", 6_000_000, 12_300_000)
        expect(place).to_contain_text("6 MB of 12.3 MB")
        page.keyboard.press("Escape")  # it goes on, and is seen again
        page.click("#open-settings")
        expect(place).to_contain_text("6 MB of 12.3 MB")
        updates.run = UpdateRun("done", 12_300_000, 12_300_000)
        expect(place).to_contain_text("The next answer is by the new version.")
        assert updates.asked == [("n" * 64, False)]
        place.get_by_role("button", name="Look for an update").click()
        expect(place).to_contain_text("newest version")


def test_a_network_that_is_paid_for_needs_a_word_of_its_own_and_it_can_be_stopped(
    browser: Browser, tmp_path: Path
) -> None:
    updates = PlannedUpdates(tmp_path, metered="yes")
    with settings_of(browser, updates, tmp_path / "server", "zh-CN") as visit:
        place = visit.page.locator("#update")
        place.get_by_role("button").click()
        expect(place).to_contain_text("按流量计费")
        place.get_by_role("button", name="仍然下载").click()
        place.get_by_role("button", name="停止").click()
        expect(place).to_contain_text("已停止")
        assert updates.asked == [("n" * 64, True)]


def test_what_goes_wrong_is_said_and_can_be_tried_again(browser: Browser, tmp_path: Path) -> None:
    updates = PlannedUpdates(tmp_path)
    updates.problem = DownloadError("example.org does not answer; try again")
    with settings_of(browser, updates, tmp_path / "server") as visit:
        place = visit.page.locator("#update")
        place.get_by_role("button").click()
        expect(place).to_contain_text("example.org does not answer; try again")
        updates.problem = BusyError("it is being changed; wait")
        place.get_by_role("button").click()
        expect(place).to_contain_text("it is being changed; wait")
        updates.problem = None
        place.get_by_role("button").click()
        expect(place).to_contain_text("12.3 MB")


def test_an_update_that_is_nothing_but_its_description_says_so(browser: Browser, tmp_path: Path) -> None:
    updates = PlannedUpdates(tmp_path)
    updates.fetch_bytes = 0
    with settings_of(browser, updates, tmp_path / "server") as visit:
        place = visit.page.locator("#update")
        place.get_by_role("button").click()
        expect(place).to_contain_text("nothing more has to be fetched")
        place.get_by_role("button", name="Fetch and install").click()
        updates.run = UpdateRun("done")
        expect(place).to_contain_text("The next answer is by the new version.")
