"""The chunk files of an open package for reading: into buffers past the page cache or through it, or into the cache.

A file is known by the stamp (inode, size, mtime) it had when its hashes were checked. It is looked at before every
read, and when it was touched since, its hashes are checked again before anything read from it is used. A file that is
removed or replaced by another is read on, since it stays open. What was read just before somebody wrote is found out
afterwards, by `check_all` and `num_touched`.

A read that the system fails is tried again RETRIES times; then it is a StorageError. A file that is too short or
damaged is an IntegrityError, and `heal` looks whether a good one stands in its place by then. Any
thread may read.
"""

from __future__ import annotations

import errno
import mmap
import os
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import IntegrityError
from pocketseek.kernels.mapped import changed_files, resident_bytes
from pocketseek.package.entries import ChunkEntry
from pocketseek.package.marker import size_and_mtime_ns, stamp_of
from pocketseek.package.paths import chunk_path
from pocketseek.package.reader import Package
from pocketseek.package.sealing.sealed_file import REMEDY
from pocketseek.package.storage import storage_errors
from pocketseek.package.verify import check_open_chunk
from pocketseek.runtime.residency.plan import BLOCK_BYTES

RETRIES = 2
RETRY_PAUSE_S = 0.05
REFUSES_DIRECT = frozenset({errno.EINVAL, errno.EOPNOTSUPP})

ReadInto = Callable[[int, Sequence[memoryview], int], int]


class _File:
    """One chunk file. stamp: with which its bytes were checked; changed under `lock`. row: in ChunkFiles' tables."""

    def __init__(self, path: Path, entry: ChunkEntry, stamp: str | None, row: int) -> None:
        self.path = path
        self.row = row
        self.entry = entry
        self.stamp = stamp
        self.lock = Lock()
        self.is_bad = False
        self.buffered = _open(path)
        self.direct: int | None = None

    def close(self) -> None:
        for descriptor in (self.buffered, self.direct):
            if descriptor is not None:
                os.close(descriptor)


class ChunkFiles:
    """Open from the beginning to `close`, so that nothing can take the files away. Indices are the manifest's."""

    needs_filling = False
    read_grid_bytes = 0
    filled_bytes = 0

    def __init__(self, package: Package, *, direct: bool = False, read_into: ReadInto = os.preadv) -> None:
        """direct: use direct I/O where the system opens the files for it. read_into: as os.preadv."""
        self._package = package
        self._direct = direct
        self._read_into = read_into
        self._by_hash: dict[str, _File] = {}
        chunks = package.manifest.unique_chunks()
        self._descriptors = np.empty(len(chunks), np.int32)
        self._stamps = np.full((len(chunks), 2), -1, np.int64)
        self._lock = Lock()
        self._num_touched = 0
        self.close = weakref.finalize(self, _close, self._by_hash)
        """Close the files; they are closed, too, when nothing refers to this any more."""
        for row, entry in enumerate(chunks):
            path = chunk_path(package.path, entry.sha256)
            with storage_errors(path):
                self._take_in(_File(path, entry, package.stamps.get(entry.sha256), row))
        self.use_direct(direct)

    def read(self, chunk: int, offset: int, buffer: memoryview) -> None:
        """Fill the buffer; what it has beyond the end of the file stays as it is. Offset, size and the buffer's address
        are multiples of BLOCK_BYTES."""
        file = self._file(chunk)
        self._check(file)
        for pause_s in (*[RETRY_PAUSE_S] * RETRIES, None):
            try:
                return self._fill(file, offset, buffer)
            except OSError as error:
                if pause_s is None:
                    with storage_errors(file.path):
                        raise
                if error.errno in REFUSES_DIRECT and self._direct:
                    self.use_direct(False)
                else:
                    time.sleep(pause_s)

    def warm(self, chunk: int, offset: int, num_bytes: int) -> None:
        """Have these bytes in the page cache."""
        file = self._file(chunk)
        self._check(file)
        scratch = memoryview(bytearray(num_bytes))
        end = min(offset + num_bytes, file.entry.num_bytes)
        with storage_errors(file.path):
            while offset < end:
                got = self._read_into(file.buffered, [scratch[: end - offset]], offset)
                if got == 0:
                    raise self._too_short(file)
                offset += got

    def forget(self, chunk: int, offset: int, num_bytes: int) -> None:
        """Have nothing of it in the page cache, if reads go through that."""
        if not self._direct:
            self.evict(chunk, offset, num_bytes)

    def is_in_memory(self, chunk: int, offset: int, num_bytes: int) -> bool:
        """As far as the system tells."""
        view = self._package.chunk(chunk)[offset : offset + num_bytes]
        return resident_bytes(view) == len(view)

    def view(self, chunk: int) -> NDArray[np.uint8]:
        """The file's bytes, mapped."""
        return self._package.chunk(chunk)

    def drop(self, chunk: int, offset: int, num_bytes: int) -> None:
        """Let the system drop these bytes: the package's map of them, and the page cache."""
        self._package.advise(chunk, mmap.MADV_DONTNEED, offset, num_bytes)
        self.evict(chunk, offset, num_bytes)

    def evict(self, chunk: int, offset: int, num_bytes: int) -> None:
        """Let the page cache drop these bytes, unless somebody has them mapped."""
        with suppress(OSError):
            os.posix_fadvise(self._file(chunk).buffered, offset, num_bytes, os.POSIX_FADV_DONTNEED)

    def prefetch(self, chunk: int, offset: int, num_bytes: int) -> None:
        """Have the system begin to read these few bytes into the page cache."""
        with suppress(OSError):
            os.posix_fadvise(self._file(chunk).buffered, offset, num_bytes, os.POSIX_FADV_WILLNEED)

    def bytes_at(self, chunk: int, offset: int, num_bytes: int) -> bytes:
        """A few bytes, read without reading ahead."""
        file = self._file(chunk)
        with storage_errors(file.path):
            os.posix_fadvise(file.buffered, 0, 0, os.POSIX_FADV_RANDOM)
            data = os.pread(file.buffered, num_bytes, offset)
            os.posix_fadvise(file.buffered, 0, 0, os.POSIX_FADV_NORMAL)
        if len(data) < num_bytes:
            raise self._too_short(file)
        return data

    def check_all(self) -> None:
        """Check the files that were touched. Raises IntegrityError for the first that is damaged."""
        if changed := changed_files(self._descriptors, self._stamps):
            files = list(self._by_hash.values())
            for row in changed:
                self._check(files[row])

    @property
    def num_touched(self) -> int:
        """How often a file was found touched, damaged or not, by `check_all` or by a read. If it rose, what was read
        before may have been anything."""
        return self._num_touched

    def mark_bad(self, chunk: int) -> None:
        """Its bytes could not be read in another way."""
        self._file(chunk).is_bad = True

    @property
    def has_bad(self) -> bool:
        return any(file.is_bad for file in self._by_hash.values())

    def heal(self) -> list[int]:
        """While nobody reads: go on with the files that now have the names of bad chunks, and return their indices.

        Raises IntegrityError or StorageError if one is missing or still bad.
        """
        healed = {file.entry.sha256 for file in self._by_hash.values() if file.is_bad}
        for sha256 in healed:
            self._reopen(self._by_hash[sha256])
        return [index for index, entry in enumerate(self._package.manifest.chunks) if entry.sha256 in healed]

    def _reopen(self, old: _File) -> None:
        with storage_errors(old.path):
            try:
                new = _File(old.path, old.entry, None, old.row)
            except FileNotFoundError as error:
                raise IntegrityError(f"{old.path} is missing; {REMEDY}") from error
        try:
            self._check(new)
            new.direct = open_direct(new.path) if self._direct else None
        except BaseException:  # also Ctrl-C: its files do not stay open, and it is raised again
            new.close()
            raise
        self._take_in(new)
        old.close()

    def _take_in(self, file: _File) -> None:
        self._by_hash[file.entry.sha256] = file
        self._descriptors[file.row] = file.buffered
        self._note_stamp(file)

    def _note_stamp(self, file: _File) -> None:
        if file.stamp is not None:
            self._stamps[file.row] = size_and_mtime_ns(file.stamp)

    def descriptor(self, chunk: int) -> int:
        """Of the file as it is open now."""
        return self._file(chunk).buffered

    @property
    def is_direct(self) -> bool:
        """Reads go past the page cache."""
        return self._direct

    def expect_streaming(self, expected: bool) -> None:
        """It is the same here: the page cache is where they are warm."""

    def use_direct(self, direct: bool) -> None:
        """From the next read on, where all files can be opened so."""
        if direct:
            for file in self._by_hash.values():
                if file.direct is None:
                    file.direct = open_direct(file.path)
        self._direct = direct and all(file.direct is not None for file in self._by_hash.values())

    def _file(self, chunk: int) -> _File:
        return self._by_hash[self._package.manifest.chunks[chunk].sha256]

    def _check(self, file: _File) -> None:
        with storage_errors(file.path):
            stamp = stamp_of(os.fstat(file.buffered))
        if stamp != file.stamp:
            with file.lock:
                if stamp != file.stamp:
                    self._check_again(file)

    def _check_again(self, file: _File) -> None:
        """With its lock held."""
        with self._lock:
            self._num_touched += 1  # before the stamp is that of now, so that nobody sees neither
        try:
            file.stamp = check_open_chunk(self._package.path, self._package.manifest, file.entry, file.buffered)
        except IntegrityError:
            file.is_bad = True
            raise
        self._note_stamp(file)

    def _fill(self, file: _File, offset: int, buffer: memoryview) -> None:
        """Raises OSError."""
        done = 0
        wanted = min(len(buffer), file.entry.num_bytes - offset)
        while done < wanted:
            aligned = done % BLOCK_BYTES == 0
            direct = file.direct if self._direct and aligned else None
            got = self._read_into(file.buffered if direct is None else direct, [buffer[done:]], offset + done)
            if got == 0:
                raise self._too_short(file)
            done += got

    def _too_short(self, file: _File) -> IntegrityError:
        file.is_bad = True
        return IntegrityError(f"{file.path} ends before its {file.entry.num_bytes} bytes; {REMEDY}")


def _close(files: dict[str, _File]) -> None:
    while files:
        files.popitem()[1].close()


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def open_direct(path: Path) -> int | None:
    """None where the system or the file system has no direct I/O."""
    flag: int = getattr(os, "O_DIRECT", 0)
    if not flag:
        return None
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | flag)
    except OSError as error:
        if error.errno in REFUSES_DIRECT:
            return None
        raise
