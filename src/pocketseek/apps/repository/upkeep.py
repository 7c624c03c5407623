"""A thread that looks after the models in use: hashes a chunk when it is due, and has a damaged one replaced.

It works only while `may_work` says so, one chunk at a time, and gives a chunk up when that changes. What cannot be
repaired now is moved aside all the same, reported in one line, and tried again after a while.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

from pocketseek.apps.repository.open_source import Link
from pocketseek.apps.repository.quarantine import quarantine_path
from pocketseek.apps.repository.repair import repair
from pocketseek.apps.repository.scrub import BYTES_PER_S, check_chunk, next_due
from pocketseek.apps.repository.supply import Damaged
from pocketseek.errors import (
    BusyError,
    DownloadError,
    FormatError,
    IntegrityError,
    NotFoundError,
    SealError,
    StorageError,
    UnsupportedError,
    UsageError,
)
from pocketseek.package.check_record import note_checked, read_checked
from pocketseek.package.manifest import ChunkEntry, read_manifest
from pocketseek.package.sealing.key_slots import Secret

REST_S = 20.0
RETRY_S = 3600.0
_UNREADABLE = (NotFoundError, FormatError, StorageError)
_UNREPAIRED = (*_UNREADABLE, BusyError, DownloadError, IntegrityError, SealError, UnsupportedError, UsageError)

_Copy = tuple[Path, str]
"""A package, and a chunk by its hash: another package's copy of it is another file."""


class Upkeep:
    """Use in `with`. models: the package directories in use, asked anew each time. report: a line for the log. link:
    asked when something has to be fetched; may raise UsageError. unlock: the secret of a sealed model, if it is at
    hand; whose it is closes it."""

    def __init__(
        self,
        models: Callable[[], Sequence[Path]],
        *,
        may_work: Callable[[], bool],
        report: Callable[[str], None],
        link: Callable[[], Link],
        models_dir: Path,
        days: float,
        allow_fetching: Callable[[int], None] = lambda _: None,
        unlock: Callable[[Path], Secret | None] = lambda _: None,
        rest_s: float = REST_S,
        bytes_per_s: float = BYTES_PER_S,
    ) -> None:
        self._models = models
        self._may_work = may_work
        self._report = report
        self._link = link
        self._models_dir = models_dir
        self._days = days
        self._allow_fetching = allow_fetching
        self._unlock = unlock
        self._rest_s = rest_s
        self._bytes_per_s = bytes_per_s
        self._seen_s: dict[_Copy, int] = {}  # also where the package cannot be written
        self._retry_at_s: dict[_Copy, float] = {}
        self._stop = Event()
        self._thread = Thread(target=self._run, name="upkeep", daemon=True)

    def __enter__(self) -> Upkeep:
        if self._days > 0:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)  # it may be fetching; what it has is kept

    def turn(self) -> bool:
        """Look after one chunk. False if nothing is due, or nothing may be done now."""
        for package_dir in self._models():
            entry = self._next(package_dir)
            if entry is not None and self._may_work():
                self._look_after(package_dir, entry)
                return True
        return False

    def _run(self) -> None:
        while not self._stop.wait(self._rest_s):
            while not self._stop.is_set() and self._may_work() and self.turn():
                pass

    def _next(self, package_dir: Path) -> ChunkEntry | None:
        """Not one that was tried a short while ago, nor anything of what cannot be read."""
        try:
            manifest = read_manifest(package_dir)
        except _UNREADABLE:
            return None
        now_s = time.time()
        seen = {sha256: at_s for (path, sha256), at_s in self._seen_s.items() if path == package_dir}
        waiting = {
            sha256: int(now_s)
            for (path, sha256), at_s in self._retry_at_s.items()
            if path == package_dir and time.monotonic() < at_s
        }
        times = {**read_checked(package_dir), **seen, **waiting}
        return next_due(manifest, times, now_s, self._days)

    def _look_after(self, package_dir: Path, entry: ChunkEntry) -> None:
        try:
            outcome = check_chunk(package_dir, entry, self._may_work, self._stop, bytes_per_s=self._bytes_per_s)
        except _UNREADABLE as error:
            self._retry_at_s[package_dir, entry.sha256] = time.monotonic() + RETRY_S
            self._report(str(error))
            return
        if outcome == "good":
            now_s = self._seen_s[package_dir, entry.sha256] = int(time.time())
            note_checked(package_dir, [entry.sha256], now_s)
        elif outcome == "damaged":
            self._mend(package_dir, entry)

    def _mend(self, package_dir: Path, entry: ChunkEntry) -> None:
        where = f"{package_dir}: chunk {entry.sha256} of stage {entry.stage} is damaged"
        self._retry_at_s[package_dir, entry.sha256] = time.monotonic() + RETRY_S
        try:
            repaired = repair(
                package_dir,
                Damaged((entry,), ()),
                self._link(),
                models_dir=self._models_dir,
                allow=self._allow_fetching,
                secret=self._unlock(package_dir),
            )
        except _UNREPAIRED as error:
            with suppress(OSError):  # an engine that has it open looks again, and refuses it
                os.utime(quarantine_path(package_dir, entry.sha256))
            self._report(f"{where} and could not be replaced: {error}")
            return
        note_checked(package_dir, [entry.sha256], int(time.time()))
        source = repaired.address or "this machine"
        self._report(f"{where}; it was replaced from {source}")
