"""Playing recorded speech into a voice session as a microphone would, and noting what happens when.

In real time every block of sound comes when it would have been spoken, and silence goes on until the answers are there;
then every time means what it says. Fast, sound is fed as quickly as it is worked off: texts, error rates and the work
of single stages are the same, but how long it took to notice the end of speech, and all times counted from it, are
shorter than anybody could hear, and are left out.

Each file is a conversation of its own. A pause in it may end a turn, and going on then interrupts the answer, as it
would for a person; the texts of its turns joined are the transcript of the file.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from pocketseek.apps.voice.bench.files import SpokenFile
from pocketseek.apps.voice.contract import SAMPLE_RATE, IsWanted, Samples, always
from pocketseek.apps.voice.events import (
    AnswerAudio,
    AnswerText,
    Interrupted,
    PartialTranscript,
    SpeechStarted,
    SpokenClause,
    Transcript,
    TurnEnded,
    TurnFailed,
    TurnTimings,
    VoiceEvent,
)
from pocketseek.apps.voice.session import VoiceSession
from pocketseek.errors import VoiceError
from pocketseek.types import TextEvent

_BLOCK_S = 0.02
_MOST_BACKLOG_S = 1.0  # when fast
_NOTHING_S = 3.0  # of silence after the file, if no speech was heard in it
_LONGEST_ANSWER_S = 120.0


@dataclass(frozen=True)
class SpokenSound:
    """A piece of the answer: when it was there, and how long it lasts."""

    at_s: float
    seconds: float


@dataclass(frozen=True)
class Turn:
    """speech_end_s: when the file fell silent, on the session's clock, if this is its last turn; else as noticed."""

    number: int
    transcript: str = ""
    language: str = ""
    answer: str = ""
    clauses: tuple[str, ...] = ()
    timings: TurnTimings = field(default_factory=TurnTimings)
    partials_s: tuple[float, ...] = ()
    sounds: tuple[SpokenSound, ...] = ()
    speech_end_s: float | None = None
    was_interrupted: bool = False
    failure: str | None = None


@dataclass(frozen=True)
class PlayedFile:
    file: SpokenFile
    turns: tuple[Turn, ...]

    @property
    def transcript(self) -> str:
        separator = "" if self.file.language == "zh" else " "
        return separator.join(turn.transcript for turn in self.turns if turn.transcript)


def play(session: VoiceSession, file: SpokenFile, *, fast: bool = False) -> PlayedFile:
    """Closes the session. Raises VoiceError if an answer takes for ever or listening fails."""
    notes = _Notes(session)
    try:
        began_s = session.now_s
        _feed(session, file.samples, fast=fast)
        _wait_for_answers(session, notes, fast=fast)
    finally:
        session.close()
        notes.join()
    if notes.error is not None:
        raise notes.error
    return PlayedFile(file, _turns(notes.events, began_s + file.speech_end_s, fast=fast))


class _Notes:
    """Reads a session's events in a thread of its own."""

    def __init__(self, session: VoiceSession) -> None:
        self._session = session
        self._changed = threading.Condition()
        self._started: set[int] = set()
        self._ended: set[int] = set()
        self.events: list[VoiceEvent] = []
        self.error: VoiceError | None = None
        self._is_over = False
        self._thread = threading.Thread(target=self._read, name="voice-bench", daemon=True)
        self._thread.start()

    @property
    def has_begun(self) -> bool:
        return bool(self._started)

    @property
    def is_over(self) -> bool:
        return self._is_over

    @property
    def is_done(self) -> bool:
        """All turns that began have ended."""
        with self._changed:
            return self._started <= self._ended

    def join(self) -> None:
        self._thread.join()

    def _read(self) -> None:
        try:
            for event in self._session.events():
                with self._changed:
                    self._note(event)
        except VoiceError as error:
            self.error = error
        self._is_over = True

    def _note(self, event: VoiceEvent) -> None:
        self.events.append(event)
        if isinstance(event, SpeechStarted):
            self._started.add(event.turn)
        elif isinstance(event, TurnEnded | TurnFailed):
            self._ended.add(event.turn)


def _feed(session: VoiceSession, samples: Samples, *, fast: bool) -> None:
    block = int(_BLOCK_S * SAMPLE_RATE)
    began_s = time.monotonic()
    for start in range(0, len(samples), block):
        if fast:
            _wait_while(lambda: session.backlog_s > _MOST_BACKLOG_S)
        else:  # a block is there when its last sample was spoken
            time.sleep(max(0.0, began_s + min(start + block, len(samples)) / SAMPLE_RATE - time.monotonic()))
        session.feed(samples[start : start + block])


def _wait_for_answers(session: VoiceSession, notes: _Notes, *, fast: bool) -> None:
    silence = np.zeros(int(_BLOCK_S * SAMPLE_RATE), np.float32)
    fed_s = 0.0
    began_s = time.monotonic()
    while not notes.is_over:
        if fed_s > _NOTHING_S and notes.is_done and (notes.has_begun or session.backlog_s == 0):
            return
        if time.monotonic() - began_s > _LONGEST_ANSWER_S:
            raise VoiceError(f"an answer took more than {_LONGEST_ANSWER_S:.0f} s; use a smaller model")
        if not fast or (fed_s <= _NOTHING_S and session.backlog_s <= _MOST_BACKLOG_S):
            session.feed(silence)
            fed_s += _BLOCK_S
        time.sleep(0.001 if fast and fed_s <= _NOTHING_S else _BLOCK_S)


def _wait_while(is_so: Callable[[], bool]) -> None:
    while is_so():
        time.sleep(0.002)


def _turns(events: list[VoiceEvent], file_end_s: float, *, fast: bool) -> tuple[Turn, ...]:
    numbers = sorted({event.turn for event in events})
    turns = [_turn(number, [event for event in events if event.turn == number]) for number in numbers]
    spoken = [turn for turn in turns if turn.transcript or turn.failure]
    if fast or not spoken:
        return tuple(spoken)
    return (*spoken[:-1], replace(spoken[-1], speech_end_s=file_end_s))


def _turn(number: int, events: list[VoiceEvent]) -> Turn:
    transcripts = [event for event in events if isinstance(event, Transcript)]
    timings = next((event.timings for event in events if isinstance(event, TurnEnded)), TurnTimings())
    return Turn(
        number,
        transcript=transcripts[-1].text if transcripts else "",
        language=transcripts[-1].language if transcripts else "",
        answer="".join(event.text for event in events if isinstance(event, AnswerText)).strip(),
        clauses=tuple(event.text for event in events if isinstance(event, SpokenClause)),
        timings=timings,
        partials_s=tuple(event.at_s for event in events if isinstance(event, PartialTranscript)),
        sounds=tuple(
            SpokenSound(event.at_s, len(event.samples) / event.sample_rate)
            for event in events
            if isinstance(event, AnswerAudio)
        ),
        speech_end_s=timings.speech_end_s,
        was_interrupted=any(isinstance(event, Interrupted) for event in events),
        failure=next((event.message for event in events if isinstance(event, TurnFailed)), None),
    )


class NoAnswers:
    """A `VoiceChat` that answers nothing, to see what is understood and nothing else."""

    def warm(self, text_so_far: str, is_wanted: IsWanted = always) -> int:
        return 0

    def answer(self, text: str, is_wanted: IsWanted = always) -> Iterator[TextEvent]:
        return iter(())

    def stop_unwanted(self) -> None:
        pass

    def keep(self, question: str, answer: str, turn: int = 0) -> None:
        pass
