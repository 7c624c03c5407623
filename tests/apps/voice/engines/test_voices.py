"""Each part of an answer by a voice that knows its language, at one rate."""

from collections.abc import Iterator

import numpy as np

from pocketseek.apps.voice.contract import Samples
from pocketseek.apps.voice.engines.voices import Voices


class FakeVoice:
    def __init__(self, name: str, sample_rate: int) -> None:
        self.name = name
        self.sample_rate = sample_rate
        self.said: list[str] = []

    def speak(self, text: str, language: str) -> Iterator[Samples]:
        self.said.append(text)
        yield np.zeros(self.sample_rate // 10, np.float32)

    def close(self) -> None:
        pass


def test_languages_go_to_those_who_know_them() -> None:
    english, chinese, general = FakeVoice("en", 22_050), FakeVoice("zh", 16_000), FakeVoice("all", 8_000)
    voices = Voices([(("en",), english), (("zh",), chinese), ((), general)])
    for text, language in (("hello", "en"), ("你好", "zh"), ("hola", "es")):
        assert sum(len(piece) for piece in voices.speak(text, language)) == 2205
    assert (english.said, chinese.said, general.said) == (["hello"], ["你好"], ["hola"])
    assert voices.sample_rate == 22_050


def test_a_single_voice_says_everything() -> None:
    only = FakeVoice("en", 22_050)
    list(Voices([(("en",), only)]).speak("你好", "zh"))
    assert only.said == ["你好"]
