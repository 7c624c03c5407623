"""Recorded speech to measure with: WAV files of a folder, what is said in them, and where in each the speech ends.

Beside FILE.wav there may be FILE.txt with what is said (UTF-8). `labels.tsv` in the folder may say what is wanted:
lines of file name, language and intent, parted by tabs, in the words of an intent set (intents.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pocketseek.apps.voice.contract import SAMPLE_RATE, Samples
from pocketseek.apps.voice.sound.sound_file import read_sound
from pocketseek.apps.voice.words.spoken_text import language_of
from pocketseek.errors import FormatError, NotFoundError, UsageError
from pocketseek.package.storage import storage_errors

LABELS = "labels.tsv"
_ENDINGS = {".wav", ".flac", ".ogg"}
_MAX_TEXT_BYTES = 1 << 20
_FRAME = SAMPLE_RATE // 100
_QUIET = 0.03  # of the loudest frame's loudness (-30 dB): below it a frame counts as silence


@dataclass(frozen=True)
class SpokenFile:
    """samples: 16 kHz. speech_end_s: when it falls silent, by loudness alone, so that no detector judges itself.

    reference: what is said, if known; language: as labelled, else that of the reference; intent: as labelled.
    """

    name: str
    samples: Samples
    speech_end_s: float
    reference: str | None = None
    language: str | None = None
    intent: str | None = None

    @property
    def duration_s(self) -> float:
        return len(self.samples) / SAMPLE_RATE


def find_files(folder: Path, transcripts: Path | None = None) -> list[SpokenFile]:
    """In the order of their names. transcripts: folder of the texts, if it is another one.

    Raises NotFoundError if there are none, and what reading them raises.
    """
    with storage_errors(folder):
        if not folder.is_dir():
            raise NotFoundError(f"there is no folder {folder}; give one with WAV files")
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _ENDINGS)
    if not paths:
        raise NotFoundError(f"{folder} holds no WAV files; put recordings there, and what is said beside them as .txt")
    if transcripts is not None and not transcripts.is_dir():
        raise NotFoundError(f"there is no folder {transcripts}; give one with .txt files, or leave --transcripts out")
    labels = _labels(folder / LABELS)
    unknown = sorted(set(labels) - {path.name for path in paths})
    if unknown:
        raise UsageError(f"{folder / LABELS} names {unknown[0]!r:.80}, which is not there; mend it")
    return [_file(path, (transcripts or folder) / f"{path.stem}.txt", labels.get(path.name)) for path in paths]


def speech_end_s(samples: Samples) -> float:
    """After the last frame of 10 ms that is not quiet next to the loudest."""
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME)
    loudness = np.sqrt((frames.astype(np.float64) ** 2).mean(axis=1))
    if not len(loudness) or not loudness.max() > 0:
        return len(samples) / SAMPLE_RATE
    return float(np.flatnonzero(loudness >= _QUIET * loudness.max())[-1] + 1) * _FRAME / SAMPLE_RATE


def _file(path: Path, text_path: Path, label: tuple[str, str] | None) -> SpokenFile:
    samples = read_sound(path).at(SAMPLE_RATE)
    reference = _text(text_path)
    language = label[0] if label else (language_of(reference, "en") if reference else None)
    return SpokenFile(path.name, samples, speech_end_s(samples), reference, language, label[1] if label else None)


def _text(path: Path) -> str | None:
    with storage_errors(path):
        if not path.is_file():
            return None
        data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not UTF-8 text; save it as UTF-8") from error
    if len(data) > _MAX_TEXT_BYTES or "\0" in text:
        raise FormatError(f"{path} is no transcript; it should hold what is said, as text")
    return " ".join(text.split()) or None


def _labels(path: Path) -> Mapping[str, tuple[str, str]]:
    """Language and intent by file name."""
    text_lines = (path.read_text("utf-8", "replace") if path.is_file() else "").splitlines()
    labels: dict[str, tuple[str, str]] = {}
    for number, line in enumerate(text_lines, 1):
        fields = [field.strip() for field in line.split("\t")]
        if not line.strip():
            continue
        if len(fields) != 3 or not all(fields):
            raise FormatError(f"line {number} of {path} is not file, language and intent parted by tabs; mend it")
        labels[fields[0]] = fields[1], fields[2]
    return labels
