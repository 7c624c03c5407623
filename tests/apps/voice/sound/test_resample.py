"""One rate to another: the same samples however they come, and the same sound."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketseek.apps.voice.sound.resample import Resampler, is_convertible, resample
from pocketseek.errors import UsageError

RATES = [8_000, 16_000, 22_050, 24_000, 44_100, 48_000]


def tone(rate: int, hz: float, seconds: float = 0.5) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate).astype(np.float32)


@pytest.mark.parametrize("from_rate", RATES)
@pytest.mark.parametrize("to_rate", [16_000, 48_000])
def test_a_tone_stays_the_same_tone(from_rate: int, to_rate: int) -> None:
    result = resample(tone(from_rate, 1000), from_rate, to_rate)
    expected = tone(to_rate, 1000, len(result) / to_rate + 0.01)[: len(result)]
    middle = slice(to_rate // 20, -to_rate // 20)
    assert np.abs(result[middle] - expected[middle]).max() < 2e-3


@pytest.mark.parametrize("from_rate", [22_050, 44_100, 48_000])
def test_what_would_fold_back_is_gone(from_rate: int) -> None:
    result = resample(tone(from_rate, 9_500), from_rate, 16_000)
    assert np.abs(result[1000:-1000]).max() < 1e-3


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from(RATES),
    st.sampled_from(RATES),
    st.lists(st.integers(0, 700), max_size=8),
    st.integers(0, 2**32 - 1),
)
def test_pieces_give_the_bits_of_the_whole(from_rate: int, to_rate: int, sizes: list[int], seed: int) -> None:
    samples = np.random.default_rng(seed).uniform(-1, 1, sum(sizes)).astype(np.float32)
    stream = Resampler(from_rate, to_rate)
    pieces, start = [], 0
    for size in sizes:
        pieces.append(stream.feed(samples[start : start + size]))
        start += size
    together = np.concatenate([*pieces, stream.flush()])
    whole = resample(samples, from_rate, to_rate)
    assert len(whole) == -(-len(samples) * to_rate // from_rate)
    assert together.tobytes() == whole.tobytes()


def test_an_impossible_rate_is_refused() -> None:
    with pytest.raises(UsageError, match="12 Hz"):
        Resampler(12, 16_000)


@pytest.mark.parametrize("rate", [8_000, 11_025, 11_127, 22_050, 22_254, 37_800, 44_056, 44_100, 96_000, 352_800])
def test_rates_that_devices_have_are_converted(rate: int) -> None:
    assert is_convertible(rate)


def test_a_rate_that_would_need_gigabytes_of_filters_is_refused() -> None:
    assert not is_convertible(399_989)
    with pytest.raises(UsageError, match="399989 Hz"):
        Resampler(399_989, 16_000)
