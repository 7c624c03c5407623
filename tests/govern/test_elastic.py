"""The budget through time: on made-up readings, in made-up worlds, and for any history of readings."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.device.memory_watch import MemoryFacts
from pocketseek.govern.budget import UNKNOWN_MEMORY_BYTES
from pocketseek.govern.elastic import (
    HOLD_S,
    LONGEST_HOLD_S,
    ElasticBudget,
    group_reserve_bytes,
    known_bounds,
    machine_reserve_bytes,
)
from pocketseek.govern.swings import GROW_AFTER_S

MIB = 1 << 20
GIB = 1 << 30
LOOK_S = 0.25


def machine(available_mib: int, own_mib: int = 0, **others: int) -> MemoryFacts:
    """Of 8 GiB: the reserve is 512 MiB. Stalls are those of our own group."""
    return MemoryFacts(8 * GIB, available_mib * MIB, own_mib * MIB, stall_is_own=True, **others)


def just_below(bound_bytes: int) -> int:
    return bound_bytes - min(bound_bytes // 64, 16 * MIB)


def looks(start_s: float, duration_s: float) -> Iterator[float]:
    return (start_s + number * LOOK_S for number in range(int(duration_s / LOOK_S) + 1))


def hold(elastic: ElasticBudget, facts: MemoryFacts, start_s: float, duration_s: float) -> int:
    """The same reading for a while; what the budget is then."""
    for now_s in looks(start_s, duration_s):
        elastic.update(facts, now_s)
    return elastic.current_bytes


# -- bounds ---------------------------------------------------------------------------------------------------------


def test_what_we_hold_ourselves_is_ours_to_take_and_the_reserves_are_not() -> None:
    facts = MemoryFacts(8 * GIB, 3 * GIB, 1 * GIB, group_limit_bytes=4 * GIB, group_room_bytes=2 * GIB)
    assert known_bounds(facts, 7 * GIB) == {
        "machine": 4 * GIB - 512 * MIB,
        "group": 3 * GIB - 64 * MIB,
        "cap": 7 * GIB,
    }


def test_what_is_unknown_bounds_nothing() -> None:
    assert known_bounds(MemoryFacts()) == {}
    assert set(known_bounds(machine(100))) == {"machine"}


def test_a_limit_whose_room_is_unknown_bounds_by_itself() -> None:
    assert known_bounds(MemoryFacts(group_limit_bytes=600 * MIB)) == {"group": 585 * MIB}


@pytest.mark.parametrize(("total_bytes", "reserve_mib"), [(512 * MIB, 64), (4 * GIB, 256), (64 * GIB, 512)])
def test_a_sixteenth_of_the_machine_is_for_others_within_limits(total_bytes: int, reserve_mib: int) -> None:
    assert machine_reserve_bytes(MemoryFacts(machine_total_bytes=total_bytes)) == reserve_mib * MIB


@pytest.mark.parametrize(("limit_mib", "reserve_mib"), [(100, 8), (600, 15), (8000, 64)])
def test_a_fortieth_of_a_container_is_left_within_limits(limit_mib: int, reserve_mib: int) -> None:
    assert group_reserve_bytes(limit_mib * MIB) == reserve_mib * MIB


# -- shrinking and growing ------------------------------------------------------------------------------------------


def test_it_begins_a_little_below_the_bound() -> None:
    elastic = ElasticBudget()
    assert elastic.update(machine(1512), 0.0) == just_below(1000 * MIB)
    assert (elastic.bound, elastic.num_shrinks, elastic.num_growths) == ("machine", 0, 0)


def test_it_shrinks_at_once_when_less_is_there() -> None:
    elastic = ElasticBudget()
    elastic.update(machine(1512), 0.0)
    assert elastic.update(machine(1112), 0.1) <= 600 * MIB
    assert elastic.num_shrinks == 1


def test_flutter_within_the_dead_band_moves_nothing() -> None:
    elastic = ElasticBudget()
    budget_bytes = elastic.update(machine(1512), 0.0)
    for number, now_s in enumerate(looks(0.25, 60)):
        assert elastic.update(machine(1512 + (-10, 0, 14)[number % 3]), now_s) == budget_bytes


def test_it_grows_after_some_seconds_to_the_lowest_bound_of_that_time() -> None:
    elastic = ElasticBudget()
    before_bytes = elastic.update(machine(1512), 0.0)
    for now_s in looks(1.0, GROW_AFTER_S - LOOK_S):
        assert elastic.update(machine(2012 if now_s == 2.0 else 2512), now_s) == before_bytes
    assert elastic.update(machine(2512), 1.0 + GROW_AFTER_S) == just_below(1500 * MIB)
    assert elastic.num_growths == 1


def test_memory_that_is_free_for_a_moment_only_is_left_alone() -> None:
    elastic = ElasticBudget()
    before_bytes = elastic.update(machine(1512), 0.0)
    for now_s in looks(1.0, 60):
        assert elastic.update(machine(1512 if now_s % 2 == 0 else 3512), now_s) == before_bytes


def test_two_looks_far_apart_are_not_enough_to_grow() -> None:
    elastic = ElasticBudget()
    before_bytes = elastic.update(machine(1512), 0.0)
    assert elastic.update(machine(2512), 5.0) == elastic.update(machine(2512), 10.0) == before_bytes
    assert elastic.update(machine(2512), 15.0) == just_below(2000 * MIB)


def test_a_cap_is_used_to_the_last_byte_and_never_exceeded() -> None:
    elastic = ElasticBudget(cap_bytes=600 * MIB)
    assert hold(elastic, machine(4000), 0.0, 60) == 600 * MIB
    assert elastic.bound == "cap"
    elastic.update(machine(800), 61.0)
    assert elastic.bound == "machine"
    assert hold(elastic, machine(4000), 62.0, 60) == 600 * MIB
    assert elastic.bound == "cap"


def test_the_floor_is_kept_whatever_the_bound_and_goes_with_its_caller() -> None:
    elastic = ElasticBudget()
    assert elastic.update(machine(0), 0.0, floor_bytes=300 * MIB) == 300 * MIB
    assert elastic.update(machine(0), 1.0, floor_bytes=200 * MIB) == 200 * MIB
    assert elastic.update(machine(0), 2.0) == 0


def test_a_machine_that_says_nothing_gets_the_default_or_the_cap() -> None:
    assert hold(ElasticBudget(), MemoryFacts(), 0.0, 60) == UNKNOWN_MEMORY_BYTES
    assert hold(ElasticBudget(cap_bytes=3 * GIB), MemoryFacts(), 0.0, 60) == 3 * GIB


def test_a_reading_that_fails_changes_nothing() -> None:
    elastic = ElasticBudget()
    before_bytes = elastic.update(machine(1512), 0.0)
    assert hold(elastic, MemoryFacts(), 1.0, 10) == before_bytes


def test_the_default_comes_back_after_pressure() -> None:
    elastic = ElasticBudget()
    elastic.update(MemoryFacts(major_faults=0), 0.0)
    assert elastic.update(MemoryFacts(major_faults=9000), 1.0) < UNKNOWN_MEMORY_BYTES
    assert hold(elastic, MemoryFacts(major_faults=9000), 2.0, 60) > 0.97 * UNKNOWN_MEMORY_BYTES


# -- pressure -------------------------------------------------------------------------------------------------------


def test_stalls_shrink_by_a_tenth_once_a_second() -> None:
    elastic = ElasticBudget(cap_bytes=1000 * MIB)
    for number, now_s in enumerate(looks(0.0, 2.25)):
        elastic.update(machine(4000, stall_us=number * 100_000), now_s)
    assert (elastic.num_pressures, elastic.bound) == (3, "pressure")
    assert elastic.current_bytes == pytest.approx(1000 * MIB * 0.9**3)


def test_stalls_below_a_tenth_of_the_time_are_calm() -> None:
    elastic = ElasticBudget(cap_bytes=1000 * MIB)
    for number, now_s in enumerate(looks(0.0, 10)):
        assert elastic.update(machine(4000, stall_us=number * 24_000), now_s) == 1000 * MIB


@pytest.mark.parametrize(("faults_per_look", "num_pressures"), [(40, 0), (60, 5)])
def test_page_faults_from_storage_are_pressure_too(faults_per_look: int, num_pressures: int) -> None:
    elastic = ElasticBudget(cap_bytes=1000 * MIB)
    for number, now_s in enumerate(looks(0.0, 5)):
        elastic.update(machine(4000, major_faults=number * faults_per_look), now_s)
    assert elastic.num_pressures == num_pressures


def test_page_faults_are_expected_while_weights_are_read_in() -> None:
    elastic = ElasticBudget(cap_bytes=1000 * MIB)
    for number, now_s in enumerate(looks(0.0, 10)):
        elastic.update(machine(4000, major_faults=min(number, 20) * 1000), now_s, warming=number < 20)
    assert elastic.num_pressures == 0


def test_counters_that_begin_again_or_vanish_are_no_pressure() -> None:
    elastic = ElasticBudget(cap_bytes=1000 * MIB)
    for now_s, stall_us in [(0.0, 900_000_000), (1.0, 5), (2.0, None), (3.0, 900_000_000)]:
        elastic.update(dataclasses.replace(machine(4000), stall_us=stall_us), now_s)
    assert elastic.num_pressures == 0


def test_what_is_used_shrinks_not_what_was_merely_allowed() -> None:
    elastic = ElasticBudget(cap_bytes=1000 * MIB)
    elastic.update(machine(4000, stall_us=0), 0.0, used_bytes=700 * MIB)
    assert elastic.update(machine(4000, stall_us=900_000), 1.0, used_bytes=700 * MIB) == 630 * MIB


def test_stalls_of_others_do_not_concern_who_uses_less_than_half_of_what_there_is() -> None:
    elastic = ElasticBudget()
    before_bytes = elastic.update(machine(4512, stall_us=0), 0.0, used_bytes=1900 * MIB)
    assert elastic.update(machine(4512, stall_us=900_000), 1.0, used_bytes=1900 * MIB) == before_bytes
    assert elastic.update(machine(4512, stall_us=1_800_000), 2.0, used_bytes=2100 * MIB) < before_bytes


@pytest.mark.parametrize(("available_mib", "num_pressures"), [(2100, 0), (1900, 1)])
def test_stalls_of_the_whole_machine_count_when_the_whole_machine_is_short(
    available_mib: int, num_pressures: int
) -> None:
    elastic = ElasticBudget(cap_bytes=1000 * MIB)
    for now_s, stall_us in [(0.0, 0), (1.0, 900_000)]:
        elastic.update(MemoryFacts(8 * GIB, available_mib * MIB, stall_us=stall_us), now_s)
    assert elastic.num_pressures == num_pressures


def test_pressure_ends_where_as_much_is_left_as_is_used() -> None:
    elastic = ElasticBudget(cap_bytes=1000 * MIB)
    for second in range(60):
        elastic.update(machine(4000, stall_us=second * 900_000), float(second))
    assert 450 * MIB < elastic.current_bytes <= 500 * MIB


def test_pressure_never_goes_below_the_floor() -> None:
    elastic = ElasticBudget(cap_bytes=1000 * MIB)
    for second in range(60):
        elastic.update(machine(4000, stall_us=second * 900_000), float(second), floor_bytes=800 * MIB)
    assert elastic.current_bytes == 800 * MIB


def test_after_pressure_it_holds_still_and_then_grows_in_small_steps() -> None:
    elastic = ElasticBudget(cap_bytes=1000 * MIB)
    elastic.update(machine(4000, stall_us=0), 0.0)
    calm = machine(4000, stall_us=900_000)
    shrunk_bytes = elastic.update(calm, 1.0)
    assert hold(elastic, calm, 1.25, HOLD_S - LOOK_S - 0.25) == shrunk_bytes
    assert shrunk_bytes < hold(elastic, calm, 11.0, GROW_AFTER_S + LOOK_S) <= shrunk_bytes * 17 // 16
    assert hold(elastic, calm, 15.0, 30) >= 970 * MIB


# -- worlds ---------------------------------------------------------------------------------------------------------


def test_a_hog_that_comes_and_goes_moves_it_down_and_up_once() -> None:
    elastic = ElasticBudget()
    levels = []
    for now_s in looks(0.0, 120):
        hog_mib = min(max(0, int((now_s - 20) * 400)), 2000) if now_s < 60 else 0
        levels.append(elastic.update(machine(4512 - hog_mib), now_s))
        assert levels[-1] <= (4000 - hog_mib) * MIB
    assert min(levels) >= 2000 * MIB * 63 // 64
    assert levels[-1] == just_below(4000 * MIB)
    assert elastic.num_growths == 1


def test_a_bound_that_lies_does_not_make_it_swing() -> None:
    """In truth 700 MiB work; the figures say 1000. Above 700 every second is full of stalls."""
    elastic, stall_us, swings = ElasticBudget(cap_bytes=1000 * MIB), 0, []
    for now_s in looks(0.0, 3600):
        before = elastic.num_pressures
        budget_bytes = elastic.update(machine(4000, stall_us=stall_us), now_s)
        stall_us += int(LOOK_S * 800_000) if budget_bytes > 700 * MIB else 0
        if elastic.num_pressures > before:
            swings.append(now_s)
    assert len(swings) < 30
    assert len([now_s for now_s in swings if now_s > 1800]) <= 1800 / LONGEST_HOLD_S + 1
    assert elastic.current_bytes > 550 * MIB


def test_once_the_trouble_is_over_all_is_used_again() -> None:
    elastic, stall_us = ElasticBudget(cap_bytes=1000 * MIB), 0
    for now_s in looks(0.0, 2400):
        budget_bytes = elastic.update(machine(4000, stall_us=stall_us), now_s)
        stall_us += int(LOOK_S * 800_000) if budget_bytes > 700 * MIB and now_s < 1200 else 0
    assert elastic.current_bytes >= 970 * MIB
    elastic.update(machine(4000, stall_us=stall_us + 900_000), 2401.0)
    assert hold(elastic, machine(4000, stall_us=stall_us + 900_000), 2402.0, HOLD_S + 30) >= 970 * MIB


def test_memory_that_flutters_widely_is_taken_ever_more_rarely_and_given_back_at_once() -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    generator, elastic = random.Random(seed), ElasticBudget()
    grown = []
    for now_s in looks(0.0, 1200):
        bound_bytes = 900 * MIB + generator.randrange(200 * MIB)
        growths = elastic.num_growths
        assert elastic.update(MemoryFacts(8 * GIB, bound_bytes + 512 * MIB), now_s) <= bound_bytes
        grown += [now_s] * (elastic.num_growths - growths)
    assert len([then_s for then_s in grown if then_s > 600]) < 20  # without learning it is 65
    assert elastic.current_bytes > 850 * MIB


MAYBE_BYTES = st.one_of(st.none(), st.integers(0, 4 * GIB))
READINGS = st.builds(
    MemoryFacts,
    machine_total_bytes=st.one_of(st.none(), st.just(8 * GIB)),
    machine_available_bytes=MAYBE_BYTES,
    own_anonymous_bytes=st.one_of(st.none(), st.integers(0, GIB)),
    group_limit_bytes=MAYBE_BYTES,
    group_room_bytes=MAYBE_BYTES,
    stall_us=st.one_of(st.none(), st.integers(0, 10**7)),
    stall_is_own=st.booleans(),
    major_faults=st.one_of(st.none(), st.integers(0, 5000)),
)
STEPS = st.tuples(
    st.floats(0.0, 5.0), READINGS, st.integers(0, GIB), st.one_of(st.none(), st.integers(0, 4 * GIB)), st.booleans()
)


@given(st.lists(STEPS, max_size=60), st.one_of(st.none(), st.integers(1, 4 * GIB)))
def test_no_history_takes_it_above_the_bound_or_below_the_floor(
    steps: list[tuple[float, MemoryFacts, int, int | None, bool]], cap_bytes: int | None
) -> None:
    elastic, now_s = ElasticBudget(cap_bytes=cap_bytes), 0.0
    for elapsed_s, facts, floor_bytes, used_bytes, warming in steps:
        now_s += elapsed_s
        budget_bytes = elastic.update(facts, now_s, floor_bytes=floor_bytes, used_bytes=used_bytes, warming=warming)
        assert budget_bytes >= floor_bytes
        if bounds := known_bounds(facts, cap_bytes):
            assert budget_bytes <= max(floor_bytes, min(bounds.values()))


@given(st.lists(st.tuples(st.floats(0.05, 2.0), st.integers(600, 4000), st.integers(0, 500_000)), max_size=80))
def test_it_never_grows_without_calm_and_never_above_the_bounds_of_the_last_seconds(
    steps: list[tuple[float, int, int]],
) -> None:
    elastic, now_s, stall_us = ElasticBudget(), 0.0, 0
    history: list[tuple[float, int]] = []
    before_bytes, shrunk_s = None, float("-inf")
    for elapsed_s, available_mib, waited_us in steps:
        now_s, stall_us = now_s + elapsed_s, stall_us + waited_us
        pressures = elastic.num_pressures
        budget_bytes = elastic.update(machine(available_mib, stall_us=stall_us), now_s)
        history.append((now_s, (available_mib - 512) * MIB))
        if before_bytes is not None and budget_bytes > before_bytes:
            assert budget_bytes <= min(bound for then_s, bound in history if then_s > now_s - GROW_AFTER_S)
            assert now_s - shrunk_s >= HOLD_S
        shrunk_s = now_s if elastic.num_pressures > pressures else shrunk_s
        before_bytes = budget_bytes


def test_who_was_short_of_the_least_is_not_once_there_is_enough_for_it() -> None:
    elastic = ElasticBudget()
    least_bytes = 284 * MIB

    def look(available_mib: int, now_s: float) -> int:
        return elastic.update(machine(512 + available_mib), now_s, floor_bytes=least_bytes)

    assert look(400, 0.0) > least_bytes
    assert look(100, 1.0) == least_bytes
    assert elastic.allowed_bytes < least_bytes
    assert look(250, 2.0) == least_bytes
    assert elastic.allowed_bytes == 250 * MIB
    assert look(297, 3.0) == least_bytes
    assert elastic.allowed_bytes == least_bytes
    assert elastic.num_growths == 0
