"""/v1/audio: a recording as text, a text as sound, in OpenAI's form.

    POST /v1/audio/transcriptions    multipart/form-data: file, model, language, response_format
    POST /v1/audio/speech            {input, model, voice, response_format, speed, language}

Both work with what `pocketseek voice setup` installed. One of each runs at a time, others wait; nobody waits for a
client that reads slowly. A recording is kept
nowhere; it is in memory until its text is there.
"""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import TypeVar

from starlette.routing import Route

from pocketseek.apps.serve.endpoint import BodyLimit, Call, Endpoint
from pocketseek.apps.serve.services import ServeOptions
from pocketseek.apps.serve.upload import form_of
from pocketseek.apps.serve.voice.audio_forms import (
    MODELS_OF_SPEECH,
    MODELS_OF_TEXT,
    PCM_RATE,
    SpeechWish,
    TextWish,
    check_speech_model,
    speech_wish,
    text_wish,
    transcript_reply,
)
from pocketseek.apps.serve.voice.desk import VoiceDesk, voice_desk
from pocketseek.apps.serve.voice.sound_ahead import SoundAhead, send_in_time
from pocketseek.apps.voice.contract import SAMPLE_RATE
from pocketseek.apps.voice.session import language_of
from pocketseek.apps.voice.sound.recording import Transcription, speak, transcribe
from pocketseek.apps.voice.sound.sound_file import pcm16, sound_of
from pocketseek.errors import UsageError

_FIELDS = frozenset({"model", "language", "response_format", "prompt", "temperature", "stream"})
_FORM_BYTES = 100_000  # that a form may have around its file
_SLOWER = 4  # times longer than other bodies a recording may take to arrive
MOST_RECORDING_S = 3600.0
_UNKNOWN_SIZE = 0xFFFF_FFFF  # of a WAV file that is being made

T = TypeVar("T")


def audio_routes() -> list[Route]:
    api = AudioApi()
    return [
        Route("/v1/audio/transcriptions", Endpoint(api.transcribe, _recording), methods=["POST"]),
        Route("/v1/audio/speech", Endpoint(api.speak), methods=["POST"]),
    ]


class AudioApi:
    """The handlers, with what they share."""

    def __init__(self) -> None:
        self._listening, self._speaking = asyncio.Lock(), asyncio.Lock()
        self._threads = ThreadPoolExecutor(2, "pocketseek-audio")

    async def transcribe(self, call: Call) -> None:
        form = form_of(call.headers.get("content-type", ""), call.take_body(), _FIELDS)
        wish = text_wish(form.fields)
        check_speech_model(call.caller, wish.model, MODELS_OF_TEXT)
        desk = voice_desk(call.services.voice)
        call.services.log.question(call.caller, wish.model, b"")
        gone = threading.Event()
        async with self._listening:
            told = await self._in_thread(partial(_transcription, desk, form.data, form.name, wish, gone), gone)
        await call.reply(transcript_reply(told, wish))

    async def speak(self, call: Call) -> None:
        body = call.take_body()
        wish = speech_wish(body)
        check_speech_model(call.caller, wish.model, MODELS_OF_SPEECH)
        desk = voice_desk(call.services.voice)
        call.services.log.question(call.caller, wish.model, body)
        ahead = SoundAhead()
        making = asyncio.ensure_future(self._make(desk, wish, ahead))
        making.add_done_callback(lambda _: ahead.end())
        try:
            if not await ahead.begun():
                await making  # which says why
            await call.send(_start(ahead.kind))
            if await send_in_time(call.send, ahead):
                await making
                await call.send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            making.cancel()
            await asyncio.gather(making, return_exceptions=True)  # it gives back what it has

    async def _make(self, desk: VoiceDesk, wish: SpeechWish, ahead: SoundAhead) -> None:
        async with self._speaking:
            with ExitStack() as stack:
                try:
                    ahead.kind, ahead.bytes_per_s, pieces = await self._in_thread(lambda: _sound(desk, wish, stack))
                    async for piece in self._each(pieces):
                        await ahead.put(piece)
                finally:
                    await self._in_thread(stack.close)

    async def _each(self, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
        while (piece := await self._in_thread(lambda: next(pieces, None))) is not None:
            yield piece

    async def _in_thread(self, work: Callable[[], T], gone: threading.Event | None = None) -> T:
        """Who is cancelled waits for the end of the work: it uses what he gives back. gone: tells it to end early."""
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if gone is not None:
                gone.set()
            await asyncio.wait({future})
            raise


def _recording(options: ServeOptions) -> BodyLimit:
    return BodyLimit(options.max_audio_bytes + _FORM_BYTES, options.body_timeout_s * _SLOWER)


def _transcription(desk: VoiceDesk, data: bytes, name: str, wish: TextWish, gone: threading.Event) -> Transcription:
    samples = sound_of(data, f"the file {name[:80]!r}", MOST_RECORDING_S).at(SAMPLE_RATE)
    with desk.recogniser(wish.language) as recogniser:
        detector = desk.makers.detector()
        return transcribe(
            samples, recogniser, detector, wish.language, most_s=wish.most_s, is_wanted=lambda: not gone.is_set()
        )


def _sound(desk: VoiceDesk, wish: SpeechWish, stack: ExitStack) -> tuple[str, int, Iterator[bytes]]:
    """The media type, the bytes of a second, and the bytes; the first of them are made already."""
    language = wish.language or language_of(wish.text)
    synthesiser = stack.enter_context(desk.synthesiser(language))
    rate = PCM_RATE if wish.format == "pcm" else None
    parts = desk.makers.style.shape.parts(wish.text, language)
    samples = speak(iter(parts), synthesiser, speed=wish.speed, sample_rate=rate)
    stack.callback(samples.close)
    pieces = (pcm16(piece).tobytes() for piece in samples if len(piece))
    if (first := next(pieces, None)) is None:
        raise UsageError("nothing of this text can be spoken; send words")
    head = b"" if rate else _wav_head(synthesiser.sample_rate)
    kind = f"audio/pcm;rate={rate};channels=1" if rate else "audio/wav"
    return kind, 2 * (rate or synthesiser.sample_rate), _joined(head + first, pieces)


def _joined(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from pieces


def _wav_head(sample_rate: int) -> bytes:
    """Of a file whose length is not known yet."""
    form = struct.pack("<HHIIHH", 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    return (
        struct.pack("<4sI4s4sI", b"RIFF", _UNKNOWN_SIZE, b"WAVE", b"fmt ", len(form))
        + form
        + struct.pack("<4sI", b"data", _UNKNOWN_SIZE)
    )


def _start(kind: str) -> dict[str, object]:
    headers = [(b"content-type", kind.encode()), (b"cache-control", b"no-store")]
    return {"type": "http.response.start", "status": 200, "headers": headers}
