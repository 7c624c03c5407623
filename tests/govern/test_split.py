"""Every byte is given once, in the documented order, and a larger budget never takes anything away."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.govern.split import Footprint, MemorySplit, split_memory, stepped_demand

MIB = 1 << 20
LARGE = Footprint(
    base_bytes=100 * MIB, weights_bytes=8000 * MIB, ring_bytes=64 * MIB, page_bytes=12 * MIB, opened_pages=200
)


@st.composite
def footprints(draw: st.DrawFn) -> Footprint:
    opened_pages = draw(st.integers(1, 300))
    pages_in_use = draw(st.integers(0, opened_pages))
    return Footprint(
        base_bytes=draw(st.integers(0, 5_000)),
        weights_bytes=draw(st.integers(0, 100_000)),
        ring_bytes=draw(st.integers(0, 3_000)),
        page_bytes=draw(st.integers(1, 700)),
        opened_pages=opened_pages,
        pages_in_use=pages_in_use,
        pages_wanted=draw(st.integers(0, 400)),
        idle_pages=draw(st.integers(0, opened_pages - pages_in_use)),
        least_pages=draw(st.integers(0, 20)),
    )


BUDGETS = st.integers(0, 400_000)
DEMANDS = st.one_of(st.none(), st.integers(0, 400))


def weight_bytes(split: MemorySplit, footprint: Footprint) -> int:
    return footprint.weights_bytes if split.weight_bytes is None else split.weight_bytes


def taken_bytes(split: MemorySplit, footprint: Footprint) -> int:
    return footprint.base_bytes + weight_bytes(split, footprint) + split.num_pages * footprint.page_bytes


def wanting(**changes: int) -> Footprint:
    return dataclasses.replace(LARGE, **changes)


@given(BUDGETS, footprints(), DEMANDS)
def test_the_parts_fit_the_budget_unless_even_the_least_does_not(
    budget_bytes: int, footprint: Footprint, demand: int | None
) -> None:
    split = split_memory(budget_bytes, footprint, demand)
    assert taken_bytes(split, footprint) <= budget_bytes + split.short_bytes
    assert (split.short_bytes > 0) == (footprint.least_bytes > budget_bytes)


@given(BUDGETS, footprints(), DEMANDS)
def test_the_least_is_always_given(budget_bytes: int, footprint: Footprint, demand: int | None) -> None:
    split = split_memory(budget_bytes, footprint, demand)
    assert footprint.least_kv_pages <= split.num_pages <= split.max_pages <= footprint.opened_pages
    assert footprint.least_weight_bytes <= weight_bytes(split, footprint) <= footprint.weights_bytes


@given(BUDGETS, footprints(), DEMANDS)
def test_less_than_a_page_is_left_over_while_something_is_missing(
    budget_bytes: int, footprint: Footprint, demand: int | None
) -> None:
    split = split_memory(budget_bytes, footprint, demand)
    if split.weight_bytes is not None and split.num_pages < footprint.opened_pages:
        assert budget_bytes - taken_bytes(split, footprint) < footprint.page_bytes


@given(BUDGETS, st.integers(0, 5_000), footprints(), DEMANDS)
def test_a_larger_budget_never_gives_less_of_anything(
    budget_bytes: int, more_bytes: int, footprint: Footprint, demand: int | None
) -> None:
    small, large = (split_memory(b, footprint, demand) for b in (budget_bytes, budget_bytes + more_bytes))
    assert large.num_pages >= small.num_pages
    assert large.max_pages >= small.max_pages
    assert weight_bytes(large, footprint) >= weight_bytes(small, footprint)
    assert large.short_bytes <= small.short_bytes


@given(BUDGETS, footprints(), st.integers(0, 300), st.integers(0, 300))
def test_more_demand_never_gives_fewer_pages(
    budget_bytes: int, footprint: Footprint, demand: int, more_pages: int
) -> None:
    small, large = (split_memory(budget_bytes, footprint, pages) for pages in (demand, demand + more_pages))
    assert large.num_pages >= small.num_pages
    assert weight_bytes(large, footprint) <= weight_bytes(small, footprint)


@given(BUDGETS, footprints())
def test_demand_up_to_max_pages_is_given(budget_bytes: int, footprint: Footprint) -> None:
    max_pages = split_memory(budget_bytes, footprint).max_pages
    assert split_memory(budget_bytes, footprint, max_pages).num_pages == max_pages


def test_if_everything_fits_there_is_no_limit_on_weights() -> None:
    assert split_memory(LARGE.most_bytes, LARGE) == MemorySplit(None, 200, 200)
    assert split_memory(LARGE.most_bytes - 1, LARGE) == MemorySplit(None, 199, 200)


def test_weights_stay_in_memory_while_pages_that_nobody_wants_make_room() -> None:
    assert split_memory(8400 * MIB, wanting(pages_wanted=10)) == MemorySplit(None, 25, 200)


def test_pages_that_are_wanted_come_before_weights() -> None:
    assert split_memory(1500 * MIB, wanting(pages_wanted=50)) == MemorySplit(800 * MIB, 50, 111)
    assert split_memory(1500 * MIB, wanting(pages_in_use=110)) == MemorySplit(80 * MIB, 110, 111)


def test_idle_pages_are_kept_up_to_an_eighth_of_the_budget() -> None:
    assert split_memory(1536 * MIB, wanting(pages_in_use=20, idle_pages=8)).num_pages == 28
    assert split_memory(1536 * MIB, wanting(pages_in_use=20, idle_pages=100)).num_pages == 20 + 1536 // 8 // 12


def test_idle_pages_go_before_the_last_weights_and_before_pages_in_use() -> None:
    tight = split_memory(600 * MIB, wanting(pages_in_use=30, idle_pages=100))
    assert (tight.num_pages - 30) * 12 * MIB <= (600 - 100 - 64 - 360) * MIB // 4
    full = split_memory(524 * MIB, wanting(pages_in_use=30, idle_pages=100))
    assert (full.num_pages, full.weight_bytes) == (30, 64 * MIB)


def test_pages_in_use_go_when_all_weights_stream_down_to_what_one_sequence_needs() -> None:
    footprint = wanting(pages_in_use=100, least_pages=8)
    assert split_memory(400 * MIB, footprint) == MemorySplit(64 * MIB, 19, 19)
    assert split_memory(200 * MIB, footprint) == MemorySplit(64 * MIB, 8, 8, short_bytes=60 * MIB)


def test_weights_smaller_than_the_ring_are_never_streamed() -> None:
    small = dataclasses.replace(LARGE, weights_bytes=10 * MIB, pages_wanted=200)
    assert split_memory(300 * MIB, small).weight_bytes is None


@given(BUDGETS, footprints(), st.integers(0, 400))
def test_stepped_demand_is_enough_and_not_much_too_much(
    budget_bytes: int, footprint: Footprint, before_pages: int
) -> None:
    stepped = stepped_demand(budget_bytes, footprint, before_pages)
    step = max(4, budget_bytes // footprint.page_bytes // 64)
    assert footprint.needed_pages <= stepped <= footprint.opened_pages
    assert stepped < footprint.needed_pages + 3 * step


@given(BUDGETS, footprints(), st.integers(0, 400))
def test_stepped_demand_stays_once_it_is_given(budget_bytes: int, footprint: Footprint, before_pages: int) -> None:
    stepped = stepped_demand(budget_bytes, footprint, before_pages)
    assert stepped_demand(budget_bytes, footprint, stepped) == stepped


def test_a_growing_answer_moves_pages_in_steps() -> None:
    answers, before = [], 0
    for pages in range(1, 41):
        before = stepped_demand(1536 * MIB, wanting(pages_in_use=pages), before)
        answers.append(before)
    assert sorted(set(answers)) == list(range(4, 41, 4))


def test_demand_that_swings_by_one_step_moves_nothing() -> None:
    before = stepped_demand(1536 * MIB, wanting(pages_in_use=33))
    for pages in (29, 36, 33, 35, 30) * 3:
        assert stepped_demand(1536 * MIB, wanting(pages_in_use=pages), before) == before


@pytest.mark.parametrize(("pages", "stepped"), [(33, 40), (32, 32), (1, 4)])
def test_it_shrinks_once_two_steps_less_would_do(pages: int, stepped: int) -> None:
    assert stepped_demand(1536 * MIB, wanting(pages_in_use=pages), 40) == stepped
