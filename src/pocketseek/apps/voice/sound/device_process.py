"""A program that records or plays: its pipes, what it says, and its end.

What it writes to standard error is read all the time and the last of it is kept: a pipe that nobody reads fills, and a
program that warns about every overrun would stand still with it.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from select import POLLIN, poll

from pocketseek.errors import VoiceError

_KEPT_BYTES = 1000
_END_S = 1.0


class DeviceProcess:
    """`write` and `read` from one thread, the rest from any."""

    def __init__(self, command: Sequence[str], *, plays: bool) -> None:
        """plays: it takes sound, else it gives sound. Raises VoiceError."""
        self._name = command[0]
        try:
            self._process = subprocess.Popen(
                command,
                bufsize=0,
                stdin=subprocess.PIPE if plays else subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if plays else subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise VoiceError(f"{command[0]} cannot be started ({error.strerror}); use --wav FILE") from error
        self._said = b""
        self._listener = threading.Thread(target=self._listen, name="voice-device-says", daemon=True)
        self._listener.start()
        self._rest = b""

    def write(self, data: bytes) -> None:
        """Blocks while its pipe is full. Raises OSError or ValueError once it is gone."""
        assert self._process.stdin is not None
        left = memoryview(data)
        while left:
            left = left[self._process.stdin.write(left) :]

    def read(self, num_bytes: int, timeout_s: float) -> bytes:
        """So many, fewer at the end, then none. Raises TimeoutError if nothing comes for timeout_s."""
        while len(self._rest) < num_bytes and (data := self._more(num_bytes, timeout_s)):
            self._rest += data
        block, self._rest = self._rest[:num_bytes], self._rest[num_bytes:]
        return block

    def ended_with(self, timeout_s: float) -> int | None:
        """Its exit code, if it ends by itself within that time. What plays is given nothing more."""
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def last_words(self) -> str:
        """What a program that ends by itself says about it."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
            self._listener.join(_END_S)
        lines = self._said.decode("utf-8", "replace").strip().splitlines()
        return f"{self._name}: {lines[-1][:120]}" if lines else f"{self._name} ended"

    def kill(self) -> None:
        """Whoever waits in `write` or `read` is set free."""
        self._process.kill()
        self.end()

    def end(self) -> None:
        process = self._process
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def _more(self, num_bytes: int, timeout_s: float) -> bytes:
        pipe = self._process.stdout
        assert pipe is not None
        try:
            watch = poll()
            watch.register(pipe, POLLIN)
            has_come = bool(watch.poll(timeout_s * 1000))  # also at its end
            data = pipe.read(num_bytes) if has_come else b""
        except ValueError:  # closed meanwhile
            return b""
        if not has_come:
            raise TimeoutError
        return data

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as pipe:
            while data := pipe.read(_KEPT_BYTES):
                self._said = (self._said + data)[-_KEPT_BYTES:]
