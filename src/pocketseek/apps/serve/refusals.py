"""Tokens that were refused, for the audit log: counted, and written down in a thread, rarely.

Whoever sends wrong tokens all day shall neither slow the server down nor push everything else out of the log: the first
refusal is written at once, those after it as one number, after a minute, two, four and so on up to an hour; a quiet
hour begins anew. Belongs to the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from pocketseek.package.trust.audit import AuditLog

_FIRST_PAUSE_S = 60.0
_LONGEST_PAUSE_S = 3600.0


class Refusals:
    """audit: None where nothing is written down."""

    def __init__(self, audit: AuditLog | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._audit = audit
        self._clock = clock
        self._num_new = 0
        self._pause_s = _FIRST_PAUSE_S
        self._next_s: float | None = None
        self._writing: set[asyncio.Task[None]] = set()

    def see(self) -> None:
        """One more."""
        self._num_new += 1
        now_s = self._clock()
        if self._next_s is not None and now_s < self._next_s:
            return
        is_quiet = self._next_s is None or now_s > self._next_s + _LONGEST_PAUSE_S
        self._pause_s = _FIRST_PAUSE_S if is_quiet else min(2 * self._pause_s, _LONGEST_PAUSE_S)
        self._next_s = now_s + self._pause_s
        if self._audit is not None:
            task = asyncio.get_running_loop().create_task(self._write())
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    def close(self) -> None:
        """Write what is left; the server has ended."""
        if self._audit is not None and (times := self._take()):
            self._audit.note("token-refused", times=times)

    async def _write(self) -> None:
        """In a thread; if the server ends before that has begun, `close` writes it."""
        assert self._audit is not None
        audit, waiting = self._audit, [self._take()]

        def note() -> None:
            try:
                times = waiting.pop()
            except IndexError:  # taken back
                return
            audit.note("token-refused", times=times)

        try:
            await asyncio.to_thread(note)
        finally:
            with suppress(IndexError):  # written
                self._num_new += waiting.pop()

    def _take(self) -> int:
        times, self._num_new = self._num_new, 0
        return times
