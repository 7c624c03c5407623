"""What goes wrong around a voice session costs a turn at most. Engines are fakes, sound comes as fast as heard."""

import gc
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

import numpy as np
import pytest
from voice_parts import CountingRecogniser, LoudnessDetector, ScriptedChat, ToneSynthesiser, session_of, silence, speech

from pocketseek.apps.voice.contract import SAMPLE_RATE, Samples
from pocketseek.apps.voice.endpoint import EndpointSettings
from pocketseek.apps.voice.events import NoiseChanged, SpeechStarted, Transcript, TurnEnded, TurnFailed, VoiceEvent
from pocketseek.apps.voice.session import VoiceSession, VoiceSettings
from pocketseek.apps.voice.style import ReadAloud
from pocketseek.errors import UsageError, VoiceError

_SECOND = SAMPLE_RATE


class Watched:
    """A session and what it said so far."""

    def __init__(self, session: VoiceSession) -> None:
        self.session = session
        self.events: list[VoiceEvent] = []
        self.error: VoiceError | None = None
        self._thread = Thread(target=self._read, daemon=True)
        self._thread.start()

    def feed(self, *parts: Samples) -> None:
        samples = np.concatenate(parts)
        for start in range(0, len(samples), _SECOND):
            self.wait(lambda: self.session.backlog_s < 2)
            self.session.feed(samples[start : start + _SECOND])

    def wait(self, is_so: Callable[[], bool]) -> None:
        until_s = time.monotonic() + 60
        while not is_so():
            assert time.monotonic() < until_s, [event for event in self.events if not hasattr(event, "samples")]
            time.sleep(0.001)

    def wait_for_turns(self, count: int) -> None:
        self.wait(lambda: len(self.ended()) >= count)

    def ended(self) -> list[VoiceEvent]:
        return [event for event in self.events if isinstance(event, TurnEnded | TurnFailed)]

    def texts(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Transcript)]

    def count(self, kind: type[VoiceEvent]) -> int:
        return sum(isinstance(event, kind) for event in self.events)

    def close(self) -> None:
        self.session.close()
        self._thread.join()

    def _read(self) -> None:
        try:
            for event in self.session.events():
                self.events.append(event)
        except VoiceError as error:
            self.error = error


@contextmanager
def watching(session: VoiceSession) -> Iterator[Watched]:
    watched = Watched(session)
    try:
        yield watched
    finally:
        watched.close()


QUESTION = np.concatenate([speech(3), silence(1.5)])


def test_ten_minutes_of_silence_start_nothing_and_hold_nothing() -> None:
    recogniser = CountingRecogniser()
    with watching(session_of(recogniser)) as watched:
        watched.feed(silence(600))
        watched.feed(QUESTION)
        watched.wait_for_turns(1)
    assert watched.texts() == ["word word word"]
    assert recogniser.num_started == 1
    assert recogniser.longest_samples < 3 * _SECOND  # nothing of the silence was kept for it


def test_noise_below_the_voice_changes_nothing() -> None:
    noise = np.random.default_rng(7).normal(0, 0.02, 5 * _SECOND).astype(np.float32)
    with watching(session_of()) as watched:
        watched.feed(np.clip(noise, -0.09, 0.09))
        noisy = QUESTION + np.clip(noise[: len(QUESTION)], -0.04, 0.04)
        watched.feed(noisy)
        watched.wait_for_turns(1)
    assert watched.texts() == ["word word word"]


@pytest.mark.parametrize("gain", [3.0, 1e6])
def test_clipped_and_far_too_loud_sound_is_heard(gain: float) -> None:
    with watching(session_of()) as watched:
        watched.feed(np.clip(QUESTION * gain, -1, 1) if gain < 10 else QUESTION * np.float32(gain))
        watched.wait_for_turns(1)
    assert watched.texts() == ["word word word"]


def test_samples_that_are_no_numbers_are_taken_for_silence() -> None:
    broken = silence(1)
    broken[::3] = np.nan
    with watching(session_of()) as watched:
        watched.feed(broken, QUESTION)
        watched.wait_for_turns(1)
    assert watched.texts() == ["word word word"]


def test_very_long_speech_ends_at_the_limit_and_goes_on_in_another_turn() -> None:
    recogniser = CountingRecogniser()
    settings = VoiceSettings(language="en", endpoint=EndpointSettings(longest_s=20.0))
    with watching(session_of(recogniser, settings=settings)) as watched:
        watched.feed(speech(150), silence(1.5))  # 48 s without a pause
        watched.wait(lambda: watched.count(Transcript) >= 3)
        watched.wait_for_turns(3)
    assert recogniser.longest_samples < 22 * _SECOND
    words = sum(len(text.split()) for text in watched.texts())
    assert 140 <= words <= 170


@pytest.mark.parametrize("sound", [np.zeros(512, np.int16), np.zeros((512, 2), np.float32), np.zeros(512)])
def test_what_is_no_mono_float32_is_refused_and_the_session_goes_on(sound: np.ndarray) -> None:
    with watching(session_of()) as watched:
        with pytest.raises(UsageError, match="float32"):
            watched.session.feed(sound)
        watched.feed(QUESTION)
        watched.wait_for_turns(1)
    assert watched.texts() == ["word word word"]


def test_a_recogniser_that_crashes_costs_its_turn_only() -> None:
    recogniser = CountingRecogniser(lambda number: number == 1)
    with watching(session_of(recogniser)) as watched:
        watched.feed(QUESTION)
        watched.wait_for_turns(1)
        watched.feed(QUESTION)
        watched.wait_for_turns(2)
    assert [type(event) for event in watched.ended()] == [TurnFailed, TurnEnded]
    failed = watched.ended()[0]
    assert isinstance(failed, TurnFailed)
    assert "\n" not in failed.message
    assert recogniser.num_open == 0


def test_a_voice_or_a_model_that_crashes_costs_its_turn_only() -> None:
    failing = iter([True, False])
    synthesiser = ToneSynthesiser(lambda text: next(failing, False))
    with watching(session_of(synthesiser=synthesiser)) as watched:
        watched.feed(QUESTION)
        watched.wait_for_turns(1)
        watched.feed(QUESTION)
        watched.wait_for_turns(2)
    assert [type(event) for event in watched.ended()] == [TurnFailed, TurnEnded]

    def answer(question: str) -> str:
        if question.count("word") == 3:
            raise ValueError("no answer\nto that")
        return "Yes."

    with watching(session_of(chat=ScriptedChat(answer))) as watched:
        watched.feed(QUESTION)
        watched.wait_for_turns(1)
        watched.feed(speech(2), silence(1.5))
        watched.wait_for_turns(2)
    assert [type(event) for event in watched.ended()] == [TurnFailed, TurnEnded]


def test_a_detector_that_crashes_ends_the_session_in_one_line() -> None:
    class Broken(LoudnessDetector):
        def probability(self, frame: Samples) -> float:
            raise OSError("device unplugged\nsomewhere")

    session = VoiceSession(CountingRecogniser(), ToneSynthesiser(), Broken(), ScriptedChat(), ReadAloud())
    watched = Watched(session)
    session.feed(silence(1))
    watched.wait(lambda: watched.error is not None)
    watched.close()
    assert "\n" not in str(watched.error)
    assert "unplugged" in str(watched.error)


def test_memory_is_steady_over_two_hundred_turns() -> None:
    chat, recogniser = ScriptedChat(lambda question: "Yes."), CountingRecogniser()
    question = np.concatenate([speech(2), silence(2)])
    with watching(session_of(recogniser, chat=chat)) as watched:

        def turns(count: int) -> int:
            for _ in range(count):
                watched.feed(question)
            watched.wait(lambda: recogniser.num_open == 0 and watched.session.backlog_s == 0)
            watched.events.clear()
            chat.questions.clear()
            chat.kept.clear()
            chat.warmed.clear()
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            turns(20)
            before = turns(20)
            after = turns(160)
        finally:
            tracemalloc.stop()
    assert recogniser.num_started >= 200
    assert after - before < 200_000


class Babble(CountingRecogniser):
    """Finds words in what is louder than the noise of these tests, and none in that."""

    def start(self, language: str | None):  # type: ignore[no-untyped-def]
        utterance = super().start(language)
        feed = utterance.feed
        utterance.feed = lambda samples: feed(np.where(np.abs(samples) > 0.3, samples, 0).astype(np.float32))  # type: ignore[method-assign]
        return utterance


def test_noise_that_never_ends_makes_no_endless_turns_and_a_voice_is_heard_through_it() -> None:
    noise = 0.11 * np.sign(speech(1)[: int(0.32 * _SECOND)])
    minute = np.tile(noise.astype(np.float32), 200)[: 60 * _SECOND]
    recogniser = Babble()
    settings = VoiceSettings(language="en", endpoint=EndpointSettings(longest_s=20.0))
    with watching(session_of(recogniser, settings=settings)) as watched:
        for _ in range(10):
            watched.feed(minute)
        watched.wait(lambda: watched.count(NoiseChanged) == 1)
        num_turns = watched.count(SpeechStarted)
        assert num_turns <= 2  # of 30 in ten minutes
        loud = speech(3)
        question = minute[: 4 * _SECOND].copy()
        question[_SECOND : _SECOND + len(loud)] = loud
        watched.feed(question)
        watched.wait(lambda: "word word" in watched.texts())
        watched.feed(silence(7))
        watched.wait(lambda: watched.count(NoiseChanged) == 2)
        watched.feed(minute[:_SECOND], silence(2))  # it counts again
        watched.wait(lambda: watched.count(SpeechStarted) == num_turns + 2)


def test_a_turn_without_a_word_is_given_up_by_who_tells_texts_so_far() -> None:
    noise = np.tile((0.2 * np.sign(speech(1))).astype(np.float32), 100)
    with watching(session_of(Babble())) as watched:
        watched.feed(QUESTION)
        watched.wait_for_turns(1)
        watched.feed(noise[: 30 * _SECOND])
        watched.wait_for_turns(2)
        ended = watched.ended()[1]
        assert isinstance(ended, TurnEnded)
        assert ended.timings.endpoint_s is not None
