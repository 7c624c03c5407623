"""Durable writing, and what the operating system's refusals mean to the user.

Everything that changes a package runs inside `storage_errors`, so that a full, read-only or forbidden disk becomes a
StorageError with a remedy. `write_all` and `write_file` survive a power cut once the directory is synced as well.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pocketseek.errors import StorageError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})


@contextmanager
def storage_errors(path: Path, *, needed_bytes: int | None = None) -> Iterator[None]:
    """Turn an OSError from working on `path` into a StorageError. needed_bytes: the size of the whole job, if known."""
    try:
        yield
    except OSError as error:
        raise StorageError(_explain(error, path, needed_bytes)) from error


def check_free_space(parent: Path, needed_bytes: int) -> None:
    """Refuse a job that cannot fit before it starts. Raises StorageError."""
    with storage_errors(parent):
        free_bytes = shutil.disk_usage(parent).free
    if free_bytes < needed_bytes:
        raise StorageError(
            f"{parent}: the model needs {_megabytes(needed_bytes)} and {_megabytes(free_bytes)} are free; "
            "free some space or choose a destination on another disk"
        )


def write_all(descriptor: int, data: memoryview | bytes) -> None:
    """All of `data`: os.write may take less when the disk is nearly full or a signal arrives."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def write_file(path: Path, data: bytes) -> None:
    """Create `path` in the place of what is there and sync its bytes; the caller syncs the directory. Nothing is
    written through a link: it goes itself."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_plain(path: Path, max_bytes: int) -> bytes:
    """At most max_bytes + 1 of a file, so that a longer one shows. Raises OSError, also for what is no plain file:
    reading a pipe would wait for ever, a device never ends."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a plain file", str(path))
        return file.read(max_bytes + 1)


def own_dir(path: Path) -> None:
    """A directory at `path`, made if there is none. A symbolic link of that name goes: where it leads is somebody
    else's, and nothing is put there or removed from there. Raises OSError."""
    if path.is_symlink():
        path.unlink()
    path.mkdir(parents=True, exist_ok=True)


def sync_dir(path: Path) -> None:
    """Make renames and new names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def tree_bytes(path: Path) -> int:
    """Bytes of all files under `path`; what vanishes meanwhile counts as nothing."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except FileNotFoundError:
                continue
    return total


def _explain(error: OSError, path: Path, needed_bytes: int | None) -> str:
    if error.errno in _FULL:
        needs = f" (the model needs {_megabytes(needed_bytes)})" if needed_bytes is not None else ""
        return f"{path}: the disk is full{needs}; free some space or choose a destination on another disk"
    if error.errno == errno.EROFS:
        return f"{path}: the file system is read-only; choose a destination that can be written"
    if error.errno in _FORBIDDEN:
        return f"{path}: permission denied; choose a place that you may use, or change its owner or mode"
    if error.errno == errno.EFBIG:
        return f"{path}: the file size limit of this process or disk was reached; raise it (ulimit -f) and try again"
    return f"{path}: {error.strerror or error}; check the path and the storage, then try again"


def _megabytes(num_bytes: int) -> str:
    return f"{-(-num_bytes // 1_000_000)} MB ({num_bytes} bytes)"
