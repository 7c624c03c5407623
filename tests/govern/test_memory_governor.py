"""The governor asks seldom, answers with the same object while nothing changed, and its counter follows."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.device.memory_watch import MemoryFacts, MemoryWatch
from pocketseek.errors import UsageError
from pocketseek.govern.governor import INTERVAL_S, MemoryGovernor, MemoryStatus
from pocketseek.govern.memory_budget import MemoryBudget
from pocketseek.govern.split import Footprint
from pocketseek.types import Limits

MIB = 1 << 20
GIB = 1 << 30
FIXED = Limits(num_threads=3, max_tokens_per_pass=77, max_sequences=5)
SMALL = Footprint(100 * MIB, 870 * MIB, 48 * MIB, 2 * MIB, opened_pages=400, pages_wanted=10)


class World:
    """A clock, a machine and an engine that the test moves."""

    def __init__(self, available_mib: int = 4000, footprint: Footprint = SMALL) -> None:
        self.now_s = 0.0
        self.facts = MemoryFacts(machine_total_bytes=8 * GIB, machine_available_bytes=available_mib * MIB)
        self.footprint = footprint
        self.num_looks = 0

    def watch(self) -> MemoryFacts:
        self.num_looks += 1
        return self.facts

    def set_available(self, num_mib: int) -> None:
        self.facts = dataclasses.replace(self.facts, machine_available_bytes=num_mib * MIB)

    def want(self, **changes: int) -> None:
        self.footprint = dataclasses.replace(self.footprint, **changes)

    def governor(self, *, cap_bytes: int | None = None, budget: MemoryBudget | None = None) -> MemoryGovernor:
        return MemoryGovernor(
            FIXED, self.watch, lambda: self.footprint, cap_bytes=cap_bytes, clock=lambda: self.now_s, budget=budget
        )


def status_of(governor: MemoryGovernor) -> MemoryStatus:
    status = governor.status
    assert status is not None
    return status


def allowed_bytes(limits: Limits, footprint: Footprint) -> int:
    weight_bytes = footprint.weights_bytes if limits.weight_bytes is None else limits.weight_bytes
    assert limits.num_pages is not None
    return footprint.base_bytes + weight_bytes + limits.num_pages * footprint.page_bytes


def test_with_enough_memory_everything_is_allowed_and_the_rest_is_as_fixed() -> None:
    limits = World().governor().limits()
    assert limits == dataclasses.replace(FIXED, num_pages=400, weight_bytes=None, max_pages=400)


def test_the_same_object_comes_back_while_nothing_changed() -> None:
    world = World(1200)
    governor = world.governor()
    first = governor.limits()
    for _ in range(40):
        world.now_s += 0.1
        assert governor.limits() is first


def test_the_machine_is_looked_at_no_more_than_four_times_a_second() -> None:
    world = World()
    governor = world.governor()
    for _ in range(1000):
        governor.limits()
        world.now_s += 0.01
    assert world.num_looks <= 10.0 / INTERVAL_S + 1


def test_demand_changes_the_split_without_another_look() -> None:
    world = World(1200)
    governor = world.governor()
    few = governor.limits()
    world.want(pages_wanted=100)
    many = governor.limits()
    assert world.num_looks == 1
    assert (few.num_pages or 0) < 100 <= (many.num_pages or 0)
    assert (many.weight_bytes or 0) < (few.weight_bytes or 0)


def test_less_memory_is_noticed_at_the_next_look() -> None:
    world = World()
    governor = world.governor()
    governor.limits()
    world.set_available(1100)
    world.now_s += INTERVAL_S
    limits = governor.limits()
    assert limits.weight_bytes is not None
    assert allowed_bytes(limits, SMALL) <= (1100 - 512) * MIB
    assert (status_of(governor).bound, status_of(governor).num_shrinks) == ("machine", 1)


def test_a_cap_bounds_what_is_allowed() -> None:
    governor = World().governor(cap_bytes=600 * MIB)
    assert allowed_bytes(governor.limits(), SMALL) <= 600 * MIB
    assert status_of(governor).budget_bytes == 600 * MIB
    assert status_of(governor).bound == "cap"


@pytest.mark.parametrize("cap_bytes", [0, -5])
def test_a_cap_that_is_no_amount_is_refused(cap_bytes: int) -> None:
    with pytest.raises(UsageError, match="1 or more"):
        World().governor(cap_bytes=cap_bytes)


def test_what_is_short_of_the_least_is_said_and_the_least_is_given() -> None:
    governor = World(0).governor()
    limits = governor.limits()
    assert allowed_bytes(limits, SMALL) == SMALL.least_bytes == status_of(governor).budget_bytes
    assert limits.max_pages == 1
    assert status_of(governor).split.short_bytes == SMALL.least_bytes


def test_a_cap_below_the_least_gives_the_least() -> None:
    limits = World().governor(cap_bytes=MIB).limits()
    assert (limits.num_pages, limits.weight_bytes) == (1, 48 * MIB)


def test_a_least_that_grows_between_two_looks_is_given_at_once() -> None:
    world = World()
    budget = MemoryBudget(0)
    governor = world.governor(cap_bytes=SMALL.least_bytes, budget=budget)
    governor.limits()
    world.want(least_pages=30, pages_in_use=30)
    assert governor.limits().num_pages == 30
    assert budget.total_bytes == world.footprint.least_bytes


def test_small_changes_of_the_base_move_nothing() -> None:
    world = World(1200)
    governor = world.governor()
    first = governor.limits()
    for base_bytes in (97 * MIB, 100 * MIB, 93 * MIB, 99 * MIB):
        world.want(base_bytes=base_bytes)
        world.now_s += INTERVAL_S
        assert governor.limits() is first
    world.want(base_bytes=104 * MIB + 1)
    assert allowed_bytes(governor.limits(), world.footprint) <= status_of(governor).budget_bytes


def test_the_floor_is_what_is_needed_and_not_what_the_base_counts_in_steps() -> None:
    world, budget = World(0), MemoryBudget(0)
    world.want(base_bytes=112 * MIB)
    governor = world.governor(budget=budget)
    for base_bytes in (112 * MIB, 104 * MIB + 1, 105 * MIB, 101 * MIB, 100 * MIB + 1):
        world.want(base_bytes=base_bytes)
        world.now_s += INTERVAL_S
        limits = governor.limits()
        status, least_bytes = status_of(governor), world.footprint.least_bytes
        assert status.budget_bytes == budget.total_bytes == status.split.short_bytes == least_bytes
        assert allowed_bytes(limits, world.footprint) == least_bytes


def test_what_is_short_is_what_is_missing_now_also_when_memory_comes_back() -> None:
    world = World(512 + 400)
    governor = world.governor()
    least_mib = SMALL.least_bytes // MIB
    for available_mib, short_mib in [(400, 0), (100, least_mib - 100), (least_mib - 7, 7), (least_mib + 13, 0)]:
        world.set_available(512 + available_mib)
        world.now_s += INTERVAL_S
        governor.limits()
        assert status_of(governor).split.short_bytes == short_mib * MIB


def test_nothing_is_short_as_soon_as_the_least_is_there() -> None:
    world = World()
    world.want(base_bytes=104 * MIB + 1)
    governor = world.governor(cap_bytes=world.footprint.least_bytes)
    assert allowed_bytes(governor.limits(), world.footprint) == status_of(governor).budget_bytes
    assert status_of(governor).split.short_bytes == 0


def test_the_counter_follows_up_at_once_and_down_with_its_leases() -> None:
    world, budget = World(1200), MemoryBudget(0)
    governor = world.governor(budget=budget)
    governor.limits()
    before_bytes = budget.total_bytes
    budget.lease("all", before_bytes)
    world.set_available(1000)
    world.now_s += INTERVAL_S
    governor.limits()
    assert budget.total_bytes == before_bytes
    budget.lease("all", 300 * MIB)
    assert budget.total_bytes == status_of(governor).budget_bytes < before_bytes


def test_stalls_while_most_of_it_is_used_make_it_smaller() -> None:
    world = World(1200)
    governor = world.governor()
    for number in range(8):
        world.facts = dataclasses.replace(world.facts, stall_us=number * 200_000, stall_is_own=True)
        governor.limits()
        world.now_s += INTERVAL_S
    assert status_of(governor).num_pressures == 2
    assert status_of(governor).bound == "pressure"


def test_it_says_in_a_sentence_what_it_decided() -> None:
    world = World()
    governor = world.governor(cap_bytes=600 * MIB)
    assert governor.status is None
    governor.limits()
    assert status_of(governor).describe() == (
        "629 MB of memory (as allowed): 499 MB of 912 MB of weights, 12 of at most 226 pages; "
        "shrunk 0 times, grown 0 times"
    )
    world.want(base_bytes=600 * MIB)
    governor.limits()
    assert status_of(governor).describe().startswith("52 MB short of the least that works; 682 MB of memory")


def test_this_machine_can_be_governed() -> None:
    limits = MemoryGovernor(FIXED, MemoryWatch().read, lambda: SMALL).limits()
    assert limits.num_pages is not None
    assert 1 <= limits.num_pages <= 400


PASSES = st.tuples(
    st.floats(0.0, 2.0), st.integers(0, 3000), st.integers(0, 300), st.integers(0, 100), st.integers(0, 100)
)


@given(st.lists(PASSES, max_size=40), st.booleans())
def test_in_any_history_leases_that_follow_the_limits_fit(
    passes: list[tuple[float, int, int, int, int]], with_cap: bool
) -> None:
    world, budget = World(), MemoryBudget(0)
    governor = world.governor(cap_bytes=700 * MIB if with_cap else None, budget=budget)
    for elapsed_s, available_mib, wanted, in_use, idle in passes:
        world.now_s += elapsed_s
        world.set_available(available_mib)
        world.want(pages_wanted=wanted, pages_in_use=in_use, idle_pages=idle)
        limits = governor.limits()
        carry_out(limits, budget)
        assert budget.total_bytes == status_of(governor).budget_bytes
        assert budget.leased_bytes == allowed_bytes(limits, SMALL) <= budget.total_bytes


def carry_out(limits: Limits, budget: MemoryBudget) -> None:
    """What shrinks first, what grows last."""
    assert limits.num_pages is not None
    weight_bytes = SMALL.weights_bytes if limits.weight_bytes is None else limits.weight_bytes
    wanted = {"base": SMALL.base_bytes, "weights": weight_bytes, "pages": limits.num_pages * SMALL.page_bytes}
    for name in sorted(wanted, key=lambda name: wanted[name] - budget.of(name)):
        budget.lease(name, wanted[name])


def test_what_a_look_finds_the_process_to_take_counts_at_once() -> None:
    world = World(1200)
    usual = world.watch

    def measuring() -> MemoryFacts:
        world.want(base_bytes=150 * MIB)
        return usual()

    world.watch = measuring  # type: ignore[method-assign]  # this world alone is to be told when it is looked at
    governor = world.governor()
    assert allowed_bytes(governor.limits(), world.footprint) <= status_of(governor).budget_bytes
    assert world.footprint.base_bytes == 150 * MIB


def test_an_idle_engine_asks_less_often_while_nothing_changes_and_soon_after_a_change() -> None:
    world = World(1200)
    governor = world.governor()

    def rests(count: int) -> list[float]:
        answers = []
        for _ in range(count):
            governor.limits()
            answers.append(governor.rest_s())
            world.now_s += answers[-1]
        return answers

    assert rests(7) == [1, 1, 2, 4, 8, 8, 8]
    world.set_available(1000)
    assert rests(6) == [1, 1, 2, 4, 8, 8]
