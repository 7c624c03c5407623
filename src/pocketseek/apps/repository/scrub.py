"""Chunks are hashed again now and then while nobody needs the machine: flash forgets, and nobody notices.

Each chunk comes at least once in `days`, the one longest unseen first; it is due at half of that, so that a phone which
seldom idles is in time. When each was seen last is kept beside the model (package/check_record.py), so this goes on
where it was after any stop. Read past the page cache where the system allows it: it is the flash that is asked. Slowly,
and given up at once when somebody wants something. Of a sealed chunk the sealed file is hashed, which takes no key.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Literal

from pocketseek.formats import SEGMENT_BYTES
from pocketseek.package.manifest import ChunkEntry, Manifest
from pocketseek.package.paths import CHUNKS_NAME
from pocketseek.package.sealing.seal_record import PackageFile, read_record
from pocketseek.package.sealing.sealed_file import sealed_bytes

Outcome = Literal["good", "damaged", "given up"]

BYTES_PER_S = 8_000_000
_DAY_S = 86_400
_DIRECT: int = getattr(os, "O_DIRECT", 0)


def next_due(manifest: Manifest, times: Mapping[str, int], now_s: float, days: float) -> ChunkEntry | None:
    """The chunk to hash next; None if none is due. A time of the future (the clock was wrong) counts for nothing."""
    seen = {entry.sha256: times.get(entry.sha256, 0) for entry in manifest.chunks}
    ages = {sha256: now_s - time_s if time_s <= now_s else now_s for sha256, time_s in seen.items()}
    due = [entry for entry in manifest.unique_chunks() if ages[entry.sha256] >= days * _DAY_S / 2]
    return max(due, key=lambda entry: ages[entry.sha256], default=None)


def check_chunk(
    package_dir: Path,
    entry: ChunkEntry,
    may_go_on: Callable[[], bool],
    stop: Event,
    *,
    bytes_per_s: float = BYTES_PER_S,
) -> Outcome:
    """Hash one chunk. Damage is believed only when a second look finds it, too (and finds it in the same form: it may
    have been sealed meanwhile). Raises FormatError, StorageError (sealed.json)."""
    subjects: list[_Subject] = []
    while len(subjects) < 2 or subjects[-1] != subjects[-2]:
        subjects.append(_subject(package_dir, entry))
        outcome = _look(subjects[-1], may_go_on, stop, bytes_per_s)
        if outcome != "damaged":
            return outcome
    return "damaged"


@dataclass(frozen=True)
class _Subject:
    """The file that is to be hashed, and what it should be."""

    path: Path
    num_bytes: int
    sha256: str


def _subject(package_dir: Path, entry: ChunkEntry) -> _Subject:
    record, file = read_record(package_dir), PackageFile(CHUNKS_NAME, entry.sha256, entry.num_bytes)
    if record is not None and record.has(file):
        return _Subject(file.sealed_path(package_dir), sealed_bytes(entry.num_bytes), record.files[file.name])
    return _Subject(file.plain_path(package_dir), entry.num_bytes, entry.sha256)


def _look(subject: _Subject, may_go_on: Callable[[], bool], stop: Event, bytes_per_s: float) -> Outcome:
    try:
        return _hash(subject, may_go_on, stop, bytes_per_s, _DIRECT)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            return "damaged"  # not there, or the flash cannot read it
    try:
        return _hash(subject, may_go_on, stop, bytes_per_s, 0)  # no direct reads on this file system
    except OSError:
        return "damaged"


def _hash(subject: _Subject, may_go_on: Callable[[], bool], stop: Event, bytes_per_s: float, flags: int) -> Outcome:
    """Raises OSError."""
    descriptor = os.open(subject.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | flags)
    try:
        if os.fstat(descriptor).st_size != subject.num_bytes:
            return "damaged"
        digest = hashlib.sha256()
        with mmap.mmap(-1, SEGMENT_BYTES) as buffer, memoryview(buffer) as view:  # aligned, as direct reads need it
            for offset in range(0, subject.num_bytes, SEGMENT_BYTES):
                if not may_go_on() or stop.wait(SEGMENT_BYTES / bytes_per_s):
                    return "given up"
                num_bytes = os.preadv(descriptor, [view], offset)
                with view[:num_bytes] as read:
                    digest.update(read)
        return "good" if digest.hexdigest() == subject.sha256 else "damaged"
    finally:
        os.close(descriptor)
