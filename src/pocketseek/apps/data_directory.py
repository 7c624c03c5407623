"""Who may read the data directory: its owner alone. Looked after at the start and the end of every command.

Directories get mode 0700 and files 0600 by taking away what group and others may; nothing is ever given. Touched is
only what pocketseek makes (by name), belongs to this user and is no symbolic link; and the directory itself only if
nothing else is in it, so that a POCKETSEEK_HOME that is somebody's home or a shared folder keeps its mode. What is
below a directory that others cannot enter is not looked at, except keys.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_DIRECTORIES = frozenset({"cache", "costs", "downloads", "experts", "keys", "models", "storage", "uploads", "voice"})
_FILE = re.compile(
    r"(?:tokens|trust|device|seal)\.json|audit\.head|audit(?:\.\d{12})?\.log|frequency-caps\.(?:json|lock|holders)"
    r"|[a-z]+(?:-[0-9a-f]{16})?\.db(?:-wal|-shm)?"
)
_OTHERS = 0o077


def mend_modes(home: Path) -> tuple[Path, ...]:
    """Take from others what they may do; returns what stays open to them: another user's, or storage without modes."""
    try:
        ours, strangers = _sorted_out(home)
    except OSError:  # not there yet, or not for us
        return ()
    targets = [*ours, *_keys(home)]
    if not strangers:
        targets.append(home)
    for path in targets:
        _close(path)
    return tuple(path for path in targets if _is_open(path))


def _sorted_out(home: Path) -> tuple[list[Path], bool]:
    """(what pocketseek made, whether there is anything else)."""
    ours, strangers = [], False
    for path in home.iterdir():
        if path.name in _DIRECTORIES or _FILE.fullmatch(path.name):
            ours.append(path)
        elif not path.name.startswith("."):
            strangers = True
    return ours, strangers


def _keys(home: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from (home / "keys").iterdir()


def _close(path: Path) -> None:
    """Through a descriptor, so that nobody puts another file in its place in between."""
    with suppress(OSError):
        if not _is_open(path):
            return
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if status.st_uid == os.geteuid() and not status.st_mode & stat.S_ISVTX:
                os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & ~_OTHERS)
        finally:
            os.close(descriptor)


def _is_open(path: Path) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        return False
    return bool(status.st_mode & _OTHERS)
