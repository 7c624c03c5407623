"""One budget for two takers: pages of K and V, and weights. Pure arithmetic.

If everything fits, everybody gets all. Otherwise, from what is left beside the process itself (`base_bytes`):

1. the ring that weights stream through, and the pages that one sequence needs: the least that works;
2. the pages that requests want: without them they wait or are swapped, which costs more than reading weights again;
3. idle pages of the prefix cache: at most 1/8 of the budget, and at most 1/4 of what is left by then;
4. weights that stay in memory with the rest; what is left beyond all weights are pages for later.

So when memory gets less, idle pages go first, weights go down to the ring, and then requests are pre-empted. Bytes are
shared out and whole pages counted in them, so that less than one page may be left over. That buys monotony: for the
same footprint and demand, a larger budget never gives fewer pages or fewer weights, to the byte.

Demand moves in steps (`stepped_demand`), since each page more is a piece of the weights less.
"""

from __future__ import annotations

from dataclasses import dataclass

_IDLE_SHARE = 8
_IDLE_SHARE_OF_REST = 4
_STEP_SHARE = 64
LEAST_STEP_PAGES = 4


@dataclass(frozen=True)
class Footprint:
    """What an engine takes and would like to take at this moment. The caller measures or knows it.

    base_bytes: the process besides weights and pages (interpreter, tokenizer, workspace). weights_bytes: all weights
    that a pass reads, the embedding table not among them. ring_bytes: the least that streaming them takes.
    page_bytes: K and V of one page over all layers. opened_pages: the most pages the engine ever has.
    pages_in_use: held by sequences now. pages_wanted: those and what running and waiting requests need soon, in all.
    idle_pages: of the prefix cache, held by no sequence. least_pages: what one sequence needs to go on.
    warming: weights are being read in for the first time, so page faults are no sign of trouble.
    """

    base_bytes: int
    weights_bytes: int
    ring_bytes: int
    page_bytes: int
    opened_pages: int
    pages_in_use: int = 0
    pages_wanted: int = 0
    idle_pages: int = 0
    least_pages: int = 1
    warming: bool = False

    @property
    def least_weight_bytes(self) -> int:
        return min(self.ring_bytes, self.weights_bytes)

    @property
    def least_kv_pages(self) -> int:
        return min(max(1, self.least_pages), self.opened_pages)

    @property
    def needed_pages(self) -> int:
        return min(max(self.pages_wanted, self.pages_in_use, self.least_kv_pages), self.opened_pages)

    @property
    def least_bytes(self) -> int:
        """The smallest budget that works: everything streamed, one sequence at a time."""
        return self.base_bytes + self.least_weight_bytes + self.least_kv_pages * self.page_bytes

    @property
    def most_bytes(self) -> int:
        """With this budget everything fits."""
        return self.base_bytes + self.weights_bytes + self.opened_pages * self.page_bytes


@dataclass(frozen=True)
class MemorySplit:
    """weight_bytes: for weights, the ring included; None: for all of them. num_pages: KV pages now. max_pages: KV pages
    if all weights were streamed. short_bytes: by how much the budget is less than the least that works."""

    weight_bytes: int | None
    num_pages: int
    max_pages: int
    short_bytes: int = 0


def split_memory(budget_bytes: int, footprint: Footprint, demand_pages: int | None = None) -> MemorySplit:
    """demand_pages: pages to give if they fit, idle ones aside; None: what the footprint asks for, not stepped."""
    if footprint.most_bytes <= budget_bytes:
        return MemorySplit(None, footprint.opened_pages, footprint.opened_pages)
    shared_bytes = max(budget_bytes, footprint.least_bytes) - footprint.base_bytes
    demand_pages = footprint.needed_pages if demand_pages is None else max(demand_pages, footprint.least_kv_pages)
    kv_bytes = _kv_bytes(budget_bytes, shared_bytes, footprint, demand_pages)
    weight_bytes = shared_bytes - kv_bytes
    return MemorySplit(
        weight_bytes=weight_bytes if weight_bytes < footprint.weights_bytes else None,
        num_pages=kv_bytes // footprint.page_bytes,
        max_pages=min((shared_bytes - footprint.least_weight_bytes) // footprint.page_bytes, footprint.opened_pages),
        short_bytes=max(0, footprint.least_bytes - budget_bytes),
    )


def stepped_demand(budget_bytes: int, footprint: Footprint, before_pages: int = 0) -> int:
    """The pages that are needed, rounded up to a step: 1/64 of the budget, and at least four pages.

    before_pages: the last answer. It stays while it is enough and less than two steps too much.
    """
    step = max(LEAST_STEP_PAGES, budget_bytes // footprint.page_bytes // _STEP_SHARE)
    stepped_pages = min(_round_up(footprint.needed_pages, step), footprint.opened_pages)
    is_enough = footprint.needed_pages <= before_pages <= footprint.opened_pages
    return before_pages if is_enough and before_pages < stepped_pages + 2 * step else stepped_pages


def _kv_bytes(budget_bytes: int, shared_bytes: int, footprint: Footprint, demand_pages: int) -> int:
    """Grows by at most one byte with every byte more in the budget, which leaves no byte less for weights."""
    most_bytes = shared_bytes - footprint.least_weight_bytes
    wanted_bytes = min(demand_pages * footprint.page_bytes, most_bytes)
    idle_bytes = min(
        _round_up(footprint.idle_pages, LEAST_STEP_PAGES) * footprint.page_bytes,
        budget_bytes // _IDLE_SHARE,
        (most_bytes - wanted_bytes) // _IDLE_SHARE_OF_REST,
    )
    beyond_weights_bytes = shared_bytes - footprint.weights_bytes
    kv_bytes = max(wanted_bytes + idle_bytes, beyond_weights_bytes)
    return min(kv_bytes, footprint.opened_pages * footprint.page_bytes)


def _round_up(number: int, step: int) -> int:
    return -(-number // step) * step
