"""Sound files of every kind become the same samples; damaged ones become one line."""

import struct
import tracemalloc
import wave
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.apps.voice.sound import sound_file
from pocketseek.apps.voice.sound.sound_file import SoundWriter, pcm16, read_sound, sound_of, wav_bytes
from pocketseek.errors import FormatError, NotFoundError, PocketseekError, StorageError, UnsupportedError, UsageError

RAMP = np.linspace(-0.9, 0.9, 1000, dtype=np.float32)


def riff(kind: int, bits: int, data: bytes, *, channels: int = 1, rate: int = 16_000, extra: bytes = b"") -> bytes:
    layout = struct.pack("<HHIIHH", kind, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits)
    chunk = b"fmt " + struct.pack("<I", len(layout + extra)) + layout + extra
    body = chunk + b"LIST" + struct.pack("<I", 3) + b"abc\0" + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def of_24_bits(samples: np.ndarray) -> bytes:
    return b"".join(int(value * (1 << 23)).to_bytes(3, "little", signed=True) for value in samples)


@pytest.mark.parametrize(
    ("kind", "bits", "data", "error"),
    [
        (1, 8, np.uint8(np.rint(RAMP * 127 + 128)).tobytes(), 0.012),
        (1, 16, pcm16(RAMP).tobytes(), 1e-4),
        (1, 24, of_24_bits(RAMP), 1e-6),
        (1, 32, np.int32(RAMP.astype(np.float64) * (2**31 - 1)).tobytes(), 1e-6),
        (3, 32, RAMP.tobytes(), 0.0),
        (3, 64, RAMP.astype(np.float64).tobytes(), 0.0),
    ],
)
def test_every_depth_is_read(kind: int, bits: int, data: bytes, error: float) -> None:
    sound = sound_of(riff(kind, bits, data), "x.wav")
    assert sound.sample_rate == 16_000
    assert np.abs(sound.samples - RAMP).max() <= error


def test_channels_are_mixed() -> None:
    stereo = np.stack([RAMP, -RAMP], axis=1)
    assert np.abs(sound_of(riff(3, 32, stereo.tobytes(), channels=2), "x.wav").samples).max() == 0.0


def test_the_extensible_layout_is_read() -> None:
    extra = struct.pack("<HHI", 22, 16, 4) + struct.pack("<H", 1) + bytes(14)
    assert len(sound_of(riff(0xFFFE, 16, pcm16(RAMP).tobytes(), extra=extra), "x.wav").samples) == 1000


def test_a_recording_that_was_cut_off_gives_what_is_there() -> None:
    data = wav_bytes(RAMP, 8_000)
    assert len(sound_of(data[:-501], "x.wav").samples) == 749


def test_what_was_written_is_read_by_others_and_by_us(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    with SoundWriter(path) as writer:
        writer.write(RAMP, 22_050)
        writer.write(np.repeat(RAMP, 2), 44_100)
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (22_050, 1, 2000)
    assert np.abs(read_sound(path).samples[:1000] - RAMP).max() < 1e-4


@given(st.binary(max_size=200), st.integers(0, 60))
def test_damage_is_told_in_one_line(noise: bytes, place: int) -> None:
    good = wav_bytes(RAMP, 16_000)
    for data in (noise, good[:place] + noise + good[place + len(noise) :]):
        problem = "x.wav"
        try:
            sound_of(data, "x.wav")
        except PocketseekError as error:
            problem = str(error)
        assert "\n" not in problem
        assert "x.wav" in problem


@pytest.mark.parametrize(
    ("data", "kind", "match"),
    [
        (b"", FormatError, "no sound file"),
        (wav_bytes(RAMP[:0], 16_000), FormatError, "no sound"),
        (riff(6, 8, b"abcd"), UnsupportedError, "format 6"),
        (riff(1, 16, b"abcd", rate=5), FormatError, "5 Hz"),
        (riff(1, 16, b"abcd", rate=399_989), FormatError, "399989 Hz"),
        (riff(3, 32, np.full(9, np.nan, np.float32).tobytes()), FormatError, "no numbers"),
    ],
)
def test_what_cannot_be_read_says_why(data: bytes, kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        sound_of(data, "x.wav")


def test_a_missing_file_and_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"nothing\.wav"):
        read_sound(tmp_path / "nothing.wav")
    with pytest.raises(StorageError):
        SoundWriter(tmp_path / "no folder" / "x.wav")


def test_flac_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    with pytest.raises(UnsupportedError, match="pip install soundfile"):
        sound_of(b"fLaC" + bytes(100), "x.flac")


def flac(samples: np.ndarray, rate: int) -> bytes:
    soundfile = pytest.importorskip("soundfile")
    file = BytesIO()
    soundfile.write(file, samples, rate, format="FLAC")
    return file.getvalue()


def test_compressed_sound_comes_at_16_khz_and_mono() -> None:
    tone = np.sin(np.arange(48_000) * 2 * np.pi * 440 / 48_000) / 2
    sound = sound_of(flac(np.stack([tone, tone], axis=1), 48_000), "x.flac")
    assert (sound.sample_rate, len(sound.samples)) == (16_000, 16_000)
    assert np.abs(sound.samples[200:-200] - tone[::3][200:-200]).max() < 2e-3


@pytest.mark.parametrize("no_length", [1 << 48, 0], ids=["by its header", "by what comes"])
def test_a_small_file_that_unpacks_to_hours_is_refused_unpacked(
    no_length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = flac(np.zeros(8_000 * 600, np.int16), 8_000)
    monkeypatch.setattr(sound_file, "_NO_LENGTH", no_length)
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match=r"x\.flac is longer than 0\.5 minutes; cut"):
            sound_of(data, "x.flac", 30)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_a_wav_that_is_too_long_is_refused() -> None:
    with pytest.raises(UsageError, match="longer than 1 minutes"):
        sound_of(riff(1, 8, bytes(4_000 * 61), rate=4_000), "x.wav", 60)
