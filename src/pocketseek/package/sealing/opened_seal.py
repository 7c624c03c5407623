"""A sealed package opened with its key: whole files, and chunks whose segments are checked as they are read.

A package whose sealing was interrupted opens as well: of a chunk that still lies there plain, every segment is compared
with its SHA-256 in the manifest, as every sealed one is with its tag. So nothing that was read has to be hashed before.
The data key is kept until `close`, since files may have to be opened again.
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

from pocketseek.errors import IntegrityError, SealError
from pocketseek.package.entries import Manifest
from pocketseek.package.sealing.ciphers import TAG_BYTES, derived_key, require_ciphers, wipe
from pocketseek.package.sealing.key_slots import Secret
from pocketseek.package.sealing.seal_record import PackageFile, SealRecord, check_record, files_of, read_record
from pocketseek.package.sealing.sealed_file import (
    HEADER_BYTES,
    SealKey,
    damaged,
    decrypt_segments,
    read_header,
    segment_bytes,
)
from pocketseek.package.storage import storage_errors

_PAGES = b"pocketseek pages 1"


class OpenedSeal:
    """Any thread may use it."""

    def __init__(self, package_dir: Path, manifest: Manifest, record: SealRecord, key: SealKey) -> None:
        self._dir = package_dir
        self._record = record
        self._key = key
        self._files = {file.name: file for file in files_of(manifest)}

    @classmethod
    def open(
        cls, package_dir: Path, manifest: Manifest, manifest_bytes: bytes, record: SealRecord, secret: Secret | None
    ) -> OpenedSeal:
        """manifest_bytes: those that the manifest was parsed from. Raises SealError, UnsupportedError."""
        if secret is None:
            raise no_secret(package_dir)
        require_ciphers()
        key = SealKey(record.cipher, record.sealing, record.unlock(secret, str(package_dir)))
        try:
            check_record(package_dir, record, manifest_bytes, manifest)
        except BaseException:  # also Ctrl-C: the key does not stay, and it is raised again
            wipe(key.data_key)
            raise
        return cls(package_dir, manifest, record, key)

    @property
    def cipher(self) -> str:
        return self._key.cipher

    @property
    def sealing(self) -> bytes:
        """Which one this is."""
        return self._key.sealing

    def pages_key(self) -> bytes:
        """Of what is computed with the model and kept on disk; of this sealing alone. Not after `close`."""
        return derived_key(self._key.data_key, self._key.sealing, _PAGES)

    def file(self, folder: str, sha256: str) -> bytes:
        """All of a small one. Raises IntegrityError, StorageError."""
        chunk = self.chunk(folder, sha256)
        try:
            return chunk.whole()
        finally:
            chunk.close()

    def chunk(self, folder: str, sha256: str) -> SegmentFile:
        """Open it. Raises IntegrityError, StorageError."""
        file = self._files[f"{folder}/{sha256}"]
        return SegmentFile(self._dir, file, self._key if self._record.has(file) else None)

    def close(self) -> None:
        """Nothing more can be opened; what is open goes on."""
        wipe(self._key.data_key)


def no_secret(package_dir: Path) -> SealError:
    record = read_record(package_dir)
    if record is not None and {slot.kind for slot in record.slots} == {"key"}:
        return SealError(f"{package_dir} is sealed with a key file or key command; give --key-file or --key-command")
    return SealError(
        f"{package_dir} is sealed; give its passphrase (POCKETSEEK_PASSPHRASE, or on a terminal when asked), "
        "--key-file or --key-command"
    )


class SegmentFile:
    """An open chunk. buffered, direct: descriptors (None: not opened so). start_bytes: where in the file byte 0 is."""

    def __init__(self, package_dir: Path, file: PackageFile, key: SealKey | None) -> None:
        """key None: it lies there plain."""
        self.file = file
        self.path = file.sealed_path(package_dir) if key else file.plain_path(package_dir)
        self.start_bytes = HEADER_BYTES if key else 0
        self.direct: int | None = None
        self._key = key
        with storage_errors(self.path):
            try:
                self.buffered = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError as error:
                raise damaged(str(self.path), "it is missing") from error
        try:
            self._header = read_header(self.buffered, key.cipher, file.num_bytes, self.path) if key else None
        except BaseException:  # also Ctrl-C: it does not stay open, and it is raised again
            self.close()
            raise
        self._cipher = key.segment_cipher(file, self._header.salt) if key and self._header else None

    def accept(self, index: int, raw: memoryview, plain: memoryview) -> None:
        """Check a segment as it was read, and write its plaintext. raw: with room for a tag behind it. Raises
        IntegrityError."""
        size = segment_bytes(self.file.num_bytes, index)
        if self._cipher is not None and self._header is not None:
            raw[size : size + TAG_BYTES] = self._header.tag(index)
            is_good = self._cipher.open_into(index, raw[: size + TAG_BYTES], plain[:size])
        else:
            plain[:size] = raw[:size]
            is_good = sha256(raw[:size]).hexdigest() == self.file.segments[index]
        if not is_good:
            raise damaged(str(self.path), f"segment {index} is not what it was")

    def whole(self) -> bytes:
        """Raises IntegrityError, StorageError."""
        with storage_errors(self.path):
            if self._key is not None:
                parts = [bytes(plain) for _, plain in decrypt_segments(self._key, self.file, self.buffered, self.path)]
                data = b"".join(parts)
            else:
                data = os.pread(self.buffered, self.file.num_bytes + 1, 0)
        if sha256(data).hexdigest() != self.file.sha256:
            raise damaged(str(self.path), "its bytes are not those of its name")
        return data

    def too_short(self) -> IntegrityError:
        return damaged(str(self.path), "it is too short")

    def close(self) -> None:
        for descriptor in (self.buffered, self.direct):
            if descriptor is not None:
                os.close(descriptor)
