"""Small files of the data directory that nobody else may read or turn aside: trusted keys, signing keys, the audit log.

Written whole or not at all, mode 0600 from the first byte on, under a lock that changers of other processes wait for.
A symbolic link in the place of such a file is refused: whoever put it there chose what would be read in its stead.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pocketseek.errors import BusyError, FormatError, StorageError
from pocketseek.package.lock import destination_lock
from pocketseek.package.storage import storage_errors, sync_dir, write_all

PRIVATE_FILE_MODE = 0o600
PRIVATE_DIR_MODE = 0o700
_PATIENCE_S = 10.0
_PAUSE_S = 0.005


def read_private(path: Path, *, max_bytes: int) -> bytes | None:
    """All of a file; None if it is not there. Raises StorageError (also for a symbolic link), FormatError."""
    with storage_errors(path):
        try:
            descriptor = open_private(path, os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):
            return None
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise FormatError(f"{path} has more than {max_bytes} bytes and was not written by pocketseek; move it away")
    return data


def open_private(path: Path, flags: int) -> int:
    """A descriptor of a plain file, made with mode 0600 if flags have O_CREAT. Raises StorageError, OSError."""
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, PRIVATE_FILE_MODE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise StorageError(f"{path} is a symbolic link, which is not followed here; put the file itself") from error
        raise
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise StorageError(f"{path} is not a plain file; move it away")


def write_private(path: Path, data: bytes) -> None:
    """Replace the file in one step; the caller holds `private_lock`. Raises StorageError."""
    partial = path.with_name(f".{path.name}.partial")  # ours alone under the lock; what a killed one left goes
    with storage_errors(path):
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE_MODE)
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
            os.rename(partial, path)
        except BaseException:  # nothing half-written stays, and it is raised again
            partial.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        sync_dir(path.parent)


@contextmanager
def private_lock(path: Path, *, patience_s: float = _PATIENCE_S) -> Iterator[None]:
    """The right to change `path`, waited for. Makes the directory if need be. Raises BusyError, StorageError."""
    with storage_errors(path):
        path.parent.mkdir(mode=PRIVATE_DIR_MODE, parents=True, exist_ok=True)
    give_up_s = time.monotonic() + patience_s
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(destination_lock(path))
                break
            except BusyError:
                if time.monotonic() > give_up_s:
                    raise
                time.sleep(_PAUSE_S)
        yield
