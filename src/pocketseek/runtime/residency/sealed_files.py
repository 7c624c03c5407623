"""The chunks of a sealed package for reading: the same calls as ChunkFiles, decrypting on the way.

A segment (1 MiB) is the least that can be checked, so it is read and decrypted as a whole, from an aligned buffer of
the reading thread straight to where its plaintext is wanted: in the ring, or in the package's secret memory. Units do
not end where segments do. A segment of which only a part is wanted is therefore kept for a moment (KEPT_SEGMENTS, and
one for each reader): its other part is mostly the next thing that somebody asks for, and then nothing is read twice.

Every segment is checked by its tag each time it is read, so no stamps and hashes of files are looked at: who writes to
a file meanwhile is found out by the read that meets it. Secret memory does not fill itself when it is used, as a map
does; `needs_filling` says so. The page cache holds ciphertext only. Any thread may read.
"""

from __future__ import annotations

import mmap
import os
import threading
import time
import weakref
from collections import OrderedDict
from contextlib import suppress
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import IntegrityError
from pocketseek.formats import SEGMENT_BYTES
from pocketseek.package.entries import ChunkEntry
from pocketseek.package.paths import CHUNKS_NAME
from pocketseek.package.reader import Package
from pocketseek.package.sealing.opened_seal import OpenedSeal, SegmentFile
from pocketseek.package.sealing.sealed_file import segment_bytes
from pocketseek.package.sealing.secret_memory import SecretMemory, guard, secret_map
from pocketseek.package.storage import storage_errors
from pocketseek.runtime.residency.chunk_files import REFUSES_DIRECT, RETRIES, RETRY_PAUSE_S, ReadInto, open_direct
from pocketseek.runtime.residency.plan import BLOCK_BYTES

KEPT_SEGMENTS = 6


class _Kept:
    """A decrypted segment of which parts are wanted. data: None until it is there."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.data: memoryview | None = None


class SealedChunkFiles:
    """Open from the beginning to `close`, so that nothing can take the files away. Indices are the manifest's."""

    needs_filling = True
    read_grid_bytes = SEGMENT_BYTES

    def __init__(self, package: Package, seal: OpenedSeal, *, read_into: ReadInto = os.preadv) -> None:
        """read_into: as os.preadv."""
        self._seal = seal
        self._entries: tuple[ChunkEntry, ...] = package.manifest.chunks
        self._memory = dict(package.memory)
        self._read_into = read_into
        self._is_direct = False
        self._scratch = threading.local()
        self._kept: OrderedDict[tuple[str, int], _Kept] = OrderedDict()
        self._spare: list[memoryview] = []
        self._lock = Lock()  # guards _kept and _spare
        self._bad: set[str] = set()
        self._is_short = False
        self._files: dict[str, SegmentFile] = {}
        self.close = weakref.finalize(self, _close, self._files, self._memory, self._kept, self._spare)
        """Close the files and let go of all plaintext, also when nothing refers to this any more."""
        for entry in package.manifest.unique_chunks():
            self._files[entry.sha256] = seal.chunk(CHUNKS_NAME, entry.sha256)

    # -- reading ----------------------------------------------------------------------------------------------------

    def read(self, chunk: int, offset: int, buffer: memoryview) -> None:
        """Fill the buffer; what it has beyond the end of the file stays as it is.

        Raises IntegrityError, StorageError.
        """
        file = self._file(chunk)
        end, done = min(offset + len(buffer), file.file.num_bytes), 0
        while offset + done < end:
            index, within = divmod(offset + done, SEGMENT_BYTES)
            size = segment_bytes(file.file.num_bytes, index)
            taken = min(size - within, end - offset - done)
            part = buffer[done : done + taken]
            if taken == size:
                self._decrypt(file, index, part)
            else:
                self._copy_part(file, index, within, part)
            done += taken

    def warm(self, chunk: int, offset: int, num_bytes: int) -> None:
        """Have these bytes in the package's secret memory. Raises IntegrityError, StorageError."""
        memory = self._memory_of(chunk)
        for start, size in memory.missing(offset, min(num_bytes, self._entries[chunk].num_bytes - offset)):
            buffer, num_drops = memory.begin_fill(start, size)
            try:
                self.read(chunk, start, buffer)
            except BaseException:  # also Ctrl-C: nothing that was not accepted stays, and it is raised again
                memory.drop(start, size)
                raise
            memory.end_fill(start, size, num_drops)
        if self._is_short:
            self.forget(chunk, offset, num_bytes)

    def prefetch(self, chunk: int, offset: int, num_bytes: int) -> None:
        """The same: nothing comes by being used."""
        self.warm(chunk, offset, num_bytes)

    def is_in_memory(self, chunk: int, offset: int, num_bytes: int) -> bool:
        return self._memory_of(chunk).is_filled(offset, num_bytes)

    def bytes_at(self, chunk: int, offset: int, num_bytes: int) -> bytes:
        """A few bytes."""
        buffer = bytearray(num_bytes)
        self.read(chunk, offset, memoryview(buffer))
        return bytes(buffer)

    def drop(self, chunk: int, offset: int, num_bytes: int) -> None:
        """Have nothing of it in memory. Nobody computes with it meanwhile."""
        self._memory_of(chunk).drop(offset, num_bytes)
        self.evict(chunk, offset, num_bytes)

    def forget(self, chunk: int, offset: int, num_bytes: int) -> None:
        """Have nothing of it in the page cache, if reads go through that."""
        if not self._is_direct:
            self.evict(chunk, offset, num_bytes)

    def view(self, chunk: int) -> NDArray[np.uint8]:
        """The file's ciphertext, mapped."""
        file = self._file(chunk)
        with storage_errors(file.path):
            mapped = mmap.mmap(file.buffered, file.file.num_bytes, access=mmap.ACCESS_READ, offset=file.start_bytes)
        return np.frombuffer(mapped, np.uint8)

    def evict(self, chunk: int, offset: int, num_bytes: int) -> None:
        """Let the page cache drop the ciphertext of these bytes."""
        file = self._file(chunk)
        with suppress(OSError):
            os.posix_fadvise(file.buffered, file.start_bytes + offset, num_bytes, os.POSIX_FADV_DONTNEED)

    @property
    def filled_bytes(self) -> int:
        """Of the package's secret memory."""
        return sum(memory.filled_bytes for memory in self._memory.values())

    def expect_streaming(self, expected: bool) -> None:
        """If not, everything is kept, and secret memory may come in huge pages: by single ones, it costs more to have
        the memory than to decrypt into it."""
        self._is_short = expected
        for memory in self._memory.values():
            memory.use_huge_pages(not expected)

    # -- the way past the page cache --------------------------------------------------------------------------------

    @property
    def is_direct(self) -> bool:
        return self._is_direct

    def use_direct(self, direct: bool) -> None:
        """From the next read on, where all files can be opened so."""
        if direct:
            for file in self._files.values():
                if file.direct is None:
                    file.direct = open_direct(file.path)
        self._is_direct = direct and all(file.direct is not None for file in self._files.values())

    # -- damage -----------------------------------------------------------------------------------------------------

    @property
    def num_touched(self) -> int:
        """Nothing that was accepted can have been anything but what was sealed."""
        return 0

    def check_all(self) -> None:
        """There is nothing to be checked that was not when it was read."""

    @property
    def has_bad(self) -> bool:
        return bool(self._bad)

    def mark_bad(self, chunk: int) -> None:
        self._bad.add(self._entries[chunk].sha256)

    def heal(self) -> list[int]:
        """While nobody reads: go on with the files that now have the names of bad chunks. Nothing has to be mapped
        anew, so no chunk is told of. Raises IntegrityError, StorageError."""
        for sha256 in sorted(self._bad):
            new = self._seal.chunk(CHUNKS_NAME, sha256)
            if self._is_direct:
                new.direct = open_direct(new.path)
            old, self._files[sha256] = self._files[sha256], new
            old.close()
            self._bad.discard(sha256)
        return []

    def descriptor(self, chunk: int) -> int:
        return self._file(chunk).buffered

    # -- segments ---------------------------------------------------------------------------------------------------

    def _file(self, chunk: int) -> SegmentFile:
        return self._files[self._entries[chunk].sha256]

    def _memory_of(self, chunk: int) -> SecretMemory:
        return self._memory[self._entries[chunk].sha256]

    def _copy_part(self, file: SegmentFile, index: int, within: int, part: memoryview) -> None:
        """Of a segment that is decrypted now or was a moment ago; by one thread, for which others wait that want it."""
        key, forgotten = (file.file.sha256, index), None
        with self._lock:
            kept = self._kept.setdefault(key, _Kept())
            self._kept.move_to_end(key)
            if len(self._kept) > KEPT_SEGMENTS:
                forgotten = self._kept.popitem(last=False)[1]
        if forgotten is not None:
            self._reuse(forgotten)
        with kept.lock:
            if kept.data is None:
                data = self._segment_buffer()
                self._decrypt(file, index, data[: segment_bytes(file.file.num_bytes, index)])
                kept.data = data
            part[:] = kept.data[within : within + len(part)]

    def _segment_buffer(self) -> memoryview:
        """One that was forgotten: new memory costs more than decrypting into it does."""
        with self._lock:
            if self._spare:
                return self._spare.pop()
        memory = secret_map(SEGMENT_BYTES)
        guard(memory)
        return memoryview(memory)

    def _reuse(self, forgotten: _Kept) -> None:
        """Unless somebody is at it, who is not waited for: then it goes with its last user."""
        if not forgotten.lock.acquire(blocking=False):
            return
        try:
            data, forgotten.data = forgotten.data, None
        finally:
            forgotten.lock.release()
        if data is not None:
            with self._lock:
                self._spare.append(data)

    def _decrypt(self, file: SegmentFile, index: int, plain: memoryview) -> None:
        raw = self._scratch_buffer()
        self._read_raw(file, index, raw)
        try:
            file.accept(index, raw, plain)
        except IntegrityError:
            self._bad.add(file.file.sha256)
            raise

    def _read_raw(self, file: SegmentFile, index: int, raw: memoryview) -> None:
        """The bytes of a segment as they lie there, at the beginning of `raw`."""
        for pause_s in (*[RETRY_PAUSE_S] * RETRIES, None):
            try:
                return self._fill(file, index, raw)
            except OSError as error:
                if pause_s is None:
                    with storage_errors(file.path):
                        raise
                if error.errno in REFUSES_DIRECT and self._is_direct:
                    self.use_direct(False)
                else:
                    time.sleep(pause_s)

    def _fill(self, file: SegmentFile, index: int, raw: memoryview) -> None:
        """Raises OSError, IntegrityError."""
        size, done = segment_bytes(file.file.num_bytes, index), 0
        start = file.start_bytes + index * SEGMENT_BYTES
        while done < size:
            is_aligned = done % BLOCK_BYTES == 0
            direct = file.direct if self._is_direct and is_aligned else None
            wanted = raw[done : -(-size // BLOCK_BYTES) * BLOCK_BYTES]
            got = self._read_into(file.buffered if direct is None else direct, [wanted], start + done)
            if got == 0:
                self._bad.add(file.file.sha256)
                raise file.too_short()
            done += got

    def _scratch_buffer(self) -> memoryview:
        """Of this thread: ciphertext, begins at a page, with room for a tag."""
        buffer: memoryview | None = getattr(self._scratch, "buffer", None)
        if buffer is None:
            buffer = self._scratch.buffer = memoryview(mmap.mmap(-1, SEGMENT_BYTES + BLOCK_BYTES))
        return buffer


def _close(
    files: dict[str, SegmentFile],
    memory: dict[str, SecretMemory],
    kept: OrderedDict[tuple[str, int], _Kept],
    spare: list[memoryview],
) -> None:
    while files:
        files.popitem()[1].close()
    memory.clear()
    kept.clear()
    spare.clear()
