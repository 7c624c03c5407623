"""`verified.json` in a package: which chunk files were found good, so that a warm start need not hash them again.

It stands outside the manifest and only ever saves work: a chunk is vouched for while inode, size and mtime of its file
are those that were recorded. It protects against accidents, not against someone who may write the package (they could
write the marker too); `verify --full` does not read it. A missing, damaged or unwritable marker is no error.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

from pocketseek.package.entries import Manifest
from pocketseek.package.paths import MARKER_NAME, chunk_path
from pocketseek.package.side_record import read_side_record, write_side_record

_STAMP = re.compile(r"\d{1,20}:\d{1,12}:-?\d{1,20}")
_CLOCK_TICK_NS = 50_000_000  # file systems stamp with the kernel's tick, at most 10 ms


def stamp_of(status: os.stat_result) -> str:
    """`inode:size:mtime_ns`, in decimal."""
    return f"{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"


def size_and_mtime_ns(stamp: str) -> tuple[int, int]:
    _, size, mtime_ns = stamp.split(":")
    return int(size), int(mtime_ns)


def is_settled(status: os.stat_result, now_ns: int) -> bool:
    """Whether a change at that time or later would surely get another mtime."""
    return status.st_mtime_ns < now_ns - _CLOCK_TICK_NS


def may_be_written_unseen(status: os.stat_result) -> bool:
    """Whether a change at this moment might leave the mtime as it is. A clock that was set back does not count: the
    file would be of the future for long, and what is written now is not."""
    return 0 <= time.time_ns() - status.st_mtime_ns <= _CLOCK_TICK_NS


def settle(descriptor: int) -> None:
    """Wait until a later change of this open file would surely get another mtime: for a tick of the clock at most."""
    age_ns = time.time_ns() - os.fstat(descriptor).st_mtime_ns
    if 0 <= age_ns <= _CLOCK_TICK_NS:
        time.sleep((_CLOCK_TICK_NS - age_ns) / 1e9)


def read_marker(package_dir: Path) -> Mapping[str, str]:
    """Stamps by chunk hash; empty if there is no usable marker."""
    stamps = read_side_record(package_dir, MARKER_NAME)
    return {sha256: stamp for sha256, stamp in stamps.items() if isinstance(stamp, str) and _STAMP.fullmatch(stamp)}


def marked_s(package_dir: Path, manifest: Manifest) -> int | None:
    """When all chunks had been found good, in Unix time; None if a file was changed since or never checked."""
    stamps = read_marker(package_dir)
    try:
        for entry in manifest.unique_chunks():
            if stamp_of(chunk_path(package_dir, entry.sha256).stat()) != stamps.get(entry.sha256):
                return None
        return int((package_dir / MARKER_NAME).stat().st_mtime)
    except OSError:
        return None


def write_marker(package_dir: Path, stamps: Mapping[str, str]) -> None:
    """Replace the marker in one step. A package that cannot be written goes without."""
    write_side_record(package_dir, MARKER_NAME, stamps)
