"""What travels over the WebSocket of a voice session.

    up     binary   PCM, 16-bit little-endian, mono, 16,000 samples a second; at most MOST_FRAME_BYTES
           text     {"type": "press" | "release" | "interrupt" | "here" | "end"}, {"type": "played", "turn", "seconds"}
    down   text     {"type": ...} with the fields of the event (apps/voice/events.py), see docs/serve-api.md
           binary   PCM, 16-bit little-endian, mono, of the turn and at the rate of the "audio" before it

Whoever sends something else, or faster than anybody speaks, is told why in the close reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from pocketseek.apps.voice.contract import SAMPLE_RATE
from pocketseek.apps.voice.events import (
    AnswerAudio,
    AnswerText,
    Interrupted,
    NoiseChanged,
    NotKept,
    PartialTranscript,
    SpeechEnded,
    SpeechStarted,
    SpokenClause,
    Transcript,
    TurnEnded,
    TurnFailed,
    VoiceEvent,
)
from pocketseek.apps.voice.sound.sound_file import pcm16

_BYTES_PER_SAMPLE = 2
MOST_FRAME_BYTES = SAMPLE_RATE * _BYTES_PER_SAMPLE
"""A second of speech."""
UNSUPPORTED, WRONG_DATA, REFUSED, TOO_BIG, FAILED, TRY_LATER = 1003, 1007, 1008, 1009, 1011, 1013
"""Close codes of RFC 6455."""

_MOST_TEXT_BYTES = 1000
_SENT_BYTES = 1 << 15
_MOST_REASON_BYTES = 123
_CUT = "..."
_AHEAD_S = 20.0  # of audio that may come at once, after the network was slow
_DRIFT = 1.05  # microphones have clocks of their own
_MOST_MESSAGES_PER_S = 50.0
_NAMES: dict[type[VoiceEvent], str] = {
    SpeechStarted: "speech_started",
    PartialTranscript: "partial",
    SpeechEnded: "speech_ended",
    Transcript: "transcript",
    AnswerText: "answer",
    SpokenClause: "clause",
    Interrupted: "interrupted",
    TurnEnded: "turn_ended",
    TurnFailed: "turn_failed",
    NotKept: "not_kept",
    NoiseChanged: "noise",
}


class CloseError(Exception):
    """The session ends, with this for the client."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = cut_reason(reason)


class Order(Struct):
    """What a client says in words. turn, seconds: how much of that turn's sound was heard."""

    type: Literal["press", "release", "interrupt", "here", "end", "played"]
    turn: Annotated[int, Meta(ge=0)] = 0
    seconds: Annotated[float, Meta(ge=0, le=86_400)] = 0.0


class Intake:
    """What a client sends, checked: size, form, and pace."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._audio = _Bucket(_AHEAD_S, _DRIFT, clock)
        self._words = _Bucket(_MOST_MESSAGES_PER_S * 2, _MOST_MESSAGES_PER_S, clock)
        self._frames = _Bucket(_MOST_MESSAGES_PER_S * 20, _MOST_MESSAGES_PER_S * 4, clock)

    def audio(self, data: bytes) -> bytes:
        """Raises CloseError."""
        if len(data) > MOST_FRAME_BYTES:
            raise CloseError(TOO_BIG, f"a frame of audio has at most {MOST_FRAME_BYTES} bytes; send shorter ones")
        if len(data) % _BYTES_PER_SAMPLE:
            raise CloseError(WRONG_DATA, "half a sample; send 16-bit PCM, little-endian, mono, 16,000 a second")
        if not self._frames.take(1.0):
            raise CloseError(REFUSED, "too many frames; send 20 to 1000 ms of audio in each")
        if not self._audio.take(len(data) / _BYTES_PER_SAMPLE / SAMPLE_RATE):
            raise CloseError(REFUSED, "audio comes faster than it is spoken; send 16,000 samples a second, mono")
        return data

    def order(self, text: str) -> Order:
        """Raises CloseError."""
        if not self._words.take(1.0):
            raise CloseError(REFUSED, f"more than {_MOST_MESSAGES_PER_S:.0f} messages a second; send fewer")
        if len(text) > _MOST_TEXT_BYTES:
            raise CloseError(TOO_BIG, f"a message has at most {_MOST_TEXT_BYTES} characters; audio goes as binary")
        try:
            return msgspec.json.decode(text, type=Order)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise CloseError(UNSUPPORTED, f"this message is not understood ({error}); see docs/serve-api.md") from error


class Outlet:
    """What a client is sent of an event, in one piece or several."""

    def __init__(self) -> None:
        self._announced: tuple[int, int] | None = None

    def frames(self, event: VoiceEvent) -> Iterator[str | bytes]:
        if not isinstance(event, AnswerAudio):
            yield text_frame({"type": _NAMES[type(event)], **asdict(event)})
            return
        if self._announced != (event.turn, event.sample_rate):
            self._announced = event.turn, event.sample_rate
            yield text_frame({"type": "audio", "turn": event.turn, "sample_rate": event.sample_rate})
        data = pcm16(event.samples).tobytes()
        for start in range(0, len(data), _SENT_BYTES):
            yield data[start : start + _SENT_BYTES]


def text_frame(value: object) -> str:
    return msgspec.json.encode(value).decode()


def cut_reason(text: str) -> str:
    """A close reason has 123 bytes of UTF-8. What is too long loses the end of the problem, not the remedy."""
    problem, mark, remedy = " ".join(text.split()).rpartition("; ")
    end = f"{_CUT}{mark}{remedy}".encode("utf-8", "replace")
    whole = f"{problem}{mark}{remedy}".encode("utf-8", "replace")
    if len(whole) <= _MOST_REASON_BYTES:
        return whole.decode()
    if not problem or len(end) > _MOST_REASON_BYTES // 2:
        return whole[:_MOST_REASON_BYTES].decode("utf-8", "ignore")
    begin = problem.encode("utf-8", "replace")[: _MOST_REASON_BYTES - len(end)]
    return begin.decode("utf-8", "ignore") + end.decode()


class _Bucket:
    """Lets `rate` a second through, and `most` at once after a pause."""

    def __init__(self, most: float, rate: float, clock: Callable[[], float]) -> None:
        self._most = self._level = most
        self._rate = rate
        self._clock = clock
        self._seen_s = clock()

    def take(self, amount: float) -> bool:
        now_s = self._clock()
        self._level = min(self._most, self._level + (now_s - self._seen_s) * self._rate)
        self._seen_s = now_s
        if amount > self._level:
            return False
        self._level -= amount
        return True
