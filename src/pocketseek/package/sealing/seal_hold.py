"""A sealed package in the hands of who changes it and has its key: what it holds, and which versions of the model.

The version in use and the one before it, or the one that an update leads to, are sealed with the same data key and
stand in one sealed.json (`also`). So a version is admitted, with the hashes of its sealed files, before manifest.json
becomes its manifest, and that stays the one rename that decides (switch.py); going back, and letting go of a version,
need no key. What no version names any more leaves the record when it is next written.

The holder of the package's lock uses it, in one thread; SealKey may be used from any.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

from pocketseek.errors import FormatError, IntegrityError, NotFoundError, UsageError
from pocketseek.package.manifest import MAX_MANIFEST_BYTES, Manifest, parse_manifest, read_manifest_bytes
from pocketseek.package.paths import PREVIOUS_NAME
from pocketseek.package.sealing.ciphers import require_ciphers, wipe
from pocketseek.package.sealing.key_slots import Secret
from pocketseek.package.sealing.opened_seal import SegmentFile, no_secret
from pocketseek.package.sealing.seal_record import (
    PackageFile,
    SealRecord,
    check_record,
    files_of,
    read_record,
    write_record,
)
from pocketseek.package.sealing.sealed_file import Report, SealKey, check_sealed, damaged
from pocketseek.package.storage import read_plain, storage_errors


class SealHold:
    """Close it, which wipes the key."""

    def __init__(self, package_dir: Path, record: SealRecord, key: SealKey) -> None:
        self._dir = package_dir
        self._record = record
        self.key = key

    @classmethod
    def open(cls, package_dir: Path, record: SealRecord, secret: Secret | None) -> SealHold:
        """Raises SealError (no secret, not the right one, another manifest), UnsupportedError."""
        if secret is None:
            raise no_secret(package_dir)
        require_ciphers()
        key = SealKey(record.cipher, record.sealing, record.unlock(secret, str(package_dir)))
        try:
            data = read_manifest_bytes(package_dir)
            check_record(package_dir, record, data, parse_manifest(data))
        except BaseException:  # also Ctrl-C: the key does not stay, and it is raised again
            wipe(key.data_key)
            raise
        return cls(package_dir, record, key)

    @property
    def record(self) -> SealRecord:
        return self._record

    def close(self) -> None:
        wipe(self.key.data_key)

    def opened(self, file: PackageFile) -> SegmentFile:
        """In whatever form it lies there. Raises IntegrityError, StorageError."""
        return SegmentFile(self._dir, file, self.key if self._record.has(file) else None)

    def hash_of(self, file: PackageFile, path: Path, report: Report = lambda _: None) -> str | None:
        """Decrypt the sealed file at a path and compare: the SHA-256 of the sealed file, None if it is not that."""
        with suppress(IntegrityError, FileNotFoundError), path.open("rb", buffering=0) as opened, storage_errors(path):
            return check_sealed(self.key, file, opened.fileno(), path, report)
        return None

    def check(self, file: PackageFile, report: Report = lambda _: None) -> None:
        """Decrypt a file of the package, if it is sealed, and compare. Raises IntegrityError, StorageError."""
        path = file.sealed_path(self._dir)
        with closing(self.opened(file)) as opened, storage_errors(opened.path):
            if not self._record.has(file):
                opened.whole()
                report(file.num_bytes)
            elif check_sealed(self.key, file, opened.buffered, path, report) != self._record.files[file.name]:
                raise damaged(str(path), "its bytes are good, and not those that sealed.json lists")

    def note(self, hashes: Mapping[str, str]) -> None:
        """These files (by `PackageFile.name`) are sealed now, in this form. Raises OSError."""
        self._write(replace(self._record, files={**self._record.files, **hashes}), ())

    def admit(self, manifest_bytes: bytes, hashes: Mapping[str, str]) -> None:
        """From now on manifest.json may be this one, all files of which are sealed. Raises OSError."""
        self._write(replace(self._record, files={**self._record.files, **hashes}), (manifest_bytes,))

    def _write(self, record: SealRecord, admitted: Iterable[bytes]) -> None:
        present = read_manifest_bytes(self._dir)
        others = [*_previous(self._dir), *admitted]
        versions = [hashlib.sha256(data).hexdigest() for data in (present, *others)]
        known = {file.name for data in (present, *others) for file in files_of(parse_manifest(data))}
        also = tuple(version for version in dict.fromkeys(versions) if version != versions[0])
        files = {name: hashed for name, hashed in record.files.items() if name in known}
        self._record = replace(record, manifest=versions[0], also=also, files=files)
        write_record(self._dir, self._record, self.key.data_key)


def read_whole_record(package_dir: Path, manifest: Manifest) -> SealRecord | None:
    """None: it is not sealed. Raises UsageError if it is half sealed, FormatError, StorageError."""
    record = read_record(package_dir)
    if record is not None and not all(record.has(file) for file in files_of(manifest)):
        raise UsageError(
            f"{package_dir} is sealed in part, since `pocketseek seal` or `unseal` was interrupted; "
            "run one of the two to its end first"
        )
    return record


def _previous(package_dir: Path) -> list[bytes]:
    """The manifest of the version before, if it can be gone back to."""
    with suppress(FormatError, NotFoundError, FileNotFoundError):
        data = read_plain(package_dir / PREVIOUS_NAME, MAX_MANIFEST_BYTES)
        parse_manifest(data)
        return [data]
    return []
