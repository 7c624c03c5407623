"""Slow programs that know something (termux-battery-status, dumpsys): run now and then, in a thread of their own.

`ask` and `told` never wait: they give what came last and start the program if it is due. What fails is asked again
later and later, up to LONGEST_WAIT_S; what is not installed is never started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

_MOST_DOUBLINGS = 16
LONGEST_WAIT_S = 600.0
TIMEOUT_S = 10.0

Run = Callable[[Sequence[str]], str | None]
Start = Callable[[Callable[[], None]], None]


@dataclass(frozen=True)
class Program:
    """command[0] is the path of the program; it is asked every `every_s` seconds."""

    name: str
    command: tuple[str, ...]
    every_s: float


@dataclass(frozen=True)
class Told:
    """What a program printed. age_s: since it ended."""

    text: str
    age_s: float


@dataclass(frozen=True)
class _State:
    due_s: float
    num_failures: int = 0
    output: str | None = None
    time_s: float = 0.0


class Programs:
    """`ask` and `wait` from one thread."""

    def __init__(
        self, programs: Sequence[Program], *, clock: Callable[[], float], run: Run, start: Start | None = None
    ) -> None:
        """Of the programs those count that may be executed here. start: runs a function in another thread."""
        installed = [program for program in programs if os.access(program.command[0], os.X_OK)]
        self._slots = {program.name: _Slot(program, _State(due_s=clock()), threading.Lock()) for program in installed}
        self._clock = clock
        self._run = run
        self._start = _start_thread if start is None else start

    @property
    def installed(self) -> bool:
        """Whether there is any."""
        return bool(self._slots)

    def ask(self, name: str) -> str | None:
        """What the program printed last; None if it is not there, has not answered yet, or not for long."""
        told = self.told(name)
        return None if told is None else told.text

    def told(self, name: str) -> Told | None:
        """As `ask`, with its age."""
        slot = self._slots.get(name)
        if slot is None:
            return None
        if slot.state.due_s <= self._clock() and slot.busy.acquire(blocking=False):
            self._start(lambda: self._run_in(slot))
        state = slot.state
        age_s = max(0.0, self._clock() - state.time_s)
        is_fresh = age_s <= 3 * slot.program.every_s + TIMEOUT_S
        return Told(state.output, age_s) if is_fresh and state.output is not None else None

    def is_awaited(self, name: str) -> bool:
        """Whether it is there and has not ended once yet."""
        slot = self._slots.get(name)
        return slot is not None and slot.state.output is None and slot.state.num_failures == 0

    def wait(self, timeout_s: float) -> bool:
        """Whether no program runs any more; for those who look once and can wait."""
        end_s = time.monotonic() + timeout_s
        for slot in self._slots.values():
            if not slot.busy.acquire(timeout=max(0.0, end_s - time.monotonic())):
                return False
            slot.busy.release()
        return True

    def _run_in(self, slot: _Slot) -> None:
        try:
            output = self._run(slot.program.command)
            slot.state = _next_state(slot.program, slot.state.num_failures, output, self._clock())
        finally:
            slot.busy.release()


@dataclass
class _Slot:
    """A program, what is known of it, and a lock that is held while it runs."""

    program: Program
    state: _State
    busy: threading.Lock


def _next_state(program: Program, num_failures: int, output: str | None, now_s: float) -> _State:
    if output is not None:
        return _State(now_s + program.every_s, 0, output, now_s)
    num_failures += 1
    wait_s = min(program.every_s * 2 ** min(num_failures, _MOST_DOUBLINGS), LONGEST_WAIT_S)
    return _State(now_s + wait_s, num_failures)


def run_program(command: Sequence[str]) -> str | None:
    """What it prints; None if it cannot be run, fails, or takes longer than ten seconds (then it is ended, with all
    that it started)."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return None
    with process:
        try:
            output, _ = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            return None
    return output.decode("utf-8", "replace") if process.returncode == 0 else None


def _start_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="sensors", daemon=True).start()
