"""Noise without words is no longer taken for speech; a voice above it still is; when it is gone all is as before."""

from __future__ import annotations

import numpy as np
import pytest

from pocketseek.apps.voice.contract import Samples
from pocketseek.apps.voice.noise_gate import ENOUGH_S, NoiseGate, SpeechLevel, level_of

FRAME_S = 0.032


def frame(level_db: float) -> Samples:
    return np.full(512, 10 ** (level_db / 20), np.float32)


def told(gate: NoiseGate, level_db: float, seconds: float, *, is_speaking: bool = False) -> list[float]:
    return [gate.passed(frame(level_db), 0.9, is_speaking=is_speaking) for _ in range(round(seconds / FRAME_S))]


def noisy(level_db: float = -40.0) -> NoiseGate:
    gate = NoiseGate(FRAME_S)
    gate.began()
    told(gate, level_db, ENOUGH_S + 1, is_speaking=True)
    gate.judge(gate.ended(), has_words=False)
    return gate


def test_levels_are_those_of_full_scale() -> None:
    assert level_of(frame(-20.0)) == pytest.approx(-20.0, abs=0.1)
    assert level_of(np.zeros(512, np.float32)) == -120.0
    assert level_of(np.zeros(0, np.float32)) == -120.0


def test_an_utterance_is_as_loud_as_most_of_it() -> None:
    gate = NoiseGate(FRAME_S)
    gate.began()
    told(gate, -40.0, 2.0, is_speaking=True)
    told(gate, -10.0, 0.1, is_speaking=True)
    level = gate.ended()
    assert level.seconds == pytest.approx(2.1, abs=0.1)
    assert level.level_db == pytest.approx(-40.0, abs=1.0)


def test_noise_without_words_counts_as_silence_and_a_louder_voice_does_not() -> None:
    gate = noisy()
    assert gate.is_noisy
    assert set(told(gate, -40.0, 1.0)) == {0.0}
    assert set(told(gate, -30.0, 1.0)) == {0.9}
    assert set(told(gate, -36.0, 1.0, is_speaking=True)) == {0.9}  # a quiet syllable
    assert set(told(gate, -36.0, 1.0)) == {0.0}


def test_coughs_and_noise_between_words_change_nothing() -> None:
    gate = NoiseGate(FRAME_S)
    for _ in range(5):
        gate.judge(SpeechLevel(0.5, -10.0), has_words=False)
    assert not gate.is_noisy
    gate.judge(SpeechLevel(2.0, -30.0), has_words=True)
    for _ in range(5):
        gate.judge(SpeechLevel(ENOUGH_S - 1, -30.0), has_words=False)
        gate.judge(SpeechLevel(2.0, -30.0), has_words=True)
    assert not gate.is_noisy


def test_when_it_is_quiet_again_everything_counts_again() -> None:
    gate = noisy()
    told(gate, -60.0, 4.0)
    told(gate, -40.0, 1.0)
    told(gate, -60.0, 4.0)
    assert gate.is_noisy
    told(gate, -60.0, 2.0)
    assert not gate.is_noisy
    assert set(told(gate, -40.0, 0.1)) == {0.9}


def test_noise_that_gets_louder_is_followed_but_a_voice_at_the_microphone_is_always_heard() -> None:
    gate = noisy(-40.0)
    for _ in range(3):
        gate.judge(SpeechLevel(ENOUGH_S, -3.0), has_words=False)
    assert set(told(gate, -20.0, 1.0)) == {0.0}
    assert set(told(gate, -10.0, 1.0)) == {0.9}
