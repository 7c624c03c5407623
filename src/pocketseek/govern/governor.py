"""What the next pass may use. The runtime asks before every pass; the answer is the same object while nothing changed.

`FixedGovernor` decides when it is made. `MemoryGovernor` follows memory: it has the machine looked at (`watch`), asks
what the engine takes and wants (`footprint`), and says how many pages of K and V and how many bytes of weights there
may be. It carries nothing out and never calls the runtime; until the runtime has followed, more may be in use than it
said last. See docs/govern.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from pocketseek.device.memory_watch import MemoryFacts
from pocketseek.errors import UsageError
from pocketseek.govern.elastic import Bound, ElasticBudget
from pocketseek.govern.memory_budget import MemoryBudget
from pocketseek.govern.split import Footprint, MemorySplit, split_memory, stepped_demand
from pocketseek.types import Limits

# Beyond this large prompts gain little and the other answers wait longer for their turn; also where weights stream,
# since so many tokens compute for longer than reading takes (docs/lab-notes.md).
MAX_TOKENS_PER_PASS = 256
MAX_SEQUENCES = 16
INTERVAL_S = 0.25  # between two looks at the machine
LEAST_REST_S = 1.0  # between two looks while nothing runs
LONGEST_REST_S = 8.0  # every wake-up costs a phone some battery
BASE_STEP_BYTES = 4 << 20  # what the process takes besides flutters; weights shall not move for that


class Governor(Protocol):
    """Answers limits() before every pass, from the engine's worker thread."""

    def limits(self) -> Limits: ...


class FixedGovernor:
    """The same limits for every pass."""

    def __init__(
        self,
        num_cores: int,
        *,
        num_threads: int | None = None,
        max_tokens_per_pass: int = MAX_TOKENS_PER_PASS,
        max_sequences: int = MAX_SEQUENCES,
    ) -> None:
        """num_cores: performance cores that this process may use; num_threads: the user's choice instead of them."""
        self._limits = Limits(
            num_threads=_at_least_one("the number of threads", num_cores if num_threads is None else num_threads),
            max_tokens_per_pass=_at_least_one("max_tokens_per_pass", max_tokens_per_pass),
            max_sequences=_at_least_one("max_sequences", max_sequences),
        )

    def limits(self) -> Limits:
        return self._limits


@dataclass(frozen=True)
class MemoryStatus:
    """What a MemoryGovernor decided last, for statistics and messages.

    bound: what holds the budget where it is: "machine", "group" (the container), "cap" (the user's word), "pressure"
    (we waited for memory), "unknown" (a default). If even the least that works does not fit, budget_bytes is that least
    and split.short_bytes what is missing. The numbers of shrinks and growths are those of the budget.
    """

    budget_bytes: int
    bound: Bound
    split: MemorySplit
    weights_bytes: int
    num_shrinks: int
    num_growths: int
    num_pressures: int

    def describe(self) -> str:
        """One sentence for people."""
        split = self.split
        text = f"{_megabytes(self.budget_bytes)} of memory ({_REASONS[self.bound]}): "
        if split.short_bytes:
            text = f"{_megabytes(split.short_bytes)} short of the least that works; " + text
        if split.weight_bytes is None:
            text += f"all {_megabytes(self.weights_bytes)} of weights"
        else:
            text += f"{_megabytes(split.weight_bytes)} of {_megabytes(self.weights_bytes)} of weights"
        text += f", {split.num_pages} of at most {split.max_pages} pages"
        return f"{text}; shrunk {self.num_shrinks} times, grown {self.num_growths} times"


_REASONS: dict[Bound, str] = {
    "machine": "what the machine has left",
    "group": "the container's limit",
    "cap": "as allowed",
    "pressure": "less, since it had to be waited for",
    "unknown": "nothing could be read, so this is a guess",
}


class MemoryGovernor:
    """Fixed limits, but for pages and weights. One thread asks; `status` may be read from any."""

    def __init__(
        self,
        limits: Limits,
        watch: Callable[[], MemoryFacts],
        footprint: Callable[[], Footprint],
        *,
        cap_bytes: int | None = None,
        clock: Callable[[], float] = monotonic,
        budget: MemoryBudget | None = None,
    ) -> None:
        """limits: what does not depend on memory. watch: `MemoryWatch().read`; it is called four times a second at
        most, and footprint before every pass and after every watch. cap_bytes: never take more (--memory). budget: a
        counter whose total follows; while leases are above the new total, it falls as they do.
        """
        if cap_bytes is not None:
            _at_least_one("the memory limit", cap_bytes)
        self._limits = limits
        self._watch = watch
        self._footprint = footprint
        self._clock = clock
        self._budget = budget
        self._elastic = ElasticBudget(cap_bytes=cap_bytes)
        self._looked_s: float | None = None
        self._changed_s = clock()
        self._seen: Footprint | None = None
        self._decided_for: tuple[int, Footprint, int] | None = None
        self._split: MemorySplit | None = None
        self._demand_pages = 0
        self._base_bytes = 0
        self._status: MemoryStatus | None = None

    @property
    def status(self) -> MemoryStatus | None:
        """None before the first call of limits()."""
        return self._status

    def limits(self) -> Limits:
        seen, now_s = self._footprint(), self._clock()
        is_due = self._looked_s is None or now_s - self._looked_s >= INTERVAL_S
        if not is_due and seen == self._seen:  # nearly every pass
            return self._limits
        facts: MemoryFacts | None = None
        if is_due or seen.least_bytes > self._elastic.current_bytes:
            facts, seen = self._watch(), self._footprint()  # in this order: the look measures the process, too
        self._seen, footprint = seen, self._settled(seen)
        if facts is not None:
            self._follow(facts, footprint, now_s, seen.least_bytes)
        allowed_bytes = self._elastic.allowed_bytes
        basis = (allowed_bytes, footprint, max(0, seen.least_bytes - allowed_bytes))
        if basis != self._decided_for:
            self._decided_for = basis
            self._decide(*basis)
        return self._limits

    def rest_s(self) -> float:
        """How long an engine with nothing to run may sleep before it asks again: as long as the budget has stayed as it
        is, within bounds. So after a change it is asked after 1, 2, 4, 8 seconds, and then every 8."""
        return min(max(LEAST_REST_S, self._clock() - self._changed_s), LONGEST_REST_S)

    def _follow(self, facts: MemoryFacts, footprint: Footprint, now_s: float, floor_bytes: int) -> None:
        """floor_bytes: the least as it is, not in steps, which would keep up to 12 MB that nobody needs."""
        self._looked_s = now_s
        before_bytes = self._elastic.current_bytes
        budget_bytes = self._elastic.update(
            facts,
            now_s,
            floor_bytes=floor_bytes,
            used_bytes=self._used_bytes(footprint),
            warming=footprint.warming,
        )
        if budget_bytes != before_bytes:
            self._changed_s = now_s
        if self._budget is not None:
            self._budget.approach(budget_bytes)

    def _decide(self, allowed_bytes: int, footprint: Footprint, short_bytes: int) -> None:
        self._demand_pages = stepped_demand(allowed_bytes, footprint, self._demand_pages)
        split = split_memory(allowed_bytes, footprint, self._demand_pages)
        self._split = split = dataclasses.replace(split, short_bytes=short_bytes)  # of the least as it is
        limits = dataclasses.replace(
            self._limits, num_pages=split.num_pages, weight_bytes=split.weight_bytes, max_pages=split.max_pages
        )
        if limits != self._limits:
            self._limits = limits
        elastic = self._elastic
        self._status = MemoryStatus(
            elastic.current_bytes,
            elastic.bound,
            split,
            footprint.weights_bytes,
            elastic.num_shrinks,
            elastic.num_growths,
            elastic.num_pressures,
        )

    def _settled(self, footprint: Footprint) -> Footprint:
        """The base in whole steps: up when it must, down when it fell by more than two."""
        stepped_bytes = -(-footprint.base_bytes // BASE_STEP_BYTES) * BASE_STEP_BYTES
        if not stepped_bytes <= self._base_bytes <= stepped_bytes + 2 * BASE_STEP_BYTES:
            self._base_bytes = stepped_bytes
        return dataclasses.replace(footprint, base_bytes=self._base_bytes)

    def _used_bytes(self, footprint: Footprint) -> int | None:
        """What the engine takes by the last decision; None before it."""
        if self._split is None:
            return None
        weight_bytes = footprint.weights_bytes if self._split.weight_bytes is None else self._split.weight_bytes
        num_pages = footprint.pages_in_use + footprint.idle_pages
        return footprint.base_bytes + weight_bytes + num_pages * footprint.page_bytes


def _megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.0f} MB"


def _at_least_one(name: str, value: int) -> int:
    if value < 1:
        raise UsageError(f"{name} is {value}; use a whole number, 1 or more")
    return value
