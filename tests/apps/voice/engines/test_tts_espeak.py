"""eSpeak NG for real, where it is installed: it costs milliseconds."""

import numpy as np
import pytest

from pocketseek.apps.voice.engines import tts_espeak
from pocketseek.apps.voice.engines.choose import has_espeak
from pocketseek.apps.voice.engines.tts_espeak import EspeakSynthesiser, phonemes
from pocketseek.errors import VoiceError

needs_espeak = pytest.mark.skipif(not has_espeak(), reason="eSpeak NG is not installed")


@needs_espeak
@pytest.mark.parametrize(("text", "language"), [("Hello there, how are you?", "en"), ("你好，今天天气很好。", "zh")])
def test_a_sentence_is_spoken(text: str, language: str) -> None:
    voice = EspeakSynthesiser()
    pieces = list(voice.speak(text, language))
    sound = np.concatenate(pieces)
    assert 0.8 < len(sound) / voice.sample_rate < 5.0
    assert 0.1 < float(np.abs(sound).max()) <= 1.0
    assert max(len(piece) for piece in pieces) <= voice.sample_rate // 5


@needs_espeak
def test_faster_words_take_less_time() -> None:
    text = "One two three four five six seven."
    slow, fast = (
        sum(len(piece) for piece in EspeakSynthesiser(words_per_minute=rate).speak(text, "en")) for rate in (120, 240)
    )
    assert fast < 0.75 * slow


@needs_espeak
def test_an_unknown_language_is_told() -> None:
    with pytest.raises(VoiceError, match="'xx'"):
        list(EspeakSynthesiser().speak("hello", "xx"))


@pytest.mark.skipif(tts_espeak._library() is None, reason="the library is not installed")
def test_phonemes_come_clause_by_clause() -> None:
    assert len(phonemes("Hello there, my friend.", "en")) == 2
    assert phonemes("...", "en") == []


def test_without_it_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tts_espeak, "_library", lambda: None)
    monkeypatch.setattr(tts_espeak.shutil, "which", lambda name: None)
    with pytest.raises(VoiceError, match="pip install espeakng-loader"):
        EspeakSynthesiser()
