"""What is behind mapped arrays: how much of them is in memory, pages that could not be read, files that were touched.

Reading a mapped file that has been cut short, or whose storage does not answer, raises SIGBUS, which ends the process.
A `FaultGuard` turns that into zeros and a note. So: watch the arrays, compute, take the faults; if there are any, what
was computed is worth nothing. A file that is cut within its last page reads as zeros there without any fault: compare
its size too. The system's own reading (write(2) from mapped memory) makes none either, but fails with EFAULT.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import IntegrityError, NativeCoreError, StorageError, UsageError
from pocketseek.kernels.choose import supported_sets

if TYPE_CHECKING:
    from pocketseek.kernels import _native

Bytes = NDArray[np.uint8]


@cache  # asking the processor takes 50 us in a virtual machine, and this is asked for every piece of the weights
def _has_core() -> bool:
    try:
        supported_sets()
    except NativeCoreError:
        return False
    return True


def resident_bytes(data: Bytes) -> int | None:
    """How many bytes of a mapped array are in memory, by whole pages; None without a core or where nobody tells.

    Linux tells "all" about files that this user neither owns nor may write.
    """
    if not _has_core():
        return None
    from pocketseek.kernels import _native

    return _native.resident_bytes(data)


def changed_files(descriptors: NDArray[np.int32], stamps: NDArray[np.int64]) -> list[int]:
    """Which of these open files do not have this size and mtime in ns, [len(descriptors), 2]; whose status cannot be
    read has not. With a core it takes 0.5 us for each, a sixth of what it takes in Python."""
    if not _has_core():
        return [index for index, descriptor in enumerate(descriptors) if _status(descriptor) != tuple(stamps[index])]
    from pocketseek.kernels import _native

    return _native.changed_files(descriptors, stamps)


def _status(descriptor: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _can_guard() -> bool:
    from pocketseek.kernels import _native

    return _native.can_guard()


def _place(data: Bytes) -> tuple[int, int]:
    return data.ctypes.data, data.nbytes


@dataclass(frozen=True)
class _Watched:
    index: int
    pages: _native.Watched


class FaultGuard:
    """Keeps the process alive when pages of watched arrays cannot be read, and remembers which.

    Such a page holds zeros from then on, until `remap`. The handler of SIGBUS is installed with the first array and
    stays; other faults go on to the handler that was there before. One that others install later is asked first, until
    the next `watch`. Watched arrays are kept alive (and their files cannot be unmapped) until they are forgotten or the
    guard is gone. Faults may happen on any thread; the methods are for one thread at a time, and `forget` and `remap`
    for when nobody reads the array.

    available: False without a compiled core or away from Linux; then nothing here does anything.
    """

    def __init__(self) -> None:
        self.available = _has_core() and _can_guard()
        self._watched: dict[tuple[int, int], _Watched] = {}
        self._num_watched = 0

    def watch(self, data: Bytes) -> None:
        """Raises UsageError if it is empty or watched already, or if too many arrays (4096) are."""
        if not self.available:
            return
        from pocketseek.kernels import _native

        if not data.nbytes:
            raise UsageError("an empty array cannot be watched; leave it out")
        if _place(data) in self._watched:
            raise UsageError("this array is watched already; forget it first")
        try:
            self._watched[_place(data)] = _Watched(self._num_watched, _native.Watched(data))
        except ValueError as error:
            raise UsageError(f"{error}; forget some first") from error
        self._num_watched += 1

    def forget(self, data: Bytes) -> None:
        """Nothing happens if it is not watched."""
        self._watched.pop(_place(data), None)

    def take_faults(self) -> list[tuple[int, int]]:
        """Pages that could not be read since the last call: (which array, offset of the page in it), ascending.

        Arrays are counted from 0 in the order in which they were watched; forgotten ones keep their numbers. A page
        that begins before its array has offset 0.
        """
        return [(entry.index, offset) for entry in self._watched.values() for offset in entry.pages.take_faults()]

    def remap(self, data: Bytes, fd: int, file_offset: int) -> None:
        """Map this file over a watched array, at the same address, so that all views of it show the file again.

        Both begin at a page. As with Python's mmap for reading, the pages are shared and read-only; what madvise said
        about them is forgotten. Raises IntegrityError for a file that is too short and StorageError if the system
        refuses.
        """
        if not self.available:
            return
        entry = self._watched.get(_place(data))
        if entry is None:
            raise UsageError("only a watched array can be mapped anew; watch it first")
        if os.fstat(fd).st_size < file_offset + data.nbytes:
            raise IntegrityError("the file is shorter than what was mapped; install the model again")
        try:
            entry.pages.remap(fd, file_offset)
        except ValueError as error:
            raise UsageError(str(error)) from error
        except RuntimeError as error:  # std::system_error
            raise StorageError(f"{error}; see that the file can be read, and open the model again") from error
