"""Microphone and loudspeaker as programs, played by small shell scripts: pipes between processes are the thing."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pocketseek.apps.voice.sound import device_programs, devices
from pocketseek.apps.voice.sound.device_programs import DeviceProgram, ProgramLoudspeaker, ProgramMicrophone
from pocketseek.apps.voice.sound.devices import open_loudspeaker, open_microphone
from pocketseek.errors import UnsupportedError, VoiceError


def program(tmp_path: Path, script: str) -> DeviceProgram:
    path = tmp_path / "device"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return DeviceProgram((str(path), "{rate}"), ("--device=",))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_the_microphone_hears_comes_in_blocks_and_its_end_is_told(tmp_path: Path) -> None:
    sound = np.arange(-800, 800, dtype="<i2")
    (tmp_path / "sound").write_bytes(sound.tobytes())
    microphone = ProgramMicrophone(program(tmp_path, f"cat {tmp_path}/sound; echo unplugged >&2"))
    heard = []
    with pytest.raises(VoiceError, match="unplugged"):
        heard.extend(microphone)
    assert np.array_equal(np.concatenate(heard) * 32768, sound)
    microphone.close()


def test_a_microphone_that_was_closed_just_ends(tmp_path: Path) -> None:
    microphone = ProgramMicrophone(program(tmp_path, "cat /dev/zero"))
    blocks = iter(microphone)
    assert len(next(blocks)) == 512
    microphone.close()
    for _ in blocks:
        pass


def test_a_microphone_that_complains_all_the_time_is_heard_all_the_same(tmp_path: Path) -> None:
    script = "head -c 300000 /dev/zero | tr '\\0' 'x' >&2; printf '\\nunplugged\\n' >&2; head -c 1024 /dev/zero"
    heard = []
    microphone = ProgramMicrophone(program(tmp_path, script))
    with pytest.raises(VoiceError, match=r"stopped \(.*unplugged\)"):
        heard.extend(microphone)
    assert len(np.concatenate(heard)) == 512
    microphone.close()


def test_sound_that_comes_in_odd_pieces_is_put_together(tmp_path: Path) -> None:
    script = r"printf '\1'; sleep 0.05; printf '\2\3'; sleep 0.05; printf '\4'"
    microphone = ProgramMicrophone(program(tmp_path, script))
    heard = []
    with pytest.raises(VoiceError):
        heard.extend(microphone)
    assert list(np.concatenate(heard) * 32768) == [0x201, 0x403]
    microphone.close()


def test_a_microphone_that_gives_nothing_more_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_programs, "_SILENT_S", 0.05)
    microphone = ProgramMicrophone(program(tmp_path, "head -c 1024 /dev/zero; exec sleep 100"))
    blocks = iter(microphone)
    assert len(next(blocks)) == 512
    with pytest.raises(VoiceError, match="gives no sound"):
        next(blocks)
    microphone.close()


def test_a_player_that_stands_still_is_told_and_keeps_nobody_from_leaving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_programs, "_SILENT_S", 0.05)
    monkeypatch.setattr(device_programs, "_AHEAD_S", 100.0)
    loudspeaker = ProgramLoudspeaker(program(tmp_path, "exec sleep 100"))

    def fails() -> bool:
        try:
            loudspeaker.play(np.zeros(80_000, np.float32), 8000)
        except VoiceError as error:
            return "takes no sound" in str(error)
        return False

    wait_until(fails)
    loudspeaker.close()


def test_what_is_played_arrives_and_is_counted(tmp_path: Path) -> None:
    loudspeaker = ProgramLoudspeaker(program(tmp_path, f"exec cat > {tmp_path}/heard"))
    ramp = np.linspace(-0.5, 0.5, 1600, dtype=np.float32)
    loudspeaker.begin()
    loudspeaker.play(ramp, 8000)
    wait_until(lambda: loudspeaker.waiting_s == 0)
    assert loudspeaker.played_s == pytest.approx(0.2, abs=0.01)
    loudspeaker.close()
    heard = np.frombuffer((tmp_path / "heard").read_bytes(), "<i2")
    assert np.abs(heard / 32767 - ramp).max() < 1e-3


def test_stopping_drops_what_waits(tmp_path: Path) -> None:
    loudspeaker = ProgramLoudspeaker(program(tmp_path, "exec cat > /dev/null"))
    loudspeaker.play(np.zeros(80_000, np.float32), 8000)
    wait_until(lambda: loudspeaker.played_s > 0)
    loudspeaker.stop()
    assert loudspeaker.waiting_s == 0
    assert loudspeaker.played_s == 0
    loudspeaker.play(np.zeros(800, np.float32), 8000)
    wait_until(lambda: loudspeaker.waiting_s == 0)
    loudspeaker.close()


def test_a_loudspeaker_that_goes_away_is_told_with_the_next_sound(tmp_path: Path) -> None:
    loudspeaker = ProgramLoudspeaker(program(tmp_path, "echo no such device >&2; exit 1"))

    def fails() -> bool:
        try:
            loudspeaker.play(np.zeros(4000, np.float32), 8000)
        except VoiceError as error:
            return "no such device" in str(error)
        return False

    wait_until(fails)
    loudspeaker.close()


def test_a_loudspeaker_that_goes_away_in_the_last_sound_is_told_to_who_asks_what_was_played(tmp_path: Path) -> None:
    loudspeaker = ProgramLoudspeaker(program(tmp_path, "head -c 4000 > /dev/null; echo unplugged >&2; exit 1"))
    loudspeaker.play(np.zeros(160_000, np.float32), 8000)

    def fails() -> bool:
        try:
            return loudspeaker.played_s > 19  # of 20 s: all of it
        except VoiceError as error:
            return "unplugged" in str(error)

    wait_until(fails)
    assert loudspeaker.waiting_s == 0
    loudspeaker.close()


def test_without_any_device_both_ways_out_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(device: str | None) -> None:
        raise UnsupportedError("no PortAudio; install it")

    monkeypatch.setattr(devices, "LibraryMicrophone", no_library)
    monkeypatch.setattr(devices, "LibraryLoudspeaker", no_library)
    monkeypatch.setattr(devices.shutil, "which", lambda name: None)
    with pytest.raises(VoiceError, match=r"no PortAudio.*--wav FILE"):
        open_microphone()
    with pytest.raises(VoiceError, match=r"no PortAudio.*--out FILE"):
        open_loudspeaker()


@pytest.mark.parametrize("kind", ["microphone", "loudspeaker"])
def test_a_device_that_is_not_there_is_told_at_once_and_another_program_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def no_library(device: str | None) -> None:
        raise UnsupportedError("no PortAudio; install it")

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    broken = program(tmp_path / "a", "echo no such device >&2; exit 1")
    working = program(tmp_path / "b", "head -c 4096 /dev/zero; exec cat > /dev/null")
    monkeypatch.setattr(devices, "LibraryMicrophone", no_library)
    monkeypatch.setattr(devices, "LibraryLoudspeaker", no_library)
    opened = open_microphone if kind == "microphone" else open_loudspeaker
    for programs in ("RECORDERS", "PLAYERS"):
        monkeypatch.setattr(devices, programs, (broken,))
    with pytest.raises(VoiceError, match=f"no {kind} can be used.*no such device"):
        opened()
    for programs in ("RECORDERS", "PLAYERS"):
        monkeypatch.setattr(devices, programs, (broken, working))
    device = opened()
    assert device.name == working.command[0]
    device.close()
