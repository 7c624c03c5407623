"""A sealed package's `Keeping` (keeping.py): chunks, files and deltas are sealed as they arrive.

A delta is decrypted from the disk and applied to chunks that are decrypted as they are read, and what comes out is
sealed before it is written. So there is no moment in which a kill or a power cut leaves plaintext. What arrived goes
into sealed.json right before the switch; after an interruption it is told by decrypting it.

Without the key (`hold` None) one can only ask what is here by size.
"""

from __future__ import annotations

import io
from contextlib import ExitStack, suppress
from pathlib import Path

from pocketseek.apps.repository.local_chunks import LocalChunk, take
from pocketseek.apps.repository.receive import Offer
from pocketseek.apps.repository.sealed_part import SealedPart
from pocketseek.apps.repository.update_step import Step
from pocketseek.apps.repository.wanted import Part, WantedFile
from pocketseek.errors import IntegrityError
from pocketseek.package.delta.apply import apply_open_delta
from pocketseek.package.delta.byte_parts import delta_error
from pocketseek.package.delta.delta_file import Blob
from pocketseek.package.delta.fit import DeltaFit
from pocketseek.package.entries import ChunkEntry
from pocketseek.package.paths import CHUNKS_NAME, DELTAS_NAME, FILES_NAME, SEALED_SUFFIX, update_path
from pocketseek.package.sealing.opened_seal import SegmentFile, no_secret
from pocketseek.package.sealing.seal_hold import SealHold
from pocketseek.package.sealing.seal_record import PackageFile, SealRecord, files_of
from pocketseek.package.sealing.sealed_file import hash_sealed, sealed_bytes
from pocketseek.package.sealing.sealed_reader import SealedReader
from pocketseek.package.storage import storage_errors


class SealedKeeping:
    """A `Keeping`. Threads: `open_part` and what it gives."""

    suffix = SEALED_SUFFIX

    def __init__(self, package_dir: Path, record: SealRecord, hold: SealHold | None) -> None:
        self._dir = package_dir
        self._record = record
        self._opened = hold
        self._arrived: dict[str, str] = {}  # hashes of sealed files in the update directory

    @property
    def _hold(self) -> SealHold:
        if self._opened is None:
            raise no_secret(self._dir)
        return self._opened

    def is_here(self, folder: str, entry: ChunkEntry, *, check: bool) -> bool:
        file = PackageFile(folder, entry.sha256, entry.num_bytes, entry.segments)
        return self._is_in_package(file, check=check) or self._has_arrived(file, check=check)

    def open_part(self, wanted: WantedFile) -> Part:
        return SealedPart(wanted, self._hold.key, self._note)

    def resumed_bytes(self, wanted: WantedFile) -> int:
        """It is written anew, and only then does what was there go."""
        with suppress(FileNotFoundError):
            return wanted.part.lstat().st_size
        return 0

    def take(self, local: LocalChunk, entry: ChunkEntry, wanted: WantedFile) -> bool:
        return take(local, entry, wanted, self.open_part)

    def is_delta_there(self, step: Step) -> bool:
        if step.delta is None:
            return False
        target = step.wanted(self._dir, self.suffix).target
        if self._hold.hash_of(_delta_of(step), target) is not None:
            return True
        with storage_errors(target):
            target.unlink(missing_ok=True)
        return False

    def apply(self, step: Step, fit: DeltaFit) -> None:
        wanted = step.whole(self._dir, self.suffix)
        delta = SegmentFile(update_path(self._dir), _delta_of(step), self._hold.key)
        with ExitStack() as opened, storage_errors(wanted.target):
            file = opened.enter_context(io.BufferedReader(SealedReader(delta)))
            part = opened.enter_context(SealedPart(wanted, self._hold.key, self._note, is_fresh=True))
            bases = _Bases(self._hold, opened)

            def write(piece: memoryview) -> None:
                if not part.write(piece):
                    raise delta_error("the segments of what it makes have other hashes")

            expected = Blob(step.sha256, step.entry.num_bytes)
            apply_open_delta(file, delta.file.num_bytes, fit.check, bases.read, write, expected)
            if part.next_offset() is not None:
                raise delta_error("what it makes has another hash")
            part.finish()

    def vouch(self, offer: Offer) -> None:
        """From now on sealed.json holds the new version, too."""
        self._hold.admit(offer.manifest_bytes, self._hashes_of(offer))

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()

    def _hashes_of(self, offer: Offer) -> dict[str, str]:
        return {file.name: self._arrived[file.name] for file in files_of(offer.manifest) if file.name in self._arrived}

    def _is_in_package(self, file: PackageFile, *, check: bool) -> bool:
        path = file.sealed_path(self._dir)
        if not self._record.has(file) or not _has_size(path, file):
            return False
        return not check or hash_sealed(path) == self._record.files[file.name]

    def _has_arrived(self, file: PackageFile, *, check: bool) -> bool:
        path = file.sealed_path(update_path(self._dir))
        if not check or not _has_size(path, file):
            return _has_size(path, file)
        hashed = self._hold.hash_of(file, path)
        if hashed is None:
            return False
        self._note(file, hashed)
        return True

    def _note(self, file: PackageFile, hashed: str) -> None:
        self._arrived[file.name] = hashed


class _Bases:
    """Reads runs of the chunks and files of the version in use."""

    def __init__(self, hold: SealHold, opened: ExitStack) -> None:
        self._hold = hold
        self._stack = opened
        self._readers: dict[str, SealedReader] = {}

    def read(self, base: Blob, offset: int, num_bytes: int) -> bytes:
        """Raises IntegrityError, StorageError."""
        if base.sha256 not in self._readers:
            self._readers[base.sha256] = self._stack.enter_context(self._opened(base))
        data = self._readers[base.sha256].read_at(offset, num_bytes)
        if len(data) != num_bytes:
            raise IntegrityError(f"{base.sha256} is too short; fetch the chunks whole (--whole)")
        return data

    def _opened(self, base: Blob) -> SealedReader:
        for folder in (CHUNKS_NAME, FILES_NAME):
            file = PackageFile(folder, base.sha256, base.num_bytes)
            if self._hold.record.has(file):
                return SealedReader(self._hold.opened(file))
        raise IntegrityError(f"{base.sha256} is missing; fetch the chunks whole (--whole)")


def _delta_of(step: Step) -> PackageFile:
    if step.delta is None:
        raise ValueError("it comes whole")
    return PackageFile(DELTAS_NAME, step.delta.sha256, step.delta.num_bytes)


def _has_size(path: Path, file: PackageFile) -> bool:
    with suppress(FileNotFoundError):
        return path.is_file() and path.stat().st_size == sealed_bytes(file.num_bytes)
    return False
