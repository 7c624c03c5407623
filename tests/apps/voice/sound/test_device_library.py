"""Microphone and loudspeaker of the library sounddevice, which is played by the test."""

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from pocketseek.apps.voice.sound.device_library import LibraryLoudspeaker, LibraryMicrophone
from pocketseek.errors import UnsupportedError, VoiceError


class PortAudioError(Exception):
    pass


class Stream:
    closed = False
    active = True

    def __init__(self, library: "Library", **options: Any) -> None:
        if options["samplerate"] not in library.rates:
            raise PortAudioError("Invalid sample rate")
        self.options = options
        library.streams.append(self)

    def start(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True
        self.active = False


class Library(ModuleType):
    PortAudioError = PortAudioError

    def __init__(self) -> None:
        super().__init__("sounddevice")
        self.rates = [48_000]
        self.streams: list[Stream] = []
        self.has_devices = True

    def query_devices(self, device: object, kind: str) -> dict[str, object]:
        if not self.has_devices:
            raise PortAudioError("Error querying device -1")
        return {"name": f"a {kind}", "default_samplerate": 48_000.0}

    def InputStream(self, **options: Any) -> Stream:  # noqa: N802  the library's name
        return Stream(self, **options)

    OutputStream = InputStream


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    made = Library()
    monkeypatch.setitem(sys.modules, "sounddevice", made)
    return made


@pytest.mark.parametrize("rates", [[16_000, 48_000], [48_000]])
def test_sound_comes_at_16_khz_whatever_the_device_has(library: Library, rates: list[int]) -> None:
    library.rates = rates
    microphone = LibraryMicrophone()
    (stream,) = library.streams
    block = np.zeros((stream.options["samplerate"] // 10, 1), np.float32)
    stream.options["callback"](block, len(block), None, None)  # nobody has asked yet
    blocks = iter(microphone)
    heard = 0
    for _ in range(10):
        stream.options["callback"](block, len(block), None, None)
        stream.options["callback"](block, len(block), None, None)
        heard += len(next(blocks))
    assert heard == pytest.approx(16_000, abs=200)
    microphone.close()


def test_a_microphone_that_is_pulled_out_is_told(library: Library) -> None:
    microphone = LibraryMicrophone()
    library.streams[0].options["finished_callback"]()
    with pytest.raises(VoiceError, match="plugged in"):
        list(microphone)


def test_what_is_played_is_counted_and_stopping_is_silence(library: Library) -> None:
    loudspeaker = LibraryLoudspeaker()
    wanted = library.streams[0].options["callback"]
    loudspeaker.begin()
    loudspeaker.play(np.full(8000, 0.5, np.float32), 16_000)
    assert loudspeaker.waiting_s == pytest.approx(0.5, abs=0.01)
    block = np.ones((4800, 1), np.float32)
    wanted(block, len(block), None, None)
    assert abs(float(block[2400, 0]) - 0.5) < 0.05
    assert loudspeaker.played_s == pytest.approx(0.1)
    loudspeaker.stop()
    wanted(block, len(block), None, None)
    assert not block.any()
    assert loudspeaker.waiting_s == 0
    library.streams[0].active = False  # it was pulled out
    with pytest.raises(VoiceError, match="the loudspeaker stopped"):
        _ = loudspeaker.played_s


def test_a_machine_without_devices_or_library_is_told(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    library.has_devices = False
    with pytest.raises(VoiceError, match="no microphone"):
        LibraryMicrophone()
    with pytest.raises(VoiceError, match="no loudspeaker"):
        LibraryLoudspeaker()
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(UnsupportedError, match=r"the microphone needs .*pip install sounddevice"):
        LibraryMicrophone()
    with pytest.raises(UnsupportedError, match=r"the loudspeaker needs .*pip install sounddevice"):
        LibraryLoudspeaker()
