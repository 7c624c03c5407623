"""Speech to text with the library sherpa-onnx: small enough for phones, and there for arm64.

A folder with one model, as its makers pack it, told apart by the names of its files: `encoder*`, `decoder*`, `joiner*`
are a streaming zipformer (text while it is spoken, at no more than its own cost); `model*.onnx` alone is SenseVoice;
`encoder*` and `decoder*` are Whisper. The int8 files are taken where there are both. The last two read all of an
utterance again for the text so far, as asr_whisper does, and are cut the same way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pocketseek.apps.voice.contract import SAMPLE_RATE, Samples, Utterance
from pocketseek.apps.voice.engines.asr_whisper import CUT_S, joined, quietest
from pocketseek.errors import FormatError
from pocketseek.libraries import load_library

_EARLIEST_CUT_S = 12.0
_TAIL_S = 0.5  # of silence, after which a streaming model has said all it heard


def is_sherpa_model(folder: Path) -> bool:
    return (folder / "tokens.txt").is_file() or any(folder.glob("*-tokens.txt"))


class SherpaRecogniser:
    """Raises UnsupportedError without the library, FormatError for a folder without a model that is known."""

    def __init__(self, folder: Path, *, num_threads: int = 1) -> None:
        library = load_library("sherpa_onnx", "pip install sherpa-onnx", needed_for="this recogniser")
        try:
            self._recogniser, self._is_streaming = _opened(library, folder, num_threads)
        except (RuntimeError, ValueError, TypeError) as error:
            raise FormatError(f"{folder} cannot be opened by sherpa-onnx ({str(error)[:120]}); get it again") from error
        self.languages: tuple[str, ...] = sherpa_languages(folder)
        self.name = f"sherpa-onnx ({folder.name})"

    def start(self, language: str | None) -> Utterance:
        return _Streamed(self._recogniser) if self._is_streaming else _Whole(self._recogniser)

    def close(self) -> None:
        self._recogniser = None


class _Streamed:
    def __init__(self, recogniser: Any) -> None:
        self._recogniser = recogniser
        self._stream = recogniser.create_stream()

    def feed(self, samples: Samples) -> None:
        self._stream.accept_waveform(SAMPLE_RATE, samples)
        self._decode()

    def partial(self, *, may_be_over: bool = False) -> str:
        return str(self._recogniser.get_result(self._stream)).strip()

    def finish(self) -> str:
        self._stream.accept_waveform(SAMPLE_RATE, np.zeros(int(_TAIL_S * SAMPLE_RATE), np.float32))
        self._stream.input_finished()
        self._decode()
        return self.partial()

    def cancel(self) -> None:
        pass

    def _decode(self) -> None:
        while self._recogniser.is_ready(self._stream):
            self._recogniser.decode_stream(self._stream)


class _Whole:
    def __init__(self, recogniser: Any) -> None:
        self._recogniser = recogniser
        self._done = ""
        self._samples = np.zeros(0, np.float32)
        self._num_read = 0
        self._text = ""

    def feed(self, samples: Samples) -> None:
        self._samples = np.concatenate([self._samples, samples])
        while len(self._samples) > CUT_S * SAMPLE_RATE:
            place = quietest(self._samples, int(_EARLIEST_CUT_S * SAMPLE_RATE), int(CUT_S * SAMPLE_RATE))
            self._done = joined(self._done, self._read(self._samples[:place]))
            self._samples, self._num_read, self._text = self._samples[place:], 0, ""

    def partial(self, *, may_be_over: bool = False) -> str:
        if self._num_read != len(self._samples):
            self._text, self._num_read = self._read(self._samples), len(self._samples)
        return joined(self._done, self._text)

    def finish(self) -> str:
        text = self.partial()
        self.cancel()
        return text

    def cancel(self) -> None:
        self._samples, self._num_read = np.zeros(0, np.float32), 0

    def _read(self, samples: Samples) -> str:
        stream = self._recogniser.create_stream()
        stream.accept_waveform(SAMPLE_RATE, samples)
        self._recogniser.decode_stream(stream)
        return str(stream.result.text).strip()


def _opened(library: Any, folder: Path, num_threads: int) -> tuple[Any, bool]:
    """(recogniser, whether it streams)."""
    encoder, decoder, joiner = (_file(folder, f"*{part}*.onnx") for part in ("encoder", "decoder", "joiner"))
    tokens = _file(folder, "*tokens.txt")
    if tokens and encoder and decoder and joiner:
        made = library.OnlineRecognizer.from_transducer(
            tokens=tokens, encoder=encoder, decoder=decoder, joiner=joiner, num_threads=num_threads
        )
        return made, True
    if tokens and encoder and decoder:
        made = library.OfflineRecognizer.from_whisper(
            tokens=tokens, encoder=encoder, decoder=decoder, num_threads=num_threads
        )
        return made, False
    if tokens and (model := _file(folder, "*model*.onnx")):
        made = library.OfflineRecognizer.from_sense_voice(
            model=model, tokens=tokens, num_threads=num_threads, use_itn=True
        )
        return made, False
    raise FormatError(f"{folder} has no model that is known; see docs/voice.md for those that are")


def _file(folder: Path, pattern: str) -> str | None:
    """The int8 one, if there are several."""
    found = sorted(folder.glob(pattern), key=lambda path: ("int8" not in path.name, path.name))
    return str(found[0]) if found else None


def sherpa_languages(folder: Path) -> tuple[str, ...]:
    """Of a recogniser or a voice, as far as the folder's name tells; empty: not known."""
    name = folder.name.lower()
    if "sense-voice" in name or "sensevoice" in name:
        return ("zh", "en", "ja", "ko", "yue")
    if "bilingual-zh-en" in name:
        return ("zh", "en")
    if "kokoro-multi-lang" in name or "zh_en" in name:
        return ("zh", "en")
    if name.endswith((".en", "-en")) or "-en-" in name or "-en_" in name:
        return ("en",)
    return ("zh",) if name.endswith("-zh") or "-zh-" in name or "-zh_" in name else ()
