"""Talking to the page with everything real: browser, recogniser, demo model, voice; two turns, one broken off.

Slow, and only where the demo model and the engines for English are installed in the data directory (`pocketseek
generate demo Hello`, `pocketseek voice setup --language en`); what the microphone hears is spoken by the installed
voice.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from api_server import Served, serving
from fake_speech import silence

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `dev`)")

from page_browser import CHROMIUM, chromium, visiting
from page_microphone import add_room, say
from playwright.sync_api import expect

from pocketseek.apps.model_pool import ServedModel
from pocketseek.apps.serve.voice.desk import VoiceDesk
from pocketseek.apps.serve.voice.installed_voice import installed_voice
from pocketseek.apps.voice.contract import SAMPLE_RATE, Samples
from pocketseek.apps.voice.sound.recording import speak
from pocketseek.apps.voice.sound.sound_file import wav_bytes
from pocketseek.errors import PocketseekError
from pocketseek.runtime.load import load
from pocketseek.settings import read_settings

INSTALLED = read_settings()
"""Of whoever runs this; a test has a data directory of its own."""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium (apt install chromium)"),
]


@pytest.fixture
def voice() -> Iterator[VoiceDesk]:
    desk = installed_voice(INSTALLED)
    try:
        desk.makers.check("en")
    except PocketseekError as error:
        pytest.skip(str(error))
    yield desk
    desk.close()


@pytest.fixture
def served(tmp_path: Path, voice: VoiceDesk) -> Iterator[Served]:
    model = INSTALLED.models_dir / "demo"
    if not model.is_dir():
        pytest.skip("the demo model is not installed")
    with serving(
        tmp_path, open_engine=lambda served: load(served.path), models=(ServedModel("fake", model),), voice=voice
    ) as server:
        yield server


def spoken(voice: VoiceDesk, text: str) -> Samples:
    with voice.synthesiser("en") as synthesiser:
        return np.concatenate(list(speak(iter([(text, "en")]), synthesiser, sample_rate=SAMPLE_RATE)))


def test_two_questions_the_second_of_which_breaks_the_first_answer_off(
    served: Served, voice: VoiceDesk, tmp_path: Path
) -> None:
    first, second = spoken(voice, "Tell me all about the moon."), spoken(voice, "What is the capital of France?")
    (tmp_path / "quiet.wav").write_bytes(wav_bytes(silence(5), SAMPLE_RATE))
    with chromium(microphone=tmp_path / "quiet.wav") as browser, visiting(browser, served.url) as visit:
        page = visit.page
        visit.context.grant_permissions(["microphone"])
        add_room(visit)
        page.reload()
        page.locator("#model option").first.wait_for(state="attached")
        page.click("#talk")
        expect(page.locator("#voice")).to_have_attribute("data-state", "listening")
        say(visit, first)
        expect(page.locator(".question .bubble").first).to_contain_text("moon")
        expect(page.locator("#voice")).to_have_attribute("data-state", "speaking")
        say(visit, second)
        expect(page.locator(".question .bubble").nth(1)).to_contain_text("France")
        visit.answered("Paris")
        page.click("#voice-end")
        expect(page.locator("#voice")).to_have_count(0)
        name = page.url.partition("#")[2]
    turns = served.client.get(f"/api/conversations/{name}").json()["turns"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user", "assistant"]
    assert turns[1]["finish_reason"] == "cancelled"
