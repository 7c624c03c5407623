"""What a source of sound remembers of turns."""

import threading

import numpy as np
from voice_parts import LoudnessDetector, session_of, silence, speech
from voice_talk import Talk, wait_for

from pocketseek.apps.voice.contract import SAMPLE_RATE, Samples
from pocketseek.apps.voice.events import SpeechEnded, TurnEnded, TurnFailed, TurnTimings
from pocketseek.cli.messages import Words
from pocketseek.cli.voice_sources import _OpenTurns, open_source


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
