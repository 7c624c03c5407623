"""A whole recording as text, a whole text as sound: what the calls of the API need, without a session."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from pocketseek.apps.voice.contract import SAMPLE_RATE, Recogniser, Samples, SpeechDetector, Synthesiser
from pocketseek.apps.voice.sound.resample import Resampler
from pocketseek.apps.voice.sound.sounds import stopping
from pocketseek.apps.voice.sound.tempo import Tempo
from pocketseek.apps.voice.stretches import WHISPER_S, Stretch, stretches

_FED_S = 1.0


@dataclass(frozen=True)
class Segment:
    """What was said in a stretch of the recording."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True)
class Transcription:
    duration_s: float
    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        return " ".join(segment.text for segment in self.segments)


def transcribe(
    samples: Samples,
    recogniser: Recogniser,
    detector: SpeechDetector,
    language: str | None,
    *,
    most_s: float = WHISPER_S,
    is_wanted: Callable[[], bool] = lambda: True,
) -> Transcription:
    """samples: 16 kHz. most_s: of a segment; shorter ones have finer times and less context. is_wanted: asked between
    segments; when it says no, what there is comes back."""
    segments = []
    for stretch in stretches(samples, detector, most_s=most_s, apart_s=most_s / 14):
        if not is_wanted():
            break
        if text := _text_of(stretch, samples, recogniser, language):
            segments.append(Segment(stretch.start_s, stretch.end_s, text))
    return Transcription(len(samples) / SAMPLE_RATE, tuple(segments))


def speak(
    parts: Iterator[tuple[str, str]], synthesiser: Synthesiser, *, speed: float = 1.0, sample_rate: int | None = None
) -> Generator[Samples, None, None]:
    """parts: texts with their languages, spoken one after the other. sample_rate: None: the synthesiser's own. Closing
    the iterator stops the work."""
    tempo = Tempo(speed, synthesiser.sample_rate)
    rate = Resampler(synthesiser.sample_rate, sample_rate or synthesiser.sample_rate)
    for text, language in parts:
        with stopping(synthesiser.speak(text, language)) as sounds:
            for samples in sounds:
                yield rate.feed(tempo.feed(samples))
    yield rate.feed(tempo.flush())
    yield rate.flush()


def _text_of(stretch: Stretch, samples: Samples, recogniser: Recogniser, language: str | None) -> str:
    utterance, speech = recogniser.start(language), stretch.of(samples)
    try:
        for start in range(0, len(speech), int(SAMPLE_RATE * _FED_S)):
            utterance.feed(speech[start : start + int(SAMPLE_RATE * _FED_S)])
        return " ".join(utterance.finish().split())
    finally:
        utterance.cancel()
