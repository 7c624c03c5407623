"""What the governor allows is made true between two passes: threads, cores, clocks, KV pages, weights.

Memory moves from one side to the other: what shrinks goes first and what grows goes last, so that pages and weights
together never take more than they may before or after. What grows waits if the other side did not shrink: pages, while
the executor refuses to let go of weights; weights, while somebody finishes on more pages than the pool shall have.

What the system (or the budget) refuses stays as it is and is asked for again before the next pass; refused pages and
weights are kept as a `*_refusal`. With a budget, memory is leased before it grows and given back after it shrank:
"pages" for all that the pool has, "weights" for those in memory and the ring, "process" for what the process was found
to take besides. That cannot be refused, only noticed: its lease falls before the others grow, and grows after they made
room, in the same step, or in a later one if they could not (somebody finishes on more pages than there shall be).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from pocketseek.errors import MemoryLimitError, UsageError
from pocketseek.govern.memory_budget import MemoryBudget
from pocketseek.runtime.frequency_caps import FrequencyCaps
from pocketseek.runtime.guests import Guests
from pocketseek.runtime.scheduler import Scheduler
from pocketseek.runtime.work import Executor
from pocketseek.types import Limits


@dataclass(frozen=True)
class MemoryFollowing:
    """What an engine needs for keeping within a budget that changes while it runs or rests.

    budget: what memory is leased from; it has the leases of what there is at first. process_bytes: what the process
    takes besides, as it was measured at the governor's last look. rest_s: how long an engine with nothing to run may
    sleep before the governor is asked again. guests: who else takes memory of the process.
    """

    budget: MemoryBudget
    process_bytes: Callable[[], int]
    rest_s: Callable[[], float]
    guests: Guests = field(default_factory=Guests)


class AppliedLimits:
    """Used by the engine's worker, between passes. The executor begins with all of its weights and the pool's pages."""

    def __init__(
        self,
        scheduler: Scheduler,
        executor: Executor,
        following: MemoryFollowing | None = None,
        clocks: FrequencyCaps | None = None,
    ) -> None:
        """clocks: what frequency_share is applied to; closed by whoever made them."""
        self._scheduler = scheduler
        self._executor = executor
        self._budget = following.budget if following is not None else None
        self._process_bytes = following.process_bytes if following is not None else None
        self._opened_pages = self._num_leased_pages = scheduler.num_pages
        self._clocks = clocks
        self._num_threads: int | None = None
        self._cores: tuple[int, ...] = ()
        self._num_pages: int | None = None
        self._max_pages = scheduler.max_pages
        self._weight_bytes: int | None = None
        self.pages_refusal: MemoryLimitError | None = None
        self.weights_refusal: MemoryLimitError | None = None

    def apply(self, limits: Limits) -> None:
        if limits.num_threads != self._num_threads:
            self._num_threads = limits.num_threads
            self._executor.set_threads(limits.num_threads)
        if limits.cores != self._cores:
            self._set_cores(limits.cores)
        if self._clocks is not None:
            self._clocks.apply(limits.frequency_share)
        pages = limits.num_pages, limits.max_pages
        self._lease_process(down=True)
        moves = pages != (self._num_pages, self._max_pages) or limits.weight_bytes != self._weight_bytes
        if moves or self.pages_refusal or self.weights_refusal:
            self._move_memory(limits)
        self._lease_process(down=False)

    def give_memory_back(self) -> None:
        """The memory of pages that the pool has let go of; or has taken, for somebody who is finished in any case."""
        if vacated := self._scheduler.take_vacated_pages():
            self._executor.release_pages(vacated)
        if self._budget is not None and self._num_leased_pages != self._scheduler.num_pool_pages:
            try:
                self._lease_pages(self._scheduler.num_pool_pages)
            except MemoryLimitError as refusal:
                self.pages_refusal = refusal

    def _set_cores(self, cores: tuple[int, ...]) -> None:
        """Cores go offline, and an app to the background, whenever the system likes: then the pass runs where it ran
        before, slower perhaps, and the next pass asks again."""
        with suppress(UsageError):
            self._executor.set_cores(cores)
            self._cores = cores

    def _move_memory(self, limits: Limits) -> None:
        num_pages = self._opened_pages if limits.num_pages is None else limits.num_pages
        fewer_pages = num_pages < self._scheduler.num_pages
        fewer_weights = _is_less(limits.weight_bytes, self._weight_bytes)
        if fewer_pages:
            self._set_pages(limits)
            self.give_memory_back()
        if fewer_weights:
            self._set_weight_bytes(limits.weight_bytes)
        if not fewer_pages and not (fewer_weights and self.weights_refusal):
            self._set_pages(limits)
        if not fewer_weights and not self._scheduler.has_more_pages_than_asked:
            self._set_weight_bytes(limits.weight_bytes)

    def _set_pages(self, limits: Limits) -> None:
        try:
            if limits.num_pages != self._num_pages:
                num_pages = self._opened_pages if limits.num_pages is None else limits.num_pages
                self._lease_pages(max(num_pages, self._scheduler.num_pool_pages))
                self._executor.reserve_pages(num_pages)
                self._scheduler.set_num_pages(limits.num_pages)
                self._num_pages = limits.num_pages
            if limits.max_pages != self._max_pages:
                self._executor.reserve_pages(limits.max_pages or 0)  # addresses, which nobody may write to yet
                self._scheduler.set_max_pages(limits.max_pages)
                self._max_pages = limits.max_pages
            self.pages_refusal = None
        except MemoryLimitError as refusal:
            self.pages_refusal = refusal

    def _set_weight_bytes(self, weight_bytes: int | None) -> None:
        try:
            if weight_bytes != self._weight_bytes:
                self._lease_weights(weight_bytes)
                self._executor.set_weight_bytes(weight_bytes)
                self._weight_bytes = weight_bytes
            self.weights_refusal = None
        except MemoryLimitError as refusal:
            self.weights_refusal = refusal
        if self._budget is not None:
            self._budget.lease("weights", self._executor.weight_bytes)

    def _lease_process(self, *, down: bool) -> None:
        """down: only if it takes less than its lease."""
        if self._budget is None or self._process_bytes is None:
            return
        num_bytes, leased_bytes = self._process_bytes(), self._budget.of("process")
        if num_bytes == leased_bytes or (down and num_bytes > leased_bytes):
            return
        with suppress(MemoryLimitError):
            self._budget.lease("process", num_bytes)

    def _lease_pages(self, num_pages: int) -> None:
        if self._budget is not None:
            self._budget.lease("pages", num_pages * self._executor.page_bytes)
            self._num_leased_pages = num_pages

    def _lease_weights(self, weight_bytes: int | None) -> None:
        """At least what there is, until less is there."""
        if self._budget is not None:
            wanted_bytes = self._executor.weight_bytes_for(weight_bytes)
            self._budget.lease("weights", max(wanted_bytes, self._executor.weight_bytes))


def _is_less(num_bytes: int | None, than: int | None) -> bool:
    """None is all there is."""
    return num_bytes is not None and (than is None or num_bytes < than)
