"""What the operating system does to a program: streams that are closed or full, and signals that ask it to end.

Nothing here prints. A stream that can no longer be written is pointed at /dev/null, so that the flush at exit is quiet.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

from pocketseek.errors import StorageError

_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def prepare_streams() -> bool:
    """Give every closed stream /dev/null and make writing never fail on a character. False: there was no output."""
    has_output = sys.stdout is not None
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # not in a `with`: the stream stands in for sys.stdin and the like until the process ends
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):  # a path in another encoding must not turn an answer into a traceback
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    return has_output


def settle_streams() -> None:
    """Flush both outputs; what cannot be written is given up."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # ValueError: closed meanwhile
            _give_up(stream)


def as_storage_error(error: OSError) -> StorageError:
    """What a refusal of the operating system that nobody expected means to the user."""
    reason = error.strerror or str(error)
    if error.filename is not None:
        return StorageError(f"{error.filename}: {reason}; check the path and the storage, then try again")
    return StorageError(f"the output cannot be written ({reason}); free some space or send it elsewhere")


@contextmanager
def ending_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP raise SystemExit(128 + number) meanwhile, so that cleaning up happens as after Ctrl-C.

    Signals that someone ignores (nohup) or handles already stay as they are; outside the main thread all do.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [number for number in _ENDING_SIGNALS if signal.getsignal(number) == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _end(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second one must not disturb the cleaning up
    raise SystemExit(128 + number)


def _give_up(stream: TextIO) -> None:
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # no file behind it, so nothing that fails at exit
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
