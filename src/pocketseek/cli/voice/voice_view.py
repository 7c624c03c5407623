"""A spoken conversation as lines of text: live on a terminal, one line for each thing said elsewhere; or as JSON."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pocketseek.apps.voice.events import (
    AnswerAudio,
    AnswerText,
    Interrupted,
    NoiseChanged,
    NotKept,
    PartialTranscript,
    SpeechEnded,
    Transcript,
    TurnEnded,
    TurnFailed,
    TurnTimings,
)
from pocketseek.cli.console import end_in_a_line, note, print_text, safe_text
from pocketseek.cli.messages import Message, Words
from pocketseek.cli.voice import voice_messages

if TYPE_CHECKING:
    from pocketseek.apps.voice.events import VoiceEvent

_CLEAR_LINE = "\r\x1b[2K"
_DIM, _PLAIN = "\x1b[2m", "\x1b[22m"


class TurnView:
    """What was said by whom. On a terminal what was understood so far stands dimmed in the line that it ends up in."""

    def __init__(self, words: Words, *, timings: bool) -> None:
        self._words = words
        self._timings = timings
        self._is_live = sys.stdout.isatty()
        self._has_partial = False
        self._answer: list[str] = []

    def see(self, event: VoiceEvent) -> None:
        if isinstance(event, PartialTranscript):
            self._partial(event.text)
        elif isinstance(event, Transcript):
            self._clear()
            text = event.text or self._words(voice_messages.NOT_UNDERSTOOD)
            print_text(self._words(voice_messages.YOU, text=text))
        elif isinstance(event, AnswerText):
            self._answer.append(event.text)
        elif isinstance(event, Interrupted):
            self._tell_answer()
            print_text(self._words(voice_messages.INTERRUPTED))
        elif isinstance(event, TurnFailed):
            self._clear()
            self._answer.clear()
            note(self._words(voice_messages.FAILED, problem=event.message))
        elif isinstance(event, NoiseChanged):
            note(self._words(voice_messages.NOISY if event.is_noisy else voice_messages.QUIET_AGAIN))
        elif isinstance(event, NotKept):
            note(self._words(voice_messages.FAILED, problem=event.message))
        elif isinstance(event, TurnEnded):
            self._tell_answer()
            if self._timings:
                note(timing_line(self._words, event.timings))

    def end(self) -> None:
        self._clear()

    def _partial(self, text: str) -> None:
        if self._is_live:
            sys.stdout.write(f"{_CLEAR_LINE}{_DIM}{end_in_a_line(safe_text(text))}{_PLAIN}")
            sys.stdout.flush()
            self._has_partial = True

    def _clear(self) -> None:
        if self._has_partial:
            sys.stdout.write(_CLEAR_LINE)
            self._has_partial = False

    def _tell_answer(self) -> None:
        if text := " ".join("".join(self._answer).split()):
            self._clear()
            print_text(self._words(voice_messages.ANSWER, text=text))
        self._answer.clear()


def timing_line(words: Words, timings: TurnTimings) -> str:
    """Seconds since the end of the speech."""

    def since_end(moment_s: float | None) -> str:
        if moment_s is None or timings.speech_end_s is None:
            return words(voice_messages.NEVER)
        return words(voice_messages.SECONDS, seconds=moment_s - timings.speech_end_s)

    message: Message = voice_messages.TIMINGS
    return words(
        message,
        endpoint=since_end(timings.endpoint_s),
        transcript=since_end(timings.transcript_s),
        token=since_end(timings.first_token_s),
        audio=since_end(timings.first_audio_s),
    )


class JsonView:
    """All turns, told at the end."""

    def __init__(self) -> None:
        self._turns: dict[int, dict[str, Any]] = {}

    def see(self, event: VoiceEvent) -> None:
        turn = self._turns.setdefault(event.turn, {"turn": event.turn, "transcript": "", "answer": "", "audio_s": 0.0})
        if isinstance(event, Transcript):
            turn["transcript"], turn["language"] = event.text, event.language
        elif isinstance(event, AnswerText):
            turn["answer"] += event.text
        elif isinstance(event, AnswerAudio):
            turn["audio_s"] += len(event.samples) / event.sample_rate
        elif isinstance(event, SpeechEnded):
            turn["speech_end_s"] = event.speech_end_s
        elif isinstance(event, Interrupted):
            turn["heard"] = event.heard_text
        elif isinstance(event, TurnFailed):
            turn["problem"] = event.message
        elif isinstance(event, TurnEnded):
            turn["timings"] = asdict(event.timings)

    def end(self) -> None:
        pass

    def facts(self) -> dict[str, object]:
        return {"turns": list(self._turns.values())}
