"""Full pages of computed K and V that are shared by sequences and outlive them, until somebody needs their memory.

    catch_up(sequence)    take the longest chain of cached pages instead of computing them
    register(sequence)    offer the pages that the sequence has filled since
    release(sequence)     its pages are free, or idle if the cache knows them

Only full pages are shared and sequences only append, so nobody ever writes into a shared page. At least the newest
token of a sequence is computed, for its logits. If two sequences computed the same page, the later one takes over the
earlier one's: a sequence that holds a cached page therefore holds all pages of the chain before it.

Idle pages, which nobody but the cache holds, count as free: `allocate` takes the one that was used longest ago, and of
a chain the last one first. They are kept in the order in which they became idle, the end of a chain before its
beginning; by the sentence above that alone puts every page before the one it continues.

`archive` continues chains from disk and keeps them there. A sequence that scores its prompt needs the logits of every
row, so it takes no pages; it may leave some. Owned by the engine's worker, like the pool.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

from pocketseek.runtime.kv_pool import PAGE_TOKENS, KvPool
from pocketseek.runtime.prefix.archive import PrefixArchive
from pocketseek.runtime.prefix.page import CachedPage, PageKey, key_of_page
from pocketseek.runtime.sequence import SequenceState


class PrefixCache:
    """Stands before the pool: what is idle here is as good as free. Switched off it is nothing but the pool."""

    def __init__(
        self,
        pool: KvPool,
        *,
        enabled: bool = True,
        root: bytes = b"",
        archive: PrefixArchive | None = None,
        key_of_page: Callable[[bytes, Sequence[int]], PageKey] = key_of_page,
    ) -> None:
        """root: what all chains start from; whatever changes K and V must change it. Sequences with an adapter start
        from another one, which is made of it and of the adapter."""
        self._pool = pool
        self._enabled = enabled
        self._root = root
        self._archive = archive
        self._key_of_page = key_of_page
        self._by_chain: dict[bytes, CachedPage] = {}
        self._by_page: dict[int, CachedPage] = {}
        self._idle: dict[int, CachedPage] = {}  # in the order in which they are given up

    @property
    def num_cached(self) -> int:
        """Pages that can be found, idle or in use."""
        return len(self._by_page)

    @property
    def num_pages(self) -> int:
        return self._pool.num_pages

    @property
    def num_available(self) -> int:
        """Pages that a sequence can have: free or idle."""
        return max(0, self._pool.num_pages - self.num_in_use)

    @property
    def num_in_use(self) -> int:
        """Pages that sequences hold. May exceed num_pages after the pool was made smaller."""
        return self._pool.num_used - len(self._idle)

    def can_allocate(self, count: int) -> bool:
        return count <= self.num_available

    def allocate(self, count: int) -> list[int]:
        """As the pool's, after giving up as many idle pages as that takes."""
        while self._idle and not self._pool.can_allocate(count):
            self._give_up()
        return self._pool.allocate(count)

    def resize(self, num_pages: int) -> None:
        """As the pool's; idle pages that it has no room for any more are given up."""
        self._pool.resize(num_pages)
        while self._idle and self._pool.shortage(0):
            self._give_up()

    def take_vacated(self) -> list[int]:
        return self._pool.take_vacated()

    def share(self, pages: Sequence[int]) -> None:
        """One more sequence runs on these pages, the last of which may be part filled: see `is_shared`."""
        self._pool.retain(pages)

    def is_shared(self, page: int) -> bool:
        """Others hold the page: who wants to write into it needs a copy."""
        return self._pool.num_references(page) > 1

    def num_given_back(self, sequences: Iterable[SequenceState]) -> int:
        """How many pages would be available if these sequences let go of theirs: those that nobody else runs on."""
        holders = Counter(page for sequence in sequences for page in sequence.pages)
        return sum(
            count + (page in self._by_page) == self._pool.num_references(page) for page, count in holders.items()
        )

    def release_pages(self, pages: Sequence[int]) -> None:
        """A sequence lets go of pages that it never filled."""
        self._pool.release(pages)

    def release(self, sequence: SequenceState) -> None:
        """The sequence forgets its pages; those that are known stay, the end of the chain to be given up first."""
        for page in reversed(sequence.forget()):
            self._pool.release([page])
            if page in self._by_page and self._pool.num_references(page) == 1:
                self._idle[page] = self._by_page[page]

    def catch_up(self, sequence: SequenceState) -> None:
        """Skip what has been computed already, by taking (or changing over to) the pages that hold it."""
        while (cached := self._next_cached(sequence)) is not None:
            index = sequence.num_registered
            self._hold(cached)
            if index < len(sequence.pages):
                self._pool.release([sequence.pages[index]])
                sequence.pages[index] = cached.page
            else:
                sequence.pages.append(cached.page)
            sequence.num_registered = index + 1
            sequence.num_computed = sequence.num_registered * PAGE_TOKENS

    def read_stored(self, sequence: SequenceState) -> None:
        """Go on from disk, into pages that the sequence was just given and has not begun to fill."""
        if self._archive is None or not self._serves(sequence):
            return
        first, end = sequence.num_computed // PAGE_TOKENS, _num_skippable(sequence)
        keys = [self._key(sequence, index) for index in range(first, end)]
        num_read = self._archive.read(keys, sequence.pages[first:end])
        sequence.num_computed = (first + num_read) * PAGE_TOKENS
        self.register(sequence)

    def register(self, sequence: SequenceState) -> None:
        """The sequence's full pages can be found from now on."""
        while self._enabled and sequence.num_registered < sequence.num_computed // PAGE_TOKENS:
            index = sequence.num_registered
            key, page = self._key(sequence, index), sequence.pages[index]
            parent = self._by_page[sequence.pages[index - 1]] if index else None
            cached = self._by_chain.get(key.chain)
            if cached is None:
                self._pool.retain([page])
                self._by_chain[key.chain] = self._by_page[page] = CachedPage(key, parent, page)
            elif not _is_page(cached, key, parent):
                return  # another page has this hash: first come, first served
            else:
                self._hold(cached)
                self._pool.release([page])
                sequence.pages[index] = cached.page
            sequence.num_registered = index + 1

    def keep(self, sequence: SequenceState) -> None:
        """The prompt is read: its pages may be worth a place on disk."""
        may_go_there = sequence.request.keep_on_disk and sequence.may_leave_traces
        if self._archive is not None and self._serves(sequence) and may_go_there:
            num_pages = min(sequence.num_registered, sequence.num_prompt // PAGE_TOKENS)
            pages = [self._by_page[page] for page in sequence.pages[:num_pages]]
            self._archive.keep(pages, sequence.request.kept_for)

    # -- the same page in one pass ---------------------------------------------------------------------------------

    def waits_for(self, sequence: SequenceState, coming: set[bytes]) -> bool:
        """Will the sequence's next page be there after a pass that completes the pages `coming`?"""
        index = sequence.num_computed // PAGE_TOKENS
        return bool(coming) and self._may_skip(sequence, index) and self._key(sequence, index).chain in coming

    def completed_by(self, sequence: SequenceState, end_position: int) -> set[bytes]:
        """The pages that are full once the sequence is computed up to end_position. A draft completes none."""
        if not self._enabled:
            return set()
        end = min(end_position, len(sequence.tokens))
        indices = range(sequence.num_computed // PAGE_TOKENS, end // PAGE_TOKENS)
        return {self._key(sequence, index).chain for index in indices}

    # --------------------------------------------------------------------------------------------------------------

    def _serves(self, sequence: SequenceState) -> bool:
        """Not one that needs the rows of all of its prompt."""
        request = sequence.request
        needs_all_rows = request.embed_prompt or (request.score_prompt and sequence.first_scored_row == 0)
        return self._enabled and not needs_all_rows

    def _may_skip(self, sequence: SequenceState, index: int) -> bool:
        return self._serves(sequence) and index == sequence.num_registered and index < _num_skippable(sequence)

    def _next_cached(self, sequence: SequenceState) -> CachedPage | None:
        index = sequence.num_computed // PAGE_TOKENS
        if not self._may_skip(sequence, index):
            return None
        key = self._key(sequence, index)
        parent = self._by_page[sequence.pages[index - 1]] if index else None
        cached = self._by_chain.get(key.chain)
        return cached if cached is not None and _is_page(cached, key, parent) else None

    def _key(self, sequence: SequenceState, index: int) -> PageKey:
        """Kept with the sequence, whose tokens never change once they are there."""
        keys = sequence.page_keys
        while len(keys) <= index:
            start = len(keys) * PAGE_TOKENS
            parent = keys[-1].chain if keys else self._root_of(sequence)
            keys.append(self._key_of_page(parent, sequence.tokens[start : start + PAGE_TOKENS]))
        return keys[index]

    def _root_of(self, sequence: SequenceState) -> bytes:
        """What is computed under an adapter is found under that version of it only."""
        adapter = sequence.adapter
        return self._root if adapter is None else sha256(self._root + adapter.version.encode("ascii")).digest()

    def _hold(self, cached: CachedPage) -> None:
        self._pool.retain([cached.page])
        self._idle.pop(cached.page, None)

    def _give_up(self) -> None:
        page = next(iter(self._idle))
        cached = self._idle.pop(page)
        cached.alive = False
        del self._by_page[page], self._by_chain[cached.key.chain]
        self._pool.release([page])


def _num_skippable(sequence: SequenceState) -> int:
    """Leading pages that need not be computed: full ones, without the newest token and what is to be scored."""
    end = len(sequence.tokens) - 1
    return (min(end, sequence.first_scored_row) if sequence.request.score_prompt else end) // PAGE_TOKENS


def _is_page(cached: CachedPage, key: PageKey, parent: CachedPage | None) -> bool:
    return cached.parent is parent and cached.key.tokens == key.tokens
