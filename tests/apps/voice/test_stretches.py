"""Where somebody speaks: all of the speech, in order, in pieces that are short enough."""

from itertools import pairwise

import numpy as np
import pytest
from fake_speech import LoudnessDetector, burst, silence

from pocketseek.apps.voice.contract import SAMPLE_RATE
from pocketseek.apps.voice.stretches import stretches


def test_speech_is_found_with_a_margin() -> None:
    (one,) = stretches(np.concatenate([silence(1), burst(1.5), silence(1)]), LoudnessDetector())
    assert one.start_s == pytest.approx(0.8, abs=0.1)
    assert one.end_s == pytest.approx(2.7, abs=0.1)


def test_silence_has_none() -> None:
    assert list(stretches(silence(3), LoudnessDetector())) == []


def test_speech_to_the_last_sample_is_all_there() -> None:
    samples = burst(2.0)
    (one,) = stretches(samples, LoudnessDetector())
    assert (one.start_s, one.end_s) == (0.0, len(samples) / SAMPLE_RATE)


def test_neighbours_come_together_unless_it_gets_too_long_or_the_pause_is_long() -> None:
    samples = np.concatenate([silence(0.5), burst(1), silence(1), burst(1), silence(3), burst(1), silence(1)])
    assert len(list(stretches(samples, LoudnessDetector()))) == 2
    assert len(list(stretches(samples, LoudnessDetector(), most_s=2.0))) == 3
    assert len(list(stretches(samples, LoudnessDetector(), apart_s=10.0))) == 1


def test_speech_without_an_end_is_cut_without_losing_or_doubling_any() -> None:
    found = list(stretches(burst(20.0), LoudnessDetector(), most_s=5.0))
    assert found[0].start_s == 0.0
    assert found[-1].end_s == 20.0
    for one, other in pairwise(found):
        assert one.end_s == other.start_s
    assert all(one.end_s - one.start_s <= 5.0 for one in found)


def test_speech_is_cut_where_it_pauses_for_breath() -> None:
    samples = np.concatenate([burst(3.0), silence(0.16), burst(4.0), silence(1)])
    first, second = stretches(samples, LoudnessDetector(), most_s=5.0)
    assert first.end_s == second.start_s
    assert first.end_s == pytest.approx(3.08, abs=0.1)
