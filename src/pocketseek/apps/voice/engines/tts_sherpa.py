"""Speech with the library sherpa-onnx: Kokoro, Matcha and VITS (Piper) voices, also on phones.

A folder as the library's makers pack it, told apart by its files: `voices.bin` is Kokoro, an acoustic model beside a
vocoder (`vocos*.onnx`, `hifigan*.onnx`) is Matcha, one model alone is VITS. Sound comes sentence by sentence.

From version 2 on the library makes no phonemes by itself, and a voice without a lexicon (Piper's) is given eSpeak NG's.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketseek.apps.voice.contract import Samples
from pocketseek.apps.voice.engines.tts_espeak import phonemes
from pocketseek.errors import FormatError, VoiceError
from pocketseek.libraries import load_library

_Generation = Callable[..., Any]
_SENTENCES = re.compile(r"[^.!?。！？]*\w[^.!?。！？]*[.!?。！？]*")
_VOCODERS = ("vocos*.onnx", "hifigan*.onnx", "*vocoder*.onnx")


def is_sherpa_voice(folder: Path) -> bool:
    has_text_part = (folder / "espeak-ng-data").is_dir() or any(folder.glob("lexicon*.txt"))
    return (folder / "tokens.txt").is_file() and (has_text_part or (folder / "voices.bin").is_file())


class SherpaSynthesiser:
    """speaker: which voice of a model with several. Raises UnsupportedError without the library, FormatError."""

    def __init__(self, folder: Path, *, num_threads: int = 1, speaker: int = 0, speed: float = 1.0) -> None:
        library = load_library("sherpa_onnx", "pip install sherpa-onnx", needed_for="this voice")
        try:
            config = _config(library, folder, num_threads)
            if not config.validate():
                raise FormatError(f"{folder} is no voice that sherpa-onnx knows; get it again")
            self._voice = library.OfflineTts(config)
        except (RuntimeError, ValueError, TypeError) as error:
            raise FormatError(f"{folder} cannot be opened by sherpa-onnx ({str(error)[:120]}); get it again") from error
        self.sample_rate = int(self._voice.sample_rate)
        self.name = f"sherpa-onnx ({folder.name})"
        self._speaker, self._speed = speaker, speed
        self._library = library
        self._needs_phonemes = hasattr(library, "GenerationConfig") and not any(folder.glob("lexicon*.txt"))

    def speak(self, text: str, language: str) -> Iterator[Samples]:
        """The library calls back with every sentence, in a thread of its own here, until nobody wants more."""
        pieces: SimpleQueue[Samples | Exception | None] = SimpleQueue()
        is_stopped = Event()

        def came(samples: NDArray[np.float32], _progress: float) -> int:
            pieces.put(np.array(samples, np.float32))
            return 0 if is_stopped.is_set() else 1

        worker = Thread(target=_generate, args=(self._generation(text, language), came, pieces), daemon=True)
        worker.start()
        try:
            while (piece := pieces.get()) is not None:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            is_stopped.set()
            worker.join()

    def close(self) -> None:
        self._voice = None

    def _generation(self, text: str, language: str) -> _Generation:
        if not self._needs_phonemes:
            return partial(self._voice.generate, text, sid=self._speaker, speed=self._speed)
        config = self._library.GenerationConfig()
        config.sid, config.speed = self._speaker, self._speed
        config.phoneme_codepoints = [_codepoints(sentence, language) for sentence in _SENTENCES.findall(text)]
        return partial(self._voice.generate, text, config)


def _codepoints(sentence: str, language: str) -> list[int]:
    """With the mark that ends it, which such voices have learnt to say."""
    end = sentence.rstrip()[-1:]
    said = ", ".join(phonemes(sentence, language)) + (end if end in ".!?" else ".")
    return [ord(letter) for letter in unicodedata.normalize("NFD", said)]


def _generate(generation: _Generation, came: Any, pieces: SimpleQueue[Any]) -> None:
    try:
        sound = generation(callback=came)
        if not len(sound.samples):
            raise VoiceError("sherpa-onnx said nothing; use another voice, or sherpa-onnx 1.12")
        pieces.put(None)
    except Exception as error:  # noqa: BLE001  raised by the reader of the pieces
        pieces.put(error)


def _config(library: Any, folder: Path, num_threads: int) -> Any:
    model = library.OfflineTtsModelConfig(num_threads=num_threads, **_model_part(library, folder))
    rules = ",".join(str(path) for path in sorted(folder.glob("*.fst")))
    return library.OfflineTtsConfig(model=model, rule_fsts=rules, max_num_sentences=1)


def _model_part(library: Any, folder: Path) -> dict[str, Any]:
    common = {"tokens": str(folder / "tokens.txt"), "data_dir": _folder(folder, "espeak-ng-data")}
    lexicon = ",".join(str(path) for path in sorted(folder.glob("lexicon*.txt")))
    models = sorted(folder.glob("*.onnx"), key=lambda path: ("int8" not in path.name, path.name))
    vocoder = next((path for pattern in _VOCODERS for path in sorted(folder.glob(pattern))), None)
    acoustic = next((path for path in models if path != vocoder), None)
    if acoustic is None:
        raise FormatError(f"{folder} has no model in it; get it again")
    if (voices := folder / "voices.bin").is_file():
        kokoro = library.OfflineTtsKokoroModelConfig(model=str(acoustic), voices=str(voices), lexicon=lexicon, **common)
        return {"kokoro": kokoro}
    if vocoder is not None:
        matcha = library.OfflineTtsMatchaModelConfig(
            acoustic_model=str(acoustic), vocoder=str(vocoder), lexicon=lexicon, **common
        )
        return {"matcha": matcha}
    return {"vits": library.OfflineTtsVitsModelConfig(model=str(acoustic), lexicon=lexicon, **common)}


def _folder(folder: Path, name: str) -> str:
    return str(folder / name) if (folder / name).is_dir() else ""
