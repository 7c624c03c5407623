"""What happens in a voice session, as frozen values in the order in which it happens.

`at_s` is when it happened, in seconds on the session's clock (which starts with the session at 0). A turn is
SpeechStarted, PartialTranscript*, SpeechEnded, Transcript, then AnswerText, SpokenClause and AnswerAudio mixed, and
ends with TurnEnded (all of its audio is there) or TurnFailed. A turn without words (a cough) is SpeechStarted,
SpeechEnded, Transcript with an empty text, TurnEnded. Interrupted comes when an answer is broken off, before its
TurnEnded or, while it is still being played, after it; nothing of that turn but its TurnEnded comes later. NotKept may
come at any time after those.
"""

from __future__ import annotations

from dataclasses import dataclass

from pocketseek.apps.voice.contract import Samples


@dataclass(frozen=True)
class TurnTimings:
    """When the stages of a turn were reached, on the session's clock; None: it did not come to that.

    speech_start_s, speech_end_s: by the audio itself. endpoint_s: when the end was decided. transcript_s: when the
    text was ready. first_token_s: first piece of the model's answer, reasoning included. first_clause_s: when the
    first clause went to the synthesiser. first_audio_s: when its first sound could be heard. answer_s: last token.
    end_s: all of it was spoken. An answer may be begun before the end of speech is certain (first_token_s before
    endpoint_s); nothing of it is heard before. tokens: of the answer; cached_tokens: of its prompt, those that were
    computed before it was asked; warmed_tokens: the length of the last prompt computed on a partial transcript.
    """

    speech_start_s: float | None = None
    speech_end_s: float | None = None
    endpoint_s: float | None = None
    transcript_s: float | None = None
    first_token_s: float | None = None
    first_clause_s: float | None = None
    first_audio_s: float | None = None
    answer_s: float | None = None
    end_s: float | None = None
    tokens: int = 0
    cached_tokens: int = 0
    warmed_tokens: int = 0


@dataclass(frozen=True)
class SpeechStarted:
    """start_s: when the speech began by the audio; at_s: when that was noticed."""

    at_s: float
    turn: int
    start_s: float


@dataclass(frozen=True)
class PartialTranscript:
    """All of the turn's text so far; replaces the one before."""

    at_s: float
    turn: int
    text: str


@dataclass(frozen=True)
class SpeechEnded:
    """speech_end_s: when the speech ended by the audio; at_s: when that was decided."""

    at_s: float
    turn: int
    speech_end_s: float


@dataclass(frozen=True)
class Transcript:
    at_s: float
    turn: int
    text: str
    language: str


@dataclass(frozen=True)
class AnswerText:
    """What the model wrote, piece by piece, without reasoning."""

    at_s: float
    turn: int
    text: str


@dataclass(frozen=True)
class SpokenClause:
    """What is spoken from here on, as it is read out; its AnswerAudio pieces follow."""

    at_s: float
    turn: int
    text: str


@dataclass(frozen=True)
class AnswerAudio:
    at_s: float
    turn: int
    samples: Samples
    sample_rate: int


@dataclass(frozen=True)
class Interrupted:
    """The answer was broken off: play nothing more of this turn. heard_text: what was heard of it, as far as known."""

    at_s: float
    turn: int
    heard_text: str


@dataclass(frozen=True)
class TurnEnded:
    at_s: float
    turn: int
    timings: TurnTimings


@dataclass(frozen=True)
class TurnFailed:
    """message: one line. The session goes on; the turn counts as not spoken."""

    at_s: float
    turn: int
    message: str


@dataclass(frozen=True)
class NotKept:
    """What was asked and heard in this turn is not part of the conversation: it could not be stored. message: one line,
    why."""

    at_s: float
    turn: int
    message: str


@dataclass(frozen=True)
class NoiseChanged:
    """is_noisy: what was taken for speech had no words for a while, so only what is louder counts now; or all of it
    again. turn: the last one."""

    at_s: float
    turn: int
    is_noisy: bool


VoiceEvent = (
    SpeechStarted
    | PartialTranscript
    | SpeechEnded
    | Transcript
    | AnswerText
    | SpokenClause
    | AnswerAudio
    | Interrupted
    | TurnEnded
    | TurnFailed
    | NotKept
    | NoiseChanged
)
