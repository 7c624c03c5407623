"""Long speech in stretches, and readings that are doubted; the model is played by the test."""

import numpy as np
import pytest

from pocketseek.apps.voice.contract import SAMPLE_RATE, Samples
from pocketseek.apps.voice.engines.asr_whisper import CUT_S, Heard, _Reading, _Stretches, joined, quietest, says_twice


class Reader:
    """Reads a stretch as its length; notes how long each was and what came before. doubts: what is not over."""

    def __init__(self, *, doubts: bool = False) -> None:
        self.read_s: list[float] = []
        self.before: list[str] = []
        self.over: list[bool] = []
        self._doubts = doubts

    def read(self, samples: Samples, language: str | None, before: str, *, is_over: bool = True) -> Heard:
        self.read_s.append(len(samples) / SAMPLE_RATE)
        self.before.append(before)
        self.over.append(is_over)
        return Heard(f"r{len(self.read_s)}", self._doubts and not is_over)


def utterance(reader: Reader) -> _Stretches:
    return _Stretches(reader, "en")  # type: ignore[arg-type]


def seconds(number: float) -> Samples:
    return np.full(int(number * SAMPLE_RATE), 0.1, np.float32)


def test_finishing_reads_nothing_again() -> None:
    reader = Reader()
    speech = utterance(reader)
    speech.feed(seconds(1))
    assert speech.partial() == "r1"
    assert speech.partial() == "r1"
    assert speech.finish() == "r1"
    assert reader.read_s == [1.0]


def test_what_is_doubtful_is_read_again_once_it_may_be_over_and_not_before() -> None:
    reader = Reader(doubts=True)
    speech = utterance(reader)
    for _ in range(3):
        speech.feed(seconds(1))
        speech.partial()
    assert reader.over == [False] * 3
    assert speech.partial(may_be_over=True) == "r4"
    assert speech.finish() == "r4"  # that was all of it
    assert reader.over == [False] * 3 + [True]


def test_very_long_speech_is_read_in_bounded_stretches_and_nothing_is_lost() -> None:
    reader = Reader()
    speech = utterance(reader)
    for _ in range(120):
        speech.feed(seconds(1))
    text = speech.finish()
    assert sum(reader.read_s) == pytest.approx(120)
    assert max(reader.read_s) <= CUT_S + 1
    assert text == " ".join(f"r{number}" for number in range(1, len(reader.read_s) + 1))
    assert reader.before[-1] == " ".join(f"r{number}" for number in range(1, len(reader.read_s)))


def test_speech_is_cut_at_its_quietest_moment() -> None:
    samples = seconds(26)
    samples[15 * SAMPLE_RATE : 15 * SAMPLE_RATE + SAMPLE_RATE // 4] = 0.0
    assert quietest(samples, 12 * SAMPLE_RATE, 26 * SAMPLE_RATE) / SAMPLE_RATE == pytest.approx(15.125, abs=0.01)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It was the best of times. It was the best of times.", True),
        ("one two three four five six seven eight", False),
        ("very very good", False),
        ("10 of clubs 10 of clubs.", True),
        ("Bye bye.", False),
        ("No no no no no", True),
        ("坚持掌握坚持掌握", True),
        ("北京是中国的首都", False),
        ("", False),
    ],
)
def test_repetition_is_noticed(text: str, expected: bool) -> None:
    assert says_twice(text) == expected


def test_a_reading_is_doubted_for_good_reasons_only() -> None:
    assert not _Reading("What is the capital of France?", 9, -0.3, 0.1).is_doubtful(2.0)
    assert _Reading("What is the capital of France?", 9, -1.5, 0.1).is_doubtful(2.0)
    assert _Reading("a b c d e f g h i j k l m n o p q r s t", 40, -0.3, 0.1).is_doubtful(1.0)
    assert _Reading("Thank you.", 3, -1.4, 0.9).is_no_speech
    assert not _Reading("Thank you.", 3, -0.4, 0.9).is_no_speech


def test_texts_are_joined_as_their_language_wants() -> None:
    assert joined("one", "two") == "one two"
    assert joined("你好", "世界") == "你好世界"
    assert joined("", "two") == "two"
