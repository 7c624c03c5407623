"""Pages between the KV memory and the disk: read when a sequence is admitted, written when the engine has nothing to
do.

Writing waits in a list of what to keep, not of bytes: a page that the cache gave up meanwhile is left out, and nothing
is copied. The engine's worker calls `step` while no request is there, and `finish` when it closes, so a pass never
waits for a write, and a request at most for that of one page. An engine that is never idle writes when it is closed.

Only prompts of MIN_KEPT_PAGES or more are worth a write; answers enter as a part of the next turn's prompt.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pocketseek.runtime.prefix.page import CachedPage, PageKey
from pocketseek.runtime.work import PageMemory

MIN_KEPT_PAGES = 4  # 256 tokens: a second of reading on a phone
FINISH_S = 5.0
_MOST_CHAINS = 64  # that wait to be written; the oldest are left out


@dataclass(frozen=True)
class _Chain:
    """Pages in order, when they were used (nanoseconds since 1970), and what they go with (`PrefixStore.keep`)."""

    pages: Sequence[CachedPage]
    used_ns: int
    label: str


class PageStore(Protocol):
    """What is needed of a PrefixStore."""

    def refresh(self) -> None: ...

    def read(self, key: PageKey) -> memoryview | None: ...

    def keep(self, key: PageKey, depth: int, page: memoryview, *, used_ns: int, label: str = "") -> bool: ...


class PrefixArchive:
    """Used by the engine's worker alone. Nothing here raises because of a disk: see PrefixStore."""

    def __init__(
        self,
        store: PageStore,
        memory: PageMemory,
        *,
        min_pages: int = MIN_KEPT_PAGES,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = store
        self._memory = memory
        self._min_pages = min_pages
        self._clock = clock
        self._chains: deque[_Chain] = deque(maxlen=_MOST_CHAINS)
        self._next_depth = 0  # in the first of them

    @property
    def has_work(self) -> bool:
        return bool(self._chains)

    def read(self, keys: Sequence[PageKey], pages: Sequence[int]) -> int:
        """Fill `pages` with what the store has of a chain, from its first key on. Returns how many it filled."""
        for count, (key, page) in enumerate(zip(keys, pages, strict=True)):
            data = self._store.read(key)
            if data is None:
                return count
            self._memory.write_page(page, data)
        return len(keys)

    def keep(self, pages: Sequence[CachedPage], label: str = "") -> None:
        """Write this chain, from the beginning of a prompt on, when there is time. label: see `PrefixStore.keep`."""
        if len(pages) >= self._min_pages:
            if len(self._chains) == _MOST_CHAINS:
                self._next_depth = 0
            self._chains.append(_Chain(pages, self._clock(), label))

    def step(self) -> None:
        """Bring one page to disk, or say that it was used if it is there; a chain ends where that fails."""
        chain, depth = self._chains[0], self._next_depth
        if depth == 0:
            self._store.refresh()
        cached = chain.pages[depth]
        done = cached.alive and self._store.keep(
            cached.key, depth, self._memory.read_page(cached.page), used_ns=chain.used_ns, label=chain.label
        )
        self._next_depth = depth + 1
        if not done or self._next_depth == len(chain.pages):
            self._chains.popleft()
            self._next_depth = 0

    def finish(self) -> None:
        """All that is left, as far as FINISH_S goes: somebody waits for the engine to close."""
        end_ns = self._clock() + int(FINISH_S * 1e9)
        while self.has_work and self._clock() < end_ns:
            self.step()
