"""Pages that must not stay on disk: of a conversation that was deleted, of a model that was sealed or removed.

Whoever forgets a group first leaves a mark, an empty file whose mtime says when, and then removes its pages. Whoever
writes a page looks for the mark before and after (`PrefixStore.keep`), and takes back what was used before it. So
whatever comes first, also in another process, and however long the page waited to be written, it is gone in the end.
Marks are removed after 30 days, by when nothing of that time waits any more.

Of a model no mark is needed: its writers look whether it is still the one that they opened (`may_write` of the store).
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from pocketseek.package.storage import storage_errors
from pocketseek.runtime.prefix.names import FOLDER, FORGOTTEN, PAGE, mark_name, short_name

_MARK_NS = 30 * 86_400 * 1_000_000_000


def forget_text(root: Path, label: str) -> int:
    """Remove the pages that were kept for this label (`Service.kept_for`); those of texts that are asked with it later
    are kept again. Returns how many were removed. Raises StorageError if one cannot be."""
    group = short_name(label)
    with suppress(OSError):  # a full disk keeps nobody from deleting
        _leave_mark(root, mark_name(group))
    entries = [path for folder in _folders(root) for path in _entries(folder)]
    for path in entries:
        if not PAGE.fullmatch(path.name):  # half a page, of who knows what, that a killed writer left
            with suppress(OSError):
                remove_unless_locked(str(path))
    return _remove(path for path in entries if _is_of(path, group))


def forget_model(root: Path, owners: Collection[str] | None) -> int:
    """Remove the pages of models; None: of all. "" stands for those that older versions of the program wrote, of any
    model. Returns and raises as above."""
    folders = [folder for folder in _folders(root) if owners is None or (_owner(folder) or "") in owners]
    count = _remove(path for folder in folders for path in _entries(folder))
    for folder in folders:
        with suppress(OSError):  # somebody writes into it at this moment
            folder.rmdir()
    return count


def is_forgotten(root: Path, group: str, used_ns: int) -> bool:
    """Whether pages of the group that were used then are unwanted now."""
    try:
        return os.lstat(root / mark_name(group)).st_mtime_ns >= used_ns
    except OSError:
        return False


def sweep_marks(root: Path) -> None:
    """Remove those that nobody needs any more."""
    limit_ns = time.time_ns() - _MARK_NS
    with suppress(OSError):
        for entry in list(os.scandir(root)):
            if FORGOTTEN.fullmatch(entry.name) and entry.stat(follow_symlinks=False).st_mtime_ns < limit_ns:
                os.unlink(entry.path)


def remove_unless_locked(path: str) -> None:
    """The kernel drops a lock when its holder dies: what can be locked was left behind by a crash, or is no page."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    except BlockingIOError:
        return
    finally:
        os.close(descriptor)


def _leave_mark(root: Path, name: str) -> None:
    """With a time of its own: that of the file system may lag behind."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if root.is_symlink():  # nothing is kept there either
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(root / name, flags, 0o600)
    try:
        now_ns = time.time_ns()
        os.utime(descriptor, ns=(now_ns, now_ns))
    finally:
        os.close(descriptor)


def _folders(root: Path) -> list[Path]:
    with storage_errors(root):
        if root.is_symlink() or not root.is_dir():
            return []
        return [path for path in root.iterdir() if FOLDER.fullmatch(path.name) and not path.is_symlink()]


def _entries(folder: Path) -> list[Path]:
    with storage_errors(folder), suppress(FileNotFoundError):  # its last page went at this moment
        return list(folder.iterdir())
    return []


def _is_of(path: Path, group: str) -> bool:
    found = PAGE.fullmatch(path.name)
    return found is not None and found["group"] == group


def _owner(folder: Path) -> str | None:
    found = FOLDER.fullmatch(folder.name)
    return found["owner"] if found else None


def _remove(paths: Iterable[Path]) -> int:
    count = 0
    for path in paths:
        with storage_errors(path), suppress(FileNotFoundError):
            path.unlink()
            count += 1
    return count
