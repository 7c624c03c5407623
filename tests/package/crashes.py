"""Running something in a forked child and killing it, as a battery or a user would, at an exact place."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

_CHANGING = frozenset({"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.utime"})
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def run_killed_before_change(action: Callable[[], object], change: int) -> bool:
    """Kill before the change-th call that may change a directory. False if the action ended before it came to that."""

    def start() -> None:
        left = change

        def count(event: str, args: tuple[Any, ...]) -> None:
            nonlocal left
            if event in _CHANGING or (event == "open" and args[2] & _WRITING):
                left -= 1
                if left < 0:
                    _die()

        sys.addaudithook(count)

    return _run(start, action)


def run_killed_at_line(action: Callable[[], object], line: int) -> bool:
    """Kill before the line-th line of Python that the action runs, in whatever thread. False if it ended before."""

    def start() -> None:
        left = line

        def trace(frame: FrameType, event: str, arg: object) -> Any:
            nonlocal left
            if event == "line":
                left -= 1
                if left < 0:
                    _die()
            return trace

        threading.settrace(trace)
        sys.settrace(trace)

    return _run(start, action)


def count_lines(action: Callable[[], object]) -> int:
    """Lines of Python that the action runs."""
    count = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    threading.settrace(trace)
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
        threading.settrace(None)  # type: ignore[arg-type]  # typeshed knows no way back
    return count


def _run(start: Callable[[], None], action: Callable[[], object]) -> bool:
    child = os.fork()
    if child == 0:
        code = 70
        try:
            start()
            action()
            code = 0
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL), f"the child failed with {status}"
    return status == -signal.SIGKILL


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
