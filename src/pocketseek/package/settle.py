"""Bringing what a kill or a power cut left of an update, of going back or of letting go to one side of the rename that
decides. The states on the disk, and what is done about each: switch.py.

Each step is safe to run again when it is cut short itself. The caller holds the destination's lock, and turns OSErrors
into StorageError.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pocketseek.package.install import PREVIOUS_NAMES, prune, remove_tree
from pocketseek.package.manifest import MAX_MANIFEST_BYTES, version_id
from pocketseek.package.paths import (
    ANSWERED_NAME,
    GOING_BACK_NAME,
    MANIFEST_NAME,
    MARKER_TEMP_PREFIX,
    ORIGIN_NAME,
    PREVIOUS_NAME,
    PREVIOUS_ORIGIN_NAME,
    PREVIOUS_SIGNATURE_NAME,
    SIGNATURE_NAME,
    update_path,
)
from pocketseek.package.storage import read_plain, sync_dir, write_file

UNSIGNED_NAME = "unsigned"
SWITCHING_NAME = "switching"
UNSIGNED = b"unsigned"
MAX_SIGNATURE_BYTES = 64 * 1024
MAX_ORIGIN_BYTES = 16 * 1024


def is_updating(package_dir: Path) -> bool:
    """Whether something arrived of a next version that an update can go on with."""
    return package_dir.is_dir() and (update_path(package_dir) / MANIFEST_NAME).is_file()


def is_settled(package_dir: Path) -> bool:
    """Whether `settle` would have nothing to do, as far as names tell."""
    if (package_dir / GOING_BACK_NAME).exists() or is_remainder(package_dir):
        return False
    if (package_dir / PREVIOUS_NAME).exists():
        return not is_unreached(package_dir)
    return not any((package_dir / name).exists() for name in PREVIOUS_NAMES)


def settle(package_dir: Path) -> int:
    """Finish, or undo, what was cut short. Returns the bytes freed."""
    freed_bytes = 0
    if (package_dir / GOING_BACK_NAME).exists():
        freed_bytes += _settle_going_back(package_dir)
    if is_remainder(package_dir):
        freed_bytes += _finish_switching(package_dir) if was_switched(package_dir) else _let_go_of_update(package_dir)
    if is_unreached(package_dir):
        _undo_switching(package_dir)
    if not (package_dir / PREVIOUS_NAME).exists():
        freed_bytes += finish_letting_go(package_dir)
    return freed_bytes


def _settle_going_back(package_dir: Path) -> int:
    freed_bytes = 0
    if not (package_dir / PREVIOUS_NAME).exists():
        if read_small(package_dir / GOING_BACK_NAME, len(UNSIGNED)) == UNSIGNED:
            (package_dir / SIGNATURE_NAME).unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            os.replace(package_dir / PREVIOUS_SIGNATURE_NAME, package_dir / SIGNATURE_NAME)
        _restore_origin(package_dir)
        sync_dir(package_dir)
        freed_bytes = prune(package_dir)
    (package_dir / GOING_BACK_NAME).unlink()
    sync_dir(package_dir)
    return freed_bytes


def _restore_origin(package_dir: Path) -> None:
    origin = read_small(package_dir / PREVIOUS_ORIGIN_NAME, MAX_ORIGIN_BYTES)
    if origin is None:  # both versions are from there
        return
    if origin:
        os.replace(package_dir / PREVIOUS_ORIGIN_NAME, package_dir / ORIGIN_NAME)
        return
    (package_dir / ORIGIN_NAME).unlink(missing_ok=True)
    (package_dir / PREVIOUS_ORIGIN_NAME).unlink()


def _let_go_of_update(package_dir: Path) -> int:
    freed_bytes = prune(package_dir)
    remove_tree(update_path(package_dir))
    return freed_bytes


def _finish_switching(package_dir: Path) -> int:
    update = update_path(package_dir)
    if is_unsigned_update(package_dir):
        (package_dir / SIGNATURE_NAME).unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        os.replace(update / ORIGIN_NAME, package_dir / ORIGIN_NAME)
    sync_dir(package_dir)
    return _let_go_of_update(package_dir)


def _undo_switching(package_dir: Path) -> None:
    signature = read_small(package_dir / PREVIOUS_SIGNATURE_NAME, MAX_SIGNATURE_BYTES)
    if signature is not None:
        put(package_dir / SIGNATURE_NAME, signature)
    else:
        (package_dir / SIGNATURE_NAME).unlink(missing_ok=True)
    (package_dir / PREVIOUS_NAME).unlink()
    sync_dir(package_dir)


def finish_letting_go(package_dir: Path) -> int:
    """Of the version before, whose manifest is gone. Returns the bytes freed."""
    names = [name for name in PREVIOUS_NAMES if (package_dir / name).exists()]
    if not names:
        return 0
    freed_bytes = 0
    for name in names:
        if name == ANSWERED_NAME or name == names[-1]:  # the last sign that there may be chunks to prune
            freed_bytes += prune(package_dir)
        (package_dir / name).unlink()
    sync_dir(package_dir)
    return freed_bytes


def is_remainder(package_dir: Path) -> bool:
    """Whether an update directory is there that nothing can go on with."""
    return update_path(package_dir).is_dir() and not is_updating(package_dir)


def was_switched(package_dir: Path) -> bool:
    """What is left of an update whose version is the one in use; nothing else of it may change that."""
    if not is_remainder(package_dir):
        return False
    switching = read_small(update_path(package_dir) / SWITCHING_NAME, 64)
    manifest = read_small(package_dir / MANIFEST_NAME, MAX_MANIFEST_BYTES)
    return switching is not None and manifest is not None and switching == version_id(manifest).encode("ascii")


def is_unsigned_update(package_dir: Path) -> bool:
    """Whether what is left of an update says that its version has no signature."""
    return (update_path(package_dir) / UNSIGNED_NAME).exists()


def is_unreached(package_dir: Path) -> bool:
    """Whether a switch was begun and the new version was not reached."""
    previous = read_small(package_dir / PREVIOUS_NAME, MAX_MANIFEST_BYTES)
    return previous is not None and previous == read_small(package_dir / MANIFEST_NAME, MAX_MANIFEST_BYTES)


def put(path: Path, data: bytes) -> None:
    """Replace a file in one step that lasts."""
    new = path.with_name(MARKER_TEMP_PREFIX + path.name)  # which `ModelStore.clean` knows
    write_file(new, data)
    os.replace(new, path)
    sync_dir(path.parent)


def read_small(path: Path, max_bytes: int) -> bytes | None:
    """None if there is no such file. What is longer is cut, and then equals nothing. Raises OSError, also for what is
    no plain file."""
    try:
        return read_plain(path, max_bytes)
    except FileNotFoundError:
        return None
