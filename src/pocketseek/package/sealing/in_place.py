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
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pocketseek.errors import UsageError
from pocketseek.package.entries import Manifest
from pocketseek.package.paths import SEAL_NAME, SEAL_WORK_SUFFIX
from pocketseek.package.sealing.checks import check_clear_text, check_present, check_space, entries_of
from pocketseek.package.sealing.ciphers import Cipher, require_ciphers
from pocketseek.package.sealing.key_slots import MEMORY_KIB, Secret, new_slot
from pocketseek.package.sealing.seal_job import changing
from pocketseek.package.sealing.seal_record import files_of, read_record
from pocketseek.package.storage import storage_errors, sync_dir

Progress = Callable[[int, int], None]
SealState = Literal["plain", "sealed", "mixed"]


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
        is_at_work = any(path.suffix == SEAL_WORK_SUFFIX for path in entries_of(package_dir))
    return "sealed" if is_sealed and not is_at_work else "mixed"


def seal_package(
    package_dir: Path,
    get_secret: Callable[[], Secret],
    cipher: Cipher,
    progress: Progress | None = None,
    *,
    memory_kib: int = MEMORY_KIB,
    begun: Callable[[], None] = lambda: None,
) -> SealReport:
    """Seal everything that is not sealed yet. get_secret: asked once nothing stands against it; until it has answered
    nothing is changed. cipher: of a new sealing; one that goes on keeps its own. memory_kib: of Argon2id, in a new one.
    begun: called when the package counts as one that is being sealed, before its files are.

    progress(done_bytes, total_bytes): every byte is written and read back. Raises SealError (a sealing that was
    interrupted needs its own key), IntegrityError (the package is damaged: nothing that is left of it is removed),
    BusyError, StorageError, FormatError, NotFoundError, UsageError, UnsupportedError.
    """
    require_ciphers()
    with changing(package_dir) as job:
        files = [file for file in files_of(job.manifest) if job.record is None or not job.record.has(file)]
        check_present(job.path, files)
        check_space(job.path, files)
        check_clear_text(job.path, job.manifest, files, is_sealed=job.record is not None)
        secret = get_secret()
        if job.record is None:
            job.let_go()
            check_clear_text(job.path, job.manifest, files, is_sealed=False)
            job.begin(secret, cipher, memory_kib)
        else:
            job.unlock(secret)
            job.clear_away()
        begun()
        report = _Counter(2 * sum(file.num_bytes for file in files), progress).add
        job.sweep()
        for file in files:
            job.seal(file, report)
        job.sweep()
        return SealReport("sealed", job.present.cipher, len(files), sum(file.num_bytes for file in files))


def unseal_package(package_dir: Path, secret: Secret, progress: Progress | None = None) -> SealReport:
    """Make it plain again; afterwards nothing of the key is left in it, nor of another version that was sealed with it.
    Raises as `seal_package`."""
    require_ciphers()
    with changing(package_dir) as job:
        if job.record is None:
            raise UsageError(f"{package_dir} is not sealed; there is nothing to unseal")
        files = [file for file in files_of(job.manifest) if job.present.has(file)]
        check_space(job.path, files)
        job.unlock(secret)
        job.let_go_sealed()
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
    with changing(package_dir) as job:
        if job.record is None:
            raise UsageError(f"{package_dir} is not sealed; seal it first (`pocketseek seal`)")
        job.unlock(secret)
        slot = new_slot(get_new(), job.present.sealing, job.key.data_key, memory_kib=memory_kib)
        job.write(replace(job.present, slots=(slot,)))


class _Counter:
    def __init__(self, total_bytes: int, progress: Progress | None) -> None:
        self._done_bytes, self._total_bytes, self._progress = 0, total_bytes, progress

    def add(self, num_bytes: int) -> None:
        self._done_bytes += num_bytes
        if self._progress is not None:
            self._progress(self._done_bytes, self._total_bytes)
