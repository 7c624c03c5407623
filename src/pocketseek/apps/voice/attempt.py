"""One try at answering what was said: its texts, its times, and how much of it was heard.

An attempt may be begun on a transcript that is not final. What happens in it is then held back until `release`; if more
was said, it is cancelled and nobody ever knew of it. Guarded by its own lock; every method from any thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from threading import Lock

from pocketseek.apps.voice.event_queue import EventQueue
from pocketseek.apps.voice.events import AnswerAudio, Interrupted, TurnEnded, TurnFailed, TurnTimings, VoiceEvent
from pocketseek.apps.voice.noise_gate import SpeechLevel


@dataclass
class _Clause:
    """raw: as the model wrote it. seconds: of its sound so far."""

    raw: str
    seconds: float = 0.0
    is_whole: bool = False


@dataclass
class _Played:
    """seconds were heard at at_s, and the rest goes on from there."""

    seconds: float
    at_s: float


@dataclass
class Marks:
    """Times on the session's clock as they become known; see TurnTimings."""

    speech_start_s: float | None = None
    speech_end_s: float | None = None
    endpoint_s: float | None = None
    transcript_s: float | None = None
    warmed_tokens: int = 0
    level: SpeechLevel | None = None


@dataclass
class Attempt:
    turn: int
    question: str
    language: str
    queue: EventQueue
    clock: Callable[[], float]
    marks: Marks
    _lock: Lock = field(default_factory=Lock)
    _held_back: list[VoiceEvent] = field(default_factory=list)
    _clauses: list[_Clause] = field(default_factory=list)
    _text: list[str] = field(default_factory=list)
    _timings: TurnTimings = field(default_factory=TurnTimings)
    _played: _Played | None = None
    _is_released: bool = False
    _is_interrupted: bool = False
    _is_ended: bool = False  # that was told, or it was cancelled before anybody knew of it
    _is_cancelled: bool = False
    _has_failed: bool = False
    _heard_when_interrupted: str = ""

    @property
    def is_cancelled(self) -> bool:
        """Nobody wants more of it."""
        return self._is_cancelled

    @property
    def is_released(self) -> bool:
        return self._is_released

    @property
    def has_failed(self) -> bool:
        return self._has_failed

    @property
    def held_sound_s(self) -> float:
        with self._lock:
            return sum(clause.seconds for clause in self._clauses) if not self._is_released else 0.0

    def put(self, event: VoiceEvent) -> None:
        """Tell it now, or once the attempt is released; never if it was cancelled."""
        with self._lock:
            if self._is_cancelled or self._is_ended or self._has_failed:
                return
            if self._is_released:
                self._tell(event)
            else:
                self._held_back.append(event)

    def release(self) -> None:
        """It is what was asked: tell what was held back, as happening now."""
        with self._lock:
            if self._is_released or self._is_cancelled:
                return
            self._is_released = True
            held, self._held_back = self._held_back, []
            now_s = self.clock()
            for event in held:
                self._tell(replace(event, at_s=now_s))

    def cancel(self) -> None:
        """More was said, or it failed before it was told."""
        with self._lock:
            self._is_cancelled = True
            self._is_ended = self._is_ended or not self._is_released
            self._held_back.clear()

    def add_text(self, text: str) -> None:
        with self._lock:
            self._text.append(text)

    def mark(self, **times: float | int) -> None:
        """Of the timings; a time that is set already stays."""
        with self._lock:
            new = {name: value for name, value in times.items() if not getattr(self._timings, name)}
            self._timings = replace(self._timings, **new)  # type: ignore[arg-type]  # each name has its own type

    def count(self, num_tokens: int) -> None:
        """Tokens of the answer so far."""
        with self._lock:
            self._timings = replace(self._timings, tokens=num_tokens)

    def begin_clause(self, raw: str) -> None:
        with self._lock:
            self._clauses.append(_Clause(raw))

    def add_sound(self, seconds: float) -> None:
        with self._lock:
            self._clauses[-1].seconds += seconds

    def end_clause(self) -> None:
        with self._lock:
            self._clauses[-1].is_whole = True

    def end(self) -> None:
        """All of it was made; tells TurnEnded once."""
        with self._lock:
            if self._is_ended or self._has_failed:
                return
            event = TurnEnded(self.clock(), self.turn, self._timings)
            if self._is_released:
                self._tell(event)
            else:
                self._held_back.append(event)

    def fail(self, message: str) -> None:
        """Tells TurnFailed, now or on release, in place of what was held back."""
        with self._lock:
            if self._is_ended or self._is_cancelled:
                return
            self._has_failed = True
            event = TurnFailed(self.clock(), self.turn, message)
            self._held_back = [event]
            if self._is_released:
                self._held_back = []
                self.queue.drop_sound(self.turn)
                self._tell(event)

    def played(self, seconds: float) -> None:
        with self._lock:
            self._played = _Played(max(0.0, seconds), self.clock())

    def is_sounding(self) -> bool:
        """Somebody hears it, or is about to."""
        with self._lock:
            return self._sounds()

    def interrupt(self) -> bool:
        """Break it off, if there is something to break off; tells what was heard."""
        with self._lock:
            if not self._sounds():
                return False
            self._heard_when_interrupted = self._heard_text()
            self._is_interrupted = self._is_cancelled = True
            self.queue.drop_sound(self.turn)
            self.queue.put(Interrupted(self.clock(), self.turn, self._heard_when_interrupted))
            return True

    def end_interrupted(self) -> None:
        """Whoever worked on it has stopped."""
        with self._lock:
            if self._is_interrupted and not self._is_ended:
                self._tell(TurnEnded(self.clock(), self.turn, self._timings))

    def heard_text(self) -> str:
        """What belongs into the conversation."""
        with self._lock:
            return self._heard_when_interrupted if self._is_interrupted else "".join(self._text).strip()

    # -- with the lock held ------------------------------------------------------------------------------------------

    def _sounds(self) -> bool:
        if self._is_interrupted or not self._is_released or self._is_cancelled:
            return False
        return not self._is_ended or self._heard_s() < self._sound_s()

    def _tell(self, event: VoiceEvent) -> None:
        if isinstance(event, TurnFailed):
            self._is_ended = self._is_cancelled = True
        elif isinstance(event, TurnEnded):
            self._is_ended = True
            event = TurnEnded(event.at_s, event.turn, self._finished_timings(event.at_s))
        elif isinstance(event, AnswerAudio) and self._timings.first_audio_s is None:
            self._played = _Played(0.0, event.at_s)
            self._timings = replace(self._timings, first_audio_s=event.at_s)
        self.queue.put(event)

    def _finished_timings(self, now_s: float) -> TurnTimings:
        marks = self.marks
        return replace(
            self._timings,
            speech_start_s=marks.speech_start_s,
            speech_end_s=marks.speech_end_s,
            endpoint_s=marks.endpoint_s,
            transcript_s=marks.transcript_s,
            warmed_tokens=marks.warmed_tokens,
            end_s=now_s,
        )

    def _sound_s(self) -> float:
        return sum(clause.seconds for clause in self._clauses)

    def _heard_s(self) -> float:
        if self._played is None:
            return 0.0
        return min(self._sound_s(), self._played.seconds + max(0.0, self.clock() - self._played.at_s))

    def _heard_text(self) -> str:
        """Whole clauses, and of the one that was cut its words in proportion."""
        left_s = self._heard_s()
        heard: list[str] = []
        for clause in self._clauses:
            if clause.is_whole and left_s >= clause.seconds:
                heard.append(clause.raw)
                left_s -= clause.seconds
                continue
            heard.append(_beginning(clause.raw, left_s / clause.seconds if clause.seconds else 0.0))
            break
        return _joined(heard)


def _beginning(text: str, share: float) -> str:
    """Whole words; of Chinese, whole characters."""
    end = int(len(text) * min(1.0, share))
    if end >= len(text):
        return text
    while end > 0 and text[end - 1].isascii() and not text[end - 1].isspace() and not text[end].isspace():
        end -= 1
    return text[:end].rstrip()


def _joined(clauses: list[str]) -> str:
    """With a space where a clause was cut off with its own taken away."""
    text = ""
    for clause in clauses:
        needs_space = text and clause and not text[-1].isspace() and not clause[0].isspace() and clause[0].isascii()
        text += (" " if needs_space else "") + clause
    return text.strip()
