"""When the version before an update may go: once the new one has answered, at the next opening.

Opening a model asks `let_go_if_answered`; whoever got an answer from it tells `answered`. Both look for one name in the
package's directory and are done where no update was made lately. Neither ever stands in the way of an answer: a package
that cannot be written, or is being changed at the moment, stays as it is.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pocketseek.errors import BusyError, FormatError, NotFoundError, StorageError
from pocketseek.package.lock import destination_lock
from pocketseek.package.manifest import read_manifest_bytes
from pocketseek.package.paths import PREVIOUS_NAME
from pocketseek.package.storage import storage_errors
from pocketseek.package.switch import drop_previous, has_answered, is_settled, note_answered, settle, version_id


def has_previous(package_dir: Path) -> bool:
    return (package_dir / PREVIOUS_NAME).exists()


def let_go_if_answered(package_dir: Path) -> int:
    """Call before a model is opened. Also finishes what a kill cut short. Returns the bytes freed."""
    with suppress(BusyError, StorageError, OSError):
        package_dir = Path(os.path.realpath(package_dir))
        if is_settled(package_dir) and not has_answered(package_dir):
            return 0
        with destination_lock(package_dir), storage_errors(package_dir):
            freed_bytes = settle(package_dir)
            return freed_bytes + (drop_previous(package_dir) if has_answered(package_dir) else 0)
    return 0


def version_in_use(package_dir: Path) -> str | None:
    """What to tell `answered` later; None if there is nothing to tell."""
    with suppress(OSError, FormatError, NotFoundError, StorageError):
        if has_previous(package_dir):
            return version_id(read_manifest_bytes(package_dir))
    return None


def answered(package_dir: Path, version: str | None) -> None:
    """The version that was in use when the model was opened has answered."""
    if version is not None:
        with suppress(OSError):
            note_answered(package_dir, version)
