"""Several voices as one: each part of an answer by one that knows its language, all at one sample rate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pocketseek.apps.voice.contract import Samples, Synthesiser
from pocketseek.apps.voice.on_demand import prepare, release_idle
from pocketseek.apps.voice.sound.resample import Resampler
from pocketseek.apps.voice.sound.sounds import stopping


class Voices:
    """voices: (languages, synthesiser), the best first; one without languages speaks what is left. At least one."""

    def __init__(self, voices: Sequence[tuple[Sequence[str], Synthesiser]]) -> None:
        self._voices = tuple((tuple(languages), voice) for languages, voice in voices)
        first = self._voices[0][1]
        self.name = first.name
        self.sample_rate = first.sample_rate

    def speak(self, text: str, language: str) -> Iterator[Samples]:
        voice = self._voice_for(language)
        resampler = Resampler(voice.sample_rate, self.sample_rate)
        with stopping(voice.speak(text, language)) as sounds:
            for samples in sounds:
                yield resampler.feed(samples)
            if len(rest := resampler.flush()):
                yield rest

    def prepare(self) -> None:
        """The first, which speaks most."""
        prepare(self._voices[0][1])

    def release_if_idle(self) -> None:
        release_idle(*(voice for _, voice in self._voices))

    def close(self) -> None:
        for _, voice in self._voices:
            voice.close()

    def _voice_for(self, language: str) -> Synthesiser:
        known = next((voice for languages, voice in self._voices if language in languages), None)
        general = next((voice for languages, voice in self._voices if not languages), None)
        return known or general or self._voices[0][1]
