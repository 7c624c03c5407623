"""Page accounting against the obvious model: a dictionary of counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.errors import MemoryLimitError, UsageError
from pocketseek.runtime.kv_pool import KvPool, PageAccountingError


def test_all_pages_are_free_at_first() -> None:
    pool = KvPool(5)
    assert (pool.num_pages, pool.num_free) == (5, 5)
    assert pool.can_allocate(5)
    assert not pool.can_allocate(6)


def test_allocated_pages_are_distinct_and_the_lowest_ids_go_first() -> None:
    pool = KvPool(4)
    assert pool.allocate(3) == [0, 1, 2]
    pool.release([1])
    assert pool.allocate(2) == [1, 3]


def test_too_large_an_allocation_takes_nothing() -> None:
    pool = KvPool(2)
    with pytest.raises(MemoryLimitError):
        pool.allocate(3)
    assert pool.num_free == 2


def test_a_retained_page_stays_until_its_last_owner_lets_go() -> None:
    pool = KvPool(1)
    pages = pool.allocate(1)
    pool.retain(pages)
    pool.release(pages)
    assert pool.num_free == 0
    pool.release(pages)
    assert pool.num_free == 1


def test_releasing_twice_is_an_error() -> None:
    pool = KvPool(2)
    pages = pool.allocate(1)
    pool.release(pages)
    with pytest.raises(PageAccountingError):
        pool.release(pages)


@pytest.mark.parametrize("page", [-1, 2, 1])
def test_pages_that_nobody_owns_can_be_neither_retained_nor_released(page: int) -> None:
    pool = KvPool(2)
    pool.allocate(1)
    with pytest.raises(PageAccountingError):
        pool.retain([page])
    with pytest.raises(PageAccountingError):
        pool.release([page])


def test_failed_retain_changes_nothing() -> None:
    pool = KvPool(2)
    pool.allocate(1)
    with pytest.raises(PageAccountingError):
        pool.retain([0, 1])
    assert pool.num_references(0) == 1


def test_negative_allocation_is_an_error() -> None:
    with pytest.raises(PageAccountingError):
        KvPool(2).allocate(-1)


@pytest.mark.parametrize("num_pages", [0, -1])
def test_empty_pool_is_refused(num_pages: int) -> None:
    with pytest.raises(UsageError):
        KvPool(num_pages)


def test_growing_adds_ids() -> None:
    pool = KvPool(2)
    pool.allocate(2)
    pool.resize(4)
    assert pool.allocate(2) == [2, 3]


def test_shrinking_takes_free_pages_at_once_and_waits_for_those_in_use() -> None:
    pool = KvPool(6)
    pool.allocate(4)
    pool.resize(2)
    assert (pool.num_pages, pool.num_used, pool.num_free, pool.shortage(0)) == (2, 4, 0, 2)
    pool.release([0])
    assert pool.num_free == 0  # three are in use still
    pool.release([2, 3])
    assert (pool.num_used, pool.num_free) == (1, 1)
    assert pool.allocate(1) == [0]


def test_a_page_beyond_the_pool_keeps_its_owners_and_belongs_again_when_the_pool_grows() -> None:
    pool = KvPool(3)
    pool.allocate(3)
    pool.retain([2])
    pool.release([0, 1])
    pool.resize(1)
    assert pool.num_references(2) == 2
    pool.resize(3)
    assert (pool.num_used, pool.num_free) == (1, 2)
    pool.release([2, 2])
    assert pool.allocate(3) == [0, 1, 2]


def test_memory_of_lost_pages_goes_back_and_that_of_pages_taken_again_stays() -> None:
    pool = KvPool(4)
    pool.allocate(2)
    pool.resize(1)
    assert pool.take_vacated() == [2, 3]
    pool.release([0, 1])
    assert pool.take_vacated() == [0, 1]  # 0 was let go while 1, beyond the pool, was in memory still
    pool.resize(4)
    pool.resize(2)
    pool.resize(4)
    pool.allocate(3)
    assert pool.take_vacated() == [3]


@pytest.mark.parametrize("num_pages", [0, -1])
def test_shrinking_to_nothing_is_refused(num_pages: int) -> None:
    with pytest.raises(UsageError):
        KvPool(2).resize(num_pages)


@given(
    st.lists(st.tuples(st.sampled_from(["allocate", "retain", "release", "resize"]), st.integers(0, 5)), max_size=40)
)
def test_counts_agree_with_a_dictionary(steps: list[tuple[str, int]]) -> None:
    pool, counts, size = KvPool(6), dict.fromkeys(range(6), 0), 6
    written: set[int] = set()
    for action, number in steps:
        num_beyond = sum(count > 0 for page, count in counts.items() if page >= size)
        free = [page for page, count in counts.items() if count == 0 and page < size]
        if action == "allocate" and number <= len(free) - num_beyond:
            assert pool.allocate(number) == free[:number]
            written |= set(free[:number])
            counts |= dict.fromkeys(free[:number], 1)
        elif action == "retain" and counts[number]:
            pool.retain([number])
            counts[number] += 1
        elif action == "release" and counts[number]:
            pool.release([number])
            counts[number] -= 1
        elif action == "resize":
            size = number + 1
            pool.resize(size)
        vacated = pool.take_vacated()
        assert not any(counts[page] for page in vacated)
        written -= set(vacated)
        num_used = sum(count > 0 for count in counts.values())
        assert {page: pool.num_references(page) for page in counts} == counts
        assert (pool.num_pages, pool.num_used, pool.num_free) == (size, num_used, max(0, size - num_used))
        assert pool.shortage(2) == max(0, num_used + 2 - size)
        assert len(written) <= max(size, num_used)
