"""What a source of sound remembers of turns, a microphone that goes away, and a file that is listened to slowly."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from voice_parts import LoudnessDetector, session_of, silence, speech
from voice_talk import Talk, wait_for

from pocketseek.apps.voice.contract import SAMPLE_RATE, Samples
from pocketseek.apps.voice.endpoint import EndpointSettings
from pocketseek.apps.voice.events import SpeechEnded, TurnEnded, TurnFailed, TurnTimings
from pocketseek.cli.messages import Words
from pocketseek.cli.voice import sources
from pocketseek.cli.voice.sources import _Live, _OpenTurns, open_source
from pocketseek.errors import VoiceError


class Quiet:
    is_answering = False


def test_a_turn_is_open_from_its_end_of_speech_to_its_answer() -> None:
    turns, session = _OpenTurns(), Quiet()
    turns.see(SpeechEnded(1.0, 1, 0.5))
    assert turns.are_there(session)  # type: ignore[arg-type]
    turns.see(TurnEnded(2.0, 1, TurnTimings()))
    assert not turns.are_there(session)  # type: ignore[arg-type]


def test_a_turn_that_failed_while_they_spoke_is_not_waited_for() -> None:
    turns, session = _OpenTurns(), Quiet()
    turns.see(TurnFailed(1.0, 1, "the engine crashed"))
    turns.see(SpeechEnded(2.0, 1, 1.5))
    assert not turns.are_there(session)  # type: ignore[arg-type]


class Plugged:
    """A microphone that hears so much, and is pulled out then, or closed."""

    name = "test"

    def __init__(self, level: float, *, is_pulled: bool) -> None:
        self._block = np.full(SAMPLE_RATE // 2, level, np.float32)
        self._is_pulled = is_pulled

    def __iter__(self) -> Iterator[Samples]:
        yield self._block
        if self._is_pulled:
            raise VoiceError("the microphone stopped (unplugged); check it and start again")

    def close(self) -> None:
        pass


class Ear(Quiet):
    def __init__(self) -> None:
        self.fed: list[Samples] = []

    def feed(self, samples: Samples) -> None:
        self.fed.append(samples)


def test_what_was_said_ends_where_the_microphone_is_pulled_out_and_it_is_heard_again_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sources, "_RETRY_S", 0.0)
    monkeypatch.setattr(sources, "open_microphone", lambda device: Plugged(0.7, is_pulled=False))
    ear = Ear()
    live = _Live(Plugged(0.5, is_pulled=True), None, Words("en"), has_button=False)
    live.run(ear)  # type: ignore[arg-type]  # as much of one as is asked for
    before, between, after = ear.fed
    assert (before[0], after[0]) == (np.float32(0.5), np.float32(0.7))
    assert not between.any()
    assert len(between) >= EndpointSettings().most_hangover_s * SAMPLE_RATE
    assert "It is back." in capsys.readouterr().err


def test_a_microphone_that_does_not_come_back_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str | None] = []

    def absent(device: str | None) -> None:
        tries.append(device)
        raise VoiceError("no microphone can be used; plug one in")

    monkeypatch.setattr(sources, "_RETRY_S", 0.0)
    monkeypatch.setattr(sources, "open_microphone", absent)
    live = _Live(Plugged(0.5, is_pulled=True), "headset", Words("en"), has_button=False)
    with pytest.raises(VoiceError, match="the microphone stopped"):
        live.run(Ear())  # type: ignore[arg-type]  # as much of one as is asked for
    assert len(tries) > 3
    assert set(tries) == {"headset"}


class WaitingDetector(LoudnessDetector):
    """Far slower than the sound: it looks at nothing before it is let go."""

    def __init__(self) -> None:
        self.may_look = threading.Event()

    def probability(self, frame: Samples) -> float:
        self.may_look.wait()
        return super().probability(frame)


def played(detector: WaitingDetector, *sounds: Samples) -> tuple[Talk, threading.Thread]:
    talk = Talk(session_of(detector=detector))
    source = open_source(sounds, None, Words("en"), push_to_talk=False, by_android=False)
    playing = threading.Thread(target=source.run, args=(talk.session,), daemon=True)
    playing.start()
    return talk, playing


def test_a_file_is_answered_to_its_end_although_noticing_speech_is_slower_than_the_sound() -> None:
    detector = WaitingDetector()
    talk, playing = played(detector, speech(1))
    fed_s = len(speech(1)) / SAMPLE_RATE + 2.0  # with the silence behind it
    wait_for(lambda: talk.session.backlog_s > 2.0)
    assert talk.session.backlog_s <= fed_s
    assert playing.is_alive()
    detector.may_look.set()
    playing.join(20)
    talk.close()
    assert [kind for kind in talk.kinds() if kind in ("Transcript", "TurnEnded")] == ["Transcript", "TurnEnded"]


def test_a_file_waits_while_much_of_it_is_not_listened_to() -> None:
    detector = WaitingDetector()
    talk, playing = played(detector, *[np.concatenate([speech(6), silence(2.0)])] * 2)
    wait_for(lambda: talk.session.backlog_s > 2.0)
    playing.join(0.5)
    assert talk.session.backlog_s < 2.1
    detector.may_look.set()
    playing.join(20)
    talk.close()
    assert [kind for kind in talk.kinds(2) if kind in ("Transcript", "Interrupted", "TurnEnded")] == [
        "Transcript",
        "TurnEnded",
    ]
