"""Microphone and loudspeaker through the library sounddevice (PortAudio)."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketseek.apps.voice.contract import SAMPLE_RATE, Samples
from pocketseek.apps.voice.sound.resample import Resampler
from pocketseek.errors import VoiceError
from pocketseek.libraries import load_library

_BLOCK_S = 0.032
_SILENT_S = 2.0  # without a block from the device: it is gone


def _library(needed_for: str) -> ModuleType:
    return load_library("sounddevice", "pip install sounddevice", needed_for=needed_for)


def _chosen(device: str | None) -> str | int | None:
    return int(device) if device is not None and device.isdigit() else device


class LibraryMicrophone:
    """Opens the device at 16 kHz, or at its own rate and converts."""

    def __init__(self, device: str | None = None) -> None:
        library = _library("the microphone")
        self._blocks: SimpleQueue[Samples | None] = SimpleQueue()
        try:
            facts = library.query_devices(_chosen(device), "input")
            self._stream, rate = self._opened(library, _chosen(device), int(facts["default_samplerate"]))
        except (library.PortAudioError, ValueError) as error:
            raise VoiceError(f"no microphone can be opened ({_line(error)}); plug one in, or use --wav FILE") from error
        self.name = f"{facts['name']} (sounddevice)"
        self._resampler = Resampler(rate, SAMPLE_RATE)

    def _opened(self, library: ModuleType, device: str | int | None, own_rate: int) -> tuple[Any, int]:
        for rate in dict.fromkeys((SAMPLE_RATE, own_rate)):
            try:
                stream = library.InputStream(
                    device=device,
                    samplerate=rate,
                    channels=1,
                    dtype="float32",
                    blocksize=int(rate * _BLOCK_S),
                    callback=self._came,
                    finished_callback=lambda: self._blocks.put(None),
                )
                stream.start()
            except library.PortAudioError:
                if rate == own_rate:
                    raise
            else:
                return stream, rate
        raise VoiceError("the microphone has no sample rate that can be used; choose another device")

    def _came(self, block: NDArray[np.float32], _frames: int, _time: object, _status: object) -> None:
        self._blocks.put(block[:, 0].copy())

    def __iter__(self) -> Iterator[Samples]:
        self._forget_old()
        return self._heard()

    def _heard(self) -> Iterator[Samples]:
        while True:
            try:
                block = self._blocks.get(timeout=_SILENT_S)
            except Empty:
                block = None
            if block is None:
                break
            yield self._resampler.feed(block)
        if not self._stream.closed:
            raise VoiceError("the microphone stopped; check that it is plugged in and start again")

    def close(self) -> None:
        self._stream.close()
        self._blocks.put(None)

    def _forget_old(self) -> None:
        """What came before somebody asked; the end of the stream is no sound and stays."""
        blocks = [self._blocks.get() for _ in range(self._blocks.qsize())]
        if any(block is None for block in blocks):
            self._blocks.put(None)


class LibraryLoudspeaker:
    """The device pulls; what waits lies in a list here, so that `stop` is heard within a block."""

    def __init__(self, device: str | None = None) -> None:
        library = _library("the loudspeaker")
        self._lock = threading.Lock()
        self._waiting: deque[Samples] = deque()
        self._num_waiting = self._num_played = 0
        self._from_rate = 0
        try:
            facts = library.query_devices(_chosen(device), "output")
            self._rate = int(facts["default_samplerate"])
            self._stream = library.OutputStream(
                device=_chosen(device),
                samplerate=self._rate,
                channels=1,
                dtype="float32",
                blocksize=int(self._rate * _BLOCK_S),
                callback=self._wanted,
            )
            self._stream.start()
        except (library.PortAudioError, ValueError) as error:
            raise VoiceError(
                f"no loudspeaker can be opened ({_line(error)}); plug one in, or use --out FILE"
            ) from error
        self.name = f"{facts['name']} (sounddevice)"

    @property
    def played_s(self) -> float:
        self._check()
        return self._num_played / self._rate

    @property
    def waiting_s(self) -> float:
        return self._num_waiting / self._rate

    def begin(self) -> None:
        with self._lock:
            self._num_played = 0

    def play(self, samples: Samples, sample_rate: int) -> None:
        self._check()
        if sample_rate != self._from_rate:
            self._from_rate, self._resampler = sample_rate, Resampler(sample_rate, self._rate)
        converted = self._resampler.feed(samples)
        with self._lock:
            self._waiting.append(converted)
            self._num_waiting += len(converted)

    def stop(self) -> None:
        with self._lock:
            self._waiting.clear()
            self._num_waiting = self._num_played = 0
            self._from_rate = 0

    def close(self) -> None:
        self._stream.close()

    def _check(self) -> None:
        if not self._stream.active:
            raise VoiceError("the loudspeaker stopped; check that it is plugged in and start again")

    def _wanted(self, block: NDArray[np.float32], frames: int, _time: object, _status: object) -> None:
        filled = 0
        with self._lock:
            while self._waiting and filled < frames:
                piece = self._waiting.popleft()
                taken = min(len(piece), frames - filled)
                block[filled : filled + taken, 0] = piece[:taken]
                filled += taken
                if taken < len(piece):
                    self._waiting.appendleft(piece[taken:])
            self._num_waiting -= filled
            self._num_played += filled
        block[filled:, 0] = 0.0


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
