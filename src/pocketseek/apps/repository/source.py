"""Where a published package is read from: a directory, a static web server, a repository of ours on a model hub.

A published package is a package directory that was copied: manifest.json, maybe manifest.sig, chunks/<sha256>,
files/<sha256>, and whatever else a reader may ask for by its path. Paths are relative, with forward slashes, and made
of plain names only; anything else is the caller's mistake (ValueError), since no path is ever taken from what a source
says. Nothing that a source gives is trusted: callers check sizes and hashes.

A source may be read from many threads at once.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from pocketseek.errors import FormatError, NotFoundError, StorageError
from pocketseek.package.storage import storage_errors

PIECE_BYTES = 1 << 20
_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}(?:/[A-Za-z0-9_][A-Za-z0-9._-]{0,199}){0,7}")


class PackageSource(Protocol):
    """Where a published package is read from: a directory, a static web server, a Hugging Face repository of ours."""

    @property
    def name(self) -> str:
        """For messages: a folder or an address, never with credentials in it."""
        ...

    def read(self, path: str, max_bytes: int) -> bytes | None:
        """A small file whole, e.g. "manifest.json"; None: it is not there. FormatError if it is longer than max_bytes;
        StorageError, DownloadError."""
        ...

    def stream(self, path: str, offset: int, num_bytes: int) -> Iterator[bytes]:
        """Bytes [offset, num_bytes) of a file of num_bytes, in pieces of at most 1 MiB. The caller knows the size from
        the manifest. NotFoundError, StorageError, DownloadError. Ends early only by raising."""
        ...

    def close(self) -> None: ...


class DirectorySource(PackageSource):
    """A package directory on this machine: a copy on a disk, a card or a USB stick that may be pulled out any time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def name(self) -> str:
        return str(self._directory)

    def read(self, path: str, max_bytes: int) -> bytes | None:
        file = self._directory / check_path(path)
        with storage_errors(file):
            try:
                descriptor = _open_plain(file)
            except (FileNotFoundError, NotADirectoryError):
                return None
            with os.fdopen(descriptor, "rb") as opened:
                data = opened.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise too_long(f"{self.name}/{path}", max_bytes)
        return data

    def stream(self, path: str, offset: int, num_bytes: int) -> Iterator[bytes]:
        file = self._directory / check_path(path)
        with storage_errors(file):
            try:
                descriptor = _open_plain(file)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise NotFoundError(f"{file} is not there; copy the package again, all of it") from error
            with os.fdopen(descriptor, "rb", buffering=0) as opened:
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
                opened.seek(offset)
                while offset < num_bytes:
                    piece = opened.read(min(PIECE_BYTES, num_bytes - offset))
                    if not piece:
                        raise StorageError(f"{file} ends after {offset} of {num_bytes} bytes; copy it again")
                    offset += len(piece)
                    yield piece

    def close(self) -> None:
        """Nothing stays open between calls."""


def is_path(text: str) -> bool:
    """Whether it is one that a source may be asked for."""
    return bool(_PATH.fullmatch(text))


def check_path(path: str) -> str:
    """The path itself. Raises ValueError for one that could lead elsewhere."""
    if not is_path(path):
        raise ValueError(f"{path!r} is no path in a package")
    return path


def too_long(where: str, max_bytes: int) -> FormatError:
    return FormatError(f"{where} is longer than the {max_bytes} bytes allowed; it is no package of pocketseek's")


def _open_plain(path: Path) -> int:
    """Raises OSError, StorageError for what is no plain file (reading a pipe would wait for ever)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise StorageError(f"{path} is no plain file; copy the package again")
    return descriptor
