"""Speech by Android's own voice, through the program termux-tts-speak of Termux:API.

Android plays it itself, so what comes out here is silence for as long as it speaks: whoever counts what was heard
counts right. Closing the iterator ends the program. *Unmeasured on a device.*
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import numpy as np

from pocketseek.apps.voice.contract import SAMPLE_RATE, Samples
from pocketseek.errors import VoiceError

PROGRAM = "termux-tts-speak"
_STEP_S = 0.1


class TermuxSynthesiser:
    name = "Android (termux-tts-speak)"
    sample_rate = SAMPLE_RATE

    def speak(self, text: str, language: str) -> Iterator[Samples]:
        try:
            process = subprocess.Popen([PROGRAM, "-l", language], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        except OSError as error:
            raise VoiceError(f"{PROGRAM} cannot be started; pkg install termux-api, and install Termux:API") from error
        try:
            assert process.stdin is not None
            process.stdin.write(text.encode("utf-8", "replace"))
            process.stdin.close()
            while process.poll() is None:
                time.sleep(_STEP_S)
                yield np.zeros(int(self.sample_rate * _STEP_S), np.float32)
        finally:
            process.kill()
            process.wait()
        if process.returncode > 0:
            raise VoiceError(f"{PROGRAM} failed; see whether Android has a voice for this language")

    def close(self) -> None:
        pass
