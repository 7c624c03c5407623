"""Which pages of the KV cache are in use, and by how many owners: accounting only.

The pool hands out page ids; the executor keeps the memory behind them. It knows nothing about tokens, tensors or
sequences. Not thread-safe: the engine's worker owns it. Pages are handed out lowest id first, so that the memory an
executor touches stays as small as the load allows.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from pocketseek.errors import MemoryLimitError, UsageError
from pocketseek.kernels.kv_memory import PAGE_TOKENS as PAGE_TOKENS  # the size of a page is the kernels' decision


class PageAccountingError(RuntimeError):
    """A bug in the caller: a page was retained or released that nobody owns."""


class KvPool:
    """num_pages pages, each free or owned by one or more holders (shared prefixes count references)."""

    def __init__(self, num_pages: int) -> None:
        if num_pages < 1:
            raise UsageError(f"a KV pool of {num_pages} pages holds nothing; give it at least 1")
        self._references = [0] * num_pages
        self._free = list(range(num_pages))  # a sorted list is already a heap

    @property
    def num_pages(self) -> int:
        return len(self._references)

    @property
    def num_free(self) -> int:
        return len(self._free)

    def num_references(self, page: int) -> int:
        return self._references[page]

    def can_allocate(self, count: int) -> bool:
        return count <= len(self._free)

    def allocate(self, count: int) -> list[int]:
        """Take `count` free pages, one reference each. Raises MemoryLimitError, taking none, if too few are free."""
        if count < 0:
            raise PageAccountingError(f"cannot allocate {count} pages")
        if not self.can_allocate(count):
            raise MemoryLimitError(
                f"{count} KV pages are wanted and {self.num_free} of {self.num_pages} are free; "
                "end other requests or give the engine more KV memory"
            )
        pages = [heapq.heappop(self._free) for _ in range(count)]
        for page in pages:
            self._references[page] = 1
        return pages

    def retain(self, pages: Sequence[int]) -> None:
        """One more owner for each page. All or nothing."""
        for page in pages:
            self._require_owned(page)
        for page in pages:
            self._references[page] += 1

    def release(self, pages: Sequence[int]) -> None:
        """One owner less for each page; a page without owners is free again. Raises at the first page without one."""
        for page in pages:
            self._require_owned(page)
            self._references[page] -= 1
            if self._references[page] == 0:
                heapq.heappush(self._free, page)

    def _require_owned(self, page: int) -> None:
        if not 0 <= page < len(self._references):
            raise PageAccountingError(f"page {page} is not in a pool of {len(self._references)}")
        if self._references[page] == 0:
            raise PageAccountingError(f"page {page} is free and has no owner to count")
