"""Memory in pages of one size, numbered from 0, that grows in slabs and can be given back page by page."""

from __future__ import annotations

import mmap
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from pocketseek.errors import MemoryLimitError


class PagedMemory:
    """Untouched pages cost no memory: the system provides them on first use.

    `release` gives the memory behind pages back and loses their contents; writing to them takes memory again. Addresses
    never change. Not thread-safe, and not to be released from while a pass runs.
    """

    def __init__(self, used_bytes: int) -> None:
        """used_bytes: of a page; it takes whole pages of the system, so that its memory can be given back alone."""
        self.page_bytes = whole_pages(used_bytes)
        self._used_bytes = used_bytes
        self._slabs: list[mmap.mmap] = []
        self._first_pages: list[int] = []  # of each slab
        self._pages: list[NDArray[np.uint8]] = []
        self.addresses: NDArray[np.uint64] = np.empty(0, np.uint64)

    @property
    def num_pages(self) -> int:
        return len(self._pages)

    def grow(self, num_pages: int) -> None:
        """Add `num_pages` pages with the next ids. Existing pages stay where they are. Raises MemoryLimitError."""
        try:
            slab = mmap.mmap(-1, num_pages * self.page_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:
            raise MemoryLimitError(
                f"{num_pages * self.page_bytes} bytes for the KV cache are refused by the system; "
                "raise its limit for this process (ulimit -v) or choose a smaller model"
            ) from error
        _advise(slab, "MADV_HUGEPAGE", 0, len(slab))
        pages: NDArray[np.uint8] = np.frombuffer(slab, np.uint8).reshape(num_pages, self.page_bytes)
        addresses = pages.ctypes.data + np.arange(num_pages, dtype=np.uint64) * np.uint64(self.page_bytes)
        self._slabs.append(slab)
        self._first_pages.append(len(self._pages))
        self._pages.extend(pages[:, : self._used_bytes])
        self.addresses = np.concatenate([self.addresses, addresses.astype(np.uint64)])

    def release(self, page_ids: Iterable[int]) -> None:
        """Give the memory of these pages back to the system, where it takes it. Their contents are lost."""
        for slab, first, count in self._runs(sorted(page_ids)):
            where = first * self.page_bytes, count * self.page_bytes
            _advise(slab, "MADV_DONTNEED", *where)
            _advise(slab, "MADV_NOHUGEPAGE", *where)  # or khugepaged would fill what was given back

    def _runs(self, page_ids: Sequence[int]) -> Iterator[tuple[mmap.mmap, int, int]]:
        """(slab, first page in it, number of pages) for neighbours in one slab; page_ids ascending."""
        start = 0
        for end in range(1, len(page_ids) + 1):
            if (
                end < len(page_ids)
                and page_ids[end] == page_ids[end - 1] + 1
                and page_ids[end] not in self._first_pages
            ):
                continue
            index = bisect_right(self._first_pages, page_ids[start]) - 1
            yield self._slabs[index], page_ids[start] - self._first_pages[index], end - start
            start = end

    def page(self, page_id: int) -> NDArray[np.uint8]:
        return self._pages[page_id]


def whole_pages(num_bytes: int) -> int:
    """The bytes of the system's pages that so many bytes take."""
    return -(-num_bytes // mmap.PAGESIZE) * mmap.PAGESIZE


def _advise(slab: mmap.mmap, name: str, start: int, length: int) -> None:
    """madvise, where the system knows that advice."""
    advice: int | None = getattr(mmap, name, None)
    if advice is not None:
        with suppress(OSError):
            slab.madvise(advice, start, length)
