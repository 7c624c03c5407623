"""A pool smaller than what could be had: requests are accepted, wait for pages, get them, and never get stuck."""

from dataclasses import replace
from random import Random

import pytest
from fakes import ByteTokenizer, FakeExecutor, FakeTemplate, ids_of, random_request, slow_tokens
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_engine import SimulatedEngine

from pocketseek.errors import ContextLengthError, MemoryLimitError
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.scheduler import RETRY_S
from pocketseek.types import Limits

AT_ONCE = Limits(1, coalesce_s=0.0)
MAX_PAGES = 12


def small_engine(num_pages: int = 2, **limits: int) -> SimulatedEngine:
    engine = SimulatedEngine(num_pages, limits=replace(AT_ONCE, **limits))  # type: ignore[arg-type]  # only whole-number fields
    engine.set_memory(Limits(1, num_pages=num_pages, max_pages=MAX_PAGES))
    return engine


class OnDemand:
    """Gives what is wanted, `num_steps` questions late."""

    def __init__(self, num_pages: int, num_late: int = 0) -> None:
        self.num_pages = num_pages
        self.num_late = num_late
        self.engine: Engine | None = None

    def limits(self) -> Limits:
        if self.engine is not None:
            wanted = min(MAX_PAGES, self.engine.demand_source()().pages_wanted)
            if wanted > self.num_pages and self.num_late:
                self.num_late -= 1
            else:
                self.num_pages = max(self.num_pages, wanted)
        return replace(AT_ONCE, num_pages=self.num_pages, max_pages=MAX_PAGES)


# -- what is accepted -------------------------------------------------------------------------------------------------


def test_what_could_be_had_is_the_measure_of_new_requests() -> None:
    engine = small_engine()
    assert engine.scheduler.context_length == MAX_PAGES * 64
    engine.submit(random_request(1, 600, 10))
    with pytest.raises(ContextLengthError, match="the memory allowed holds 768"):
        engine.submit(random_request(1, 769))


def test_an_engine_knows_before_its_first_pass_what_could_be_had() -> None:
    governor = OnDemand(2)
    one = random_request(1, 500, 20)
    with Engine(
        FakeExecutor(),
        ByteTokenizer(),  # type: ignore[arg-type]  # fakes with the methods that an engine calls
        FakeTemplate(),  # type: ignore[arg-type]
        governor,
        num_pages=2,
        max_pages=MAX_PAGES,
    ) as engine:
        governor.engine = engine
        assert ids_of(engine.stream(one)) == slow_tokens(one)
        assert engine.statistics().load.num_pages >= 9


# -- waiting for pages ------------------------------------------------------------------------------------------------


def test_who_waits_for_pages_does_not_take_them_before_they_are_given() -> None:
    engine = small_engine()
    engine.submit(random_request(1, 300, 10))
    for _ in range(5):
        assert engine.run_pass() is None
        assert engine.pool.num_pages == 2
        assert engine.scheduler.wait_s() == RETRY_S
    engine.resize(6)
    assert engine.run_pass() is not None
    engine.play()
    engine.check_all_ended()


def test_the_governor_is_asked_again_while_somebody_only_waits_for_pages() -> None:
    governor = OnDemand(2, num_late=1)
    one = random_request(1, 300, 5)
    with Engine(
        FakeExecutor(),
        ByteTokenizer(),  # type: ignore[arg-type]
        FakeTemplate(),  # type: ignore[arg-type]
        governor,
        num_pages=2,
        max_pages=MAX_PAGES,
    ) as engine:
        governor.engine = engine
        assert ids_of(engine.stream(one)) == slow_tokens(one)
    assert governor.num_late == 0


def test_a_pool_that_grows_on_demand_grows_before_anybody_has_to_give_way() -> None:
    engine = small_engine(max_sequences=3)
    engine.grows_on_demand = True
    for seed in range(3):
        engine.submit(random_request(seed, 60, 120))
    engine.play()
    engine.check_all_ended()
    assert engine.scheduler.counts().num_preemptions == 0
    assert engine.scheduler.num_pages <= MAX_PAGES


def test_what_can_no_longer_be_had_is_finished_all_the_same() -> None:
    engine = small_engine()
    engine.submit(random_request(1, 500, 20))
    assert engine.run_pass() is None
    engine.set_memory(Limits(1, num_pages=2, max_pages=3))
    engine.play()
    engine.check_all_ended()
    assert engine.pool.num_pages == 2


def test_a_sequence_that_runs_grows_although_the_pool_does_not() -> None:
    engine = small_engine()
    engine.submit(random_request(1, 100, 300))
    engine.play()
    engine.check_all_ended()
    assert engine.scheduler.counts().num_preemptions == 0


def test_a_large_request_waits_at_the_head_and_small_ones_that_run_go_on() -> None:
    engine = small_engine()
    small = engine.submit(random_request(1, 20, 20))
    engine.run_pass()
    large = engine.submit(random_request(2, 400, 5))
    for _ in range(25):
        engine.run_pass()
    assert engine.ended == {small: "length"}
    engine.grows_on_demand = True
    engine.play()
    assert engine.ended[large] == "length"
    engine.check_all_ended()


# -- what is told -----------------------------------------------------------------------------------------------------


def test_demand_counts_what_runs_what_waits_a_page_to_grow_the_least_that_works_and_tokens() -> None:
    engine = small_engine(8, max_sequences=2)
    assert engine.scheduler.page_demand() == (0, 0, 0, 0, 0)
    engine.submit(random_request(1, 100, 50))
    assert engine.scheduler.page_demand() == (0, 2, 0, 0, 100)
    engine.run_pass()
    assert engine.scheduler.page_demand() == (2, 2, 0, 2, 1)
    engine.submit(random_request(2, 200, 50))
    engine.submit(random_request(3, 300, 50))  # there is a place for one of the two
    assert engine.scheduler.page_demand() == (2, 2 + 5, 0, 2, 1 + 200 + 300)


def test_demand_tells_idle_pages_of_the_prefix_cache_apart() -> None:
    engine = SimulatedEngine(8, limits=AT_ONCE, prefix_cache=True)
    engine.submit(random_request(1, 200, 1))
    engine.play()
    assert engine.scheduler.page_demand() == (0, 0, 3, 0, 0)


def test_demand_covers_whoever_is_next_also_if_others_came_first() -> None:
    engine = small_engine(max_sequences=1)
    engine.submit(replace(random_request(1, 20, 5), priority="background"))
    engine.submit(random_request(2, 500, 5))
    engine.grows_on_demand = True
    assert engine.run_pass() is not None
    engine.play()
    engine.check_all_ended()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 4))
def test_every_request_runs_if_the_pool_grows_on_demand(seed: int, num_pages: int, max_sequences: int) -> None:
    random = Random(seed)
    engine = small_engine(num_pages, max_sequences=max_sequences)
    engine.grows_on_demand = True
    for number in range(8):
        one = random_request(number, random.choice([10, 63, 64, 300, 700]), random.choice([0, 5, 60]))
        engine.submit(replace(one, priority=random.choice(["interactive", "background"])))
        for _ in range(random.randrange(4)):
            engine.run_pass()
        if random.random() < 0.3:
            engine.resize(random.randint(1, 6))
    engine.play()
    assert set(engine.ended.values()) == {"length"}
    engine.check_all_ended()


def test_pages_that_the_system_refuses_are_asked_for_until_they_come() -> None:
    class Full(FakeExecutor):
        num_refusals = 2

        def reserve_pages(self, num_pages: int) -> None:
            if num_pages > 8 and self.num_refusals:
                self.num_refusals -= 1
                raise MemoryLimitError("no more; close something")
            super().reserve_pages(num_pages)

    class Fixed:
        def limits(self) -> Limits:
            return replace(AT_ONCE, num_pages=10, max_pages=MAX_PAGES)

    executor = Full()
    with Engine(executor, ByteTokenizer(), FakeTemplate(), Fixed(), num_pages=4) as engine:  # type: ignore[arg-type]
        assert ids_of(engine.stream(random_request(1))) == slow_tokens(random_request(1))
        assert engine.statistics().load.num_pages == 10
        assert engine.context_length == MAX_PAGES * 64
