"""Where a spoken conversation in the terminal gets its sound from: files, a microphone, or Android's own recognition.

A source runs in a thread of its own and feeds the session until it ends or is closed. A microphone that goes away is
waited for a while; a sound file is played as fast as it was spoken, and waits while an answer is made, so that each
question in it gets its answer.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from pocketseek.apps.voice.contract import SAMPLE_RATE, Samples
from pocketseek.apps.voice.engines.asr_termux import Dictation
from pocketseek.apps.voice.events import SpeechEnded, TurnEnded, TurnFailed, VoiceEvent
from pocketseek.apps.voice.session import VoiceSession
from pocketseek.apps.voice.sound.devices import Microphone, open_microphone
from pocketseek.cli.console import note
from pocketseek.cli.messages import Words
from pocketseek.cli.voice import voice_messages
from pocketseek.errors import VoiceError

_BLOCK_S = 0.032
_TICK_S = 0.1
_TRIES = 5
_RETRY_S = 1.0
_REMEMBERED = 64
_MOST_BACKLOG_S = 2.0  # of a file's sound, where noticing speech takes longer than the sound itself
_QUIET_S = 2.0  # of silence after a file, in which its last speech is noticed to be over


class Source(Protocol):
    @property
    def name(self) -> str: ...

    def run(self, session: VoiceSession) -> None: ...

    def see(self, event: VoiceEvent) -> None: ...

    def close(self) -> None: ...


def open_source(
    recorded: Sequence[Samples], microphone: str | None, words: Words, *, push_to_talk: bool, by_android: bool
) -> Source:
    """recorded: to be played. by_android: its own recognition listens. Raises VoiceError without a device."""
    if recorded:
        return _Files(recorded)
    if by_android:
        return _Spoken(Dictation())
    return _Live(open_microphone(microphone), microphone, words, has_button=push_to_talk)


class _OpenTurns:
    """Which turns have been asked and not answered."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._turns: set[int] = set()
        self._over: deque[int] = deque(maxlen=_REMEMBERED)  # a turn that failed while they spoke is not asked
        self.is_closed = False

    def see(self, event: VoiceEvent) -> None:
        with self._changed:
            if isinstance(event, SpeechEnded) and event.turn not in self._over:
                self._turns.add(event.turn)
            elif isinstance(event, TurnEnded | TurnFailed):
                self._turns.discard(event.turn)
                self._over.append(event.turn)
            self._changed.notify_all()

    def are_there(self, session: VoiceSession) -> bool:
        return bool(self._turns) or session.is_answering

    def wait(self, session: VoiceSession) -> None:
        """Until what was asked is answered, and heard."""
        with self._changed:
            while self.are_there(session) and not self.is_closed:
                self._changed.wait(_TICK_S)

    def close(self) -> None:
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()


class _Files:
    """Files one after the other, with silence between them."""

    name = "--wav"

    def __init__(self, sounds: Sequence[Samples]) -> None:
        self._sounds = sounds
        self._turns = _OpenTurns()

    def run(self, session: VoiceSession) -> None:
        for sound in self._sounds:
            self._play(session, np.concatenate([sound, _silence(_QUIET_S)]))
            self._until_answered(session)

    def see(self, event: VoiceEvent) -> None:
        self._turns.see(event)

    def close(self) -> None:
        self._turns.close()

    def _until_answered(self, session: VoiceSession) -> None:
        """What was played may still wait to be listened to; whether there is a question in it is known only then."""
        while (session.backlog_s > 0 or session.has_open_turn) and not self._turns.is_closed:
            time.sleep(_TICK_S)
        self._turns.wait(session)

    def _play(self, session: VoiceSession, sound: Samples) -> None:
        size = int(_BLOCK_S * SAMPLE_RATE)
        due_s = time.monotonic()
        for start in range(0, len(sound), size):
            if self._turns.is_closed:
                return
            if self._turns.are_there(session):
                self._turns.wait(session)
                due_s = time.monotonic()
            while session.backlog_s > _MOST_BACKLOG_S and not self._turns.is_closed:
                time.sleep(_BLOCK_S)
                due_s = time.monotonic()
            session.feed(sound[start : start + size])
            due_s += _BLOCK_S
            time.sleep(max(0.0, due_s - time.monotonic()))


def _silence(seconds: float) -> Samples:
    return np.zeros(int(seconds * SAMPLE_RATE), np.float32)


class _Spoken:
    """Android listens, whenever nothing is spoken."""

    def __init__(self, dictation: Dictation) -> None:
        self.name = dictation.name
        self._dictation = dictation
        self._turns = _OpenTurns()

    def run(self, session: VoiceSession) -> None:
        for text in self._dictation:
            if text:
                session.ask(text)
                self._turns.wait(session)

    def see(self, event: VoiceEvent) -> None:
        self._turns.see(event)

    def close(self) -> None:
        self._turns.close()
        self._dictation.close()


class _Live:
    """Opens the device again when it went away: a headset that lost its connection comes back in a moment."""

    def __init__(self, microphone: Microphone, device: str | None, words: Words, *, has_button: bool) -> None:
        self.name = microphone.name
        self._microphone = microphone
        self._device = device
        self._words = words
        self._is_closed = False
        self._has_button = has_button

    def run(self, session: VoiceSession) -> None:
        if self._has_button:
            threading.Thread(target=self._watch_button, args=(session,), name="voice-button", daemon=True).start()
        while not self._is_closed:
            try:
                for samples in self._microphone:
                    session.feed(samples)
            except VoiceError as error:
                session.feed(_silence(_QUIET_S))  # what was being said ends here, whatever is said next
                self._reopen(error)
            else:
                return

    def see(self, event: VoiceEvent) -> None:
        pass

    def close(self) -> None:
        self._is_closed = True
        self._microphone.close()

    def _reopen(self, error: VoiceError) -> None:
        self._microphone.close()
        note(self._words(voice_messages.DEVICE_AWAY, problem=str(error).partition(";")[0]))
        for attempt in range(_TRIES):
            time.sleep(_RETRY_S)
            if self._is_closed:
                return
            try:
                self._microphone = open_microphone(self._device)
            except VoiceError:
                if attempt == _TRIES - 1:
                    raise error from None
            else:
                note(self._words(voice_messages.DEVICE_BACK))
                return

    def _watch_button(self, session: VoiceSession) -> None:
        """Enter begins and ends; the end of standard input is the end of all."""
        is_pressed = False
        while sys.stdin.readline():
            is_pressed = not is_pressed
            (session.press if is_pressed else session.release)()
        session.close()
