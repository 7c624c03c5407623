"""The pool shrinks and grows between passes: the texts are those of an untouched run, and the memory follows."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, cycle, repeat
from threading import Event
from typing import Any

import pytest
from fakes import ByteTokenizer, FakeExecutor, FakeTemplate, ids_of, random_request, slow_tokens

from pocketseek.errors import ContextLengthError, MemoryLimitError
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.kv_pool import KvPool
from pocketseek.runtime.prefix.cache import PrefixCache
from pocketseek.runtime.scheduler import Scheduler
from pocketseek.types import Limits, Request, TokenEvent

WAIT_S = 60  # only a hanging test ever waits that long
LIMITS = Limits(num_threads=1)


class Pages:
    """A governor that goes through `numbers` of pages, one a pass; with plain numbers it stays at the last.

    It waits for `go`: requests are measured by the pool at the moment they come.
    """

    def __init__(self, *numbers: int | None) -> None:
        self.numbers: Iterator[int | None] = chain(numbers, repeat(numbers[-1]))
        self.go = Event()
        self.go.set()

    def limits(self) -> Limits:
        assert self.go.wait(WAIT_S)
        return Limits(1, num_pages=next(self.numbers))


def engine_on(executor: FakeExecutor, governor: Pages, num_pages: int = 8) -> Engine:
    # tokenizer and template are fakes (tests/fakes.py) with only the methods that an engine calls
    return Engine(executor, ByteTokenizer(), FakeTemplate(), governor, num_pages=num_pages)  # type: ignore[arg-type]


class Bench:
    """A scheduler on a fake executor."""

    def __init__(self, num_pages: int, pool: KvPool | None = None, **kwargs: Any) -> None:
        self.executor = FakeExecutor()
        self.executor.reserve_pages(64)
        self.pool = pool or KvPool(num_pages)
        self.scheduler = Scheduler(self.pool, vocab_size=264, context_length=1024, **kwargs)
        self.tokens: list[list[int]] = []

    def submit(self, request: Request) -> None:
        self.scheduler.submit(self.scheduler.prepare(len(self.tokens), request))
        self.tokens.append([])

    def run(self, num_passes: int = 10_000) -> None:
        while num_passes and self.scheduler.has_work:
            num_passes -= 1
            work = self.scheduler.plan(LIMITS)
            assert work is not None
            self.executor.release_pages(self.scheduler.take_vacated_pages())
            for event in self.scheduler.commit(work, self.executor.run(work)):
                if event.token.token_id is not None:
                    self.tokens[event.request_id].append(event.token.token_id)
            self.executor.release_pages(self.scheduler.take_vacated_pages())


def slow(requests: Sequence[Request]) -> list[list[int]]:
    return [slow_tokens(one) for one in requests]


def test_shrinking_pre_empts_the_youngest_and_growing_lets_them_come_back() -> None:
    requests = [random_request(seed, 60, 100) for seed in range(4)]
    bench = Bench(16)
    for one in requests:
        bench.submit(one)
    bench.run(10)
    bench.scheduler.set_num_pages(3)
    assert bench.pool.num_used <= 3
    counts = bench.scheduler.counts()
    assert (counts.num_running, counts.num_waiting, counts.num_pages) == (1, 3, 3)
    bench.run(5)
    assert bench.executor.num_written_pages <= 3
    bench.scheduler.set_num_pages(None)
    bench.run(1)
    assert bench.scheduler.counts().num_running == 4
    bench.run()
    assert bench.tokens == slow(requests)
    assert bench.pool.num_free == bench.pool.num_pages == 16


def test_nothing_is_pre_empted_if_what_is_in_use_still_fits() -> None:
    bench = Bench(16)
    for seed in range(3):
        bench.submit(random_request(seed, 20, 30))
    bench.run(5)
    bench.scheduler.set_num_pages(3)
    bench.run()
    assert bench.scheduler.counts().num_preemptions == 0


def test_what_no_longer_fits_alone_is_finished_alone_and_then_the_pool_is_small() -> None:
    requests = [random_request(1, 100, 400), random_request(2, 100, 300), random_request(3, 10, 5)]
    bench = Bench(16)
    for one in requests:
        bench.submit(one)
    bench.run(3)
    bench.scheduler.set_num_pages(1)
    while bench.scheduler.has_work:
        bench.run(1)
        counts = bench.scheduler.counts()
        assert counts.num_running <= 1 or counts.num_pages <= 8
        assert bench.executor.num_written_pages <= counts.num_pages
    assert bench.tokens == slow(requests)
    assert bench.pool.num_pages == 1
    assert bench.executor.num_written_pages <= 1


def test_new_requests_are_measured_by_the_largest_size_that_there_was() -> None:
    bench = Bench(4)
    bench.scheduler.set_num_pages(1)
    assert bench.scheduler.context_length == 256
    with pytest.raises(ContextLengthError, match="the memory allowed holds 256"):
        bench.submit(random_request(1, 257))
    bench.scheduler.set_num_pages(16)
    bench.scheduler.set_num_pages(2)
    assert bench.scheduler.context_length == 1024
    bench.submit(random_request(1, 257))


def test_less_than_one_page_counts_as_one() -> None:
    bench = Bench(4)
    bench.scheduler.set_num_pages(0)
    assert bench.pool.num_pages == 1


def test_idle_pages_are_given_up_before_a_sequence_is_pre_empted() -> None:
    pool = KvPool(6)
    cache = PrefixCache(pool)
    bench = Bench(6, pool=pool, cache=cache)
    bench.submit(random_request(9, 200, 0))
    bench.run()
    assert cache.num_cached == 3
    requests = [random_request(seed, 60, 10) for seed in range(2)]
    for one in requests:
        bench.submit(one)
    bench.run(2)
    assert cache.num_cached == 3  # all had room
    bench.scheduler.set_num_pages(4)
    assert cache.num_cached == 2
    bench.run()
    assert bench.scheduler.counts().num_preemptions == 0
    assert bench.tokens[1:] == slow(requests)


@pytest.mark.parametrize("numbers", [(None, None, 3, 3, 3, None), (8, 2, 1, 12), (2, 8)])
def test_an_engine_whose_limits_change_gives_the_same_texts(numbers: tuple[int | None, ...]) -> None:
    governor = Pages(None)
    governor.numbers = cycle(chain.from_iterable(repeat(number, 7) for number in numbers))
    requests = [random_request(seed, 50 + seed, 60) for seed in range(5)]
    with engine_on(FakeExecutor(), governor) as engine:
        governor.go.clear()
        streams = [engine.stream(one) for one in requests]
        governor.go.set()
        assert [ids_of(stream) for stream in streams] == slow(requests)
        load = engine.statistics().load
        assert load.num_free_pages == load.num_pages


def test_more_pages_than_at_first_are_reserved_before_they_are_used() -> None:
    requests = [random_request(seed, 60, 100) for seed in range(6)]
    governor = Pages(2, 2, 40)
    governor.go.clear()
    with engine_on(FakeExecutor(), governor, num_pages=4) as engine:
        streams = [engine.stream(one) for one in requests]
        governor.go.set()
        assert [ids_of(stream) for stream in streams] == slow(requests)
        assert engine.statistics().load.num_pages == 40


def test_refused_memory_leaves_the_pool_as_it_is() -> None:
    class Full(FakeExecutor):
        def reserve_pages(self, num_pages: int) -> None:
            if num_pages > 8:
                raise MemoryLimitError("no more; close something")
            super().reserve_pages(num_pages)

    with engine_on(Full(), Pages(None, 9, 9)) as engine:
        assert ids_of(engine.stream(random_request(1))) == slow_tokens(random_request(1))
        assert engine.statistics().load.num_pages == 8


def test_an_idle_engine_gives_memory_back_when_it_is_told_to_ask() -> None:
    class Watched(FakeExecutor):
        def release_pages(self, page_ids: Iterable[int]) -> None:
            super().release_pages(page_ids)
            released.set()

    released, executor = Event(), Watched()
    governor = Pages(None)
    with engine_on(executor, governor) as engine:
        events: list[TokenEvent] = list(engine.stream(random_request(1, 200, 5)))
        assert len(events) == 5
        assert executor.num_written_pages == 4
        governor.numbers = repeat(1)
        engine.apply_limits()
        assert released.wait(WAIT_S)
        assert executor.num_written_pages <= 1
