"""Sound files: WAV read and written here, FLAC, Ogg and the like through the library soundfile where it is installed.

Everything becomes mono float32. WAV is read as PCM of 8, 16, 24 or 32 bits and as float of 32 or 64 bits, plain or
"extensible", with any number of channels; a file whose header promises more than there is (a recording that was cut
off) gives what is there. Written is PCM of 16 bits, a file that can be played at any time.

A small compressed file may hold hours of silence, so compressed sound is unpacked block by block, counted as it comes
and converted to 16 kHz at once; it never lies in memory as it was recorded. Files may be hostile.
"""

from __future__ import annotations

import struct
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pocketseek.apps.voice.contract import SAMPLE_RATE, Samples
from pocketseek.apps.voice.sound.resample import Resampler, is_convertible, resample
from pocketseek.errors import FormatError, NotFoundError, UnsupportedError, UsageError
from pocketseek.libraries import load_library
from pocketseek.package.storage import storage_errors

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
MAX_FILE_BYTES = 2 << 30
MOST_S = 4 * 3600.0
"""Of sound that is read at once: 0.9 GB in memory."""
_MOST_CHANNELS = 64
_BLOCK_FRAMES = 1 << 14
_NO_LENGTH = 1 << 48  # frames: what the library says of a stream that does not tell is more
_OTHER_FORMATS = {b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3", b"\xff\xfb": "MP3", b"FORM": "AIFF", b"caff": "CAF"}


@dataclass(frozen=True)
class Sound:
    samples: Samples
    sample_rate: int

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.sample_rate

    def at(self, sample_rate: int) -> Samples:
        return resample(self.samples, self.sample_rate, sample_rate)


def read_sound(path: Path) -> Sound:
    """Raises NotFoundError, StorageError, FormatError, or UnsupportedError if a library is missing for its format."""
    with storage_errors(path):
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise FormatError(f"{path} has more than 2 GB; cut it into shorter files")
            data = path.read_bytes()
        except (FileNotFoundError, IsADirectoryError) as error:
            raise NotFoundError(f"there is no sound file {path}; check the path") from error
    return sound_of(data, str(path))


def sound_of(data: bytes, name: str, most_s: float = MOST_S) -> Sound:
    """The bytes of a file. name: what to call it in an error. Raises UsageError for sound that is longer than most_s,
    before it takes much memory."""
    is_wav = data[:4] == b"RIFF" and data[8:12] == b"WAVE"
    sound = _wav(data, name, most_s) if is_wav else _other(data, name, most_s)
    if not len(sound.samples):
        raise FormatError(f"{name} holds no sound; record it again")
    if not np.isfinite(sound.samples).all():
        raise FormatError(f"{name} holds samples that are no numbers; write it again as 16 bit WAV")
    return sound


def wav_bytes(samples: Samples, sample_rate: int) -> bytes:
    """A whole WAV file, 16 bit."""
    data = pcm16(samples).tobytes()
    header = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, _PCM, 1, sample_rate,
                         2 * sample_rate, 2, 16)  # fmt: skip
    return header + struct.pack("<4sI", b"data", len(data)) + data


def pcm16(samples: Samples) -> NDArray[np.int16]:
    """What is louder than full scale is clipped."""
    return np.rint(np.clip(samples, -1.0, 1.0) * 32767).astype("<i2")


def of_pcm16(data: bytes) -> Samples:
    """An odd last byte is left out."""
    return np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.float32) / np.float32(32768)


class SoundWriter:
    """A WAV file that grows. The rate is that of the first piece; others are converted to it."""

    def __init__(self, path: Path) -> None:
        """Raises StorageError at once if it cannot be written."""
        self._path = path
        with storage_errors(path):
            self._file = path.open("wb")
        self._wave: wave.Wave_write | None = None
        self._rate = SAMPLE_RATE
        self.num_samples = 0

    @property
    def sample_rate(self) -> int:
        return self._rate

    def write(self, samples: Samples, sample_rate: int) -> None:
        with storage_errors(self._path):
            if self._wave is None:
                self._open(sample_rate)
            assert self._wave is not None
            converted = resample(samples, sample_rate, self._rate)
            self._wave.writeframes(pcm16(converted).tobytes())
            self._file.flush()  # with the length in the header, so that a killed program leaves a file that plays
        self.num_samples += len(converted)

    def close(self) -> None:
        with storage_errors(self._path):
            if self._wave is None:
                self._open(self._rate)
            assert self._wave is not None
            self._wave.close()
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._wave = wave.open(self._file, "wb")  # noqa: SIM115  open until `close`
        self._wave.setnchannels(1)
        self._wave.setsampwidth(2)
        self._wave.setframerate(sample_rate)


def _wav(data: bytes, name: str, most_s: float) -> Sound:
    layout: tuple[int, int, int, int] | None = None
    for kind, body in _chunks(data):
        if kind == b"fmt ":
            layout = _layout(body, name)
        elif kind == b"data" and layout is not None:
            _, channels, rate, bits = layout
            _check_length(len(body) // (channels * bits // 8), rate, most_s, name)
            return _decoded(body, layout)
    raise FormatError(f"{name} is a damaged WAV file; write it again as 16 bit WAV")


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Chunks of a RIFF file; of the last one what there is."""
    start = 12
    while start + 8 <= len(data):
        kind, size = data[start : start + 4], int.from_bytes(data[start + 4 : start + 8], "little")
        yield kind, data[start + 8 : start + 8 + size]
        start += 8 + size + size % 2


def _layout(body: bytes, name: str) -> tuple[int, int, int, int]:
    """(format, channels, rate, bits)."""
    if len(body) < 16:
        raise FormatError(f"{name} is a damaged WAV file; write it again as 16 bit WAV")
    kind, channels, rate, _, _, bits = struct.unpack("<HHIIHH", body[:16])
    if kind == _EXTENSIBLE and len(body) >= 26:
        kind = int.from_bytes(body[24:26], "little")
    if (kind, bits) not in {(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64)}:
        raise UnsupportedError(
            f"{name} holds sound in format {kind} with {bits} bits, which is not read; write it again as 16 bit WAV"
        )
    _check_layout(channels, rate, name)
    return kind, channels, rate, bits


def _check_layout(channels: int, rate: int, name: str) -> None:
    if not 1 <= channels <= _MOST_CHANNELS or not is_convertible(rate):
        raise FormatError(f"{name} says it has {channels} channels at {rate} Hz; write it again as 16 bit WAV")


def _check_length(num_frames: int, rate: int, most_s: float, name: str) -> None:
    if num_frames > most_s * rate:
        raise UsageError(f"{name} is longer than {most_s / 60:g} minutes; cut it into parts")


def _decoded(body: bytes, layout: tuple[int, int, int, int]) -> Sound:
    kind, channels, rate, bits = layout
    frame_bytes = channels * bits // 8
    body = body[: len(body) // frame_bytes * frame_bytes]
    if kind == _FLOAT:
        flat = np.frombuffer(body, f"<f{bits // 8}").astype(np.float32)
    elif bits == 8:
        flat = (np.frombuffer(body, np.uint8).astype(np.float32) - np.float32(128)) / np.float32(128)
    elif bits == 24:
        flat = _of_24_bits(body)
    else:
        flat = (np.frombuffer(body, f"<i{bits // 8}") / float(1 << (bits - 1))).astype(np.float32)
    return Sound(_mono(flat.reshape(-1, channels)), rate)


def _of_24_bits(body: bytes) -> Samples:
    octets = np.frombuffer(body, np.uint8).reshape(-1, 3)
    padded = np.zeros((len(octets), 4), np.uint8)
    padded[:, 1:] = octets
    return (padded.view("<i4").ravel() / float(1 << 31)).astype(np.float32)


def _mono(frames: NDArray[np.float32]) -> Samples:
    return np.ascontiguousarray(frames.mean(axis=1, dtype=np.float32) if frames.shape[1] > 1 else frames[:, 0])


def _other(data: bytes, name: str, most_s: float) -> Sound:
    known = next((title for magic, title in _OTHER_FORMATS.items() if data.startswith(magic)), None)
    if known is None:
        raise FormatError(f"{name} is no sound file that is known here; write it as WAV")
    soundfile = load_library(
        "soundfile", "pip install soundfile, or write it as WAV", needed_for=f"reading {name}, which is {known},"
    )
    from io import BytesIO

    try:
        with soundfile.SoundFile(BytesIO(data)) as file:
            _check_layout(file.channels, file.samplerate, name)
            if file.frames < _NO_LENGTH:
                _check_length(file.frames, file.samplerate, most_s, name)
            return Sound(np.concatenate(list(_unpacked(file, most_s, name))), SAMPLE_RATE)
    except RuntimeError as error:  # soundfile's LibsndfileError is one
        raise FormatError(f"{name} is a damaged {known} file ({str(error)[:100]}); write it as WAV") from error


def _unpacked(file: Any, most_s: float, name: str) -> Iterator[Samples]:
    """file: a SoundFile. What its header says of its length may be wrong: what comes is counted."""
    resampler, num_frames = Resampler(file.samplerate, SAMPLE_RATE), 0
    while len(frames := file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
        num_frames += len(frames)
        _check_length(num_frames, file.samplerate, most_s, name)
        yield resampler.feed(_mono(frames))
    yield resampler.flush()
