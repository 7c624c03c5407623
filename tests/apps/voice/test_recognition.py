"""How often a text so far is asked for: by what the last one cost, and by how warm the phone is."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from voice_parts import CountingRecogniser, speech
from voice_talk import wait_for

from pocketseek.apps.voice.recognition import RecognitionStage


class Reader:
    def __init__(self) -> None:
        self.texts: list[str] = []
        self.text: str | None = None
        self.done: list[str] = []

    def heard_so_far(self, turn: int, text: str) -> None:
        self.texts.append(text)

    def nothing_so_far(self, turn: int, seconds: float) -> None:
        pass

    def seems_done(self, turn: int, text: str) -> None:
        self.done.append(text)

    def goes_on(self, turn: int) -> None:
        pass

    def heard(self, turn: int, text: str) -> None:
        self.text = text

    def recognition_failed(self, turn: int, error: Exception) -> None:
        raise AssertionError(error)


class Clock:
    """A reading takes a second; the test moves it on."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class SlowRecogniser(CountingRecogniser):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.asked: list[bool] = []
        self.while_reading: Callable[[], None] = lambda: None

    def start(self, language: str | None):  # type: ignore[no-untyped-def]
        utterance = super().start(language)
        partial = utterance.partial

        def slow(*, may_be_over: bool = False) -> str:
            self._clock.now_s += 1.0
            self.while_reading()
            self.asked.append(may_be_over)
            return partial(may_be_over=may_be_over)

        utterance.partial = slow
        return utterance


@pytest.mark.parametrize(("share", "rest_s"), [(1.0, 1.0), (0.5, 2.0), (0.0, 10.0)])
def test_it_rests_for_as_long_as_the_last_text_took_and_longer_where_it_is_warm(share: float, rest_s: float) -> None:
    clock, reader = Clock(), Reader()
    stage = RecognitionStage(SlowRecogniser(clock), "en", reader, clock, lambda: share)
    stage.start(1)
    stage.feed(speech(2))
    wait_for(lambda: len(reader.texts) == 1)
    stage.feed(speech(2))
    clock.now_s += rest_s - 0.1
    time.sleep(0.05)  # nothing may happen now
    assert len(reader.texts) == 1
    clock.now_s += 0.2
    stage.feed(speech(1))
    wait_for(lambda: len(reader.texts) == 2)
    stage.finish(1)
    wait_for(lambda: reader.text is not None)
    stage.close()


def test_no_text_is_asked_for_in_silence_before_it_has_settled() -> None:
    clock, reader = Clock(), Reader()
    recogniser = SlowRecogniser(clock)
    stage = RecognitionStage(recogniser, "en", reader, clock)
    stage.start(1)
    stage.feed(speech(2))
    wait_for(lambda: recogniser.asked == [False])
    clock.now_s += 10.0
    stage.feed(speech(2), is_silent=True)
    time.sleep(0.05)  # nothing may happen now
    assert recogniser.asked == [False]
    stage.settle(1)
    wait_for(lambda: recogniser.asked == [False, True])
    clock.now_s += 10.0
    stage.feed(speech(2))
    wait_for(lambda: recogniser.asked == [False, True, False])
    stage.finish(1)
    wait_for(lambda: reader.text is not None)
    stage.close()


def test_of_a_pause_that_is_over_before_its_text_is_there_nothing_is_tried() -> None:
    clock, reader = Clock(), Reader()
    recogniser = SlowRecogniser(clock)
    stage = RecognitionStage(recogniser, "en", reader, clock)
    recogniser.while_reading = lambda: stage.resume(1)
    stage.start(1)
    stage.feed(speech(2), is_silent=True)
    stage.settle(1)
    wait_for(lambda: recogniser.asked == [True])
    recogniser.while_reading = lambda: None
    stage.feed(speech(1), is_silent=True)
    stage.settle(1)
    wait_for(lambda: recogniser.asked == [True, True])
    stage.finish(1)
    wait_for(lambda: reader.text is not None)
    assert reader.done == ["word word word"]
    stage.close()
