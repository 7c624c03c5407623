"""A checkpoint file as bytes at offsets: positioned reads only, no memory map.

Why not a map: pages that were touched would count as the process's memory until someone gives them back, and a file cut
short by another program would kill the process (SIGBUS) instead of raising FormatError.
Opening never waits (a FIFO is refused, not opened for reading) and only regular files are accepted.
"""

from __future__ import annotations

import os
import stat
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import FormatError, NotFoundError, StorageError

_READ_AT_ONCE_BYTES = 1 << 30  # the kernel caps one read near 2 GiB anyway


def quoted(name: str) -> str:
    """A name out of a file, fit for a one-line message: escaped and cut to 60 characters."""
    return repr(name if len(name) <= 60 else name[:57] + "...")


class ByteFile:
    """An open regular file and its size at opening. Reads from several threads do not disturb each other."""

    def __init__(self, path: Path) -> None:
        """Open `path`. Raises NotFoundError, StorageError (not permitted, I/O error) or FormatError (not a file)."""
        self.path = path
        self._file = _open(path)
        status = os.fstat(self._file.fileno())
        if not stat.S_ISREG(status.st_mode):
            self._file.close()
            raise FormatError(f"{path} is not a regular file; give a checkpoint file or a checkpoint directory")
        self.size_bytes = status.st_size

    def close(self) -> None:
        self._file.close()

    def damaged(self, what: str) -> FormatError:
        """The error for content that cannot be right."""
        return FormatError(f"{self.path} is damaged: {what}; download it again")

    def read(self, offset: int, num_bytes: int) -> bytes:
        """Exactly num_bytes from offset; meant for headers and small files."""
        return self.read_array(offset, num_bytes).tobytes()

    def read_array(self, offset: int, num_bytes: int) -> NDArray[np.uint8]:
        """Exactly num_bytes from offset as a fresh array. Nothing is allocated for bytes that the file has not."""
        if offset + num_bytes > self.size_bytes:
            raise self.damaged(f"{num_bytes} bytes wanted at offset {offset} of a file of {self.size_bytes}")
        data = np.empty(num_bytes, np.uint8)
        self._read_into(offset, data.data)
        return data

    def _read_into(self, offset: int, target: memoryview) -> None:
        done = 0
        while done < len(target):
            try:
                count = os.preadv(self._file.fileno(), [target[done : done + _READ_AT_ONCE_BYTES]], offset + done)
            except OSError as error:
                raise StorageError(f"{self.path}: reading failed ({error.strerror}); check the storage") from error
            if count == 0:
                raise self.damaged(f"it ends at byte {offset + done}, which it did not when it was opened")
            done += count


def read_small(path: Path, limit_bytes: int) -> bytes:
    """A whole small file. Raises FormatError if it has more than limit_bytes; otherwise as ByteFile."""
    file = ByteFile(path)
    try:
        if file.size_bytes > limit_bytes:
            raise FormatError(f"{path} has more than {limit_bytes} bytes, too many for its kind; download it again")
        return file.read(0, file.size_bytes)
    finally:
        file.close()


def _open(path: Path) -> FileIO:
    try:
        return FileIO(path, opener=_opener)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"{path}: no such file; check the path") from error
    except IsADirectoryError as error:
        raise FormatError(f"{path} is a directory where a file is wanted; check the path") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be opened ({error.strerror}); check permissions and storage") from error
    except ValueError as error:  # a NUL character in the name
        raise NotFoundError(f"{quoted(str(path))}: no such file; check the path") from error


def _opener(name: str, _flags: int) -> int:
    return os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
