"""Through a whole engine and the real memory governor: how many sequences share a pass follows the memory there is."""

from itertools import count
from threading import Event

from fakes import ByteTokenizer, FakeExecutor, FakeTemplate, ids_of, random_request, slow_tokens

from pocketseek.device.memory_watch import MemoryFacts
from pocketseek.govern.elastic import group_reserve_bytes
from pocketseek.govern.governor import MAX_SEQUENCES, FixedGovernor, MemoryGovernor
from pocketseek.govern.split import Footprint
from pocketseek.runtime.counts import PageDemand
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.work import Work

PAGE_BYTES = 16 << 20
GROUP_BYTES = 64 << 30
MANY, FEW = 40, 5  # pages; a request of the test takes two or three
NUM_REQUESTS = 12


class Memory:
    """Room for so many pages and nothing else, and what the engine asks of it. Every look is two seconds later."""

    def __init__(self) -> None:
        self.num_pages = MANY
        self.demand = lambda: PageDemand(0, 0, 0)
        seconds = count(step=2.0)
        self.clock = lambda: next(seconds)

    def look(self) -> MemoryFacts:
        bound_bytes = self.num_pages * PAGE_BYTES * 64 // 63 + 1  # the budget keeps 1/64 away from it
        room_bytes = bound_bytes + group_reserve_bytes(GROUP_BYTES)
        return MemoryFacts(group_limit_bytes=GROUP_BYTES, group_room_bytes=room_bytes, own_anonymous_bytes=0)

    def footprint(self) -> Footprint:
        demand = self.demand()
        return Footprint(
            base_bytes=0,
            weights_bytes=0,
            ring_bytes=0,
            page_bytes=PAGE_BYTES,
            opened_pages=MANY,
            pages_in_use=demand.pages_in_use,
            pages_wanted=demand.pages_wanted,
            idle_pages=demand.idle_pages,
            least_pages=max(1, demand.least_pages),
        )


def test_the_batch_shrinks_and_grows_with_free_memory_and_no_text_changes() -> None:
    memory, batches, all_asked = Memory(), list[tuple[int, int]](), Event()

    def note(work: Work) -> None:
        assert all_asked.wait(60.0)  # or the first would be answered before the last has asked
        batches.append((memory.num_pages, len(work.slices)))
        if len(batches) == 20:
            memory.num_pages = FEW
        elif len(batches) == 80:
            memory.num_pages = MANY

    governor = MemoryGovernor(FixedGovernor(1).limits(), memory.look, memory.footprint, clock=memory.clock)
    requests = [random_request(seed, num_prompt=100, max_tokens=60) for seed in range(NUM_REQUESTS)]
    with Engine(
        FakeExecutor(before_run=note),
        ByteTokenizer(),  # type: ignore[arg-type]  enough of one
        FakeTemplate(),  # type: ignore[arg-type]  enough of one
        governor,
        num_pages=MANY,
        prefix_cache=False,
        speculation=False,
    ) as engine:
        memory.demand = engine.demand_source()
        streams = [engine.stream(request) for request in requests]
        all_asked.set()
        texts = [ids_of(stream) for stream in streams]
    assert texts == [slow_tokens(request) for request in requests]
    tight = [size for pages, size in batches if pages == FEW]
    again = [size for _, size in batches[80:]]
    assert max(size for _, size in batches[:20]) == NUM_REQUESTS
    assert max(tight[1:]) <= FEW // 2
    assert max(again) > 2 * max(tight[1:])


def test_with_more_places_than_usual_memory_alone_says_how_many_write_together() -> None:
    """`--max-running` raises the cap; pages are then what bounds the batch, and all of them are used."""
    memory, sizes, all_asked = Memory(), list[int](), Event()

    def note(work: Work) -> None:
        assert all_asked.wait(60.0)
        sizes.append(len(work.slices))

    fixed = FixedGovernor(1, max_sequences=64).limits()
    governor = MemoryGovernor(fixed, memory.look, memory.footprint, clock=memory.clock)
    requests = [random_request(seed, num_prompt=20, max_tokens=30) for seed in range(48)]  # a page each
    with Engine(
        FakeExecutor(before_run=note),
        ByteTokenizer(),  # type: ignore[arg-type]  enough of one
        FakeTemplate(),  # type: ignore[arg-type]  enough of one
        governor,
        num_pages=MANY,
        prefix_cache=False,
        speculation=False,
    ) as engine:
        memory.demand = engine.demand_source()
        streams = [engine.stream(request) for request in requests]
        all_asked.set()
        texts = [ids_of(stream) for stream in streams]
    assert texts == [slow_tokens(request) for request in requests]
    assert MAX_SEQUENCES < max(sizes) <= MANY
