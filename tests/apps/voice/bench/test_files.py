from pathlib import Path

import numpy as np
import pytest
from voice_parts import silence, speech

from pocketseek.apps.voice.bench.files import find_files, speech_end_s
from pocketseek.apps.voice.contract import SAMPLE_RATE
from pocketseek.apps.voice.sound.sound_file import wav_bytes
from pocketseek.errors import FormatError, NotFoundError, UsageError


def write_sound(folder: Path, name: str, text: str | None = None, *, rate: int = SAMPLE_RATE) -> None:
    (folder / f"{name}.wav").write_bytes(wav_bytes(speech(1), rate))
    if text is not None:
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")


def test_files_come_by_name_with_what_is_said_in_them(tmp_path: Path) -> None:
    write_sound(tmp_path, "b", "今天 天气\n很好")
    write_sound(tmp_path, "a", "What is it?\n")
    write_sound(tmp_path, "c")
    (tmp_path / "notes.md").write_text("no sound")
    found = find_files(tmp_path)
    assert [(one.name, one.reference, one.language, one.intent) for one in found] == [
        ("a.wav", "What is it?", "en", None),
        ("b.wav", "今天 天气 很好", "zh", None),
        ("c.wav", None, None, None),
    ]


def test_texts_may_lie_elsewhere_and_labels_beside_the_sound(tmp_path: Path) -> None:
    sounds, texts = tmp_path / "wav", tmp_path / "txt"
    sounds.mkdir()
    texts.mkdir()
    write_sound(sounds, "a")
    (texts / "a.txt").write_text("Wake me up.")
    (sounds / "labels.tsv").write_text("a.wav\ten\talarm\n\n")
    (found,) = find_files(sounds, texts)
    assert (found.reference, found.language, found.intent) == ("Wake me up.", "en", "alarm")


def test_sound_of_other_rates_becomes_16_khz(tmp_path: Path) -> None:
    write_sound(tmp_path, "a", rate=8000)
    (found,) = find_files(tmp_path)
    assert found.duration_s == pytest.approx(0.64, abs=0.01)


@pytest.mark.parametrize("after_s", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("noise", [0.0, 0.001])
def test_the_end_of_speech_is_where_it_falls_silent(after_s: float, noise: float) -> None:
    samples = np.concatenate([silence(0.5), speech(3), silence(after_s)])
    samples += np.random.default_rng(1).normal(0, noise, len(samples)).astype(np.float32)
    assert speech_end_s(samples) == pytest.approx(0.5 + 0.96, abs=0.02)


def test_silence_ends_where_the_file_does() -> None:
    assert speech_end_s(silence(1.0)) == 1.0
    assert speech_end_s(silence(0.0)) == 0.0


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda folder: None, NotFoundError, "no WAV files"),
        (lambda folder: (folder / "a.wav").write_bytes(b"RIFF"), FormatError, "WAV"),
        (
            lambda folder: write_sound(folder, "a") or (folder / "a.txt").write_bytes(b"\xff\xfe\0"),
            FormatError,
            "UTF-8",
        ),
        (
            lambda folder: write_sound(folder, "a") or (folder / "labels.tsv").write_text("a.wav alarm\n"),
            FormatError,
            "line 1",
        ),
        (
            lambda folder: write_sound(folder, "a") or (folder / "labels.tsv").write_text("b.wav\ten\talarm\n"),
            UsageError,
            "b.wav",
        ),
    ],
)
def test_what_is_wrong_is_told_by_name(tmp_path: Path, make, error: type[Exception], says: str) -> None:  # type: ignore[no-untyped-def]
    make(tmp_path)
    with pytest.raises(error, match=says):
        find_files(tmp_path)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no folder"):
        find_files(tmp_path / "none")
    write_sound(tmp_path, "a")
    with pytest.raises(NotFoundError, match="transcripts"):
        find_files(tmp_path, tmp_path / "none")
