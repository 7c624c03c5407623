"""Somebody who talks with a session: says things, and waits for what it tells."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from voice_parts import session_of

from pocketseek.apps.voice.contract import Samples
from pocketseek.apps.voice.events import VoiceEvent
from pocketseek.apps.voice.session import VoiceSession
from pocketseek.errors import VoiceError


class Talk:
    """Reads the events of a session in a thread of its own; `until` waits for one."""

    def __init__(self, session: VoiceSession) -> None:
        self.session = session
        self.events: list[VoiceEvent] = []
        self.error: Exception | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for event in self.session.events():
                with self._changed:
                    self.events.append(event)
                    self._changed.notify_all()
        except VoiceError as error:
            self.error = error

    def until(self, kind: type, turn: int = 1) -> VoiceEvent:
        def found() -> VoiceEvent | None:
            return next((event for event in self.events if isinstance(event, kind) and event.turn == turn), None)

        with self._changed:
            assert self._changed.wait_for(lambda: found() is not None, 20), [type(event) for event in self.events]
            event = found()
        assert event is not None
        return event

    def say(self, *pieces: Samples) -> None:
        for piece in pieces:
            for start in range(0, len(piece), 512):
                self.session.feed(piece[start : start + 512])

    def kinds(self, turn: int = 1) -> list[str]:
        """Without repetitions of a kind."""
        names = [type(event).__name__ for event in self.events if event.turn == turn]
        return [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]

    def kinds_and_turns(self) -> list[tuple[str, int]]:
        return [(type(event).__name__, event.turn) for event in self.events]

    def close(self) -> None:
        self.session.close()
        self._thread.join(10)


Start = Callable[..., Talk]


def talks() -> Iterator[Start]:
    """For a fixture: all that were begun are closed at the end."""
    begun: list[Talk] = []

    def begin(**parts: object) -> Talk:
        begun.append(Talk(session_of(**parts)))  # type: ignore[arg-type]
        return begun[-1]

    yield begin
    for talk in begun:
        talk.close()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
