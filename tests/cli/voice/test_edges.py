"""What the edge does when its source of sound fails."""

import threading

import pytest

from pocketseek.apps.voice.events import VoiceEvent
from pocketseek.apps.voice.session import VoiceSession
from pocketseek.cli.voice.edges import _Terminal
from pocketseek.errors import VoiceError


class BrokenSource:
    name = "broken"

    def run(self, session: VoiceSession) -> None:
        raise RuntimeError("driver\nlost")

    def see(self, event: VoiceEvent) -> None:
        pass

    def close(self) -> None:
        pass


class NoSink:
    name = "none"

    def see(self, event: VoiceEvent) -> None:
        pass

    def played_s(self) -> float:
        return 0.0

    def close(self) -> None:
        pass


class Session:
    is_answering = False

    def __init__(self) -> None:
        self.is_closed = threading.Event()

    def close(self) -> None:
        self.is_closed.set()


def test_a_source_that_fails_in_any_way_ends_the_conversation_with_one_line() -> None:
    terminal, session = _Terminal(BrokenSource(), NoSink(), None), Session()
    terminal.begin(session)  # type: ignore[arg-type]  # as much of a session as a terminal asks for
    assert session.is_closed.wait(10)
    with pytest.raises(VoiceError, match=r"driver lost\); start it again"):
        terminal.end()


class WaitingSource(BrokenSource):
    def __init__(self) -> None:
        self._is_over = threading.Event()

    def run(self, session: VoiceSession) -> None:
        self._is_over.wait(20)

    def close(self) -> None:
        self._is_over.set()


class LostSink(NoSink):
    def played_s(self) -> float:
        raise VoiceError("the loudspeaker stopped; check it and start again")


class Answering(Session):
    is_answering = True

    def played(self, seconds: float) -> None:
        pass


def test_a_loudspeaker_that_goes_away_while_the_last_sound_is_played_ends_the_conversation_with_one_line() -> None:
    terminal, session = _Terminal(WaitingSource(), LostSink(), None), Answering()
    terminal.begin(session)  # type: ignore[arg-type]  # as much of a session as a terminal asks for
    assert session.is_closed.wait(10)
    with pytest.raises(VoiceError, match="the loudspeaker stopped"):
        terminal.end()
