"""What a session tells its one reader, in order, with a bound on the sound in it.

Only who makes sound ever waits for the reader; everybody else puts and goes on, so that listening never stands still
because of a slow loudspeaker or network.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from threading import Condition

from pocketseek.apps.voice.events import AnswerAudio, SpeechStarted, TurnEnded, TurnFailed, VoiceEvent

MOST_SOUND_S = 30.0
_LOOK_S = 0.1  # how often who waits looks whether it is still wanted


class EventQueue:
    """`put` and the like from any thread; one reader."""

    def __init__(self, most_sound_s: float = MOST_SOUND_S) -> None:
        self._most_sound_s = most_sound_s
        self._changed = Condition()
        self._events: deque[VoiceEvent] = deque()
        self._sound_s = 0.0
        self._open_turns: set[int] = set()
        self._error: Exception | None = None
        self._is_closed = False

    def put(self, event: VoiceEvent) -> None:
        with self._changed:
            if not self._is_closed:
                self._events.append(event)
                self._sound_s += _sound_s(event)
                if isinstance(event, SpeechStarted):
                    self._open_turns.add(event.turn)
                elif isinstance(event, TurnEnded | TurnFailed):
                    self._open_turns.discard(event.turn)
                self._changed.notify_all()

    @property
    def has_open_turn(self) -> bool:
        """One began, and its end was not put here; whether anybody read that does not matter."""
        return bool(self._open_turns)

    def wait_for_room(self, is_wanted: Callable[[], bool]) -> None:
        """Until there is room for more sound, nobody reads any more, or is_wanted says no."""
        with self._changed:
            while self._sound_s > self._most_sound_s and not self._is_closed and is_wanted():
                self._changed.wait(_LOOK_S)

    def drop_sound(self, turn: int) -> None:
        """What was not read yet of a turn's sound is not wanted any more."""
        with self._changed:
            kept = [event for event in self._events if not (isinstance(event, AnswerAudio) and event.turn == turn)]
            self._events = deque(kept)
            self._sound_s = sum(map(_sound_s, kept))
            self._changed.notify_all()

    def close(self, error: Exception | None = None) -> None:
        """The reader gets what is there, then the error if there is one, then the end. The first call counts."""
        with self._changed:
            if not self._is_closed:
                self._is_closed, self._error = True, error
                self._changed.notify_all()

    def __iter__(self) -> Iterator[VoiceEvent]:
        while (event := self._next()) is not None:
            yield event

    def _next(self) -> VoiceEvent | None:
        with self._changed:
            while not self._events and not self._is_closed:
                self._changed.wait()
            if not self._events:
                error, self._error = self._error, None
                if error is not None:
                    raise error
                return None
            event = self._events.popleft()
            self._sound_s -= _sound_s(event)
            self._changed.notify_all()
            return event


def _sound_s(event: VoiceEvent) -> float:
    return len(event.samples) / event.sample_rate if isinstance(event, AnswerAudio) else 0.0
