"""Recordings as text and texts as sound: with the real `openai` client, and what is refused."""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openai
import pytest
from api_server import Served, serving
from fake_speech import SECONDS_PER_CHARACTER, SPOKEN_RATE, FakeSpeech, burst, silence

from pocketseek.apps.serve.services import ServeOptions
from pocketseek.apps.serve.voice.desk import VoiceDesk
from pocketseek.apps.voice.sound.sound_file import wav_bytes
from pocketseek.errors import VoiceError

SAID = ("It is <one> & two.", "Then three.", "The end.")


@pytest.fixture(scope="module")
def speech() -> FakeSpeech:
    return FakeSpeech()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, speech: FakeSpeech) -> Iterator[Served]:
    options = ServeOptions(max_audio_bytes=1_000_000)
    with serving(tmp_path_factory.mktemp("audio"), voice=VoiceDesk(speech.makers()), options=options) as server:
        yield server


@pytest.fixture
def client(served: Served, speech: FakeSpeech) -> Iterator[openai.OpenAI]:
    """Each test hears all of SAID."""
    speech.texts = SAID
    for recogniser in speech.recognisers:
        recogniser.texts = SAID
        recogniser.asked.clear()
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="anything", max_retries=0) as client:
        yield client


def recording(sample_rate: int = 16_000) -> bytes:
    """Speech from 1 s to 2 s and from 5 s to 6 s."""
    samples = np.concatenate([silence(1), burst(1.0), silence(3), burst(1.0), silence(1)])
    return wav_bytes(samples, sample_rate)


def test_a_recording_becomes_text(client: openai.OpenAI) -> None:
    answer = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", recording()))
    assert answer.text == "It is <one> & two. Then three."


def test_silence_becomes_no_words(client: openai.OpenAI) -> None:
    answer = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", wav_bytes(silence(2), 16_000)))
    assert answer.text == ""


def test_segments_have_the_times_of_the_recording(client: openai.OpenAI, speech: FakeSpeech) -> None:
    answer = client.audio.transcriptions.create(
        model="whisper-1", file=("a.wav", recording()), language="en", response_format="verbose_json"
    )
    assert speech.recognisers[-1].asked == ["en", "en"]
    assert answer.language == "en"
    assert answer.duration == 7
    assert answer.segments is not None
    first, second = answer.segments
    assert (first.text, second.text) == SAID[:2]
    assert first.start == pytest.approx(0.8, abs=0.15)
    assert first.end == pytest.approx(2.2, abs=0.15)
    assert second.start == pytest.approx(4.8, abs=0.15)


@pytest.mark.parametrize("sample_rate", [16_000, 48_000])
def test_the_rate_of_the_file_decides_about_its_times(client: openai.OpenAI, sample_rate: int) -> None:
    answer = client.audio.transcriptions.create(
        model="whisper-1", file=("a.wav", recording(sample_rate)), response_format="verbose_json"
    )
    assert answer.duration == pytest.approx(7 * 16_000 / sample_rate, abs=0.01)


def test_subtitles(client: openai.OpenAI) -> None:
    def text(kind: str) -> str:
        return str(
            client.audio.transcriptions.create(model="whisper-1", file=("a.wav", recording()), response_format=kind)  # type: ignore[call-overload]  # a Literal
        )

    lines = text("srt").split("\n")
    assert lines[0] == "1"
    assert lines[1].startswith("00:00:00,")
    assert " --> 00:00:02," in lines[1]
    assert lines[2] == SAID[0]


def test_text_in_a_web_subtitle_is_no_markup(client: openai.OpenAI) -> None:
    text = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", recording()), response_format="vtt")
    assert str(text).startswith("WEBVTT\n\n00:00:00.")
    assert "It is &lt;one&gt; &amp; two." in str(text)


def test_what_is_no_recording_is_refused_with_a_reason(client: openai.OpenAI) -> None:
    for data in (b"", b"RIFF", b"nothing at all", recording()[:40], b"\x00" * 5000):
        with pytest.raises((openai.UnprocessableEntityError, openai.BadRequestError), match=r"WAV|sound"):
            client.audio.transcriptions.create(model="whisper-1", file=("a.wav", data))


def test_a_format_or_language_that_is_not_served_is_refused(client: openai.OpenAI) -> None:
    file = ("a.wav", recording())
    with pytest.raises(openai.BadRequestError, match="diarized"):
        client.audio.transcriptions.create(model="whisper-1", file=file, response_format="diarized_json")
    with pytest.raises(openai.BadRequestError, match="language"):
        client.audio.transcriptions.create(model="whisper-1", file=file, language="Chinese!")
    with pytest.raises(openai.BadRequestError, match="stream"):
        client.audio.transcriptions.create(model="whisper-1", file=file, stream=True)
    with pytest.raises(openai.NotFoundError, match="whisper-1"):
        client.audio.transcriptions.create(model="fake", file=file)


def test_a_recording_that_is_too_large_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as error:
        client.audio.transcriptions.create(model="whisper-1", file=("a.wav", bytes(1_200_000)))
    assert error.value.status_code == 413


def test_a_form_without_a_file_is_refused(served: Served) -> None:
    reply = served.client.post("/v1/audio/transcriptions", data={"model": "whisper-1"}, files={"other": b""})
    assert reply.status_code == 400
    assert served.client.post("/v1/audio/transcriptions", json={"model": "whisper-1"}).status_code == 415


def samples_of(wav: bytes) -> int:
    with wave.open(io.BytesIO(wav)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, SPOKEN_RATE)
        return len(file.readframes(10**7)) // 2


def test_a_text_becomes_sound(client: openai.OpenAI, speech: FakeSpeech) -> None:
    text = "A sentence of some length."
    sound = client.audio.speech.create(model="tts-1", voice="alloy", input=text, response_format="wav").content
    assert samples_of(sound) == int(len(text) * SECONDS_PER_CHARACTER * SPOKEN_RATE)
    assert speech.synthesisers[-1].said[-1] == (text, "en")


def test_raw_sound_has_the_rate_that_clients_expect(client: openai.OpenAI) -> None:
    text = "A sentence of some length."
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input=text, response_format="pcm"
    ) as reply:
        assert reply.headers["content-type"] == "audio/pcm;rate=24000;channels=1"
        sound = reply.read()
    assert len(sound) / 2 / 24_000 == pytest.approx(len(text) * SECONDS_PER_CHARACTER, abs=0.01)


@pytest.mark.parametrize("speed", [0.5, 2.0])
def test_speech_may_be_faster_or_slower(client: openai.OpenAI, speed: float) -> None:
    text = "A sentence of some length."
    sound = client.audio.speech.create(
        model="tts-1", voice="alloy", input=text, response_format="wav", speed=speed
    ).content
    assert samples_of(sound) / SPOKEN_RATE == pytest.approx(len(text) * SECONDS_PER_CHARACTER / speed, rel=0.05)


def test_the_language_of_a_text_is_found_out(client: openai.OpenAI, speech: FakeSpeech) -> None:
    client.audio.speech.create(model="tts-1", voice="alloy", input="今天天气很好。", response_format="wav")
    assert speech.synthesisers[-1].said[-1][1] == "zh"


def test_sound_in_a_form_that_is_not_made_here_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="response_format"):
        client.audio.speech.create(model="tts-1", voice="alloy", input="x", response_format="mp3")
    with pytest.raises(openai.BadRequestError, match="voice"):
        client.audio.speech.create(model="tts-1", voice="somebody else", input="x")
    with pytest.raises(openai.BadRequestError, match="speed"):
        client.audio.speech.create(model="tts-1", voice="alloy", input="x", speed=9)
    with pytest.raises(openai.BadRequestError, match="empty"):
        client.audio.speech.create(model="tts-1", voice="alloy", input="  \n")
    with pytest.raises(openai.BadRequestError, match="input"):
        client.audio.speech.create(model="tts-1", voice="alloy", input="x" * 5000)


def test_who_does_not_read_keeps_nobody_else_from_speaking(served: Served) -> None:
    body = json.dumps({"model": "tts-1", "input": "a " * 2000}).encode()  # ten megabytes: more than any socket holds
    head = f"POST /v1/audio/speech HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
    with served.open_socket() as slow:
        slow.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
        assert slow.recv(12) == b"HTTP/1.1 200"
        reply = served.client.post("/v1/audio/speech", json={"model": "tts-1", "input": "Hello"}, timeout=10)
        assert samples_of(reply.content) > 0


def test_an_engine_that_is_missing_is_a_failure_with_its_remedy(tmp_path: Path) -> None:
    speech = FakeSpeech(error=VoiceError("no recogniser is installed; run `pocketseek voice setup`"))
    with serving(tmp_path, voice=VoiceDesk(speech.makers())) as served:
        reply = served.client.post(
            "/v1/audio/transcriptions", data={"model": "whisper-1"}, files={"file": ("a.wav", recording())}
        )
        assert reply.status_code == 503
        assert "voice setup" in reply.json()["error"]["message"]


def test_a_server_without_voice_says_how_to_get_it(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        reply = served.post("/v1/audio/speech", {"input": "x", "model": "tts-1"})
        assert reply.status_code == 422
        assert "voice setup" in reply.json()["error"]["message"]
