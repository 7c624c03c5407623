"""Whole recordings and whole texts: in order, and ended early where nobody wants the rest."""

from collections.abc import Iterator

import numpy as np
import pytest
from fake_speech import LoudnessDetector, ScriptedRecogniser, ToneSynthesiser, burst, silence

from pocketseek.apps.voice.contract import Samples
from pocketseek.apps.voice.sound.recording import speak, transcribe

THREE = np.concatenate([silence(1), burst(1), silence(3), burst(1), silence(3), burst(1), silence(1)])


def test_segments_come_in_order_with_their_times() -> None:
    told = transcribe(THREE, ScriptedRecogniser(["One.", "Two.", "Three."]), LoudnessDetector(), "en")
    assert told.text == "One. Two. Three."
    assert told.duration_s == 11
    assert [round(segment.start_s) for segment in told.segments] == [1, 5, 9]


def test_a_segment_without_words_is_none() -> None:
    told = transcribe(THREE, ScriptedRecogniser(["One.", " ", "Three."]), LoudnessDetector(), None)
    assert [segment.text for segment in told.segments] == ["One.", "Three."]


def test_nobody_works_for_somebody_who_is_gone() -> None:
    recogniser = ScriptedRecogniser(["One."])
    told = transcribe(THREE, recogniser, LoudnessDetector(), None, is_wanted=lambda: len(recogniser.asked) < 2)
    assert len(told.segments) == len(recogniser.asked) == 2


def test_parts_are_spoken_one_after_the_other_at_the_rate_that_is_wanted() -> None:
    synthesiser = ToneSynthesiser()
    parts = [("Some words", "en"), ("你好", "zh")]
    sound = np.concatenate(list(speak(iter(parts), synthesiser, sample_rate=16_000)))
    assert synthesiser.said == parts
    assert len(sound) / 16_000 == pytest.approx(12 * 0.05, abs=0.01)


def test_who_stops_listening_stops_the_voice() -> None:
    class Voice(ToneSynthesiser):
        is_stopped = False

        def speak(self, text: str, language: str) -> Iterator[Samples]:
            try:
                yield from super().speak(text, language)
            finally:
                self.is_stopped = True

    voice = Voice()
    sounds = speak(iter([("A text that takes a while", "en")]), voice)
    next(sounds)
    sounds.close()
    assert voice.is_stopped
