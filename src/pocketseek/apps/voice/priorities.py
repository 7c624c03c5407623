"""Who goes first when the processor is short: hearing, then understanding, then speaking, then the language model.

Without privileges a thread can only be made to give way. Threads that a thread starts inherit what it has, so an engine
that is opened in a thread that gives way does so with all of its own. Linux and Android; elsewhere nothing changes.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

SPEAKING, ANSWERING, LANGUAGE_MODEL = 1, 2, 5
"""Nice values, in addition to the process's own."""

T = TypeVar("T")


def give_way(by: int) -> None:
    """The calling thread does, and those that it starts from now on."""
    if not sys.platform.startswith(("linux", "android")):  # where each thread has a nice value of its own
        return
    with suppress(OSError):  # a sandbox may forbid it; then all are equal
        thread_id = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread_id, os.getpriority(os.PRIO_PROCESS, thread_id) + by)


def made_giving_way(make: Callable[[], T], by: int) -> T:
    """What `make` returns, made in a thread that gives way; raises what it raises."""
    made: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        give_way(by)
        try:
            made.append(make())
        except BaseException as failure:  # noqa: BLE001  raised by the caller's thread
            failures.append(failure)

    thread = threading.Thread(target=run, name="voice-opening", daemon=True)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return made[0]
