"""Microphones and loudspeakers: through the library sounddevice, or through a program that every Linux has one of.

    microphone = open_microphone()             loudspeaker = open_loudspeaker()
    for samples in microphone: ...             loudspeaker.play(samples, rate); loudspeaker.stop()

Programs are parec and pacat (PulseAudio, also Termux's), pw-record and pw-play (PipeWire), arecord and aplay (ALSA):
raw sound through a pipe. The library is taken if it loads and finds a device. Which was taken, and why, is in `name`.
Nothing here decides what sound means.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Protocol

from pocketseek.apps.voice.contract import Samples
from pocketseek.apps.voice.sound.device_library import LibraryLoudspeaker, LibraryMicrophone
from pocketseek.apps.voice.sound.device_programs import (
    PLAYERS,
    RECORDERS,
    DeviceProgram,
    ProgramLoudspeaker,
    ProgramMicrophone,
    check_player,
    check_recorder,
)
from pocketseek.errors import UnsupportedError, VoiceError
from pocketseek.libraries import is_termux


class Microphone(Protocol):
    """Blocks of 16 kHz sound as it comes, until `close`. Iterating raises VoiceError when the device goes away."""

    @property
    def name(self) -> str: ...

    def __iter__(self) -> Iterator[Samples]: ...

    def close(self) -> None:
        """From any thread; the iterator ends."""


class Loudspeaker(Protocol):
    """Methods from any thread. `play` and `played_s` raise VoiceError when the device went away."""

    @property
    def name(self) -> str: ...

    @property
    def played_s(self) -> float:
        """Sound that was heard since the last `stop` or `begin`."""

    @property
    def waiting_s(self) -> float:
        """Sound that is still to be heard."""

    def begin(self) -> None:
        """Another answer: `played_s` counts from 0."""

    def play(self, samples: Samples, sample_rate: int) -> None:
        """After what waits already; returns at once."""

    def stop(self) -> None:
        """Be silent now; what waits is dropped."""

    def close(self) -> None: ...


def open_microphone(device: str | None = None) -> Microphone:
    """device: as its name or number stands in the system's own list. Raises VoiceError if there is none that works."""
    try:
        return LibraryMicrophone(device)
    except (UnsupportedError, VoiceError) as error:
        problem = error
    program = _working(RECORDERS, device, check_recorder)
    if isinstance(program, DeviceProgram):
        return ProgramMicrophone(program, device)
    raise VoiceError(
        f"no microphone can be used ({_reason(program or problem)}); {_remedy('parec', program)}, or use --wav FILE"
    )


def open_loudspeaker(device: str | None = None) -> Loudspeaker:
    try:
        return LibraryLoudspeaker(device)
    except (UnsupportedError, VoiceError) as error:
        problem = error
    program = _working(PLAYERS, device, check_player)
    if isinstance(program, DeviceProgram):
        return ProgramLoudspeaker(program, device)
    raise VoiceError(
        f"no loudspeaker can be used ({_reason(program or problem)}); {_remedy('pacat', program)}, or use --out FILE"
    )


def _working(
    programs: tuple[DeviceProgram, ...], device: str | None, check: Callable[[DeviceProgram, str | None], None]
) -> DeviceProgram | VoiceError | None:
    """The first that is here and finds its device; or what is wrong with the first; None: none is here."""
    problem: VoiceError | None = None
    for program in programs:
        if shutil.which(program.command[0]):
            try:
                check(program, device)
            except VoiceError as error:
                problem = problem or error
            else:
                return program
    return problem


def _reason(error: Exception) -> str:
    return str(error).partition(";")[0]


def _remedy(program: str, problem: VoiceError | None) -> str:
    if problem is not None:
        return "plug one in, or name another device"
    if is_termux():
        return f"pkg install pulseaudio, which has {program}"
    return f"install {program} (Debian: pulseaudio-utils), or PortAudio (libportaudio2) and sounddevice"
