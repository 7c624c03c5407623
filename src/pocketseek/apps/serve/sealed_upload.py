"""The bytes of an uploaded file in a data directory that is sealed: encrypted as they arrive, decrypted only in memory.

    NAME.sealed    records of 1 MiB of plaintext, the last one shorter, each nonce 12 | ciphertext | tag 16

AES-256-GCM under a key derived from that of the databases; bound to each record: the folder of the file (its random
id), the record's number, and whether it is the last. While a file is read, NAME is a link to a file in memory
(memfd), which the reader's process opens by name as any other; it is gone with the process. Such memory may be swapped.

What a crash leaves is NAME.sealed, whole or not, or a link that leads nowhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pocketseek.errors import IntegrityError, UnsupportedError
from pocketseek.package.paths import sealed_path
from pocketseek.package.sealing.ciphers import RecordCipher
from pocketseek.package.storage import storage_errors, sync_dir, write_all

RECORD_BYTES = 1 << 20
_WHOLE_BYTES = RECORD_BYTES + RecordCipher.EXTRA_BYTES
_MAGIC = b"pocketseek upload 1 "
_WORK_SUFFIX = ".work"


class UploadSeal:
    """Any thread."""

    def __init__(self, key: bytes) -> None:
        """key: of 32 bytes. Raises UnsupportedError."""
        self._cipher = RecordCipher(key)

    def sink(self, path: Path) -> SealedSink:
        """For a file that is to have this name. Raises StorageError."""
        return SealedSink(self._cipher, path)

    def seal(self, path: Path) -> None:
        """A plain file that lies there; the caller removes it. Raises StorageError."""
        work = path.with_name(path.name + _WORK_SUFFIX)
        with storage_errors(path), suppress(FileNotFoundError):
            sealed_path(work).unlink()
        sink = SealedSink(self._cipher, work)
        with storage_errors(path):
            try:
                with path.open("rb", buffering=0) as file:
                    while piece := file.read(RECORD_BYTES):
                        sink.write(memoryview(piece))
                sink.finish()
            finally:
                sink.close()
            os.replace(sealed_path(work), sealed_path(path))
            sync_dir(path.parent)

    def pieces(self, path: Path) -> Iterator[bytes]:
        """The plaintext of the file of this name. Raises IntegrityError, StorageError."""
        with storage_errors(path), sealed_path(path).open("rb", buffering=0) as file:
            num_bytes = os.fstat(file.fileno()).st_size
            num_records = max(1, -(-num_bytes // _WHOLE_BYTES))
            for index in range(num_records):
                start = index * _WHOLE_BYTES
                data = os.pread(file.fileno(), _WHOLE_BYTES, start)
                bound = _bound(path, index, is_last=index == num_records - 1)
                plain = self._cipher.open(memoryview(data), bound)
                if plain is None:
                    raise IntegrityError(f"{path.name} was changed on the disk; delete it and upload it again")
                yield plain

    def unseal(self, path: Path) -> None:
        """Make it plain again. Raises IntegrityError, StorageError."""
        work = path.with_name(path.name + _WORK_SUFFIX)
        with storage_errors(path):
            descriptor = os.open(work, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                for piece in self.pieces(path):
                    write_all(descriptor, piece)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(work, path)
            sync_dir(path.parent)
            sealed_path(path).unlink()

    @contextmanager
    def readable(self, path: Path) -> Iterator[None]:
        """In the body the file can be opened by its name, also by other processes of this user. Raises IntegrityError,
        StorageError, UnsupportedError (no such memory here)."""
        descriptor = _memory_file(path.name)
        try:
            with storage_errors(path):
                for piece in self.pieces(path):
                    write_all(descriptor, piece)
                path.unlink(missing_ok=True)
                path.symlink_to(f"/proc/{os.getpid()}/fd/{descriptor}")
            yield
        finally:
            os.close(descriptor)
            with suppress(OSError):
                path.unlink()


class SealedSink:
    """Use from one thread at a time. `finish` syncs it; what is not finished is of no use."""

    def __init__(self, cipher: RecordCipher, path: Path) -> None:
        self._cipher = cipher
        self._path = path
        self._waiting = bytearray()
        self._index = 0
        with storage_errors(path):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._descriptor = os.open(sealed_path(path), flags, 0o600)

    def write(self, data: memoryview) -> None:
        """Raises OSError."""
        self._waiting += data
        while len(self._waiting) > RECORD_BYTES:  # what may be the last one waits
            self._put(self._waiting[:RECORD_BYTES], is_last=False)
            del self._waiting[:RECORD_BYTES]

    def finish(self) -> None:
        """Raises OSError."""
        self._put(self._waiting, is_last=True)
        os.fsync(self._descriptor)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _put(self, plain: bytearray, *, is_last: bool) -> None:
        write_all(self._descriptor, self._cipher.seal(bytes(plain), _bound(self._path, self._index, is_last=is_last)))
        self._index += 1


def is_sealed_upload(path: Path) -> bool:
    """Whether the file of this name lies there sealed."""
    return sealed_path(path).is_file()


def plain_bytes(path: Path) -> int:
    """How long the file of this name is. Raises OSError."""
    num_bytes = sealed_path(path).stat().st_size
    return num_bytes - -(-num_bytes // _WHOLE_BYTES) * RecordCipher.EXTRA_BYTES


def _bound(path: Path, index: int, *, is_last: bool) -> bytes:
    """The name may be that of a work file."""
    return _MAGIC + path.parent.name.encode() + index.to_bytes(4, "big") + bytes([is_last])


def _memory_file(name: str) -> int:
    create = getattr(os, "memfd_create", None)
    if create is None:
        raise UnsupportedError(
            "this system has no files in memory (memfd_create), which uploads to a sealed data directory need; "
            "unseal it (`pocketseek unseal --data`) to upload files"
        )
    descriptor: int = create(name[:200], os.MFD_CLOEXEC)
    return descriptor
