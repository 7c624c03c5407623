"""The steps of sealing a package in place: beginning, unlocking, one file after another, sweeping up. What they are
made into, and why each order is safe: in_place.py. What may stand against it: checks.py.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from pocketseek.package import install
from pocketseek.package.install import remove_tree
from pocketseek.package.journal import is_unfinished
from pocketseek.package.lock import destination_lock
from pocketseek.package.manifest import parse_manifest, read_manifest_bytes
from pocketseek.package.paths import (
    CHUNKS_NAME,
    DELTAS_NAME,
    FILES_NAME,
    QUARANTINE_NAME,
    SEAL_TEMP_NAME,
    SEAL_WORK_SUFFIX,
    SEALED_SUFFIX,
    update_path,
)
from pocketseek.package.sealing.checks import entries_of
from pocketseek.package.sealing.ciphers import KEY_BYTES, Cipher, wipe
from pocketseek.package.sealing.key_slots import Secret, new_slot
from pocketseek.package.sealing.seal_record import (
    PackageFile,
    SealRecord,
    check_record,
    files_of,
    read_record,
    write_record,
)
from pocketseek.package.sealing.sealed_file import Report, SealKey, check_sealed, damaged, write_plain, write_sealed
from pocketseek.package.settle import settle
from pocketseek.package.storage import storage_errors, sync_dir
from pocketseek.package.switch import drop_previous


@contextmanager
def changing(package_dir: Path) -> Iterator[SealJob]:
    package_dir = package_dir.resolve()  # the lock is beside the package itself, not beside a link to it
    with destination_lock(package_dir), storage_errors(package_dir):
        settle(package_dir)
        job = SealJob(package_dir)
        try:
            yield job
        finally:
            job.wipe()


class SealJob:
    """One change of a package, by the holder of its lock. OSErrors are the caller's."""

    def __init__(self, package_dir: Path) -> None:
        self.path = package_dir
        self._manifest_bytes = read_manifest_bytes(package_dir)
        self.manifest = parse_manifest(self._manifest_bytes)
        self.record = read_record(package_dir)
        self._key: SealKey | None = None

    @property
    def present(self) -> SealRecord:
        if self.record is None:
            raise ValueError("the package is not sealed")
        return self.record

    @property
    def key(self) -> SealKey:
        if self._key is None:
            raise ValueError("the package is not unlocked")
        return self._key

    def let_go(self) -> None:
        """Of what lies beside the model in the clear: the version before, one that was being fetched, chunks that were
        moved aside because they are damaged, deltas to be published."""
        drop_previous(self.path)
        for path in (update_path(self.path), self.path / QUARANTINE_NAME, self.path / DELTAS_NAME):
            if os.path.lexists(path):
                remove_tree(path)
        self.clear_away()

    def clear_away(self) -> None:
        """What a killed writer left of an older version; an update that was begun is sealed, if the model is."""
        install.sweep(self.path, keep_unfinished=is_unfinished(self.path), keep_update=self.record is not None)

    def let_go_sealed(self) -> None:
        """Of what is sealed beside the model, and would be of no use without the key."""
        drop_previous(self.path)
        if os.path.lexists(update_path(self.path)):
            remove_tree(update_path(self.path))

    def begin(self, secret: Secret, cipher: Cipher, memory_kib: int) -> None:
        sealing, data_key = secrets.token_bytes(16), bytearray(secrets.token_bytes(KEY_BYTES))
        self._key = SealKey(cipher, sealing, data_key)
        slot = new_slot(secret, sealing, data_key, memory_kib=memory_kib)
        self.write(SealRecord(sealing, cipher, sha256(self._manifest_bytes).hexdigest(), (slot,)))

    def unlock(self, secret: Secret) -> None:
        record = self.present
        self._key = SealKey(record.cipher, record.sealing, record.unlock(secret, str(self.path)))
        check_record(self.path, record, self._manifest_bytes, self.manifest)

    def write(self, record: SealRecord) -> None:
        write_record(self.path, record, self.key.data_key)
        self.record = record

    def wipe(self) -> None:
        if self._key is not None:
            wipe(self._key.data_key)

    def seal(self, file: PackageFile, report: Report) -> None:
        plain, sealed = file.plain_path(self.path), file.sealed_path(self.path)
        with _opened(plain) as source, self._new_twin(sealed) as target:
            write_sealed(self.key, file, source, target, plain, report)
            hashed = check_sealed(self.key, file, target, sealed, report)
        self.write(self.present.with_file(file, hashed))
        plain.unlink(missing_ok=True)  # what a power cut brings back is left over; `sweep` syncs in the end

    def unseal(self, file: PackageFile, report: Report) -> None:
        plain, sealed = file.plain_path(self.path), file.sealed_path(self.path)
        with _opened(sealed) as source, self._new_twin(plain) as target:
            write_plain(self.key, file, source, target, sealed, report)
        self.write(self.present.without_file(file))
        sealed.unlink(missing_ok=True)

    @contextmanager
    def _new_twin(self, path: Path) -> Iterator[int]:
        """An empty file that gets the name once it is filled, and is gone if that fails."""
        work = path.with_name(path.name + SEAL_WORK_SUFFIX)
        work.unlink(missing_ok=True)
        descriptor = os.open(work, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            yield descriptor
            os.replace(work, path)
            sync_dir(path.parent)
        except BaseException:  # also Ctrl-C: no work file stays, and it is raised again
            with suppress(OSError):
                work.unlink()
            raise
        finally:
            os.close(descriptor)

    def sweep(self) -> None:
        """Remove the twins that do not count, and unfinished work."""
        (self.path / SEAL_TEMP_NAME).unlink(missing_ok=True)
        unwanted = {
            file.plain_path(self.path) if self.present.has(file) else file.sealed_path(self.path)
            for file in files_of(self.manifest)
        }
        for path in entries_of(self.path):
            is_stray = path.suffix == SEALED_SUFFIX and f"{path.parent.name}/{path.stem}" not in self.present.files
            if path in unwanted or is_stray or path.suffix == SEAL_WORK_SUFFIX:
                path.unlink()
        for folder in (CHUNKS_NAME, FILES_NAME):
            sync_dir(self.path / folder)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise damaged(str(path), "it is missing") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)
