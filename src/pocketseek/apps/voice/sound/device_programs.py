"""Microphone and loudspeaker as programs that pass raw sound through a pipe: 16 bit, one channel."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from pocketseek.apps.voice.contract import SAMPLE_RATE, Samples
from pocketseek.apps.voice.sound.device_process import DeviceProcess
from pocketseek.apps.voice.sound.resample import Resampler
from pocketseek.apps.voice.sound.sound_file import of_pcm16, pcm16
from pocketseek.errors import VoiceError

_BLOCK_BYTES = 1024  # 32 ms
_AHEAD_S = 0.15  # sound that a player is given before it is due: what it may go on playing after a stop at most
_STEP_S = 0.02
_OPENING_S = 8.0  # until a device gives its first sound: a headset may have to be woken
_CHECK_S = 1.5  # in which a program notices that its device is not there
_CHECK_SOUND_S = 0.1
_SILENT_S = 2.0  # without sound from a device that gave some, or that takes none: it is gone


@dataclass(frozen=True)
class DeviceProgram:
    """command: with {rate}; device: what goes before the name of a device."""

    command: tuple[str, ...]
    device: tuple[str, ...]

    def arguments(self, rate: int, device: str | None) -> list[str]:
        filled = [part.format(rate=rate) for part in self.command]
        return [filled[0], *([*self.device[:-1], self.device[-1] + device] if device else []), *filled[1:]]


RECORDERS = (
    DeviceProgram(
        ("parec", "--raw", "--format=s16le", "--rate={rate}", "--channels=1", "--latency-msec=30"), ("--device=",)
    ),
    DeviceProgram(("pw-record", "--format=s16", "--rate={rate}", "--channels=1", "-"), ("--target=",)),
    DeviceProgram(("arecord", "-q", "-t", "raw", "-f", "S16_LE", "-r", "{rate}", "-c", "1"), ("-D", "")),
)
PLAYERS = (
    DeviceProgram(
        ("pacat", "--raw", "--format=s16le", "--rate={rate}", "--channels=1", "--latency-msec=60"), ("--device=",)
    ),
    DeviceProgram(("pw-play", "--format=s16", "--rate={rate}", "--channels=1", "-"), ("--target=",)),
    DeviceProgram(("aplay", "-q", "-t", "raw", "-f", "S16_LE", "-r", "{rate}", "-c", "1"), ("-D", "")),
)


def check_recorder(program: DeviceProgram, device: str | None) -> None:
    """Raises VoiceError if there is nothing that it could record from. What is slow to begin may be there."""
    process = DeviceProcess(program.arguments(SAMPLE_RATE, device), plays=False)
    try:
        with suppress(TimeoutError):
            if not process.read(_BLOCK_BYTES, _CHECK_S) and process.ended_with(_CHECK_S):
                raise VoiceError(f"the microphone gives no sound ({process.last_words()}); check it and start again")
    finally:
        process.end()


def check_player(program: DeviceProgram, device: str | None) -> None:
    """Raises VoiceError if there is nothing that it could play on: it is given a moment of silence."""
    process = DeviceProcess(program.arguments(SAMPLE_RATE, device), plays=True)
    try:
        with suppress(OSError):  # it is gone: it says why
            process.write(bytes(2 * int(_CHECK_SOUND_S * SAMPLE_RATE)))
        if process.ended_with(_CHECK_S):
            raise VoiceError(f"the loudspeaker takes no sound ({process.last_words()}); check it and start again")
    finally:
        process.end()


class ProgramMicrophone:
    """The program runs from the first block that is asked for, so nothing old is heard."""

    def __init__(self, program: DeviceProgram, device: str | None = None) -> None:
        self.name = program.command[0]
        self._command = program.arguments(SAMPLE_RATE, device)
        self._lock = threading.Lock()  # guards the two below
        self._process: DeviceProcess | None = None
        self._is_closed = False

    def __iter__(self) -> Iterator[Samples]:
        process = self._started()
        if process is None:
            return
        timeout_s = _OPENING_S
        try:
            while data := process.read(_BLOCK_BYTES, timeout_s):
                timeout_s = _SILENT_S
                yield of_pcm16(data)
        except TimeoutError:
            words = f"{self.name} gives no sound"
        else:
            words = "" if self._is_closed else process.last_words()
        if not self._is_closed:
            raise VoiceError(f"the microphone stopped ({words}); check it and start again")

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            process, self._process = self._process, None
        if process is not None:
            process.kill()

    def _started(self) -> DeviceProcess | None:
        with self._lock:
            if not self._is_closed:
                self._process = DeviceProcess(self._command, plays=False)
            return self._process


class ProgramLoudspeaker:
    """A program for each stretch of sound: stopping it is the surest way to silence. A thread feeds it in time."""

    def __init__(
        self, program: DeviceProgram, device: str | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = program.command[0]
        self._program = program
        self._device = device
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: list[Samples] = []
        self._rate = 0
        self._process: DeviceProcess | None = None
        self._began_s = 0.0  # when the first sample that the program was given is heard
        self._given_s = 0.0  # sound that it was given
        self._played_before_s = 0.0
        self._writing_s: float | None = None  # since when it is being given some
        self._is_closed = False
        self._error: VoiceError | None = None
        self._thread = threading.Thread(target=self._live, name="voice-loudspeaker", daemon=True)
        self._thread.start()

    @property
    def played_s(self) -> float:
        with self._changed:
            self._check()
            return self._played_before_s + self._heard_s()

    @property
    def waiting_s(self) -> float:
        with self._changed:
            return self._given_s - self._heard_s() + self._queued_s()

    def begin(self) -> None:
        with self._changed:
            self._played_before_s = -self._heard_s()

    def play(self, samples: Samples, sample_rate: int) -> None:
        with self._changed:
            self._check()
            if self._rate != sample_rate:
                self._waiting = [_at(piece, self._rate, sample_rate) for piece in self._waiting]
                self._rate = sample_rate
            self._waiting.append(samples)
            self._changed.notify()

    def stop(self) -> None:
        with self._changed:
            self._waiting.clear()
            process = self._forget_process()
            self._played_before_s = 0.0
        if process is not None:
            process.kill()

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self.stop()  # first: the thread may wait for a program that takes no more
        self._thread.join()

    def _check(self) -> None:
        """Raises, once, what went wrong since it was asked last."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        if self._writing_s is not None and self._clock() - self._writing_s > _SILENT_S:
            raise VoiceError(f"the loudspeaker takes no sound ({self.name}); check it and start again")

    def _heard_s(self) -> float:
        return 0.0 if self._process is None else max(0.0, min(self._given_s, self._clock() - self._began_s))

    def _queued_s(self) -> float:
        return sum(map(len, self._waiting)) / self._rate if self._rate else 0.0

    def _forget_process(self) -> DeviceProcess | None:
        self._played_before_s += self._heard_s()
        process, self._process, self._given_s = self._process, None, 0.0
        return process

    # -- the thread --------------------------------------------------------------------------------------------------

    def _live(self) -> None:
        while not self._is_closed:
            try:
                self._give()
            except VoiceError as error:  # kept for who plays or asks what was played
                with self._changed:
                    self._error = error
                    self._waiting.clear()

    def _give(self) -> None:
        """A little sound, once it is due."""
        step = self._next()
        if step is None:
            return
        process, samples = step
        self._writing_s = self._clock()
        try:
            process.write(pcm16(samples).tobytes())
        except (OSError, ValueError):  # ValueError: closed meanwhile, by `stop`
            self._lost(process)
        finally:
            self._writing_s = None

    def _next(self) -> tuple[DeviceProcess, Samples] | None:
        """A little sound, when it is due; None at the end."""
        with self._changed:
            while not self._is_closed:
                if not self._waiting:
                    self._changed.wait(0.5 if self._process is None else _STEP_S)
                    self._end_if_heard()
                elif self._process is not None and self._given_s - self._heard_s() > _AHEAD_S:
                    self._changed.wait(_STEP_S)
                else:
                    return self._take()
            return None

    def _take(self) -> tuple[DeviceProcess, Samples] | None:
        if self._process is None:
            self._process = DeviceProcess(self._program.arguments(self._rate, self._device), plays=True)
            self._began_s = self._clock()
        elif self._given_s <= self._heard_s():  # it had nothing to play for a while
            self._played_before_s += self._given_s
            self._began_s, self._given_s = self._clock(), 0.0
        size = max(1, int(self._rate * _STEP_S))
        piece = self._waiting[0]
        samples, rest = piece[:size], piece[size:]
        self._waiting[:1] = [rest] if len(rest) else []
        self._given_s += len(samples) / self._rate
        return self._process, samples

    def _end_if_heard(self) -> None:
        """All was given and heard: let the program go, so that the device is free."""
        if self._process is not None and self._given_s <= self._heard_s() - 0.5:
            process = self._forget_process()
            if process is not None:
                process.end()

    def _lost(self, process: DeviceProcess) -> None:
        with self._changed:
            if process is self._process:
                words = process.last_words()
                self._error = VoiceError(f"the loudspeaker stopped ({words}); check it and start again")
                self._waiting.clear()
                self._forget_process()
                process.end()


def _at(samples: Samples, from_rate: int, to_rate: int) -> Samples:
    stream = Resampler(from_rate or to_rate, to_rate)
    return stream.feed(samples)
