"""Speech to text by Android's own recognition, through the program termux-speech-to-text of Termux:API.

Android listens by itself, shows that it does, and gives the text when the speaker is done: there is no sound to feed.
So this is no `Recogniser`; whoever has it gives its texts to `VoiceSession.ask`. *Unmeasured on a device.*
"""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator

from pocketseek.apps.voice.contract import Samples, Utterance
from pocketseek.errors import VoiceError

PROGRAM = "termux-speech-to-text"


def has_dictation() -> bool:
    return shutil.which(PROGRAM) is not None


class Dictation:
    """What somebody says, one utterance after the other, until `close`. From one thread, `close` from any."""

    name = f"Android ({PROGRAM})"

    def __init__(self) -> None:
        """Raises VoiceError without the program."""
        if not has_dictation():
            raise VoiceError(f"{PROGRAM} is not here; pkg install termux-api, and install Termux:API")
        self._is_closed = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def __iter__(self) -> Iterator[str]:
        while not self._is_closed.is_set():
            yield self.next_text()

    def next_text(self) -> str:
        """ "" if nobody said anything. Raises VoiceError if the program fails."""
        with subprocess.Popen([PROGRAM], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
            self._process = process
            assert process.stdout is not None
            lines = process.stdout.read().decode("utf-8", "replace").strip().splitlines()
        if process.returncode > 0 and not self._is_closed.is_set():
            raise VoiceError(f"{PROGRAM} failed; let Termux:API use the microphone in Android's settings")
        return lines[-1].strip() if lines else ""

    def close(self) -> None:
        self._is_closed.set()
        if self._process is not None:
            self._process.terminate()


class NoDetector:
    """Of a session that is only asked: it never hears anything."""

    frame_samples = 512

    def probability(self, frame: Samples) -> float:
        return 0.0

    def reset(self) -> None:
        pass


class NoRecogniser:
    name = Dictation.name
    languages: tuple[str, ...] = ()

    def start(self, language: str | None) -> Utterance:
        raise VoiceError("Android listens by itself; feed it no sound")

    def close(self) -> None:
        pass
