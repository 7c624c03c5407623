"""One changer per destination: an flock'ed file beside it, whose holder may write, replace, sweep or remove.

The kernel drops the lock when its holder dies, so a lock file that can be locked has no living owner. The file is
removed on release while still locked; therefore whoever gets a lock checks that the file it locked is still the one
with that name. Readers take no lock: a package is changed only by renames that they survive.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pocketseek.errors import BusyError
from pocketseek.package.paths import lock_path
from pocketseek.package.storage import storage_errors


@contextmanager
def destination_lock(destination: Path) -> Iterator[None]:
    """Hold the right to change `destination`. Raises BusyError at once if someone else holds it, StorageError."""
    path = lock_path(destination)
    with storage_errors(path):
        descriptor = _acquire(path, destination)
    try:
        yield
    finally:
        with suppress(OSError):  # e.g. the disk went read-only: clean() removes the file later
            os.unlink(path)
        os.close(descriptor)


def _acquire(path: Path, destination: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_same_file(descriptor, path):
                return descriptor
        except BlockingIOError as error:
            os.close(descriptor)
            raise BusyError(f"{destination} is being changed by another process; wait for it and try again") from error
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder removed it between our open and our lock: take the next one


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False
