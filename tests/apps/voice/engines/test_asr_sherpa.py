"""Which kind of model lies in a folder, and both kinds of reading, with the library played by the test."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pocketseek.apps.voice.engines.asr_sherpa import SherpaRecogniser, sherpa_languages
from pocketseek.errors import FormatError, UnsupportedError


class Stream:
    def __init__(self) -> None:
        self.num_samples = self.num_decoded = 0
        self.is_finished = False
        self.result = SimpleNamespace(text="")

    def accept_waveform(self, rate: int, samples: np.ndarray) -> None:
        assert rate == 16_000
        self.num_samples += len(samples)

    def input_finished(self) -> None:
        self.is_finished = True


class Recognizer:
    """Hears a word in every second."""

    def __init__(self, kind: str, **options: Any) -> None:
        self.kind = kind
        self.options = options

    def create_stream(self) -> Stream:
        return Stream()

    def is_ready(self, stream: Stream) -> bool:
        return stream.num_decoded < stream.num_samples // 16_000

    def decode_stream(self, stream: Stream) -> None:
        stream.num_decoded = stream.num_samples // 16_000
        stream.result.text = self.get_result(stream)

    def get_result(self, stream: Stream) -> str:
        return " ".join(["word"] * stream.num_decoded)


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    made: Any = ModuleType("sherpa_onnx")

    def maker(kind: str) -> Any:
        return lambda **options: Recognizer(kind, **options)

    made.OnlineRecognizer = SimpleNamespace(from_transducer=maker("streaming"))
    made.OfflineRecognizer = SimpleNamespace(from_whisper=maker("whisper"), from_sense_voice=maker("sense"))
    monkeypatch.setitem(sys.modules, "sherpa_onnx", made)
    return made  # type: ignore[no-any-return]


def folder_of(tmp_path: Path, *names: str) -> Path:
    for name in names:
        (tmp_path / name).write_text("x")
    return tmp_path


STREAMING = ("tokens.txt", "encoder.onnx", "encoder.int8.onnx", "decoder.onnx", "joiner.onnx")


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (STREAMING, "streaming"),
        (("tiny-tokens.txt", "tiny-encoder.onnx", "tiny-decoder.int8.onnx"), "whisper"),
        (("tokens.txt", "model.onnx", "model.int8.onnx"), "sense"),
    ],
)
def test_the_files_tell_the_kind_and_int8_is_taken(tmp_path: Path, names: tuple[str, ...], kind: str) -> None:
    made = SherpaRecogniser(folder_of(tmp_path, *names))._recogniser
    assert made.kind == kind
    chosen = [Path(str(value)).name for key, value in made.options.items() if key in ("encoder", "decoder", "model")]
    for part in ("encoder", "decoder", "model"):
        if any("int8" in name and part in name for name in names):
            assert any("int8" in name and part in name for name in chosen)


def test_a_streaming_model_has_its_text_while_it_is_spoken(tmp_path: Path) -> None:
    speech = SherpaRecogniser(folder_of(tmp_path, *STREAMING)).start("en")
    for number in range(3):
        speech.feed(np.zeros(16_000, np.float32))
        assert speech.partial() == " ".join(["word"] * (number + 1))
    assert speech.finish() == "word word word"


def test_other_models_read_again_and_in_bounded_stretches(tmp_path: Path) -> None:
    speech = SherpaRecogniser(folder_of(tmp_path, "tokens.txt", "model.onnx")).start("zh")
    for _ in range(60):
        speech.feed(np.zeros(16_000, np.float32))
    assert 55 <= len(speech.finish().split()) <= 60


def test_an_empty_folder_and_a_missing_library_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FormatError, match=r"docs/voice\.md"):
        SherpaRecogniser(tmp_path)
    monkeypatch.setitem(sys.modules, "sherpa_onnx", None)
    with pytest.raises(UnsupportedError, match="pip install sherpa-onnx"):
        SherpaRecogniser(tmp_path)


@pytest.mark.parametrize(
    ("name", "languages"),
    [
        ("sherpa-onnx-sense-voice-zh-en-ja-ko-yue-2024-07-17", ("zh", "en", "ja", "ko", "yue")),
        ("sherpa-onnx-streaming-zipformer-bilingual-zh-en-2023-02-20", ("zh", "en")),
        ("sherpa-onnx-streaming-zipformer-en-2023-06-26", ("en",)),
        ("sherpa-onnx-whisper-tiny.en", ("en",)),
        ("vits-piper-en_US-amy-low", ("en",)),
        ("vits-zh-aishell3", ("zh",)),
        ("kokoro-multi-lang-v1_0", ("zh", "en")),
        ("something", ()),
    ],
)
def test_the_name_of_a_folder_tells_its_languages(name: str, languages: tuple[str, ...]) -> None:
    assert sherpa_languages(Path(name)) == languages
