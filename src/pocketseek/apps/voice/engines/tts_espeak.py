"""Speech by eSpeak NG: small, in a hundred languages, a few milliseconds a sentence, and a machine's voice.

The library is taken in-process where there is one (its own, or the one that the Python package espeakng-loader
carries), else the program `espeak-ng`. The library has one state for the whole process, so all `EspeakSynthesiser`s
take turns.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from pocketseek.apps.voice.contract import Samples
from pocketseek.apps.voice.sound.sound_file import of_pcm16, sound_of
from pocketseek.errors import VoiceError

_VOICES = {"en": "en-us", "zh": "cmn", "yue": "yue", "pt": "pt-br", "no": "nb"}
_SAMPLE_RATE = 22_050
_PIECE_S = 0.2
_TIMEOUT_S = 30.0

# <espeak-ng/speak_lib.h>
_SYNCHRONOUS_RETRIEVAL = 2
_NO_EXIT = 0x8000
_CHARACTERS, _UTF8 = 1, 1
_RATE = 1
_IPA = 2
_OK = 0
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

_turn = Lock()  # of the library's only state


class EspeakSynthesiser:
    """words_per_minute: eSpeak's own default is 175. Raises VoiceError if there is neither library nor program."""

    def __init__(self, *, words_per_minute: int = 175) -> None:
        self._words_per_minute = words_per_minute
        self._library = _library()
        if self._library is None and shutil.which("espeak-ng") is None:
            raise VoiceError("there is no eSpeak NG here; pip install espeakng-loader, or install espeak-ng")
        self.name = "eSpeak NG" if self._library is not None else "eSpeak NG (program)"
        self.sample_rate = self._library.sample_rate if self._library is not None else _SAMPLE_RATE

    def speak(self, text: str, language: str) -> Iterator[Samples]:
        voice = _VOICES.get(language, language)
        if self._library is not None:
            samples = self._library.speak(text, voice, self._words_per_minute)
        else:
            samples = _by_program(text, voice, self._words_per_minute)
        size = int(self.sample_rate * _PIECE_S)
        for start in range(0, len(samples), size):
            yield samples[start : start + size]

    def close(self) -> None:
        pass


def phonemes(text: str, language: str) -> list[str]:
    """How eSpeak NG would say it, clause by clause, in IPA. Raises VoiceError without the library."""
    library = _library()
    if library is None:
        raise VoiceError("this voice needs eSpeak NG's library for its sounds; pip install espeakng-loader")
    return library.phonemes(text, _VOICES.get(language, language))


class _Library:
    """The C library, set up once for the process."""

    def __init__(self, library: Any, data: Path | None) -> None:
        self._c = library
        self._c.espeak_Synth.argtypes = [
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.c_uint,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]
        self._c.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int]
        self._c.espeak_TextToPhonemes.restype = ctypes.c_char_p
        path = str(data).encode() if data is not None else None
        self.sample_rate = int(self._c.espeak_Initialize(_SYNCHRONOUS_RETRIEVAL, 200, path, _NO_EXIT))
        if self.sample_rate <= 0:
            raise VoiceError("eSpeak NG finds no voices; pip install --force-reinstall espeakng-loader")
        self._pieces: list[bytes] = []
        self._callback = _CALLBACK(self._came)  # kept: the library has only a pointer to it
        self._c.espeak_SetSynthCallback(self._callback)

    def speak(self, text: str, voice: str, words_per_minute: int) -> Samples:
        data = text.replace("\0", " ").encode("utf-8", "replace") + b"\0"
        with _turn:
            if self._c.espeak_SetVoiceByName(voice.encode()) != _OK:
                raise VoiceError(f"eSpeak NG has no voice for {voice!r}; choose another language")
            self._c.espeak_SetParameter(_RATE, words_per_minute, 0)
            self._pieces = []
            if self._c.espeak_Synth(data, len(data), 0, _CHARACTERS, 0, _UTF8, None, None) != _OK:
                raise VoiceError("eSpeak NG failed; say it again")
            pieces, self._pieces = self._pieces, []
        return of_pcm16(b"".join(pieces))

    def phonemes(self, text: str, voice: str) -> list[str]:
        rest = ctypes.c_char_p(text.replace("\0", " ").encode("utf-8", "replace"))
        clauses: list[str] = []
        with _turn:
            if self._c.espeak_SetVoiceByName(voice.encode()) != _OK:
                raise VoiceError(f"eSpeak NG has no voice for {voice!r}; choose another language")
            while rest.value:
                clause = self._c.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _IPA)
                clauses.append((clause or b"").decode("utf-8", "replace").strip())
        return [clause for clause in clauses if clause]

    def _came(self, samples: Any, count: int, _events: int | None) -> int:
        if samples and count > 0:
            self._pieces.append(ctypes.string_at(samples, 2 * count))
        return 0


_opened: list[_Library] = []


def _library() -> _Library | None:
    with _turn:
        if not _opened:
            found = _packaged() or _installed()
            if found is not None:
                _opened.append(found)
        return _opened[0] if _opened else None


def _packaged() -> _Library | None:
    try:
        loader = importlib.import_module("espeakng_loader")
        return _Library(ctypes.CDLL(loader.get_library_path()), Path(loader.get_data_path()))
    except (ImportError, OSError, AttributeError):
        return None


def _installed() -> _Library | None:
    name = ctypes.util.find_library("espeak-ng")
    try:
        return _Library(ctypes.CDLL(name), None) if name else None
    except (OSError, AttributeError):
        return None


def _by_program(text: str, voice: str, words_per_minute: int) -> Samples:
    command = ["espeak-ng", "--stdin", "--stdout", "-v", voice, "-s", str(words_per_minute), "-b", "1"]
    try:
        done = subprocess.run(command, input=text.encode("utf-8", "replace"), capture_output=True, timeout=_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise VoiceError("the program espeak-ng does not answer; pip install espeakng-loader") from error
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise VoiceError(f"espeak-ng failed ({said[-1][:120] if said else 'no reason given'}); choose another language")
    if len(done.stdout) <= 44:  # a header and nothing to be said
        return np.zeros(0, np.float32)
    return sound_of(done.stdout, "espeak-ng").at(_SAMPLE_RATE)
