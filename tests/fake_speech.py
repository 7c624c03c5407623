"""Speech engines that cost nothing, and speech that is none: bursts of sound, each of which "says" the next text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from pocketseek.apps.serve.voice.chat import SpokenManner
from pocketseek.apps.serve.voice.desk import VoiceMakers
from pocketseek.apps.voice.contract import SAMPLE_RATE, Samples

_LOUD = 0.02
SECONDS_PER_CHARACTER = 0.05
SPOKEN_RATE = 22_050


class LoudnessDetector:
    """Whatever is loud is speech."""

    frame_samples = 512

    def probability(self, frame: Samples) -> float:
        return float(np.sqrt(np.mean(frame * frame)) > _LOUD)

    def reset(self) -> None:
        pass


class ScriptedUtterance:
    """Says its text from half a second of sound on."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.num_samples = 0

    def feed(self, samples: Samples) -> None:
        self.num_samples += len(samples)

    def partial(self, *, may_be_over: bool = False) -> str:
        words = self._text.split()
        return " ".join(words[: max(1, len(words) // 2)]) if self.num_samples >= SAMPLE_RATE // 4 else ""

    def finish(self) -> str:
        return self._text

    def cancel(self) -> None:
        pass


@dataclass
class ScriptedRecogniser:
    """Utterances say the texts one after the other, the last one again and again. A cancelled one counts, too."""

    texts: Sequence[str]
    name: str = "scripted"
    languages: tuple[str, ...] = ()
    asked: list[str | None] = field(default_factory=list)
    is_closed: bool = False

    def start(self, language: str | None) -> ScriptedUtterance:
        self.asked.append(language)
        return ScriptedUtterance(self.texts[min(len(self.asked), len(self.texts)) - 1])

    def close(self) -> None:
        self.is_closed = True


@dataclass
class ToneSynthesiser:
    """A tone, as long as the text; a quarter of a second at a time."""

    name: str = "tones"
    sample_rate: int = SPOKEN_RATE
    said: list[tuple[str, str]] = field(default_factory=list)
    is_closed: bool = False

    def speak(self, text: str, language: str) -> Iterator[Samples]:
        self.said.append((text, language))
        num_samples = int(len(text) * SECONDS_PER_CHARACTER * self.sample_rate)
        tone = 0.1 * np.sin(2 * np.pi * 220 * np.arange(num_samples, dtype=np.float32) / self.sample_rate)
        for start in range(0, num_samples, self.sample_rate // 4):
            yield tone[start : start + self.sample_rate // 4].astype(np.float32)

    def close(self) -> None:
        self.is_closed = True


class SentenceSplitter:
    def __init__(self) -> None:
        self._text = ""

    def feed(self, text: str) -> list[str]:
        self._text += text
        done, mark, rest = self._text.rpartition(". ")
        self._text = rest
        return [done + mark] if mark else []

    def finish(self) -> list[str]:
        return [self._text] if self._text else []


class PlainShape:
    def parts(self, text: str, language: str) -> list[tuple[str, str]]:
        return [(text.strip(), language)] if text.strip() else []

    def clauses(self, language: str) -> SentenceSplitter:
        return SentenceSplitter()


@dataclass
class FakeSpeech:
    """The engines that were opened, and what opens them."""

    texts: Sequence[str] = ("Hello",)
    recognisers: list[ScriptedRecogniser] = field(default_factory=list)
    synthesisers: list[ToneSynthesiser] = field(default_factory=list)
    error: Exception | None = None
    """What opening one raises."""

    def makers(self) -> VoiceMakers:
        style = SpokenManner(lambda own, language: own, 64, PlainShape())
        return VoiceMakers(self._recogniser, self._synthesiser, LoudnessDetector, style)

    def _recogniser(self, language: str | None) -> ScriptedRecogniser:
        if self.error is not None:
            raise self.error
        self.recognisers.append(ScriptedRecogniser(self.texts))
        return self.recognisers[-1]

    def _synthesiser(self, language: str | None) -> ToneSynthesiser:
        self.synthesisers.append(ToneSynthesiser())
        return self.synthesisers[-1]


def burst(seconds: float, seed: int = 0) -> Samples:
    """Sound that nobody takes for silence: noise that swells and fades four times a second, as syllables do."""
    num_samples = int(seconds * SAMPLE_RATE)
    noise = np.random.default_rng(seed).standard_normal(num_samples).astype(np.float32)
    time_s = np.arange(num_samples, dtype=np.float32) / SAMPLE_RATE
    return (0.2 * noise * (0.7 + 0.3 * np.sin(2 * np.pi * 4 * time_s))).astype(np.float32)


def silence(seconds: float) -> Samples:
    return np.zeros(int(seconds * SAMPLE_RATE), np.float32)
