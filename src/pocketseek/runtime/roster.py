"""Who waits, who runs, and on which pages. Preferences are policy.py's, what the pages mean is nobody's here.

- Requests are admitted, one class before the other, while the pages of their tokens are free, with a spare page for
  every running sequence that needs one within 16 tokens (for every running one where the pool cannot grow), so that
  admission does not at once force a pre-emption. Nobody overtakes the next in line. limits.max_sequences caps
  admission; sequences already running are not stopped when it falls.
- A sequence grows by a page when it needs one. If none is free the last by rank is pre-empted (background before
  interactive, the youngest first): it gives up its pages and waits. It comes back by reading its pages from disk if
  that is cheaper than computing them, by computing what the prefix cache does not have otherwise; its text does not
  change. The first by rank can always go on, because a request that does not fit the pool alone is refused when it
  arrives: so every request ends.
- Answers to one prompt share its pages. Who writes into a page that others hold gets a copy of his own.
- The pool can be resized. When it shrinks, idle pages go first, then the last by rank are pre-empted. What was accepted
  is finished: the first by rank always gets the pages it needs now, even beyond the size asked for, so that one that no
  longer fits goes on alone and the pool falls to that size once it has ended.
- The pool may be smaller than what was accepted if more pages can be had (`max_pages`). Who needs them to begin, or to
  come back, waits until the pool has grown; `num_wanted_pages` tells the one who decides about that.
- Who arrives while not even `max_pages` would do is *promised* nothing yet: it waits without holding up others, and
  nothing is taken from weights or others for it, until so much can be had. Then it is accepted like everybody else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from heapq import nlargest

from pocketseek.runtime.kv_pool import PAGE_TOKENS
from pocketseek.runtime.policy import Policy
from pocketseek.runtime.prefix.cache import PrefixCache
from pocketseek.runtime.sequence import SequenceState
from pocketseek.runtime.swap import SwapSpace
from pocketseek.runtime.work import PageMemory, pages_for
from pocketseek.types import Limits

_SOON_TOKENS = 16  # of an answer: before they are written, the governor is asked again many times


class Roster:
    """Changed by the scheduler alone, between two passes."""

    def __init__(
        self,
        cache: PrefixCache,
        policy: Policy,
        *,
        memory: PageMemory | None = None,
        swap: SwapSpace | None = None,
    ) -> None:
        """memory: to copy shared pages; without it, nobody can share a part-filled one. swap: of the same memory."""
        self.waiting: deque[SequenceState] = deque()
        self.running: list[SequenceState] = []
        self.num_preemptions = 0
        self.num_swapped_out = 0
        self.max_pages: int | None = None  # so many can be had if somebody needs them; None: those there are
        self._cache = cache
        self._policy = policy
        self._memory = memory
        self._swap = swap
        self._opened_pages = self._num_pages = cache.num_pages
        self._limits: Limits | None = None  # of the last pass

    def __iter__(self) -> Iterator[SequenceState]:
        """Everybody, followers behind the one they follow."""
        for sequence in (*self.running, *self.waiting):
            yield sequence
            yield from sequence.followers

    @property
    def _max_sequences(self) -> int:
        return 1 if self._limits is None else max(1, self._limits.max_sequences)

    @property
    def num_pages(self) -> int:
        """The size asked for."""
        return self._num_pages

    @property
    def has_more_pages_than_asked(self) -> bool:
        """Somebody finishes what was accepted."""
        return self._cache.num_pages > self._num_pages

    @property
    def num_most_pages(self) -> int:
        """How many one sequence may count on."""
        return max(self._num_pages, self.max_pages or 0)

    @property
    def num_wanted_pages(self) -> int:
        """Those in use, what the running ones need next, and what the longest of those who wait need to find a place.

        Roughly, if another thread asks during a pass.
        """
        running, waiting = list(self.running), list(self.waiting)
        num_places = max(1, self._max_sequences - len(running))
        growing = sum(map(_num_missing_soon, running))
        able = filter(self._can_have_pages, waiting)
        arriving = nlargest(num_places, (pages_for(len(one.tokens) + _SOON_TOKENS) for one in able))
        return self._cache.num_in_use + growing + sum(arriving)

    @property
    def num_least_pages(self) -> int:
        """What the first by rank needs now, who is finished whatever the size asked for; of those who wait and were
        promised that if nobody runs. Roughly, if another thread asks during a pass."""
        running, waiting = list(self.running), [one for one in list(self.waiting) if one.is_promised]
        first = min(running, key=self._policy.rank) if running else self._policy.next_in(waiting, ())
        return pages_for(len(first.tokens)) if first else 0

    @property
    def num_wanted_tokens(self) -> int:
        """Those that are still to be computed, and can be. Roughly, if another thread asks during a pass."""
        able = filter(self._can_have_pages, list(self.waiting))
        return sum(sequence.num_pending for sequence in (*list(self.running), *able))

    def _can_have_pages(self, sequence: SequenceState) -> bool:
        return sequence.is_promised or sequence.num_pages_to_begin <= self.num_most_pages

    def remove(self, sequence: SequenceState) -> None:
        """It has ended, wherever it was: its pages are free, and who followed it waits by himself."""
        if sequence in self.running:
            self.running.remove(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)
        else:
            next(other for other in self if sequence in other.followers).followers.remove(sequence)
        self.waiting.extendleft(reversed(sequence.followers))
        sequence.followers = []
        self._cache.release(sequence)
        if self._swap is not None:
            self._swap.drop(sequence.request_id)

    def resize(self, num_pages: int | None) -> None:
        """Have so many pages; None: as many as at first. The executor must have reserved them."""
        self._num_pages = self._opened_pages if num_pages is None else max(1, num_pages)
        self.fit()

    def fit(self) -> None:
        """The size asked for, or more if the first by rank needs more now; the last give way.

        If nobody runs and the first could be given what it needs, it waits for that.
        """
        self.running.sort(key=self._policy.rank)
        needed_now = self.num_least_pages
        if not self.running and needed_now <= (self.max_pages or 0):
            needed_now = 0
        self._cache.resize(max(self._num_pages, needed_now))
        while self.running and self._cache.num_in_use > self._cache.num_pages:
            self._preempt(self.running[-1])

    def fit_if_resized(self) -> None:
        """After a pass: who ended may have held pages that the pool shall not have any more."""
        if self._cache.num_pages != self._num_pages:
            self.fit()

    def arrange(self, limits: Limits) -> float | None:
        """Everybody who runs has the pages for the next pass. Returns when those who wait for others are to start."""
        self._limits = limits
        self._promise()
        self.fit()
        self._grow()
        due_s = self._policy.coalesces_until_s(self.running, self.waiting, limits)
        if due_s is None:
            self._admit()
        for sequence in self.running:
            self._cache.catch_up(sequence)
        return due_s

    def start_followers(self, leader: SequenceState) -> list[SequenceState]:
        """The leader has read the prompt: who finds a place runs on its pages from here on, the others wait."""
        followers, leader.followers = leader.followers, []
        num_places = max(0, self._max_sequences - len(self.running)) if self._memory is not None else 0
        started = followers[:num_places]
        for sequence in started:
            self._cache.share(sequence.follow(leader))
            self.running.append(sequence)
        self.waiting.extendleft(reversed(followers[num_places:]))
        return started

    def lend_pages(self, sequence: SequenceState, num_tokens: int) -> int:
        """Pages for num_tokens behind those it has, as far as there are free ones. Returns how many tokens fit."""
        num_missing = pages_for(len(sequence.tokens) + num_tokens) - len(sequence.pages)
        sequence.pages += self._cache.allocate(max(0, min(num_missing, self._cache.num_available)))
        return min(num_tokens, len(sequence.pages) * PAGE_TOKENS - len(sequence.tokens))

    def take_back_pages(self, sequence: SequenceState) -> None:
        """Those that it was lent and does not need."""
        if sequence.num_missing_pages < 0:
            self._cache.release_pages(sequence.spare_pages())

    # --------------------------------------------------------------------------------------------------------------

    def _promise(self) -> None:
        """By the limits of now: those that were known when a request came may be some seconds old."""
        for sequence in self.waiting:
            if not sequence.is_promised and self._can_have_pages(sequence):
                for one in (sequence, *sequence.followers):
                    one.is_promised = True

    def _grow(self) -> None:
        """Give every running sequence the page its newest token needs, the first by rank first."""
        index = 0
        while index < len(self.running):
            sequence = self.running[index]
            self.take_back_pages(sequence)  # lent for a draft that found no room in the last pass
            num_missing = sequence.num_missing_pages + self._writes_into_shared(sequence)
            if self._cache.can_allocate(num_missing):
                self._own_last_page(sequence)
                sequence.pages += self._cache.allocate(sequence.num_missing_pages)
                index += 1
            else:
                self._preempt(self.running[-1])  # maybe the sequence itself, if it is the last

    def _writes_into_shared(self, sequence: SequenceState) -> bool:
        index = sequence.num_computed // PAGE_TOKENS
        return index < len(sequence.pages) and self._cache.is_shared(sequence.pages[index])

    def _own_last_page(self, sequence: SequenceState) -> None:
        if self._writes_into_shared(sequence) and self._memory is not None:
            index = sequence.num_computed // PAGE_TOKENS
            shared = sequence.pages[index]
            (own,) = self._cache.allocate(1)
            self._memory.write_page(own, self._memory.read_page(shared))
            self._cache.release_pages([shared])
            sequence.pages[index] = own

    def _preempt(self, victim: SequenceState, *, for_pages: bool = True, somebody_waits: bool = False) -> None:
        """for_pages: not only its place is wanted, so that its pages will not stay in the cache."""
        self.running.remove(victim)
        swaps = for_pages and victim.may_leave_traces
        if swaps and self._swap is not None and self._is_worth_swapping(victim, self._swap, somebody_waits):
            pages = victim.pages[: pages_for(victim.num_computed)]
            victim.num_swapped = victim.num_computed if self._swap.put(victim.request_id, pages) else 0
            self.num_swapped_out += victim.num_swapped > 0
        self._cache.release(victim)
        self.waiting.appendleft(victim)
        self.num_preemptions += 1

    def _is_worth_swapping(self, victim: SequenceState, swap: SwapSpace, somebody_waits: bool) -> bool:
        """somebody_waits: for his first token, and for no longer than a pass may take."""
        pages = victim.pages[: pages_for(victim.num_computed)]
        if self._limits is not None and somebody_waits:
            longest_s = self._policy.longest_pass_s(self._limits)
            if swap.seconds(pages) / 2 > longest_s:
                return False
        compute_s = self._policy.reading_s(victim.num_computed, self._limits) if self._limits is not None else 0.0
        return bool(pages) and (compute_s == 0.0 or swap.seconds(pages) < compute_s)

    def _admit(self) -> None:
        candidates = [sequence for sequence in self.waiting if sequence.is_promised]
        while (sequence := self._policy.next_in(candidates, self.running)) is not None:
            if len(self.running) >= self._max_sequences and not self._policy.victims(sequence, self.running):
                return
            candidates.remove(sequence)
            self._cache.catch_up(sequence)
            if not self._make_room(sequence):
                self._cache.release(sequence)
                if self._policy.may_be_overtaken(sequence):
                    continue
                return
            self.waiting.remove(sequence)
            self._policy.admitted(sequence, filter(lambda one: one.is_promised, self.waiting))
            sequence.pages += self._cache.allocate(sequence.num_missing_pages)
            self._restore(sequence)
            self.running.append(sequence)

    def _restore(self, sequence: SequenceState) -> None:
        """What is on disk of its pages comes into those it was just given."""
        num_swapped, sequence.num_swapped = sequence.num_swapped, 0
        if self._swap is not None and num_swapped > sequence.num_computed:
            first = sequence.num_computed // PAGE_TOKENS
            if self._swap.take(sequence.request_id, first, sequence.pages[first : pages_for(num_swapped)]):
                sequence.num_computed = num_swapped
                self._cache.register(sequence)
                return
        elif self._swap is not None:
            self._swap.drop(sequence.request_id)
        self._cache.read_stored(sequence)

    def _make_room(self, sequence: SequenceState) -> bool:
        """Whether the sequence may run; others give way to it, but not in vain."""
        victims = self._policy.victims(sequence, self.running)
        if not self._has_room(sequence, victims):
            return False
        for victim in victims:
            if self._has_room(sequence):
                break
            num_wanted = sequence.num_missing_pages + len(self.running)
            self._preempt(victim, for_pages=not self._cache.can_allocate(num_wanted), somebody_waits=True)
        return self._has_room(sequence)

    def _has_room(self, sequence: SequenceState, without: Collection[SequenceState] = ()) -> bool:
        """A place, its pages, and a spare one for every other that runs, if some of those were not there.

        If the pool can grow, only for those who need one soon.
        """
        num_running = len(self.running) - len(without)
        num_given_back = self._cache.num_given_back(without)
        others = (other for other in self.running if other not in without)
        num_spare = sum(map(_num_missing_soon, others)) if self.num_most_pages > self._num_pages else num_running
        num_wanted = max(0, sequence.num_missing_pages + num_spare - num_given_back)
        return num_running < self._max_sequences and self._cache.can_allocate(num_wanted)


def _num_missing_soon(sequence: SequenceState) -> int:
    """Pages that it needs now or before long, but none for later: weights have a use for the memory now."""
    return max(0, pages_for(len(sequence.tokens) + _SOON_TOKENS) - len(sequence.pages))
