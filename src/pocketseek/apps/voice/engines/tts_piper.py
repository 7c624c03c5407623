"""Speech by Piper: a neural voice of one language, faster than speech on two cores of a PC.

A voice is `NAME.onnx` and `NAME.onnx.json`. Piper makes all of a sentence before the first of it is heard. Its network
has two parts, though: one that makes frames (12 ms each) of phonemes, and one that makes sound of frames, which is
three quarters of the work and made of convolutions: sound depends on the frames within 13 of it, and on no others. So
the network is cut there (graph_cut.py), and sound is made stretch by stretch, with the same result but for rounding:
the first of it is there in a third of the time, and memory hardly grows with the sentence. A voice that cannot be cut
speaks sentence by sentence, long ones in parts, since that takes 22 MB for each second of sound.

The sessions of ONNX Runtime are made here, not by Piper, whose own takes far more: its arena keeps all that the longest
sentence ever took (80 MB become 470), and its threads spin while they wait, which takes half of the processor from the
language model that writes the next clause (docs/lab-notes.md).

Piper makes every sentence as loud as can be, by its loudest moment, which is not known while it is spoken. Here it is
the loudest of all that this voice has said so far, so sentences are as loud next to each other as the voice has them.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketseek.apps.voice.contract import Samples
from pocketseek.apps.voice.engines.graph_cut import cut
from pocketseek.errors import FormatError
from pocketseek.libraries import load_library, load_onnxruntime

_PIECE_S = 0.2
_FIRST_FRAMES = 32  # of the first stretch, and of those around each stretch that its sound depends on
_NEXT_STRETCH = 1.5  # times the one before: made while that sounds, where making takes up to 0.4 of its time
_MOST_FRAMES = 160
_AROUND_FRAMES = 16
_USUAL_PEAK = 0.6  # of a voice that has said nothing yet
_RAMP = 256  # samples, over which loudness changes
_MAKES_SOUND = "/dec/"
"""Where names of nodes begin of what makes sound of frames, as Piper's own export has them."""
MOST_CHARS = 90
"""That are spoken at once by a voice that is not cut: about five seconds."""
_PLACES = (
    re.compile(r"[.!?]+\s"),
    re.compile(r"[,;:]\s"),
    re.compile(r"\s(?=(?:and|but|or|because|that|which|who|when|where|while|if|with|to|for|from|in|on|at|by)\s)"),
    re.compile(r"\s"),
)
"""Where a long text is best parted, the best first."""
_LEAST_CHARS = 20


class PiperSynthesiser:
    """Raises UnsupportedError without the library, FormatError for what is no voice."""

    def __init__(self, voice: Path, *, num_threads: int = 0) -> None:
        """num_threads: 0: as many as there are cores."""
        library = load_library("piper", "pip install piper-tts", needed_for="this voice")
        runtime = load_onnxruntime(needed_for="this voice")
        try:
            description = json.loads(Path(f"{voice}.json").read_bytes())
            network = _opened(voice, runtime, num_threads)
            self._voice = library.PiperVoice(config=library.PiperConfig.from_dict(description), session=network.first)
            self.sample_rate = int(self._voice.config.sample_rate)
        except Exception as error:  # the libraries' own have no common base
            raise FormatError(f"{voice} is no Piper voice; run `pocketseek voice setup` again") from error
        self._network = network
        self._peak = _USUAL_PEAK
        self.name = f"Piper ({voice.stem})"

    def speak(self, text: str, language: str) -> Iterator[Samples]:
        size = int(self.sample_rate * _PIECE_S)
        for part in [text] if self._network.is_cut else short_parts(text):
            for phonemes in self._voice.phonemize(part):
                made = self._voice.phoneme_ids_to_audio(self._voice.phonemes_to_ids(phonemes)) if phonemes else ()
                for sound in self._network.sounds(np.asarray(made, np.float32)):
                    samples = self._loud(sound)
                    for start in range(0, len(samples), size):
                        yield samples[start : start + size]

    def _loud(self, sound: Samples) -> Samples:
        before, self._peak = self._peak, max(self._peak, float(np.abs(sound).max(initial=0.0)))
        gains = np.full(len(sound), 1 / self._peak, np.float32)
        if self._peak > before:
            gains[:_RAMP] = np.linspace(1 / before, 1 / self._peak, _RAMP, dtype=np.float32)[: len(sound)]
        loud: Samples = np.clip(gains * sound, -1.0, 1.0)
        return loud

    def close(self) -> None:
        self._voice, self._network = None, _Network(None)


@dataclass(frozen=True)
class _Network:
    """first: phonemes to frames, or to sound where there is no second. border: the name of frames."""

    first: Any
    second: Any = None
    border: str = ""

    @property
    def is_cut(self) -> bool:
        return self.second is not None

    def sounds(self, made: NDArray[np.float32]) -> Iterator[Samples]:
        """made: what the first gave, without axes of length 1: (channels, frames), or samples."""
        if self.second is None:
            yield made.ravel()
            return
        frames = made.reshape(len(made), -1)
        num_frames = frames.shape[1]
        for start, end in stretches_of(num_frames):
            first, last = max(0, start - _AROUND_FRAMES), min(num_frames, end + _AROUND_FRAMES)
            (sound,) = self.second.run(None, {self.border: np.ascontiguousarray(frames[None, :, first:last])})
            samples = np.asarray(sound, np.float32).ravel()
            hop = len(samples) // (last - first)
            yield samples[(start - first) * hop : (end - first) * hop]


def stretches_of(num_frames: int) -> Iterator[tuple[int, int]]:
    """(first, after the last): short at first, so that sound begins early."""
    start, size = 0, float(_FIRST_FRAMES)
    while start < num_frames:
        end = min(num_frames, start + int(size))
        yield start, end
        start, size = end, min(_MOST_FRAMES, size * _NEXT_STRETCH)


def _opened(voice: Path, runtime: ModuleType, num_threads: int) -> _Network:
    def session(model: str | bytes) -> Any:
        opened = runtime.InferenceSession(model, _options(runtime, num_threads), providers=["CPUExecutionProvider"])
        opened._model_bytes = None  # kept to open it anew elsewhere, which nobody wants: as much as all weights
        return opened

    with voice.open("rb") as file:
        model = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))  # until nobody looks at it any more
    parts = cut(model, lambda name: name.startswith(_MAKES_SOUND))
    if parts is not None:
        return _Network(session(parts.first()), session(parts.second()), parts.border)
    return _Network(session(str(voice)))


def _options(runtime: ModuleType, num_threads: int) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    return options


def short_parts(text: str) -> Iterator[str]:
    """One after the other they are the text, but for spaces at their ends."""
    text = text.strip()
    while len(text) > MOST_CHARS:
        window = text[: MOST_CHARS + 1]
        cuts = (max((found.end() for found in place.finditer(window, _LEAST_CHARS)), default=0) for place in _PLACES)
        cut = next((cut for cut in cuts if cut), MOST_CHARS)
        yield text[:cut].strip()
        text = text[cut:].strip()
    if text:
        yield text


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
