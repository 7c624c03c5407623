"""Slow programs that know something (termux-battery-status, dumpsys): run now and then, in a thread of their own.

`ask` never waits: it gives what came last and starts the thread if something is due. One program runs at a time. What
fails is asked again later and later, and no more after five failures in a row; what is not installed is never started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

MOST_FAILURES = 5
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


@dataclass
class _State:
    due_s: float
    num_failures: int = 0
    output: str | None = None
    time_s: float = 0.0


class Programs:
    """`ask` from one thread."""

    def __init__(
        self, programs: Sequence[Program], *, clock: Callable[[], float], run: Run, start: Start | None = None
    ) -> None:
        """Of the programs those count that may be executed here. start: runs a function in another thread."""
        self._programs = [program for program in programs if os.access(program.command[0], os.X_OK)]
        self._clock = clock
        self._run = run
        self._start = _start_thread if start is None else start
        self._states = {program.name: _State(due_s=clock()) for program in self._programs}
        self._busy = threading.Lock()

    def ask(self, name: str) -> str | None:
        """What the program printed last; None if it is not there, has not answered yet, or not for long."""
        self._run_due()
        state = self._states.get(name)
        if state is None or state.output is None:
            return None
        every_s = next(program.every_s for program in self._programs if program.name == name)
        return state.output if self._clock() - state.time_s <= 3 * every_s + TIMEOUT_S else None

    def _run_due(self) -> None:
        now_s = self._clock()
        due = [program for program in self._programs if self._states[program.name].due_s <= now_s]
        if due and self._busy.acquire(blocking=False):
            self._start(lambda: self._run_all(due))

    def _run_all(self, programs: Sequence[Program]) -> None:
        try:
            for program in programs:
                self._run_one(program)
        finally:
            self._busy.release()

    def _run_one(self, program: Program) -> None:
        state = self._states[program.name]
        output = self._run(program.command)
        now_s = self._clock()
        if output is not None:
            self._states[program.name] = _State(now_s + program.every_s, 0, output, now_s)
            return
        failures = state.num_failures + 1
        wait_s = min(program.every_s * 2**failures, LONGEST_WAIT_S) if failures < MOST_FAILURES else float("inf")
        self._states[program.name] = _State(now_s + wait_s, failures)


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
