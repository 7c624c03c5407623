"""Faster and slower speech: as long as it should be, at the same pitch, however it comes."""

import numpy as np
import pytest

from pocketseek.apps.voice.contract import Samples
from pocketseek.apps.voice.sound.tempo import Tempo

RATE = 16_000


def tone(seconds: float, hertz: float = 200.0) -> Samples:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def changed(samples: Samples, speed: float, piece: int = 1000) -> Samples:
    tempo = Tempo(speed, RATE)
    pieces = [tempo.feed(samples[start : start + piece]) for start in range(0, len(samples), piece)]
    return np.concatenate([*pieces, tempo.flush()])


@pytest.mark.parametrize("speed", [0.25, 0.5, 0.8, 1.25, 2.0, 4.0])
def test_the_length_follows_the_speed(speed: float) -> None:
    assert len(changed(tone(2.0), speed)) / RATE == pytest.approx(2.0 / speed, abs=0.04)


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.25, 2.0])
def test_the_pitch_stays(speed: float) -> None:
    inner = changed(tone(2.0), speed)[RATE // 4 : -RATE // 4]
    spectrum = np.abs(np.fft.rfft(inner * np.hanning(len(inner))))
    assert np.argmax(spectrum) * RATE / len(inner) == pytest.approx(200, abs=6)


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.25, 2.0])
def test_a_steady_sound_stays_steady(speed: float) -> None:
    """No clicks and no holes where windows meet."""
    inner = changed(tone(2.0), speed)[RATE // 4 : -RATE // 4]
    blocks = inner[: len(inner) // 400 * 400].reshape(-1, 400)
    loudness = np.sqrt((blocks**2).mean(axis=1))
    assert loudness.min() > 0.8 * loudness.max()
    assert np.abs(np.diff(inner)).max() < 2 * np.abs(np.diff(tone(0.1))).max()


def test_how_it_comes_makes_no_difference() -> None:
    samples = np.random.default_rng(1).standard_normal(RATE).astype(np.float32)
    assert np.array_equal(changed(samples, 1.3, piece=77), changed(samples, 1.3, piece=RATE))


def test_a_speed_of_one_changes_nothing() -> None:
    assert np.array_equal(changed(tone(0.5), 1.0), tone(0.5))


@pytest.mark.parametrize("num_samples", [0, 1, 100, 500])
def test_very_short_sounds_come_out(num_samples: int) -> None:
    out = changed(tone(1.0)[:num_samples], 2.0)
    assert len(out) == pytest.approx(num_samples / 2, abs=1)
