"""Damaged chunks and files of a sealed package, replaced: repair.py has the way, this one needs the key.

A sealed file that hashes otherwise than sealed.json says, and yet is what was sealed, is listed anew. What is damaged
is moved aside; its good segments, those whose tags are right, are kept, and the others come from another model or from
where the model came from; all of it is sealed anew as it arrives, listed, and put in place. Of a package that was being
sealed or unsealed, what was still plain is sealed then.
"""

from __future__ import annotations

import os
import time
from contextlib import closing, suppress
from pathlib import Path

from pocketseek.apps.repository import quarantine
from pocketseek.apps.repository.local_chunks import LocalChunk, find_local, take
from pocketseek.apps.repository.sealed_part import SealedPart
from pocketseek.apps.repository.supply import Damaged, Repaired, Supply
from pocketseek.apps.repository.wanted import Part, WantedFile
from pocketseek.errors import SealError, StorageError
from pocketseek.package.check_record import note_checked
from pocketseek.package.entries import ChunkEntry, Manifest
from pocketseek.package.paths import CHUNKS_NAME, QUARANTINE_NAME, SEALED_SUFFIX
from pocketseek.package.sealing.key_slots import Secret
from pocketseek.package.sealing.seal_hold import SealHold
from pocketseek.package.sealing.seal_record import PackageFile, SealRecord, files_of
from pocketseek.package.sealing.sealed_file import hash_sealed
from pocketseek.package.storage import own_dir, storage_errors, sync_dir


def is_sealed_as_listed(package_dir: Path, record: SealRecord, file: PackageFile) -> bool:
    """Whether every byte of the sealed file is as sealed.json says; without the key."""
    with suppress(StorageError):  # not there, or cannot be read: it is as good as damaged
        return hash_sealed(file.sealed_path(package_dir)) == record.files[file.name]
    return False


def mend_sealed(
    package_dir: Path,
    manifest: Manifest,
    record: SealRecord,
    damaged: Damaged,
    secret: Secret | None,
    models_dir: Path,
    supply: Supply,
) -> Repaired:
    """With the package's lock held. Raises SealError without the secret; what is damaged is moved aside even so."""
    bad = {entry.sha256 for entry in damaged.chunks} | {entry.sha256 for entry in damaged.files}
    files = [file for file in files_of(manifest) if file.sha256 in bad]  # by now it may be another version
    if secret is None:
        with storage_errors(package_dir):
            for file in files:
                _move_aside(package_dir, record, file)
        raise SealError(
            f"{package_dir} is sealed, and {len(files)} damaged chunks or files can be replaced only with its key; "
            f"`pocketseek verify {package_dir.name} --repair` asks for it, or takes --key-file"
        )
    with closing(SealHold.open(package_dir, record, secret)) as hold:
        mending = _Mending(package_dir, hold, files)
        with storage_errors(package_dir):
            left = [file for file in files if not mending.found_here(file, models_dir)]
        fetched_bytes, address = 0, None
        if left:
            with storage_errors(package_dir):
                wanted = [mending.wanted(file) for file in left]
            try:
                with supply.opened(wanted) as fetch:
                    fetched_bytes, address = fetch(mending.put_in_place, mending.open_part)
            finally:
                quarantine.remove_if_empty(package_dir)
    return Repaired(len(damaged.chunks), len(damaged.files), fetched_bytes, address)


class _Mending:
    """Of one package whose key is at hand."""

    def __init__(self, package_dir: Path, hold: SealHold, files: list[PackageFile]) -> None:
        self._dir = package_dir
        self._hold = hold
        self._files = {file.name: file for file in files}
        self._hashes: dict[str, str] = {}

    def found_here(self, file: PackageFile, models_dir: Path) -> bool:
        """Whether it is in place again without fetching anything. Raises OSError."""
        path, aside = file.sealed_path(self._dir), quarantine.quarantine_path(self._dir, file.sha256)
        for place in (path, aside):
            if (hashed := self._hold.hash_of(file, place)) is not None:
                if place == aside:
                    quarantine.put_back(self._dir, file.sha256, path)
                self._list(file, hashed)
                return True
        _move_aside(self._dir, self._hold.record, file)
        return file.folder == CHUNKS_NAME and self._taken(file, models_dir)

    def wanted(self, file: PackageFile) -> WantedFile:
        target = self._dir / QUARANTINE_NAME / f"{file.sha256}{SEALED_SUFFIX}"
        own_dir(target.parent)
        return WantedFile(file.name, target, file.num_bytes, file.sha256, file.segments)

    def open_part(self, wanted: WantedFile) -> Part:
        """From any thread."""
        seed = quarantine.quarantine_path(self._dir, self._files[wanted.path].sha256)
        return SealedPart(wanted, self._hold.key, self._note, seed=seed)

    def put_in_place(self, wanted: WantedFile) -> None:
        file = self._files[wanted.path]
        path = file.sealed_path(self._dir)
        with storage_errors(path):
            os.replace(wanted.target, path)
            sync_dir(path.parent)
            self._list(file, self._hashes[file.name])
            file.plain_path(self._dir).unlink(missing_ok=True)
            quarantine.drop(self._dir, file.sha256)

    def _taken(self, file: PackageFile, models_dir: Path) -> bool:
        local = find_local(models_dir, [file.sha256]).get(file.sha256)
        if local is None:
            return False
        wanted = self.wanted(file)
        entry = ChunkEntry(file.sha256, file.num_bytes, "", file.segments)
        if not take(LocalChunk(local.path, None), entry, wanted, self.open_part):
            quarantine.remove_if_empty(self._dir)
            return False
        self.put_in_place(wanted)
        return True

    def _list(self, file: PackageFile, hashed: str) -> None:
        if self._hold.record.files.get(file.name) != hashed:
            self._hold.note({file.name: hashed})
        if file.folder == CHUNKS_NAME:
            note_checked(self._dir, [file.sha256], int(time.time()))

    def _note(self, file: PackageFile, hashed: str) -> None:
        self._hashes[file.name] = hashed


def _move_aside(package_dir: Path, record: SealRecord, file: PackageFile) -> None:
    """A file of another kind than chunks, too: it is as secret. Raises OSError."""
    path = file.sealed_path(package_dir) if record.has(file) else file.plain_path(package_dir)
    quarantine.move_aside(package_dir, ChunkEntry(file.sha256, file.num_bytes, "", ()), path)
