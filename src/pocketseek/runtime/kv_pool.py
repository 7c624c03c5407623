"""Which pages of the KV cache are in use, and by how many owners: accounting only.

The pool hands out page ids; the executor keeps the memory behind them. It knows nothing about tokens, tensors or
sequences. Not thread-safe: the engine's worker owns it. Pages are handed out lowest id first, so that the memory an
executor touches stays as small as the load allows.

Its size can change at any time. A smaller pool lets go of its highest ids, of free ones at once and of those in use
when their last owner lets go; meanwhile it hands out nothing that would put more pages in use than it has.
`take_vacated` names the pages whose memory is to go back, so that an executor never has memory for more pages than the
pool has, or than are in use.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from pocketseek.errors import MemoryLimitError, UsageError
from pocketseek.kernels.kv_memory import PAGE_TOKENS as PAGE_TOKENS  # the size of a page is the kernels' decision


class PageAccountingError(RuntimeError):
    """A bug in the caller: a page was retained or released that nobody owns."""


class KvPool:
    """num_pages pages, each free or owned by one or more holders (shared prefixes count references).

    Ids from num_pages on are owned (they were handed out when the pool was larger) or gone, never free.
    """

    def __init__(self, num_pages: int) -> None:
        self._num_pages = _checked_size(num_pages)
        self._references = [0] * num_pages  # of every id there ever was
        self._free = list(range(num_pages))  # ids below num_pages; a sorted list is already a heap
        self._num_beyond = 0  # owned pages with ids from num_pages on
        self._vacated: set[int] = set()

    @property
    def num_pages(self) -> int:
        return self._num_pages

    @property
    def num_free(self) -> int:
        """How many pages can be allocated."""
        return max(0, len(self._free) - self._num_beyond)

    @property
    def num_used(self) -> int:
        """May exceed num_pages after the pool was made smaller."""
        return self._num_pages - len(self._free) + self._num_beyond

    def num_references(self, page: int) -> int:
        return self._references[page]

    def can_allocate(self, count: int) -> bool:
        return count <= self.num_free

    def shortage(self, count: int) -> int:
        """How many pages have to become free before `count` can be allocated and no more are in use than there are."""
        return max(0, self.num_used + count - self._num_pages)

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
        self._vacated.difference_update(pages)
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
                self._set_free(page)

    def resize(self, num_pages: int) -> None:
        """Have num_pages pages from now on. Owners keep theirs. Raises UsageError below 1."""
        if num_pages > self._num_pages:
            self._grow(num_pages)
        elif num_pages < self._num_pages:
            self._shrink(_checked_size(num_pages))

    def take_vacated(self) -> list[int]:
        """Free pages whose memory should go back to the system, ascending; each is named once."""
        vacated, self._vacated = sorted(self._vacated), set()
        return vacated

    def _set_free(self, page: int) -> None:
        if self._num_beyond:  # the pages beyond still take the memory that this one may have
            self._vacated.add(page)
        if page < self._num_pages:
            heapq.heappush(self._free, page)
        else:
            self._num_beyond -= 1

    def _grow(self, num_pages: int) -> None:
        self._references += [0] * (num_pages - len(self._references))
        added = range(self._num_pages, num_pages)
        free = [page for page in added if self._references[page] == 0]
        self._num_beyond -= len(added) - len(free)
        self._num_pages = num_pages
        for page in free:
            heapq.heappush(self._free, page)

    def _shrink(self, num_pages: int) -> None:
        gone = {page for page in self._free if page >= num_pages}
        self._num_beyond += self._num_pages - num_pages - len(gone)
        self._num_pages = num_pages
        self._vacated |= set(self._free) if self._num_beyond else gone
        self._free = sorted(page for page in self._free if page < num_pages)

    def _require_owned(self, page: int) -> None:
        if not 0 <= page < len(self._references):
            raise PageAccountingError(f"page {page} is not in a pool of {len(self._references)}")
        if self._references[page] == 0:
            raise PageAccountingError(f"page {page} is free and has no owner to count")


def _checked_size(num_pages: int) -> int:
    if num_pages < 1:
        raise UsageError(f"a KV pool of {num_pages} pages holds nothing; give it at least 1")
    return num_pages
