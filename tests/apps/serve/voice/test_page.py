"""Talking to the page in a real browser, with a microphone that is a file and speech engines that cost nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from api_server import Served, serving
from fake_speech import FakeSpeech, burst, silence
from page_script import answering_each

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `dev`)")

from page_browser import CHROMIUM, Visit, chromium, visiting
from page_microphone import add_room, open_door
from playwright.sync_api import Browser, expect

from pocketseek.apps.serve.voice.desk import VoiceDesk
from pocketseek.apps.voice.sound.sound_file import wav_bytes

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium (apt install chromium)")

LONG = "This answer takes a while. " * 40
ANSWERS = {"Hello there": LONG, "Stop it": "Very well. ", "First": "One.", "Second": "Two."}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Somebody speaks all the time, with the short pauses by which browsers tell speech from noise."""
    path = tmp_path_factory.mktemp("microphone") / "speech.wav"
    path.write_bytes(wav_bytes(np.concatenate([burst(0.45), silence(0.15)]), 16_000))
    with chromium(microphone=path) as one:
        yield one


@pytest.fixture(scope="module")
def speech() -> FakeSpeech:
    return FakeSpeech()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, speech: FakeSpeech) -> Iterator[Served]:
    with serving(
        tmp_path_factory.mktemp("page"),
        logits=answering_each(ANSWERS),
        voice=VoiceDesk(speech.makers(), idle_s=0.0),  # so that each test hears its own texts
        num_pages=256,
        context_length=4096,
    ) as server:
        yield server


def allow(visit: Visit) -> None:
    visit.context.grant_permissions(["microphone"])


def speak(visit: Visit) -> None:
    open_door(visit, 1.3)


def set_up(visit: Visit, *, has_room: bool = True, **preferences: object) -> None:
    """Greedy, so that the model says what it is told to."""
    if has_room:
        add_room(visit)
    visit.page.evaluate(
        "given => localStorage.setItem('pocketseek', JSON.stringify(given))", {"temperature": 0, **preferences}
    )
    visit.page.reload()
    visit.page.locator("#model option").first.wait_for(state="attached")


def test_two_turns_the_second_of_which_breaks_the_first_answer_off(
    served: Served, browser: Browser, speech: FakeSpeech
) -> None:
    speech.texts = ("Hello there", "Stop it")
    with visiting(browser, served.url) as visit:
        page = visit.page
        allow(visit)
        set_up(visit)
        page.click("#talk")
        expect(page.locator(".voice-state")).to_have_text("Listening…")
        speak(visit)
        expect(page.locator(".question .bubble").first).to_have_text("Hello there")
        expect(page.locator(".voice-state")).to_have_text("Speaking…")
        speak(visit)
        expect(page.locator(".question .bubble").nth(1)).to_have_text("Stop it")
        visit.answered("Very well.")
        page.click("#voice-end")
        expect(page.locator("#voice")).to_have_count(0)
        expect(page.locator("#input")).to_be_visible()
        name = page.url.partition("#")[2]
    turns = served.client.get(f"/api/conversations/{name}").json()["turns"]
    assert [turn["content"] for turn in turns[::2]][:2] == ["Hello there", "Stop it"]
    assert turns[1]["finish_reason"] == "cancelled"
    assert LONG.startswith(turns[1]["content"])
    assert 0 < len(turns[1]["content"]) < len(LONG) // 2
    assert turns[3]["content"] == "Very well."


def test_a_button_that_is_held_is_a_turn_and_the_page_can_be_loaded_again(
    served: Served, browser: Browser, speech: FakeSpeech
) -> None:
    speech.texts = ("First", "Second")
    with visiting(browser, served.url, locale="zh-CN") as visit:
        page = visit.page
        allow(visit)
        set_up(visit, has_room=False, pushToTalk=True)
        page.click("#talk")
        expect(page.locator(".voice-state")).to_have_text("按住按钮说话")
        for question, answer in (("First", "One."), ("Second", "Two.")):
            page.locator("#voice-main").hover()
            page.mouse.down()
            expect(page.locator("#voice")).to_have_attribute("data-state", "hearing")
            expect(page.locator("#voice-main")).to_have_attribute("style", re.compile(r"--level: ?(0\.[3-9]|1)"))
            page.mouse.up()
            expect(page.locator(".question .bubble").last).to_have_text(question)
            visit.answered(answer)
        page.reload()
        expect(page.locator(".question .bubble")).to_have_text(["First", "Second"])
        expect(page.locator("#voice")).to_have_count(0)
        visit.ask("Hello there")  # typed, in the same conversation
        visit.page.locator(".answer").nth(2).wait_for()


REFUSALS = [
    ("Promise.reject(new DOMException('', 'NotAllowedError'))", "was not allowed"),
    ("Promise.reject(new DOMException('', 'NotFoundError'))", "no microphone"),
    ("Promise.reject(new DOMException('', 'NotReadableError'))", "cannot be used just now"),
]


def test_a_microphone_that_cannot_be_had_is_explained(served: Served, browser: Browser) -> None:
    with visiting(browser, served.url) as visit:
        for answer, words in REFUSALS:
            visit.page.evaluate(f"() => {{ navigator.mediaDevices.getUserMedia = () => {answer}; }}")
            visit.page.click("#talk")
            expect(visit.page.locator("#snack")).to_contain_text(words)
            expect(visit.page.locator("#voice")).to_have_count(0)
            expect(visit.page.locator("#input")).to_be_visible()


def test_where_browsers_give_no_microphone_the_page_says_why(served: Served, browser: Browser) -> None:
    with visiting(browser, served.url, locale="zh-CN") as visit:
        visit.page.evaluate("() => { Object.defineProperty(window, 'isSecureContext', { value: false }); }")
        visit.page.click("#talk")
        expect(visit.page.locator("#snack")).to_contain_text("HTTPS")


def test_going_elsewhere_ends_the_talk(served: Served, browser: Browser, speech: FakeSpeech) -> None:
    speech.texts = ("Hello there",)
    with visiting(browser, served.url) as visit:
        allow(visit)
        set_up(visit)
        visit.page.click("#talk")
        expect(visit.page.locator(".voice-state")).to_have_text("Listening…")
        visit.page.click("#new")
        expect(visit.page.locator("#voice")).to_have_count(0)
        served.wait_until(lambda: served.services.admission.num_here == 0, "the session goes on")


def test_a_server_without_voice_is_explained(browser: Browser, tmp_path: Path) -> None:
    with serving(tmp_path) as served, visiting(browser, served.url) as visit:
        allow(visit)
        visit.page.click("#talk")
        expect(visit.page.locator("#snack")).to_contain_text("pocketseek voice setup")
        expect(visit.page.locator("#voice")).to_have_count(0)


CAPTURED = """async ([rate, hertz]) => {
  const context = new OfflineAudioContext(1, rate, rate);
  await context.audioWorklet.addModule("/voice-capture.js");
  const tone = new OscillatorNode(context, { frequency: hertz });
  const capture = new AudioWorkletNode(context, "capture");
  const frames = [];
  capture.port.onmessage = ({ data }) => frames.push(...new Int16Array(data.samples));
  tone.connect(capture).connect(context.destination);
  tone.start();
  await context.startRendering();
  await new Promise((resolve) => setTimeout(resolve, 200));
  return frames;
}"""


def test_a_microphone_at_another_rate_is_brought_to_16_khz(served: Served, browser: Browser) -> None:
    with visiting(browser, served.url) as visit:
        for rate in (16_000, 44_100, 48_000):
            heard = np.array(visit.page.evaluate(CAPTURED, [rate, 1000])) / 32_768
            assert 15_000 <= len(heard) <= 16_000
            spectrum = np.abs(np.fft.rfft(heard[1000:] * np.hanning(len(heard) - 1000)))
            assert np.argmax(spectrum) * 16_000 / (len(heard) - 1000) == pytest.approx(1000, abs=2)
            assert np.abs(heard[1000:]).max() == pytest.approx(1.0, abs=0.03)
        folded = np.array(visit.page.evaluate(CAPTURED, [48_000, 11_000])) / 32_768  # it would be heard as 5 kHz
        assert np.abs(folded[1000:]).max() < 0.01
