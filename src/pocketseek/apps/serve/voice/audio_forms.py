"""What the calls of /v1/audio are asked for and how they answer, in OpenAI's form."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from starlette.responses import PlainTextResponse, Response

from pocketseek.apps.serve.access import Caller
from pocketseek.apps.serve.bodies import SpeechBody, parse_body
from pocketseek.apps.serve.limits import check_model
from pocketseek.apps.serve.replies import RefusedError, json_reply
from pocketseek.apps.voice.session import language_of
from pocketseek.apps.voice.sound.recording import Segment, Transcription
from pocketseek.apps.voice.stretches import WHISPER_S
from pocketseek.errors import NotFoundError

TextFormat = Literal["json", "text", "verbose_json", "srt", "vtt"]
SoundFormat = Literal["wav", "pcm"]
PCM_RATE = 24_000
"""Of response_format pcm, as OpenAI has it."""
_SUBTITLE_S = 7.0
MODELS_OF_TEXT = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")
MODELS_OF_SPEECH = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
"""Names that clients have in them. A token that is for some models has to be for one of these, too, to be used here."""
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})?")
_VOICES = frozenset(
    {"default", "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer"}
)
"""Those that clients have in them; all of them are the one that is installed."""


@dataclass(frozen=True)
class TextWish:
    """language: "zh" and so on, None: found out. model: as the client calls it."""

    model: str
    language: str | None
    format: TextFormat

    @property
    def most_s(self) -> float:
        """Of a segment: short where its times matter."""
        return WHISPER_S if self.format in ("json", "text") else _SUBTITLE_S


@dataclass(frozen=True)
class SpeechWish:
    text: str
    model: str
    format: SoundFormat
    speed: float
    language: str | None


def text_wish(fields: Mapping[str, str]) -> TextWish:
    """Raises RefusedError."""
    if fields.get("stream", "false").lower() == "true":
        raise _refused("stream", "a transcription comes whole; leave stream out")
    wanted = fields.get("response_format", "json")
    for known in get_args(TextFormat):
        if known == wanted:
            return TextWish(fields.get("model", ""), _language(fields.get("language")), known)
    raise _refused("response_format", f"{wanted[:40]!r} is not served here; use {', '.join(get_args(TextFormat))}")


def speech_wish(data: bytes) -> SpeechWish:
    """Raises RefusedError."""
    body = parse_body(data, SpeechBody)
    if not body.input.strip():
        raise _refused("input", "the text is empty; send one")
    if body.stream_format == "sse":
        raise _refused("stream_format", "events are not served here; leave it out, the sound comes as it is made")
    voice = body.voice if isinstance(body.voice, str) else (body.voice or {}).get("id", "default")
    if voice not in _VOICES:
        raise _refused("voice", f"the voice {voice[:40]!r} is not installed here; use 'default'")
    language = _language(body.language)
    return SpeechWish(body.input, body.model, body.response_format or "wav", body.speed or 1.0, language)


def transcript_reply(told: Transcription, wish: TextWish) -> Response:
    language = wish.language or language_of(told.text)
    render: Mapping[TextFormat, Callable[[], Response]] = {
        "json": lambda: json_reply(
            {"text": told.text, "usage": {"type": "duration", "seconds": round(told.duration_s)}}
        ),
        "text": lambda: PlainTextResponse(told.text + "\n"),
        "verbose_json": lambda: json_reply(_verbose(told, language)),
        "srt": lambda: PlainTextResponse(_srt(told), media_type="application/x-subrip"),
        "vtt": lambda: PlainTextResponse(_vtt(told), media_type="text/vtt"),
    }
    return render[wish.format]()


def _verbose(told: Transcription, language: str) -> dict[str, object]:
    segments = [
        {"id": number, "start": round(one.start_s, 2), "end": round(one.end_s, 2), "text": one.text}
        for number, one in enumerate(told.segments)
    ]
    return {
        "task": "transcribe",
        "language": language,
        "duration": round(told.duration_s, 2),
        "text": told.text,
        "segments": segments,
    }


def _srt(told: Transcription) -> str:
    return "".join(f"{number}\n{_cue(one, ',')}\n{one.text}\n\n" for number, one in enumerate(told.segments, 1))


def _vtt(told: Transcription) -> str:
    """Text in a cue is marked up; a stray < or & would be read as that."""
    cues = (f"{_cue(one, '.')}\n{_escaped(one.text)}\n\n" for one in told.segments)
    return "WEBVTT\n\n" + "".join(cues)


def _cue(segment: Segment, point: str) -> str:
    return f"{_time(segment.start_s, point)} --> {_time(segment.end_s, point)}"


def _time(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{point}{rest % 1000:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def check_speech_model(caller: Caller, name: str, models: tuple[str, ...]) -> None:
    """Raises RefusedError (403), NotFoundError. models: those that clients may name."""
    check_model(caller, name)
    if name not in models:
        raise NotFoundError(f"there is no speech model {name[:40]!r} here; use {models[0]}, which is what is installed")


def _language(text: str | None) -> str | None:
    if text is None or not text:
        return None
    if not _LANGUAGE.fullmatch(text):
        raise _refused("language", f"{text[:40]!r} is no language; send its two letters, such as en or zh")
    return text.partition("-")[0]


def _refused(param: str, message: str) -> RefusedError:
    return RefusedError(400, message, code="invalid_value", param=param)
