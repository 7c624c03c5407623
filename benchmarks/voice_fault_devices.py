"""Devices that are missing, unplugged or of another rate, for voice_faults.py: programs that `voice listen` takes for
a microphone and a loudspeaker, in a process of its own.

A recorder plays the question at the pace of speech, then silence; `parts` says what it does when it is started for the
first, second ... time (`voice listen` starts it once to see whether it gives sound). sounddevice is replaced by one
that finds no library, or by one whose device knows 48 kHz alone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pocketseek.apps.voice.contract import SAMPLE_RATE, Samples
from pocketseek.apps.voice.sound.resample import resample
from pocketseek.apps.voice.sound.sound_file import pcm16

_PATIENCE_S = 300.0
_LEAST_QUIET_S = 1.0

_RECORDER = """#!{python}
import pathlib, sys, time
starts = pathlib.Path({folder!r}, "starts")
number = len(starts.read_bytes()) if starts.exists() else 0
starts.write_bytes(b"." * (number + 1))
parts = {parts!r}
name = parts[min(number, len(parts) - 1)]
if name is None:
    sys.exit("Connection failure: no such device")
data = pathlib.Path({folder!r}, name).read_bytes()
due_s, silence = time.monotonic(), bytes(1024)
for start in range(0, len(data) if name == "half" else 10**9, 1024):
    sys.stdout.buffer.write(data[start : start + 1024].ljust(1024, b"\\0"))
    sys.stdout.buffer.flush()
    due_s += 0.032
    time.sleep(max(0.0, due_s - time.monotonic()))
sys.exit("the device was unplugged")
"""

_PLAYER = """#!{python}
import os, sys
heard = 0
while data := os.read(0, 1024):
    heard += len(data)
    if heard > {most}:
        sys.exit("the device was unplugged")
"""

_NO_LIBRARY = "raise OSError('PortAudio library not found')\n"

_LIBRARY_48K = """
import pathlib, threading, time
import numpy as np
class PortAudioError(Exception):
    pass
def query_devices(device, kind):
    return {{"name": f"a {{kind}} of 48 kHz", "default_samplerate": 48000.0}}
class InputStream:
    closed = False
    active = True
    def __init__(self, *, samplerate, callback, finished_callback, blocksize, **_):
        if samplerate != 48000:
            raise PortAudioError("Invalid sample rate [PaErrorCode -9997]")
        self.callback, self.blocksize = callback, blocksize
    def start(self):
        threading.Thread(target=self.run, daemon=True).start()
    def run(self):
        sound = np.frombuffer(pathlib.Path({folder!r}, "question48").read_bytes(), np.int16) / np.float32(32768)
        start, due_s, begun_s = -48000 * 6, time.monotonic(), None  # the session is opened meanwhile
        while not self.closed:
            block = np.zeros((self.blocksize, 1), np.float32)
            if start >= 0:
                piece = sound[start : start + self.blocksize]
                block[: len(piece), 0] = piece
            start += self.blocksize
            self.callback(block, self.blocksize, None, None)
            due_s += self.blocksize / 48000
            time.sleep(max(0.0, due_s - time.monotonic()))
    def close(self):
        self.closed = True
class OutputStream:
    active = True
    def __init__(self, **_):
        raise PortAudioError("Error querying device -1")
"""


@dataclass
class Run:
    """`voice listen`: what it said so far."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait(self, is_so: Callable[[list[str]], bool]) -> None:
        """Or until it ends."""
        until_s = time.monotonic() + _PATIENCE_S
        while not is_so(self.lines) and self.process.poll() is None and time.monotonic() < until_s:
            time.sleep(0.05)

    def end(self) -> int:
        """As somebody ends it: Ctrl-C, once more if an answer sounds."""
        while self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                continue
        self._reader.join()
        return self.process.returncode

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))


class Bench:
    """is_question: whether these texts are the question."""

    def __init__(self, folder: Path, model: str, question: Samples, is_question: Callable[[list[str]], bool]) -> None:
        self._folder = folder
        self._model = model
        self.is_question = is_question
        quiet = np.zeros(SAMPLE_RATE // 2, np.float32)
        loud = np.concatenate([quiet, question])
        self._sounds = {
            "question": pcm16(loud).tobytes(),
            "half": pcm16(loud[: len(quiet) + len(question) * 6 // 10]).tobytes(),
            "question48": pcm16(resample(question, SAMPLE_RATE, 48_000)).tobytes(),
        }

    def listen(
        self,
        recorder: Sequence[str | None] | None,
        player_bytes: int | None,
        *options: str,
        library: str = _NO_LIBRARY,
    ) -> Run:
        """recorder: sounds by starts (None: it ends at once); player_bytes: that it takes before it is unplugged."""
        folder = self._folder / f"run-{len(list(self._folder.iterdir()))}"
        programs, shim = folder / "bin", folder / "shim"
        for one in (programs, shim):
            one.mkdir(parents=True)
        for name, data in self._sounds.items():
            (folder / name).write_bytes(data)
        facts = {"python": sys.executable, "folder": str(folder), "parts": recorder, "most": player_bytes}
        if recorder is not None:
            _program(programs / "parec", _RECORDER.format(**facts))
        if player_bytes is not None:
            _program(programs / "pacat", _PLAYER.format(**facts))
        (shim / "sounddevice.py").write_text(library.format(folder=str(folder)) if "{" in library else library)
        path = os.pathsep.join([str(shim), *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-m", "pocketseek", "voice", "listen", self._model, "--language", "en"]
        process = subprocess.Popen(
            [*command, "--max-tokens", "12", "--temperature", "0", *options],
            env={**os.environ, "PATH": str(programs), "PYTHONPATH": path, "POCKETSEEK_LANGUAGE": "en"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return Run(process)


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o700)


_ALL = 1 << 60


def no_microphone(bench: Bench) -> tuple[str, bool]:
    return _refused(bench.listen(None, _ALL), "no microphone")


def dead_microphone(bench: Bench) -> tuple[str, bool]:
    return _refused(bench.listen([None], _ALL), "no microphone")


def no_loudspeaker(bench: Bench) -> tuple[str, bool]:
    return _refused(bench.listen(["question"], None), "no loudspeaker")


def unplugged_and_back(bench: Bench) -> tuple[str, bool]:
    run = bench.listen(["question", "half", "question"], _ALL)
    run.wait(lambda lines: any(line.startswith("You:") and bench.is_question([line[4:]]) for line in lines))
    run.wait(lambda lines: lines[-1].startswith("Answer:"))
    code = run.end()
    said = _said(run)
    is_well = code in (0, 130) and any("stopped" in line for line in run.lines) and "It is back." in run.lines
    return f"{said}; exit code {code}", is_well and any(bench.is_question([line[4:]]) for line in said)


def unplugged_for_good(bench: Bench) -> tuple[str, bool]:
    run = bench.listen(["question", "half", None], _ALL)
    run.wait(lambda lines: False)
    code = run.end()
    return f"{_said(run)}; exit code {code}", code not in (0, 1) and "stopped" in run.lines[-1]


def loudspeaker_unplugged(bench: Bench) -> tuple[str, bool]:
    run = bench.listen(["question"], 20_000)
    run.wait(lambda lines: False)
    code = run.end()
    return f"{_said(run)}; exit code {code}", code not in (0, 1) and "loudspeaker" in run.lines[-1]


def of_48_khz(bench: Bench) -> tuple[str, bool]:
    run = bench.listen(None, _ALL, library=_LIBRARY_48K)
    run.wait(lambda lines: any(line.startswith("Answer:") for line in lines))
    code = run.end()
    said = _said(run)
    return f"{said}; exit code {code}", any(bench.is_question([line[4:]]) for line in said)


def _refused(run: Run, words: str) -> tuple[str, bool]:
    run.wait(lambda lines: False)
    code = run.end()
    return f"{run.lines}; exit code {code}", code not in (0, 1) and len(run.lines) == 1 and words in run.lines[0]


def _said(run: Run) -> list[str]:
    """But for the first lines, which tell who listens."""
    return [line for line in run.lines if line and not line.startswith(("Listening with", "Microphone:"))]


DEVICE_FAULTS: dict[str, Callable[[Bench], tuple[str, bool]]] = {
    "no microphone": no_microphone,
    "a microphone that cannot be opened": dead_microphone,
    "no loudspeaker": no_loudspeaker,
    "microphone unplugged in mid-speech, and back": unplugged_and_back,
    "microphone unplugged for good": unplugged_for_good,
    "loudspeaker unplugged in mid-answer": loudspeaker_unplugged,
    "a microphone of 48 kHz alone": of_48_khz,
}
