"""Models that could listen or speak: packages, or folders that somebody put there. Nothing is loaded."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from pocketseek.apps.voice.contract import Recogniser, Synthesiser
from pocketseek.apps.voice.engines.asr_sherpa import SherpaRecogniser, is_sherpa_model, sherpa_languages
from pocketseek.apps.voice.engines.asr_whisper import WhisperRecogniser
from pocketseek.apps.voice.engines.tts_piper import PiperSynthesiser, voice_facts
from pocketseek.apps.voice.engines.tts_sherpa import SherpaSynthesiser, is_sherpa_voice
from pocketseek.apps.voice.installed_parts import InstalledParts
from pocketseek.errors import FormatError
from pocketseek.package.speech_part import SpeechPart
from pocketseek.package.store import InstalledModel

T_co = TypeVar("T_co", covariant=True)

ANY_LANGUAGE = "*"
_ENGLISH_VOCABULARY = 51_864  # of Whisper models for English alone; the others have one entry more
_MOST_THREADS = 4
_USUAL_RATE = 24_000


@dataclass(frozen=True)
class Candidate(Generic[T_co]):
    """languages: none if it knows any. library: what it needs. sample_rate: of a voice's sound. is_package: or else a
    folder."""

    name: str
    library: str
    languages: tuple[str, ...]
    num_bytes: int
    open: Callable[[], T_co]
    sample_rate: int = _USUAL_RATE
    is_package: bool = False

    @property
    def is_usable(self) -> bool:
        return not self.library or importlib.util.find_spec(self.library) is not None

    def knows(self, language: str | None) -> bool:
        return language is None or not self.languages or language in self.languages


def packaged_recognisers(parts: InstalledParts) -> Iterator[Candidate[Recogniser]]:
    threads = num_threads()
    makers: dict[str, tuple[str, Callable[[Path], Recogniser]]] = {
        "faster-whisper": ("faster_whisper", partial(WhisperRecogniser, num_threads=threads)),
        "sherpa-onnx": ("sherpa_onnx", partial(SherpaRecogniser, num_threads=threads)),
    }
    for one in parts.of_kind("recogniser"):
        if (part := one.manifest.part) is not None and part.engine in makers:
            library, make = makers[part.engine]
            yield _packaged(one, part, library, partial(parts.open, one.path, make))


def packaged_voices(parts: InstalledParts) -> Iterator[Candidate[Synthesiser]]:
    makers: dict[str, tuple[str, Callable[[Path], Synthesiser]]] = {
        "piper": ("piper", _piper),
        "sherpa-onnx": ("sherpa_onnx", partial(SherpaSynthesiser, num_threads=num_threads())),
    }
    for one in parts.of_kind("voice"):
        if (part := one.manifest.part) is not None and part.engine in makers:
            library, make = makers[part.engine]
            yield _packaged(one, part, library, partial(parts.open, one.path, make))


def _packaged(one: InstalledModel, part: SpeechPart, library: str, open_engine: Callable[[], T_co]) -> Candidate[T_co]:
    languages = () if ANY_LANGUAGE in part.languages else part.languages
    rate = part.sample_rate or _USUAL_RATE
    return Candidate(one.name, library, languages, one.num_bytes, open_engine, rate, is_package=True)


def _piper(folder: Path) -> PiperSynthesiser:
    """Raises FormatError."""
    for description in sorted(folder.glob("*.onnx.json")):
        return PiperSynthesiser(description.with_suffix(""), num_threads=num_threads())
    raise FormatError(f"{folder.name} has no Piper voice in it; get it again")


def recogniser_folders(voice_dir: Path) -> Iterator[Candidate[Recogniser]]:
    threads = num_threads()
    for folder in _folders(voice_dir):
        if (folder / "model.bin").is_file() and (folder / "config.json").is_file():
            yield Candidate[Recogniser](
                folder.name,
                "faster_whisper",
                _whisper_languages(folder),
                _num_bytes(folder, "model.bin"),
                partial(WhisperRecogniser, folder, num_threads=threads),
            )
        elif is_sherpa_model(folder) and not is_sherpa_voice(folder):
            yield Candidate[Recogniser](
                folder.name,
                "sherpa_onnx",
                sherpa_languages(folder),
                _num_bytes(folder, "*.onnx"),
                partial(SherpaRecogniser, folder, num_threads=threads),
            )


def voice_folders(voice_dir: Path) -> Iterator[Candidate[Synthesiser]]:
    for folder in _folders(voice_dir):
        if is_sherpa_voice(folder):
            yield Candidate(
                folder.name,
                "sherpa_onnx",
                sherpa_languages(folder),
                _num_bytes(folder, "*.onnx"),
                partial(SherpaSynthesiser, folder, num_threads=num_threads()),
            )
            continue
        for description in sorted(folder.glob("*.onnx.json")):
            voice = description.with_suffix("")
            facts = voice_facts(voice)
            if facts is not None and voice.is_file():
                yield Candidate(
                    folder.name,
                    "piper",
                    (facts.language,),
                    voice.stat().st_size,
                    partial(PiperSynthesiser, voice, num_threads=num_threads()),
                    facts.sample_rate,
                )


def _folders(voice_dir: Path) -> list[Path]:
    return sorted(path for path in voice_dir.iterdir() if path.is_dir()) if voice_dir.is_dir() else []


def _num_bytes(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern))


def _whisper_languages(folder: Path) -> tuple[str, ...]:
    vocabulary = folder / "vocabulary.txt"
    if vocabulary.is_file():
        with vocabulary.open("rb") as lines:
            return ("en",) if sum(1 for _ in lines) == _ENGLISH_VOCABULARY else ()
    return ("en",) if folder.name.endswith(".en") else ()


def num_threads() -> int:
    """Half of the cores, since all parts work at once: what waits for all of its threads waits for the one that another
    part keeps off its core (docs/lab-notes.md)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return max(1, min(_MOST_THREADS, cores // 2))
