"""The bytes of uploaded files on the disk: as they came, or sealed (sealed_upload.py) with the data directory.

A path is where the file would lie plain; a folder has one file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from pocketseek.apps.serve.sealed_upload import UploadSeal, is_sealed_upload, plain_bytes
from pocketseek.package.paths import sealed_path
from pocketseek.package.storage import storage_errors, write_all

_PIECE_BYTES = 1 << 20


class Sink(Protocol):
    """Takes the bytes of a new file. `finish` syncs them; close it in any case. Methods raise OSError."""

    def write(self, data: memoryview) -> None: ...

    def finish(self) -> None: ...

    def close(self) -> None: ...


class PlainBytes:
    """As they came."""

    stay_when_read = True

    def sink(self, path: Path) -> Sink:
        """Raises StorageError."""
        return _PlainSink(path)

    def size_of(self, path: Path) -> int:
        """Raises OSError."""
        return path.stat().st_size

    def has(self, path: Path) -> bool:
        return path.exists()

    @contextmanager
    def readable(self, path: Path) -> Iterator[Path]:
        yield path

    def pieces(self, path: Path) -> Iterator[bytes]:
        """Raises StorageError."""
        with storage_errors(path), path.open("rb", buffering=0) as file:
            while piece := file.read(_PIECE_BYTES):
                yield piece

    def drop(self, path: Path) -> None:
        """Overwrite and remove them, as far as the storage writes over what was there. Raises StorageError."""
        shred(path)

    def settle(self, path: Path) -> None:
        """When the folder is opened: bring what was interrupted to an end."""


class SealedBytes:
    """Encrypted; they go when the text is read. Any thread."""

    stay_when_read = False

    def __init__(self, key: bytes) -> None:
        """Raises UnsupportedError."""
        self._seal = UploadSeal(key)

    def sink(self, path: Path) -> Sink:
        return self._seal.sink(path)

    def size_of(self, path: Path) -> int:
        return plain_bytes(path)

    def has(self, path: Path) -> bool:
        return is_sealed_upload(path)

    @contextmanager
    def readable(self, path: Path) -> Iterator[Path]:
        """In memory, while the body runs. Raises IntegrityError, StorageError, UnsupportedError."""
        if not is_sealed_upload(path):
            yield path
            return
        with self._seal.readable(path):
            yield path

    def pieces(self, path: Path) -> Iterator[bytes]:
        """Raises IntegrityError, StorageError."""
        return self._seal.pieces(path)

    def drop(self, path: Path) -> None:
        shred(path)
        with storage_errors(path):
            sealed_path(path).unlink(missing_ok=True)

    def settle(self, path: Path) -> None:
        """What came before the data directory was sealed is sealed; what a killed process was at goes."""
        with storage_errors(path), suppress(FileNotFoundError):
            for other in list(path.parent.iterdir()):
                if other not in (path, sealed_path(path)):
                    shred(other)
        if path.is_symlink():
            if not path.exists():  # else somebody is reading it
                shred(path)
        elif path.is_file():
            self._seal.seal(path)
            shred(path)

    def unseal(self, path: Path) -> None:
        """Raises IntegrityError, StorageError."""
        if is_sealed_upload(path):
            self._seal.unseal(path)


class _PlainSink:
    def __init__(self, path: Path) -> None:
        with storage_errors(path):
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, data: memoryview) -> None:
        write_all(self._descriptor, data)

    def finish(self) -> None:
        os.fsync(self._descriptor)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def shred(path: Path) -> None:
    """Overwrite and remove a file; of a link (into memory that is no more) only the link goes. Raises StorageError."""
    with storage_errors(path), suppress(FileNotFoundError):
        if not path.is_symlink():
            _overwrite(path)
        path.unlink()


def _overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        left = path.stat().st_size
        while left > 0:
            left -= file.write(bytes(min(left, _PIECE_BYTES)))
        file.flush()
        os.fsync(file.fileno())
