"""Speech by Piper: a neural voice of one language, faster than speech on two cores of a PC.

A voice is `NAME.onnx` and `NAME.onnx.json`. Piper yields a sentence at a time; sentences are passed on in pieces.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pocketseek.apps.voice.contract import Samples
from pocketseek.errors import FormatError
from pocketseek.libraries import load_library

_PIECE_S = 0.2


class PiperSynthesiser:
    """Raises UnsupportedError without the library, FormatError for what is no voice."""

    def __init__(self, voice: Path) -> None:
        library = load_library("piper", "pip install piper-tts", needed_for="this voice")
        try:
            self._voice = library.PiperVoice.load(str(voice))
            self.sample_rate = int(self._voice.config.sample_rate)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise FormatError(f"{voice} is no Piper voice; run `pocketseek voice setup` again") from error
        self.name = f"Piper ({voice.stem})"

    def speak(self, text: str, language: str) -> Iterator[Samples]:
        size = int(self.sample_rate * _PIECE_S)
        for chunk in self._voice.synthesize(text):
            samples = np.asarray(chunk.audio_float_array, np.float32).ravel()
            for start in range(0, len(samples), size):
                yield samples[start : start + size]

    def close(self) -> None:
        self._voice = None


@dataclass(frozen=True)
class VoiceFacts:
    language: str
    sample_rate: int


def voice_facts(voice: Path) -> VoiceFacts | None:
    """What a voice says of itself, without loading it; None if it is none."""
    try:
        description = json.loads(Path(f"{voice}.json").read_bytes())
        return VoiceFacts(str(description["language"]["family"]), int(description["audio"]["sample_rate"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
