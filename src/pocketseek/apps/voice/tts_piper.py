"""Speech by Piper: a neural voice of one language, faster than speech on two cores of a PC.

A voice is `NAME.onnx` and `NAME.onnx.json`. Piper yields a sentence at a time; sentences are passed on in pieces.

The session of ONNX Runtime is made here, not by Piper, whose own takes far more: its arena keeps all that the longest
sentence ever took (80 MB become 470), and its threads spin while they wait, which takes half of the processor from the
language model that writes the next clause (docs/lab-notes.md). What a sentence takes while it is spoken grows with it,
by 22 MB a second of sound, so long ones are spoken in parts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from pocketseek.apps.voice.contract import Samples
from pocketseek.errors import FormatError
from pocketseek.libraries import load_library, load_onnxruntime

_PIECE_S = 0.2
MOST_CHARS = 90
"""That are spoken at once: about five seconds."""
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
            session = runtime.InferenceSession(
                str(voice), _options(runtime, num_threads), providers=["CPUExecutionProvider"]
            )
            self._voice = library.PiperVoice(config=library.PiperConfig.from_dict(description), session=session)
            self.sample_rate = int(self._voice.config.sample_rate)
        except Exception as error:  # the libraries' own have no common base
            raise FormatError(f"{voice} is no Piper voice; run `pocketseek voice setup` again") from error
        self.name = f"Piper ({voice.stem})"

    def speak(self, text: str, language: str) -> Iterator[Samples]:
        size = int(self.sample_rate * _PIECE_S)
        for part in short_parts(text):
            for chunk in self._voice.synthesize(part):
                samples = np.asarray(chunk.audio_float_array, np.float32).ravel()
                for start in range(0, len(samples), size):
                    yield samples[start : start + size]

    def close(self) -> None:
        self._voice = None


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
