"""Memory for what must not be seen elsewhere: never in a core dump, never in swap where the system lets us lock it.

`SecretMemory` stands in for the map of a chunk file: anonymous pages at the same offsets, empty until they are filled,
and given back page by page. It knows which pages were filled, since an empty one reads as zeros and not as an error:
whoever computes with it asks before. What cannot be done: copies that the interpreter or a library makes of keys
(`bytes` objects) cannot be overwritten; they are gone when their memory is used for something else.
"""

from __future__ import annotations

import ctypes
import mmap
from contextlib import suppress
from functools import cache
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import MemoryLimitError

_NO_RESERVE: int = getattr(mmap, "MAP_NORESERVE", 0x4000)
_LOCK_ON_FAULT = 1  # MLOCK_ONFAULT: pages are locked as they come


def secret_map(num_bytes: int) -> mmap.mmap:
    """Anonymous memory that is in no core dump. Raises MemoryLimitError."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
    try:
        memory = mmap.mmap(-1, num_bytes, flags=flags)
    except (OSError, MemoryError) as error:
        raise MemoryLimitError(
            f"{num_bytes} bytes for decrypted weights are refused by the system; "
            "raise its limit for this process (ulimit -v) or choose a smaller model"
        ) from error
    _leave_out_of_dumps(memory)
    return memory


def guard(memory: mmap.mmap) -> None:
    """All of it is in no core dump, and not in swap where this process may lock so much."""
    _leave_out_of_dumps(memory)
    lock(np.frombuffer(memory, np.uint8), 0, len(memory))


def _leave_out_of_dumps(memory: mmap.mmap) -> None:
    advice: int | None = getattr(mmap, "MADV_DONTDUMP", None)
    if advice is not None:
        with suppress(OSError):
            memory.madvise(advice)


class SecretMemory:
    """Any thread may fill; whoever drops sees to it that nobody computes with these bytes meanwhile."""

    def __init__(self, num_bytes: int) -> None:
        self._map = secret_map(num_bytes)
        self.data: NDArray[np.uint8] = np.frombuffer(self._map, np.uint8)
        self._filled = np.zeros(-(-num_bytes // mmap.PAGESIZE), np.bool_)
        self._lock = Lock()
        self._num_drops = 0

    @property
    def filled_bytes(self) -> int:
        return int(np.count_nonzero(self._filled)) * mmap.PAGESIZE

    def use_huge_pages(self, wanted: bool) -> None:
        """Where the system has them, for what is filled from now on. Then `filled_bytes` may be too low, by all that
        is not filled yet."""
        advice: int | None = getattr(mmap, "MADV_HUGEPAGE" if wanted else "MADV_NOHUGEPAGE", None)
        if advice is not None:
            with suppress(OSError):
                self._map.madvise(advice)

    def is_filled(self, offset: int, num_bytes: int) -> bool:
        first, end = self._pages_around(offset, num_bytes)
        return bool(self._filled[first:end].all())

    def missing(self, offset: int, num_bytes: int) -> list[tuple[int, int]]:
        """(offset, bytes) of whole pages that have to be filled so that all of these bytes are there."""
        first, end = self._pages_around(offset, num_bytes)
        edges = np.flatnonzero(np.diff(np.concatenate([[True], self._filled[first:end], [True]]).astype(np.int8)))
        runs = (edges.reshape(-1, 2) + first) * mmap.PAGESIZE
        return [(int(start), min(int(stop), len(self.data)) - int(start)) for start, stop in runs]

    def begin_fill(self, offset: int, num_bytes: int) -> tuple[memoryview, int]:
        """Where to write the bytes of whole pages, and what `end_fill` wants to know."""
        lock(self.data, offset, num_bytes)
        return memoryview(self._map)[offset : offset + num_bytes], self._num_drops

    def end_fill(self, offset: int, num_bytes: int, num_drops: int) -> None:
        """They are written. They count unless something was dropped meanwhile, which may have been among them."""
        first, end = self._pages_around(offset, num_bytes)
        with self._lock:
            if num_drops == self._num_drops:
                self._filled[first:end] = True

    def drop(self, offset: int, num_bytes: int) -> None:
        """Give the pages that lie whole in these bytes back to the system."""
        first, end = -(-offset // mmap.PAGESIZE), (offset + num_bytes) // mmap.PAGESIZE
        if offset + num_bytes == len(self.data):
            end = len(self._filled)
        if first >= end:
            return
        with self._lock:
            self._num_drops += 1
            self._filled[first:end] = False
            start, size = first * mmap.PAGESIZE, (end - first) * mmap.PAGESIZE
            unlock(self.data, start, size)  # or the system keeps it
            with suppress(OSError):
                self._map.madvise(mmap.MADV_DONTNEED, start, min(size, len(self.data) - start))

    def _pages_around(self, offset: int, num_bytes: int) -> tuple[int, int]:
        return offset // mmap.PAGESIZE, -(-(offset + num_bytes) // mmap.PAGESIZE)


def lock(data: NDArray[np.uint8], offset: int, num_bytes: int) -> bool:
    """Keep these pages of it out of swap, where the system allows this process to lock so much."""
    library = _library()
    if library is None or not hasattr(library, "mlock2"):
        return False
    address = ctypes.c_void_p(data.ctypes.data + offset)
    return bool(library.mlock2(address, ctypes.c_size_t(num_bytes), _LOCK_ON_FAULT) == 0)


def unlock(data: NDArray[np.uint8], offset: int, num_bytes: int) -> None:
    library = _library()
    if library is not None:
        library.munlock(ctypes.c_void_p(data.ctypes.data + offset), ctypes.c_size_t(num_bytes))


@cache
def _library() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None)
    return library if hasattr(library, "munlock") else None
