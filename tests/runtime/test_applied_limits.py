"""Memory moves between pages and weights so that both together are never above what they may be."""

import hypothesis.strategies as st
import pytest
from fakes import FakeExecutor, random_request, slow_tokens
from hypothesis import given

from pocketseek.errors import MemoryLimitError
from pocketseek.runtime.applied_limits import AppliedLimits
from pocketseek.runtime.kv_pool import KvPool
from pocketseek.runtime.scheduler import Scheduler
from pocketseek.types import Limits

OPENED_PAGES = 8


class Watched(FakeExecutor):
    """Writes down who changes size, in order; refuses what it is told to refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []
        self.refuses = False
        self.reserve_pages(64)

    def set_weight_bytes(self, num_bytes: int | None) -> None:
        if self.refuses:
            raise MemoryLimitError("no; close something")
        super().set_weight_bytes(num_bytes)
        self.events.append(f"weights {num_bytes}")


class WatchedScheduler(Scheduler):
    events: list[str]

    def set_num_pages(self, num_pages: int | None) -> None:
        super().set_num_pages(num_pages)
        self.events.append(f"pages {num_pages}")


class Bench:
    def __init__(self) -> None:
        self.executor = Watched()
        pool = KvPool(OPENED_PAGES)
        self.scheduler = WatchedScheduler(pool, vocab_size=264, context_length=1024)
        self.scheduler.events = self.executor.events
        self.applied = AppliedLimits(self.scheduler, self.executor)

    def apply(self, num_pages: int | None, weight_bytes: int | None) -> list[str]:
        self.executor.events.clear()
        self.applied.apply(Limits(1, num_pages=num_pages, weight_bytes=weight_bytes))
        return list(self.executor.events)

    def occupy(self, num_tokens: int) -> None:
        """A request of so many tokens runs."""
        self.scheduler.submit(self.scheduler.prepare(0, random_request(1, num_tokens - 50, 50)))
        assert self.scheduler.plan(Limits(1)) is not None


@pytest.mark.parametrize(
    ("before", "after", "order"),
    [
        ((6, 500), (4, 400), ["pages 4", "weights 400"]),
        ((6, 500), (4, 600), ["pages 4", "weights 600"]),
        ((4, 500), (6, 400), ["weights 400", "pages 6"]),
        ((4, None), (6, 400), ["weights 400", "pages 6"]),
        ((4, 400), (None, 300), ["weights 300", "pages None"]),
        ((None, 400), (4, None), ["pages 4", "weights None"]),
        ((4, 400), (6, 500), ["pages 6", "weights 500"]),
        ((4, 400), (4, 500), ["weights 500"]),
        ((4, 400), (4, 400), []),
    ],
)
def test_what_shrinks_goes_first(
    before: tuple[int | None, int | None], after: tuple[int | None, int | None], order: list[str]
) -> None:
    bench = Bench()
    bench.apply(*before)
    assert bench.apply(*after) == order


@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.integers(1, 12)), st.integers(0, 12), st.booleans()), min_size=2, max_size=8
    )
)
def test_both_together_are_never_above_what_they_were_or_shall_be(
    changes: list[tuple[int | None, int, bool]],
) -> None:
    """Weights are counted in pages here. Refusals included."""
    bench = Bench()
    bench.apply(None, 5)
    pages, weights = OPENED_PAGES, 5
    for num_pages, weight_bytes, refuses in changes:
        bench.executor.refuses = refuses
        most = max(pages + weights, (num_pages or OPENED_PAGES) + weight_bytes)
        for event in bench.apply(num_pages, weight_bytes):
            name, number = event.split()
            size = OPENED_PAGES if number == "None" else int(number)
            pages, weights = (size, weights) if name == "pages" else (pages, size)
            assert pages + weights <= most
    bench.executor.refuses = False
    bench.apply(*changes[-1][:2])
    assert bench.scheduler.num_pages == (changes[-1][0] or OPENED_PAGES)
    assert bench.applied.weights_refusal is None


def test_refused_weights_stay_as_they_are_and_are_asked_for_again() -> None:
    bench = Bench()
    bench.apply(4, 400)
    bench.executor.refuses = True
    assert bench.apply(4, 500) == []
    assert bench.applied.weights_refusal is not None
    bench.executor.refuses = False
    assert bench.apply(4, 500) == ["weights 500"]
    assert bench.applied.weights_refusal is None


def test_pages_do_not_grow_while_the_weights_refuse_to_shrink() -> None:
    bench = Bench()
    bench.apply(4, 400)
    bench.executor.refuses = True
    assert bench.apply(6, 300) == []
    assert bench.apply(3, 300) == ["pages 3"]
    bench.executor.refuses = False
    assert bench.apply(6, 300) == ["weights 300", "pages 6"]


def test_weights_do_not_grow_while_somebody_finishes_on_more_pages_than_there_shall_be() -> None:
    bench = Bench()
    bench.apply(8, 400)
    bench.occupy(300)
    assert bench.apply(2, 900) == ["pages 2"]
    assert bench.scheduler.has_more_pages_than_asked
    assert bench.apply(2, 900) == []
    bench.scheduler.cancel(0)
    assert bench.apply(2, 900) == ["weights 900"]


def test_pages_are_given_back_before_weights_take_their_memory() -> None:
    class Counting(Watched):
        def set_weight_bytes(self, num_bytes: int | None) -> None:
            assert self.num_written_pages <= 1
            super().set_weight_bytes(num_bytes)

    bench = Bench()
    executor = Counting()
    bench.executor.events = bench.scheduler.events = executor.events
    bench.executor, bench.applied = executor, AppliedLimits(bench.scheduler, executor)
    bench.apply(8, 400)
    bench.scheduler.submit(bench.scheduler.prepare(0, random_request(1, 300, 0)))
    work = bench.scheduler.plan(Limits(1, max_tokens_per_pass=512))
    assert work is not None
    bench.scheduler.commit(work, executor.run(work))
    assert executor.num_written_pages == 5
    assert bench.apply(1, 900) == ["pages 1", "weights 900"]


def test_more_pages_that_could_be_had_are_reserved_and_count_for_new_requests() -> None:
    bench = Bench()
    bench.applied.apply(Limits(1, num_pages=2, max_pages=10))
    assert bench.scheduler.context_length == 640
    for max_pages in (1, None):  # others may have it for a moment
        bench.applied.apply(Limits(1, num_pages=2, max_pages=max_pages))
        assert bench.scheduler.context_length == 640


def test_the_pool_shrinks_even_if_the_pages_that_could_be_had_are_refused() -> None:
    class Full(Watched):
        def reserve_pages(self, num_pages: int) -> None:
            if num_pages > 64:
                raise MemoryLimitError("no more")
            super().reserve_pages(num_pages)

    bench = Bench()
    bench.applied = AppliedLimits(bench.scheduler, Full())
    bench.applied.apply(Limits(1, num_pages=3, max_pages=1000))
    assert (bench.scheduler.num_pages, bench.scheduler.max_pages) == (3, None)
    assert bench.applied.pages_refusal is not None
    bench.applied.apply(Limits(1, num_pages=3, max_pages=60))
    assert bench.scheduler.max_pages == 60
    assert bench.applied.pages_refusal is None


def test_texts_do_not_depend_on_it() -> None:
    bench = Bench()
    one = random_request(1, 100, 60)
    bench.scheduler.submit(bench.scheduler.prepare(0, one))
    tokens = []
    for number in range(1000):
        bench.apply((None, 1, 3, 12)[number % 4], (None, 5, 1)[number % 3])
        work = bench.scheduler.plan(Limits(1, coalesce_s=0.0))
        assert work is not None
        bench.applied.give_memory_back()
        tokens += [event.token.token_id for event in bench.scheduler.commit(work, bench.executor.run(work))]
        bench.applied.give_memory_back()
        if not bench.scheduler.has_work:
            break
    assert tokens == slow_tokens(one)
