"""Sealing a package in place, unsealing it, and changing who may open it: safe at every instant, and resumable.

sealed.json says of every chunk and file which of its two forms counts: the sealed one if it is listed, the plain one if
not. The form that counts is always whole, synced and verified; the other one, if it is there at all, is left over.

    seal     plain counts --> write the sealed twin as `.work`, sync, read it back from the disk, decrypt, compare
             --> rename it --> list it in sealed.json (one rename: from now on it counts) --> remove the plain one
    unseal   sealed counts --> decrypt into `.work`, compare with the name, sync --> rename it --> take it off the list
             in sealed.json (from now on the plain one counts) --> remove the sealed one

Both go file by file, so about one chunk of additional space is needed, and after a crash or a full disk at any moment
the package is a mixture that opens with the key, verifies, and that either command, run again, brings to its end.
sealed.json is written before the first file is sealed and removed after the last one is unsealed. Both commands begin
and end by removing what is left over. The right to change the package is held all along (lock.py); who has it open
goes on reading the old files until it closes them.

`passwd` replaces sealed.json in one step; no other byte changes.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Literal

from pocketseek.errors import StorageError, UsageError
from pocketseek.package import install
from pocketseek.package.entries import Manifest
from pocketseek.package.install import remove_tree
from pocketseek.package.journal import is_unfinished
from pocketseek.package.key_slots import MEMORY_KIB, Secret, new_slot
from pocketseek.package.lock import destination_lock
from pocketseek.package.manifest import parse_manifest, read_manifest_bytes
from pocketseek.package.paths import (
    CHUNKS_NAME,
    DELTAS_NAME,
    FILES_NAME,
    QUARANTINE_NAME,
    SEAL_NAME,
    SEAL_TEMP_NAME,
    SEAL_WORK_SUFFIX,
    SEALED_SUFFIX,
    SHA256_PATTERN,
    update_path,
)
from pocketseek.package.seal import KEY_BYTES, Cipher, require_ciphers, wipe
from pocketseek.package.seal_record import (
    PackageFile,
    SealRecord,
    check_record,
    files_of,
    read_record,
    write_record,
)
from pocketseek.package.sealed_file import (
    HEADER_BYTES,
    Report,
    SealKey,
    check_sealed,
    damaged,
    write_plain,
    write_sealed,
)
from pocketseek.package.storage import storage_errors, sync_dir
from pocketseek.package.switch import drop_previous, settle

Progress = Callable[[int, int], None]
SealState = Literal["plain", "sealed", "mixed"]

_SPARE_BYTES = 1 << 20  # for sealed.json and what the file system needs beside the file itself


@dataclass(frozen=True)
class SealReport:
    """num_files: that were sealed or unsealed now; num_bytes: of their plaintext."""

    state: SealState
    cipher: Cipher | None
    num_files: int
    num_bytes: int


def seal_state(package_dir: Path, manifest: Manifest) -> SealState:
    """mixed: `seal` or `unseal` was interrupted, or is running. Raises FormatError, StorageError."""
    record = read_record(package_dir)
    if record is None:
        return "plain"
    files = files_of(manifest)
    with storage_errors(package_dir):
        is_sealed = all(record.has(file) and not os.path.lexists(file.plain_path(package_dir)) for file in files)
        is_at_work = any(path.suffix == SEAL_WORK_SUFFIX for path in _entries(package_dir))
    return "sealed" if is_sealed and not is_at_work else "mixed"


def seal_package(
    package_dir: Path,
    get_secret: Callable[[], Secret],
    cipher: Cipher,
    progress: Progress | None = None,
    *,
    memory_kib: int = MEMORY_KIB,
) -> SealReport:
    """Seal everything that is not sealed yet. get_secret: asked once nothing stands against it. cipher: of a new
    sealing; one that goes on keeps its own. memory_kib: of Argon2id, in a new one.

    progress(done_bytes, total_bytes): every byte is written and read back. Raises SealError (a sealing that was
    interrupted needs its own key), IntegrityError (the package is damaged: nothing that is left of it is removed),
    BusyError, StorageError, FormatError, NotFoundError, UsageError, UnsupportedError.
    """
    require_ciphers()
    with _changing(package_dir) as job:
        files = [file for file in files_of(job.manifest) if job.record is None or not job.record.has(file)]
        job.check_space(files)
        job.let_go()
        job.check_clear_text(files)
        if job.record is None:
            job.begin(get_secret(), cipher, memory_kib)
        else:
            job.unlock(get_secret())
        report = _Counter(2 * sum(file.num_bytes for file in files), progress).add
        job.sweep()
        for file in files:
            job.seal(file, report)
        job.sweep()
        return SealReport("sealed", job.present.cipher, len(files), sum(file.num_bytes for file in files))


def unseal_package(package_dir: Path, secret: Secret, progress: Progress | None = None) -> SealReport:
    """Make it plain again; afterwards nothing of the key is left in it. Raises as `seal_package`."""
    require_ciphers()
    with _changing(package_dir) as job:
        if job.record is None:
            raise UsageError(f"{package_dir} is not sealed; there is nothing to unseal")
        files = [file for file in files_of(job.manifest) if job.present.has(file)]
        job.check_space(files)
        job.unlock(secret)
        report = _Counter(sum(file.num_bytes for file in files), progress).add
        job.sweep()
        for file in files:
            job.unseal(file, report)
        job.sweep()
        (package_dir / SEAL_NAME).unlink()
        sync_dir(package_dir)
        return SealReport("plain", None, len(files), sum(file.num_bytes for file in files))


def change_secret(
    package_dir: Path, secret: Secret, get_new: Callable[[], Secret], *, memory_kib: int = MEMORY_KIB
) -> None:
    """From now on only what get_new gives opens the package; it is asked once `secret` has proved right. The data key
    stays, and so does every sealed byte.

    Raises as `seal_package`.
    """
    require_ciphers()
    with _changing(package_dir) as job:
        if job.record is None:
            raise UsageError(f"{package_dir} is not sealed; seal it first (`pocketseek seal`)")
        job.unlock(secret)
        slot = new_slot(get_new(), job.present.sealing, job.key.data_key, memory_kib=memory_kib)
        job.write(replace(job.present, slots=(slot,)))


class _Job:
    """One change of a package, by the holder of its lock. OSErrors are the caller's."""

    def __init__(self, package_dir: Path) -> None:
        self._dir = package_dir
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
        if self.record is not None:
            return  # all of it went when the sealing was begun
        drop_previous(self._dir)
        for path in (update_path(self._dir), self._dir / QUARANTINE_NAME, self._dir / DELTAS_NAME):
            if os.path.lexists(path):
                remove_tree(path)

    def begin(self, secret: Secret, cipher: Cipher, memory_kib: int) -> None:
        sealing, data_key = secrets.token_bytes(16), bytearray(secrets.token_bytes(KEY_BYTES))
        self._key = SealKey(cipher, sealing, data_key)
        slot = new_slot(secret, sealing, data_key, memory_kib=memory_kib)
        self.write(SealRecord(sealing, cipher, sha256(self._manifest_bytes).hexdigest(), (slot,)))

    def unlock(self, secret: Secret) -> None:
        record = self.present
        self._key = SealKey(record.cipher, record.sealing, record.unlock(secret, str(self._dir)))
        check_record(self._dir, record, self._manifest_bytes, self.manifest)

    def write(self, record: SealRecord) -> None:
        write_record(self._dir, record, self.key.data_key)
        self.record = record

    def wipe(self) -> None:
        if self._key is not None:
            wipe(self._key.data_key)

    def check_space(self, files: list[PackageFile]) -> None:
        """Raises StorageError."""
        needed_bytes = max((file.num_bytes + HEADER_BYTES for file in files), default=0) + _SPARE_BYTES
        free_bytes = shutil.disk_usage(self._dir).free
        if files and free_bytes < needed_bytes:
            raise StorageError(
                f"{self._dir}: {needed_bytes / 1e6:.0f} MB of free space are needed for a moment and "
                f"{free_bytes / 1e6:.0f} MB are there; free some and run this again"
            )

    def check_clear_text(self, files: list[PackageFile]) -> None:
        """Raises UsageError for plaintext that would stay: under another name, or of another version of the model."""
        install.sweep(self._dir, keep_unfinished=is_unfinished(self._dir))  # what a killed writer left of an older one
        known = {file.plain_path(self._dir) for file in files_of(self.manifest)}
        for path in _entries(self._dir):
            if SHA256_PATTERN.fullmatch(path.name) and path not in known:
                raise UsageError(
                    f"{path} is not part of the model as it is, and would stay in the clear; "
                    "move it away or delete it, and seal then"
                )
        for path in (file.plain_path(self._dir) for file in files):
            status = path.lstat() if os.path.lexists(path) else None
            if status is not None and (status.st_nlink > 1 or stat.S_ISLNK(status.st_mode)):
                raise UsageError(
                    f"{path} has another name (it is a link), under which it would stay in the clear; "
                    "copy the model (`cp -rL`) and seal the copy, or remove the other name"
                )

    def seal(self, file: PackageFile, report: Report) -> None:
        plain, sealed = file.plain_path(self._dir), file.sealed_path(self._dir)
        with _opened(plain) as source, self._new_twin(sealed) as target:
            write_sealed(self.key, file, source, target, plain, report)
            hashed = check_sealed(self.key, file, target, sealed, report)
        self.write(self.present.with_file(file, hashed))
        plain.unlink(missing_ok=True)  # what a power cut brings back is left over; `sweep` syncs in the end

    def unseal(self, file: PackageFile, report: Report) -> None:
        plain, sealed = file.plain_path(self._dir), file.sealed_path(self._dir)
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
        (self._dir / SEAL_TEMP_NAME).unlink(missing_ok=True)
        unwanted = {
            file.plain_path(self._dir) if self.present.has(file) else file.sealed_path(self._dir)
            for file in files_of(self.manifest)
        }
        for path in _entries(self._dir):
            is_stray = path.suffix == SEALED_SUFFIX and f"{path.parent.name}/{path.stem}" not in self.present.files
            if path in unwanted or is_stray or path.suffix == SEAL_WORK_SUFFIX:
                path.unlink()
        for folder in (CHUNKS_NAME, FILES_NAME):
            sync_dir(self._dir / folder)


class _Counter:
    def __init__(self, total_bytes: int, progress: Progress | None) -> None:
        self._done_bytes, self._total_bytes, self._progress = 0, total_bytes, progress

    def add(self, num_bytes: int) -> None:
        self._done_bytes += num_bytes
        if self._progress is not None:
            self._progress(self._done_bytes, self._total_bytes)


@contextmanager
def _changing(package_dir: Path) -> Iterator[_Job]:
    package_dir = package_dir.resolve()  # the lock is beside the package itself, not beside a link to it
    with destination_lock(package_dir), storage_errors(package_dir):
        settle(package_dir)
        job = _Job(package_dir)
        try:
            yield job
        finally:
            job.wipe()


def _entries(package_dir: Path) -> list[Path]:
    """All that lies in the folders of chunks and files."""
    return [path for folder in (CHUNKS_NAME, FILES_NAME) for path in (package_dir / folder).iterdir()]


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
