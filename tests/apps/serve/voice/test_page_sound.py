"""What the page does with microphone and loudspeaker, in a real browser with an audio system that the test plays."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from api_server import serving

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `dev`)")

from page_browser import CHROMIUM, chromium, visiting
from playwright.sync_api import Page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium (apt install chromium)")

FAKE = """
    const sound = await import("/voice-sound.js");
    let now = 0, ticks = [];
    const gain = () => ({ gain: { setValueAtTime() {}, linearRampToValueAtTime() {} }, connect() {} });
    const source = () => ({ connect() {}, start() {}, stop() {} });
    class Context {
      static open = 0;
      state = "running"; currentTime = 0; destination = {};
      audioWorklet = { addModule: () => Promise.reject(new Error("no module")) };
      constructor() { Context.open += 1; Context.last = this; }
      close() { Context.open -= 1; return Promise.resolve(); }
      resume() { return Promise.resolve(); }
      createGain() { return gain(); }
      createBufferSource() { return source(); }
      createMediaStreamSource() { return source(); }
      createBuffer(channels, length, rate) { return { copyToChannel() {}, duration: length / rate }; }
    }
    window.AudioContext = Context;
    window.setInterval = (tick) => ticks.push(tick);
    performance.now = () => now;
    const heard = [];
    let quiet = 0;
    const speaker = () => new sound.Loudspeaker((turn, seconds) => heard.push([turn, seconds]), () => (quiet += 1));
    const tick = (ms) => {
      now += ms;
      if (Context.last.state === "running") Context.last.currentTime += ms / 1000;
      ticks.forEach((one) => one());
    };
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with (
        serving(tmp_path_factory.mktemp("page")) as served,
        chromium() as browser,
        visiting(browser, served.url) as one,
    ):
        yield one.page


@pytest.fixture
def fresh(page: Page) -> Page:
    page.reload()
    return page


def run(page: Page, script: str) -> object:
    return page.evaluate(f"async () => {{ {FAKE} {script} }}")


def test_what_was_heard_is_told_until_the_end_and_no_longer(fresh: Page) -> None:
    told = run(
        fresh,
        """const one = speaker(); one.begin(3, 1000); one.play(new ArrayBuffer(1000));
        for (let i = 0; i < 30; i++) tick(200);
        return { heard, quiet };""",
    )
    assert told == {"heard": [[3, pytest.approx(0.19)], [3, pytest.approx(0.39)], [3, 0.5]], "quiet": 1}


def test_an_answer_that_the_browser_does_not_play_counts_as_read_after_a_while(fresh: Page) -> None:
    told = run(
        fresh,
        """const one = speaker(); Context.last.state = "suspended"; one.begin(3, 1000);
        one.play(new ArrayBuffer(1000));
        for (let i = 0; i < 30; i++) tick(200);
        one.play(new ArrayBuffer(1000));
        for (let i = 0; i < 30; i++) tick(200);
        return { last: heard.at(-1), quiet, sounds: one.sounds };""",
    )
    assert told == {"last": [3, 1], "quiet": 2, "sounds": False}


def test_a_microphone_that_cannot_be_captured_leaves_nothing_open(fresh: Page) -> None:
    told = run(
        fresh,
        """let stopped = 0;
        const stream = { getTracks: () => [{ stop: () => (stopped += 1) }] };
        navigator.mediaDevices.getUserMedia = async () => stream;
        const error = await sound.Microphone.open(() => {}, () => {}).catch((error) => error.message);
        return { error, open: Context.open, stopped };""",
    )
    assert told == {"error": "no module", "open": 0, "stopped": 1}
