"""When the version before an update may go: once the new one has answered, at the next opening.

Whoever opens a model calls `opening` first, and `answered` when it has given an answer. Both look for one name in the
package's directory and are done where no update was made lately. Neither ever stands in the way of an answer: a package
that cannot be written, or is being changed at the moment, stays as it is.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pocketseek.errors import BusyError, FormatError, NotFoundError, StorageError
from pocketseek.package.lock import destination_lock
from pocketseek.package.manifest import parse_manifest, read_manifest_bytes, version_id
from pocketseek.package.paths import KEEP_NAME, PREVIOUS_NAME
from pocketseek.package.settle import is_settled, settle
from pocketseek.package.storage import storage_errors
from pocketseek.package.switch import drop_previous, has_answered, note_answered, previous_manifest_bytes

Kept = Literal["until it has answered", "until the next update", "until it is opened"]


@dataclass(frozen=True)
class PreviousVersion:
    """What `rollback` would bring back. id: SHA-256 of its manifest; number: the publisher's, 0 if there is none."""

    id: str
    number: int
    name: str
    kept: Kept


def previous_version(package_dir: Path) -> PreviousVersion | None:
    """None: there is none, or it cannot be read."""
    with suppress(OSError, FormatError, StorageError):
        data = previous_manifest_bytes(package_dir)
        if data is None:
            return None
        manifest = parse_manifest(data)
        kept: Kept = "until it has answered"
        if (package_dir / KEEP_NAME).exists():
            kept = "until the next update"
        elif has_answered(package_dir):
            kept = "until it is opened"
        return PreviousVersion(version_id(data), manifest.version, manifest.name, kept)
    return None


def has_previous(package_dir: Path) -> bool:
    return (package_dir / PREVIOUS_NAME).exists()


class VersionNotes:
    """For a process that opens models. Threads: any."""

    def __init__(self) -> None:
        self._unproven: dict[Path, str] = {}

    def opening(self, package_dir: Path) -> None:
        """Before it is opened. What was opened before an update and what after are told apart: whoever opens while it
        is being made proves nothing."""
        let_go_if_answered(package_dir)
        version = version_in_use(package_dir)
        if version is not None:
            self._unproven[package_dir] = version

    def answered(self, package_dir: Path) -> None:
        """The version that was in use when it was opened has answered."""
        version = self._unproven.pop(package_dir, None)
        if version is not None:
            with suppress(OSError):
                note_answered(package_dir, version)


def let_go_if_answered(package_dir: Path) -> int:
    """Also finishes what a kill cut short. Returns the bytes freed."""
    with suppress(BusyError, StorageError, OSError):
        package_dir = Path(os.path.realpath(package_dir))
        if is_settled(package_dir) and not has_answered(package_dir):
            return 0
        with destination_lock(package_dir), storage_errors(package_dir):
            freed_bytes = settle(package_dir)
            return freed_bytes + (drop_previous(package_dir) if has_answered(package_dir) else 0)
    return 0


def version_in_use(package_dir: Path) -> str | None:
    """None if there is no version before it that might go."""
    with suppress(OSError, FormatError, NotFoundError, StorageError):
        if has_previous(package_dir):
            return version_id(read_manifest_bytes(package_dir))
    return None
